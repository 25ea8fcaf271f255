/**
 * A compressed model beside the dense one: every batch goes through both, one after the other, so that what else the machine does
 * meets both alike.
 */

import type { Scored } from '../../ir/graph.ts';
import type { Artifact } from '../../runtime/artifact.ts';
import type { Inputs } from '../../runtime/inputs.ts';
import type { OpenModel } from '../execute.ts';
import type { HostTensor } from '../tensor-file.ts';
import { type Quality, qualityCounter } from './quality.ts';
import type { SamplePart } from './sample.ts';

/** Medians, in milliseconds. */
export interface Latency {
  readonly dense: number;
  readonly compressed: number;
  readonly calls: number;
}

export interface Measured {
  readonly quality: Quality;
  readonly call: Latency;
  /** One more token of a text; undefined where the model has no such entry. */
  readonly step: Latency | undefined;
}

export interface MeasureOptions {
  readonly dense: OpenModel;
  readonly compressed: OpenModel;
  readonly artifact: Artifact;
  readonly entry: string;
  readonly sample: SamplePart;
  readonly scored: readonly Scored[];
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = 0, high = 0] =
    sorted.length % 2 === 1 ? [sorted[middle], sorted[middle]] : [sorted[middle - 1], sorted[middle]];
  return (low + high) / 2;
}

/** Times of two ways to do one thing, in turns; each begins every other time. */
class Pair {
  readonly #dense: number[] = [];
  readonly #compressed: number[] = [];

  async run<Result>(
    dense: () => Promise<Result>,
    compressed: () => Promise<Result>,
  ): Promise<readonly [Result, Result]> {
    const timed = async (work: () => Promise<Result>, times: number[]): Promise<Result> => {
      const start = performance.now();
      const result = await work();
      times.push(performance.now() - start);
      return result;
    };
    if (this.#dense.length % 2 === 0) {
      const first = await timed(dense, this.#dense);
      return [first, await timed(compressed, this.#compressed)];
    }
    const second = await timed(compressed, this.#compressed);
    return [await timed(dense, this.#dense), second];
  }

  result(): Latency {
    return { dense: median(this.#dense), compressed: median(this.#compressed), calls: this.#dense.length };
  }
}

export async function measure(options: MeasureOptions): Promise<Measured> {
  const { dense, compressed, artifact, entry, sample, scored } = options;
  const names = new Set(artifact.entries.find(({ name }) => name === entry)?.inputs.map(({ name }) => name));
  const counter = qualityCounter(scored);
  const pair = new Pair();
  const shapes = new Set<string>();
  for await (const { inputs } of sample.batches()) {
    const own = callInputs(inputs, names);
    const shape = Object.values(own)
      .map((tensor) => tensor.shape.join())
      .join(' ');
    // The first call of a size pays for buffers, the very first for kernels.
    if (!shapes.has(shape)) await Promise.all([await dense.call(entry, own), await compressed.call(entry, own)]);
    shapes.add(shape);
    const [wanted, got] = await pair.run(
      () => dense.call(entry, own),
      () => compressed.call(entry, own),
    );
    counter.add(wanted, got, inputs);
  }
  return { quality: counter.result(), call: pair.result(), step: await measureSteps(options) };
}

function callInputs(inputs: Inputs, names: ReadonlySet<string>): Readonly<Record<string, HostTensor>> {
  const own = Object.entries(inputs).filter(([name, tensor]) => names.has(name) && tensor !== undefined);
  return Object.fromEntries(own) as Readonly<Record<string, HostTensor>>;
}

const stepsBefore = 4;
const stepsTimed = 24;

async function measureSteps({ dense, compressed, artifact }: MeasureOptions): Promise<Latency | undefined> {
  const step = artifact.entries.find(({ steps, internal }) => steps === 1 && internal !== true);
  const needed = step?.inputs.filter(({ initial }) => initial === undefined) ?? [];
  const [tokens, ...others] = needed;
  if (!step || tokens?.dtype !== 'i32' || tokens.shape.length !== 2 || others.length > 0) return undefined;
  const [left, right] = [dense.session(), compressed.session()];
  const pair = new Pair();
  const room = artifact.session?.positions ?? 0;
  try {
    for (let at = 0; at < Math.min(stepsBefore + stepsTimed, room); at++) {
      const inputs = { [tokens.name]: { shape: [1, 1], data: Int32Array.of(at + 1) } };
      const works = [() => left.call(step.name, inputs), () => right.call(step.name, inputs)] as const;
      if (at < stepsBefore) for (const work of works) await work();
      else await pair.run(...works);
    }
  } finally {
    await left.close();
    await right.close();
  }
  return pair.result();
}
