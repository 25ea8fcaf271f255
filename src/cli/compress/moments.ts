/**
 * What the matrices of a model are multiplied with, summed up over a sample on the device: Xᵀ X of each. One call gives those of
 * some matrices, as many as fit into memory at once; the sample is gone through again for the others.
 */
import { compileProgram } from '../../compile.ts';
import type { Entry, Program } from '../../ir/graph.ts';
import { type ObservedForm, observable, observedForm, observeEntry } from '../../passes/index.ts';
import { SoraError } from '../../support/error.ts';
import { openModel } from '../execute.ts';
import type { HostTensor } from '../tensor-file.ts';
import type { SamplePart } from './sample.ts';

/** Bytes of moments of one call. */
const mostBytes = 96 * 1024 * 1024;

export interface MomentsOptions {
  readonly program: Program;
  readonly entry: Entry;
  /** Matrices that are asked for. */
  readonly paths: ReadonlySet<string>;
  readonly sample: SamplePart;
  readonly weights: string | Uint8Array;
  readonly device: string;
  /** Whole, or the diagonal alone. */
  readonly form?: ObservedForm;
}

/** Moments of some matrices; they share an array where they read the same. */
export type Moments = ReadonlyMap<string, Float64Array>;

/** Groups of matrices with their moments; those that the entry multiplies nothing with are in none. */
export async function* momentsOf(options: MomentsOptions): AsyncIterable<Moments> {
  const entry = observedForm(options.program, options.entry);
  for (const paths of observable(entry, mostBytes)) {
    const wanted = paths.filter((path) => options.paths.has(path));
    if (wanted.length > 0) yield await observe({ ...options, entry }, new Set(wanted));
  }
}

async function observe(options: MomentsOptions, paths: ReadonlySet<string>): Promise<Moments> {
  const { program, sample, weights, device, form = 'moments' } = options;
  const { entry, observations } = observeEntry(program, options.entry, paths, form);
  // Nothing else of the program is compiled: states, training and text are of no use here.
  const { name, doc, config, dims } = program;
  const compiled = compileProgram(
    { name, doc, config, dims, weights: program.weights, states: [], entries: [entry] },
    'moments',
  );
  if (!compiled.value) throw new SoraError('SORA9999', 'the entry that observes inputs does not compile');
  const model = await openModel(compiled.value.artifact, { weights, device });
  const sums = observations.map(({ columns }) => new Float64Array(form === 'squares' ? columns : columns * columns));
  try {
    const names = new Set(entry.parameters.map((parameter) => parameter.name));
    for await (const { inputs } of sample.batches()) {
      const own = Object.entries(inputs).filter(([input, tensor]) => names.has(input) && tensor !== undefined);
      const results = await model.call(entry.name, Object.fromEntries(own) as Record<string, HostTensor>);
      observations.forEach(({ result }, at) => {
        const sum = sums[at];
        const part = results.get(result)?.data ?? [];
        for (let index = 0; sum && index < sum.length; index++)
          sum[index] = (sum[index] ?? 0) + Number(part[index] ?? 0);
      });
    }
  } finally {
    await model.close();
  }
  return byPath(observations, sums);
}

/** A matrix that stands at several places has the sum of all. */
function byPath(
  observations: readonly { readonly paths: readonly string[] }[],
  sums: readonly Float64Array[],
): Moments {
  const moments = new Map<string, Float64Array>();
  observations.forEach(({ paths }, at) => {
    const sum = sums[at];
    if (!sum) return;
    for (const path of paths) {
      const before = moments.get(path);
      moments.set(path, before ? before.map((value, index) => value + (sum[index] ?? 0)) : sum);
    }
  });
  return moments;
}
