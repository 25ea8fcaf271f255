/**
 * A small random decoder that generates text: its source, its weights, and the module's artifact. Weights come from a fixed
 * generator, large enough that the most probable token depends on the text.
 */
import { compile } from '../../src/compile.ts';
import type { Artifact } from '../../src/runtime/artifact.ts';
import { encodeSafetensors } from '../../src/runtime/index.ts';
import { describeDiagnostics, sourceFile } from './language.ts';

export interface DecoderOptions {
  readonly vocabulary?: number;
  readonly positions?: number;
  /** What stands in the `generate` block. */
  readonly block?: string;
}

export function decoderSource({ vocabulary = 101, positions = 64, block = 'top: 32' }: DecoderOptions = {}): string {
  return `import { Embedding, Linear, RMSNorm } from "sora:nn"

dim B in 1..4, T in 1..16

module Block(width: int) {
  norm = RMSNorm(width)
  qkv = Linear(width, 3 * width, bias: false)
  out = Linear(width, width, bias: false)
  state kv = KVCache(B, 4, ${positions}, width / 4)

  fn (x: f32[B, T, width]) -> f32[B, T, width] {
    let [q, k, v] = split(qkv(norm(x)), 3)
    x + out(attend(q, k, v) { heads: 4, mask: causal, cache: kv })
  }
}

model Words {
  embed = Embedding(${vocabulary}, 32)
  place = Embedding(${positions}, 32)
  repeat block[2] = Block(32)
  norm = RMSNorm(32)
  head = Linear(32, ${vocabulary}, bias: false)

  /// Scores of the next token.
  entry forward(ids: i32[B, T]) -> logits: f32[B, ${vocabulary}] {
    head(last(norm(block(embed(ids) + place(positions(B, T))))))
  }
}

generate Words.forward {
  ${block}
}
`;
}

export function decoderArtifact(options: DecoderOptions = {}): Artifact {
  const { value, diagnostics } = compile({ file: sourceFile(decoderSource(options), 'words.sora') });
  const told = describeDiagnostics(diagnostics);
  if (value === undefined || told.length > 0) throw new Error(told.join('\n'));
  return value.artifact;
}

/** The checkpoint of an artifact, from Numerical Recipes' generator. */
export function randomWeights(artifact: Artifact, seed = 5): Uint8Array {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  // A weight may be read in two layouts.
  const sources = new Map(artifact.weights.flatMap((spec) => spec.sources.map((one) => [one.path, one])));
  const tensors = [...sources.values()].map(({ path, shape }) => {
    const count = shape.reduce((all, size) => all * size, 1);
    const scale = shape.length === 1 ? 0.2 : 0.6;
    const data = Float32Array.from({ length: count }, () => (shape.length === 1 ? 1 : 0) + scale * next());
    return { name: path, shape, data };
  });
  return encodeSafetensors(tensors);
}
