/**
 * A plan with the dims of a call put in: sizes of buffers, dispatches, where results lie.
 */
import type { BufferSpec, EntryPlan, EntrySpec, SizeExpression, Step } from './artifact.ts';
import { elementBytes } from './convert.ts';
import type { HostTensor } from './cpu.ts';
import { damaged } from './error.ts';
import { allInputs } from './inputs.ts';
import { UNIFORM_STRIDE } from './pipelines.ts';
import { type Dims, evaluateSize, makeSizeTable, product, type SizeTable } from './size.ts';

/** A plan with the dims of a call put in. Kept for the next call with equal dims. */
export interface ShapedPlan {
  readonly key: string;
  readonly bytes: readonly number[];
  readonly steps: readonly ShapedStep[];
  readonly results: readonly ShapedResult[];
  readonly stagingBytes: number;
}

export interface ShapedStep {
  readonly step: Step;
  readonly params: Uint32Array;
  readonly grid: readonly [number, number];
  /** Place of its dims in the uniform buffer. */
  readonly uniformOffset: number;
}

export interface ShapedResult {
  readonly name: string;
  readonly dtype: HostTensor['dtype'];
  readonly shape: readonly number[];
  readonly elements: number;
  readonly buffer: number;
  readonly bytes: number;
  /** Where every call reads it; undefined for one that stays on the device. */
  readonly stagingOffset: number | undefined;
}

/** WebGPU's limit of workgroups in one dimension. */
const MAXIMUM_GRID = 65535;

/** Where the sizes of a plan stand in the table of its different expressions: layers repeat them. */
export interface PlanSizes {
  readonly table: SizeTable;
  readonly bytes: readonly number[];
  readonly steps: readonly { readonly when: number; readonly groups: number; readonly params: readonly number[] }[];
}

export function planSizes(entry: EntrySpec, plan: EntryPlan): PlanSizes {
  const table = makeSizeTable();
  const bytes = plan.buffers.map((spec) => table.add(bufferBytes(entry, spec)));
  const steps = plan.steps.map((step) => ({
    when: step.when ? table.add(step.when.value) : -1,
    groups: table.add(step.groups),
    params: step.params.map(table.add),
  }));
  return { table, bytes, steps };
}

export function shapePlan(entry: EntrySpec, plan: EntryPlan, sizes: PlanSizes, dims: Dims, key: string): ShapedPlan {
  const values = sizes.table.values(dims);
  const valueAt = (index: number): number => values[index] ?? 0;
  const bytes = sizes.bytes.map(valueAt);
  const steps = plan.steps.flatMap((step, at): ShapedStep[] => {
    const own = sizes.steps[at];
    if (!own) return [];
    if (step.when) {
      const value = valueAt(own.when);
      if (value < step.when.minimum || value > step.when.maximum) return [];
    }
    const groups = valueAt(own.groups);
    if (groups === 0) return [];
    const params = Uint32Array.from(own.params, valueAt);
    return [{ step, params, grid: foldGrid(groups), uniformOffset: at * UNIFORM_STRIDE }];
  });
  let stagingBytes = 0;
  const results = entry.results.map(({ name, dtype, shape, lazy }): ShapedResult => {
    const buffer = plan.buffers.findIndex((spec) => spec.kind === 'result' && spec.name === name);
    if (buffer < 0) throw damaged(`result \`${name}\` of \`${entry.name}\``);
    const concrete = shape.map((size) => evaluateSize(size, dims));
    const elements = product(concrete);
    const size = Math.ceil((elements * elementBytes(dtype)) / 4) * 4;
    const stagingOffset = lazy ? undefined : stagingBytes;
    if (!lazy) stagingBytes += Math.ceil(size / 16) * 16;
    return { name, dtype, shape: concrete, elements, buffer, bytes: size, stagingOffset };
  });
  return { key, bytes, steps, results, stagingBytes };
}

/** Least size of a buffer; weights are made by the loader, states by the session, arenas by the trainer. */
export function bufferBytes(entry: EntrySpec, spec: BufferSpec): SizeExpression {
  switch (spec.kind) {
    case 'input': {
      const input = allInputs(entry).find(({ name }) => name === spec.name);
      return input ? ['*', elementBytes(input.dtype), ...input.shape] : 0;
    }
    case 'constant':
      return spec.values.length * elementBytes(spec.dtype);
    case 'weight':
    case 'state':
    case 'arena':
      return 0;
    default:
      return spec.bytes;
  }
}

/** Workgroups in one line, folded into rows as even as possible. Kernels skip what is past the end. */
export function foldGrid(groups: number): readonly [number, number] {
  if (groups <= MAXIMUM_GRID) return [groups, 1];
  const rows = Math.ceil(groups / MAXIMUM_GRID);
  return [Math.ceil(groups / rows), rows];
}
