/**
 * Small models that train, their weights and batches, for tests of trainers.
 */
import { expect } from 'vitest';
import { compile } from '../../src/compile.ts';
import type { Program } from '../../src/ir/graph.ts';
import { tensorOf } from '../../src/ir/tensor.ts';
import type { Artifact } from '../../src/runtime/artifact.ts';
import type { InputTensor, TrainBatch, Trainer } from '../../src/runtime/index.ts';
import { openSafetensors } from '../../src/runtime/index.ts';
import { describeDiagnostics, sourceFile } from './language.ts';
import { type ReferenceTrainer, referenceTrainer } from './reference-trainer.ts';

export interface TrainableOptions {
  /** What stands in the `train` block beside target and loss. */
  readonly block?: string;
}

export const classes = 5;
const vocabulary = 41;

/** `up` and `gate` are one packed matrix for inference; the table is frozen, and so is the gate. */
export function classifierSource({
  block = 'optimizer: adamw(lr: 0.02, weight_decay: 0.1)\nno_decay: "**.bias"\nfreeze: "word.**", "gate.**"',
}: TrainableOptions = {}): string {
  return `import { Embedding, Linear, gelu, mean_pool } from "sora:nn"

dim B in 1..16, T in 1..32

model Classifier {
  word = Embedding(${vocabulary}, 24)
  up = Linear(24, 40)
  gate = Linear(24, 40)
  head = Linear(40, ${classes})

  /// Scores of each class.
  entry classify(ids: i32[B, T], mask: i32[B, T] = 1) -> logits: f32[B, ${classes}] {
    let x = mean_pool(word(ids), mask)
    head(gelu(up(x)) * gate(x))
  }
}

train Classifier.classify {
  target label: i32[B]
  loss: cross_entropy(logits, label)
  ${block}
}
`;
}

/** A language model whose head is the table of its words; it generates text too. */
export const writerSource = `import { Embedding, Linear, RMSNorm } from "sora:nn"

dim B in 1..8, T in 1..16

model Writer {
  word = Embedding(${vocabulary}, 32)
  norm = RMSNorm(32)
  qkv = Linear(32, 96, bias: false)
  head = Linear(32, ${vocabulary}, bias: false) tied word.weight if missing
  state kv = KVCache(B, 4, 32, 8)

  entry next(ids: i32[B, T]) -> logits: f32[B, ${vocabulary}] {
    let [q, k, v] = split(qkv(norm(word(ids))), 3)
    last(head(word(ids) + attend(q, k, v) { heads: 4, mask: causal, cache: kv }))
  }
}

train Writer.next {
  target token: i32[B]
  loss: cross_entropy(logits, token)
  optimizer: adam(lr: 0.01)
}

generate Writer.next {
  top: 8
}
`;

export interface Trainable {
  readonly program: Program;
  readonly artifact: Artifact;
}

export function trainable(text: string): Trainable {
  const { value, diagnostics } = compile({ file: sourceFile(text, 'trainable.sora') });
  const told = describeDiagnostics(diagnostics);
  if (value === undefined || told.length > 0) throw new Error(told.join('\n'));
  return { program: value.program, artifact: value.artifact };
}

/** A batch of the classifier: the label is a matter of the ids, so that there is something to learn. */
export function classifierBatch(seed: number, rows = 6, length = 7): TrainBatch {
  const ids = Int32Array.from(
    { length: rows * length },
    (_, at) => (at * 17 + seed * 29 + ((at * seed) % 5)) % vocabulary,
  );
  const label = Int32Array.from({ length: rows }, (_, row) => (ids[row * length] ?? 0) % classes);
  return { ids: { data: ids, shape: [rows, length] }, label: { data: label, shape: [rows] } };
}

export function writerBatch(seed: number, rows = 3, length = 5): TrainBatch {
  const ids = Int32Array.from({ length: rows * length }, (_, at) => (at * 11 + seed * 7) % vocabulary);
  const token = Int32Array.from({ length: rows }, (_, row) => ((ids[row * length] ?? 0) + 1) % vocabulary);
  return { ids: { data: ids, shape: [rows, length] }, token: { data: token, shape: [rows] } };
}

/** Rows of two batches in one. */
export function together(one: TrainBatch, other: TrainBatch): TrainBatch {
  const joined = Object.entries(one).map(([name, first]): [string, InputTensor] => {
    const second = other[name];
    if (!first || !second) throw new Error(`no \`${name}\``);
    const data = Int32Array.from([...first.data, ...second.data]);
    return [name, { data, shape: [(first.shape[0] ?? 0) + (second.shape[0] ?? 0), ...first.shape.slice(1)] }];
  });
  return Object.fromEntries(joined);
}

/** The same run on the interpreter in f64. */
export async function referenceRun(
  { program }: Trainable,
  weights: Uint8Array,
): Promise<
  Omit<ReferenceTrainer, 'step' | 'evaluate'> & {
    step(batch: TrainBatch, lr: number): ReturnType<ReferenceTrainer['step']>;
  }
> {
  const file = await openSafetensors(weights);
  const loaded = new Map<string, ReturnType<typeof tensorOf>>();
  for (const [name, { shape }] of file.tensors)
    loaded.set(name, tensorOf('f32', shape, await file.readTensor(name, 'f32'), 'f64'));
  const trainer = referenceTrainer(program, (path) => {
    const tensor = loaded.get(path);
    if (!tensor) throw new Error(`no weight ${path}`);
    return tensor;
  });
  const initials = new Map(program.entries.flatMap((entry) => entry.parameters.map((one) => [one.name, one.initial])));
  return {
    ...trainer,
    step(batch, lr) {
      const inputs = Object.entries(batch).flatMap(([name, input]) =>
        input ? [[name, tensorOf('i32', input.shape, input.data, 'f64')] as const] : [],
      );
      const shape = batch.ids?.shape ?? [];
      const missing = [...initials].flatMap(([name, initial]) =>
        initial === undefined || batch[name]
          ? []
          : [
              [
                name,
                tensorOf('i32', shape, new Int32Array(shape.reduce((all, dim) => all * dim, 1)).fill(initial), 'f64'),
              ] as const,
            ],
      );
      return trainer.step(new Map([...inputs, ...missing]), lr);
    },
  };
}

/** Tensors of a safetensors file by name, as numbers. */
export async function tensorsOf(bytes: Uint8Array): Promise<ReadonlyMap<string, Float32Array>> {
  const file = await openSafetensors(bytes);
  const tensors = new Map<string, Float32Array>();
  for (const name of [...file.tensors.keys()].sort()) tensors.set(name, await file.readTensor(name, 'f32'));
  return tensors;
}

/** Losses of steps with batches of their own, of two to four rows. */
export async function stepsOf(trainer: Trainer, from: number, to: number): Promise<number[]> {
  const losses: number[] = [];
  for (let at = from; at < to; at++) losses.push((await trainer.step(classifierBatch(at, 2 + (at % 3), 4))).loss);
  return losses;
}

/** Greatest difference; prints both measures in the failure. */
export function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, share: number, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  let [most, scale] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    most = Math.max(most, Math.abs((actual[at] ?? Number.NaN) - (expected[at] ?? 0)));
    scale = Math.max(scale, Math.abs(expected[at] ?? 0));
  }
  expect(most <= share * scale, `${what}: max |a-b| ${most}, of the greatest ${most / scale}`).toBe(true);
}
