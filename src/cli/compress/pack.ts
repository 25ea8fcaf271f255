/**
 * The tensors of a compressed model: every weight of the program as its format says, under the name that it has in the checkpoint.
 * Packed ones are held in memory; the others are read when the file is written.
 */

import { type Calibrated, calibrate } from '../../compression/calibrate.ts';
import type { DenseTensor } from '../../compression/units.ts';
import type { Program, Weight } from '../../ir/graph.ts';
import { stringsOf } from '../../ir/ops/shared.ts';
import { halfToSingle } from '../../runtime/half.ts';
import {
  decodeRows,
  describeFormat,
  type FileTensor,
  formatKey,
  matrixOf,
  packEncoded,
  packTensor,
  transpose,
} from '../../runtime/number-formats.ts';
import { encodeSafetensorsHeader } from '../../runtime/safetensors.ts';
import type { Checkpoint, FoundTensor } from '../../runtime/weights.ts';
import { SoraError } from '../../support/error.ts';
import { dataError } from '../exit-codes.ts';
import type { Moments } from './moments.ts';
import type { Pruning } from './prune-weights.ts';

/** One tensor of the compressed checkpoint, for the report. */
export interface TensorReport {
  readonly name: string;
  readonly shape: readonly number[];
  /** `int4 group 32`; `f32` where nothing was done. */
  readonly format: string;
  readonly calibration: Calibrated['by'] | undefined;
  readonly bytesBefore: number;
  readonly bytes: number;
  /** |w - w'| / |w| over the whole tensor, and the greatest difference of an element. */
  readonly relativeError: number;
  readonly maxError: number;
}

export interface Packed {
  readonly report: TensorReport;
  /** What stands in the file; undefined: the tensor as it is in the checkpoint. */
  readonly tensors: readonly FileTensor[] | undefined;
  /** Undefined: it is in no checkpoint. */
  readonly source: FoundTensor | undefined;
}

/** A weight and the tensor that it is read from. */
export interface Placed {
  readonly weight: Weight;
  readonly found: FoundTensor;
  /** Other weights that are read from the same tensor. */
  readonly others: readonly Weight[];
}

const formatText = ({ format }: Weight): string => JSON.stringify(format ?? null);

/**
 * Weights by the tensors that they come from: a head that is tied to the embedding is that tensor, unless its rule says something
 * else, and then it stands in the file under its own name.
 */
export function placeWeights(
  program: Program,
  checkpoint: Checkpoint,
  made: ReadonlySet<string> = new Set(),
): readonly Placed[] {
  const placed = new Map<string, { weight: Weight; found: FoundTensor; others: Weight[] }>();
  const byTies = program.weights.toSorted((a, b) => Number(a.tied !== undefined) - Number(b.tied !== undefined));
  for (const weight of byTies) {
    // What pruning makes is in no checkpoint.
    if (made.has(weight.path)) continue;
    const found = checkpoint.find(weight.path, weight.tied);
    if (!found) throw dataError(`the checkpoint has no tensor \`${weight.path}\``, 'sorac check FILE.sora --weights W');
    const first = placed.get(found.info.name);
    if (first && formatText(first.weight) === formatText(weight)) first.others.push(weight);
    else placed.set(first ? weight.path : found.info.name, { weight, found, others: [] });
  }
  return [...placed.values()];
}

/** Tables of which rows are looked up: what stands there is used as it is, not only multiplied. */
export function lookedUp(program: Program): ReadonlySet<string> {
  const paths = program.entries.flatMap(({ graph }) =>
    graph.nodes.flatMap((node) =>
      node.op === 'gather' && node.inputs[0]?.node.op === 'weight'
        ? stringsOf(node.inputs[0].node.attributes, 'paths')
        : [],
    ),
  );
  return new Set(paths);
}

/** Matrices whose inputs have to be seen. */
export function needsMoments(placed: readonly Placed[]): ReadonlySet<string> {
  return new Set(
    placed.flatMap(({ weight, others }) =>
      weight.calibration?.kind === 'gptq' ? [weight, ...others].map(({ path }) => path) : [],
    ),
  );
}

/** What rounding one weight depends on, apart from the weight itself. */
export interface PackContext {
  readonly moments: Moments;
  readonly pruning: Pruning;
  /** Tables of which rows are looked up. */
  readonly tables: ReadonlySet<string>;
}

/**
 * Second moments of what a matrix is multiplied with. Rows of a table that is also multiplied (a tied head) are used as they are,
 * too: half of its error counts in all directions alike.
 */
function momentsFor(all: readonly Weight[], { moments, tables }: PackContext): Float64Array | undefined {
  const [own] = all.flatMap(({ path }) => moments.get(path) ?? []);
  if (!own || !all.some(({ path }) => tables.has(path))) return own;
  const columns = Math.sqrt(own.length);
  const both = Float64Array.from(own);
  let mean = 0;
  for (let at = 0; at < columns; at++) mean += (own[at * columns + at] ?? 0) / columns;
  for (let at = 0; at < columns; at++) both[at * columns + at] = (both[at * columns + at] ?? 0) + mean;
  return both;
}

