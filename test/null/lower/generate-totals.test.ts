/** The sums of exponentials beside the best logits: any number of parts, and scores that rule tokens out. */
import { expect, test } from 'vitest';
import { createModel } from '../../../src/runtime/index.ts';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';
import { compiled } from '../../support/packed.ts';

const cpu = () => import('../../../src/cpu.ts');

/** Scores are the bias, whatever was read. */
function textOf(vocabulary: number): string {
  return `dim B in 1..2, T in 1..4
model Words {
  table: f32[${vocabulary}, 4]
  bias: f32[${vocabulary}]
  state kv = KVCache(B, 1, 8, 4)
  entry next(ids: i32[B, T]) -> logits: f32[B, ${vocabulary}] {
    let x = gather(table, ids)
    let y = last(attend(x, x, x) { heads: 1, mask: causal, cache: kv })
    y[:, :1] * 0 + bias
  }
}
generate Words.next { top: 1 }
`;
}

test.each([1, 7, 63, 64, 65, 130])('logarithms of shares of %i tokens', async (vocabulary) => {
  const { artifact } = compiled(textOf(vocabulary));
  // Scores from -2 to 2, and whole parts of the row that are ruled out; token 0 is the best.
  const bias = Float32Array.from({ length: vocabulary }, (_, id) =>
    id === 0 ? 3 : id % 5 === 0 || id > 60 ? Number.NEGATIVE_INFINITY : Math.sin(id) * 2,
  );
  const weights = encodeSafetensors([
    { name: 'table', shape: [vocabulary, 4], data: new Float32Array(vocabulary * 4) },
    { name: 'bias', shape: [vocabulary], data: bias },
  ]);
  const model = await createModel(artifact, { weights, adapter: 'cpu', cpu });
  const text = model.session().generate?.([0], { maxTokens: 2 });
  const wanted = 3 - Math.log(bias.reduce((sum, score) => sum + Math.exp(score), 0));
  for await (const { token, logprob } of text ?? []) {
    expect(token).toBe(0);
    expect(Math.abs(logprob - wanted)).toBeLessThan(1e-5);
  }
  await model.close();
});