/** One weight, with the second moments of what it is multiplied with when there are some. */
export async function packWeight({ weight, found, others }: Placed, context: PackContext): Promise<Packed> {
  const { pruning } = context;
  const { format, calibration = { kind: 'minmax' } as const } = weight;
  const { info, file } = found;
  const name = others.length === 0 && weight.path !== info.name ? weight.path : info.name;
  const isPruned = pruning.touches(weight, info.name);
  const base = { name, bytesBefore: info.elements * 4 };
  if (format === undefined && !isPruned) return asItIs(found, base);
  const before = { shape: info.shape, data: await file.readTensor(info.name, 'f32') };
  const { shape, data } = isPruned ? pruning.apply(weight, info.name, before) : before;
  if (format === undefined) {
    // Halves that stay or become 0 are halves.
    const isHalf = info.dtype === 'F16';
    const tensors: readonly FileTensor[] = isHalf
      ? packTensor(name, data, shape, { kind: 'f16' })
      : [{ name, dtype: 'F32', shape, data }];
    // Of a tensor that was cut smaller only what is left can be compared, and that is as it was.
    const whole = data.length === before.data.length ? before.data : data;
    const report = reportOf({ ...base, shape }, isHalf ? 'f16' : 'f32', undefined, tensors, whole, data);
    return { source: found, tensors, report };
  }
  if (format.kind === 'f16') {
    const tensors = packTensor(name, data, shape, format);
    const [halves] = tensors;
    const bits = new Uint16Array(halves?.data.buffer ?? new ArrayBuffer(0));
    const values = Float32Array.from(bits, halfToSingle);
    return { source: found, tensors, report: reportOf({ ...base, shape }, 'f16', undefined, tensors, data, values) };
  }
  const { rows, columns } = matrixOf(shape, format);
  const matrix = format.transposed === true ? transpose(data, columns, rows) : data;
  const moments = momentsFor([weight, ...others], context);
  const { encoded, by } = named(info.name, () => calibrate({ weight: matrix, columns, format, calibration, moments }));
  const tensors = packEncoded(name, encoded, shape, format);
  const text = describeFormat(format, shape).replace(/ (?:transposed )?\[.*$/, '');
  const values = decodeRows(encoded, columns, format);
  return { source: found, tensors, report: reportOf({ ...base, shape }, text, by, tensors, matrix, values) };
}

/** @errors as of `work`, which knows of no name: NaN has no place in a format */
function named<Value>(tensor: string, work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SoraError) || error.code !== 'SORA7204') throw error;
    throw new SoraError(error.code, `tensor \`${tensor}\`: ${error.message}`, { cause: error });
  }
}

function asItIs(source: FoundTensor, base: Pick<TensorReport, 'name' | 'bytesBefore'>): Packed {
  const { shape, dtype, bytes } = source.info;
  const format = dtype.toLowerCase();
  const report = { ...base, shape, format, calibration: undefined, bytes, relativeError: 0, maxError: 0 };
  return { source, tensors: undefined, report };
}

/** Numbers that the model's text gives per head: sliced, they are tensors of the file. */
export function packConstant(name: string, { shape, data }: DenseTensor): Packed {
  const bytes = data.byteLength;
  const report = {
    name,
    shape,
    format: 'f32',
    calibration: undefined,
    bytesBefore: 0,
    bytes,
    relativeError: 0,
    maxError: 0,
  };
  return { report, tensors: [{ name, dtype: 'F32', shape, data }], source: undefined };
}

function reportOf(
  base: Pick<TensorReport, 'name' | 'shape' | 'bytesBefore'>,
  format: string,
  calibration: TensorReport['calibration'],
  tensors: readonly FileTensor[],
  before: Float32Array,
  after: Float32Array,
): TensorReport {
  let [lost, whole, maxError] = [0, 0, 0];
  for (let at = 0; at < before.length; at++) {
    const value = before[at] ?? 0;
    const error = Math.abs(value - (after[at] ?? 0));
    lost += error * error;
    whole += value * value;
    if (error > maxError) maxError = error;
  }
  const bytes = tensors.reduce((sum, { data }) => sum + data.byteLength, 0);
  return { ...base, format, calibration, bytes, relativeError: whole > 0 ? Math.sqrt(lost / whole) : 0, maxError };
}

/** A tensor of the file: its bytes, or where they are read. */
interface Part {
  readonly name: string;
  readonly dtype: FileTensor['dtype'];
  readonly shape: readonly number[];
  readonly data?: FileTensor['data'];
  readonly source?: FoundTensor;
}

/** The file, piece by piece; tensors that stay are read while it is written. */
export async function* encodeModel(
  packed: readonly Packed[],
  metadata: Readonly<Record<string, string>>,
): AsyncIterable<Uint8Array> {
  const parts = packed.flatMap(({ report, tensors, source }): readonly Part[] => {
    if (tensors !== undefined) return tensors;
    return source === undefined ? [] : [{ name: report.name, ...headOf(source), source }];
  });
  const { header, sorted } = encodeSafetensorsHeader(parts, metadata);
  yield header;
  for (const { data, source } of sorted) {
    if (data !== undefined) yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (source === undefined) continue;
    const whole = new Uint8Array(source.info.bytes);
    const size = source.info.elements === 0 ? 0 : source.info.bytes / source.info.elements;
    await source.file.readChunks(source.info, (run, first) => whole.set(run, first * size));
    yield whole;
  }
}

const headOf = ({ info: { dtype, shape } }: FoundTensor) => ({ dtype, shape });

/** The lines of `__metadata__` that say how tensors are packed. */
export function formatLines(packed: ReadonlyMap<Placed, Packed>): Readonly<Record<string, string>> {
  const lines = [...packed].flatMap(([{ weight }, { report, tensors }]): readonly (readonly [string, string])[] => {
    const { format } = weight;
    if (tensors === undefined || format === undefined || format.kind === 'f16') return [];
    return [[formatKey(report.name), describeFormat(format, report.shape)]];
  });
  return Object.fromEntries(lines);
}
