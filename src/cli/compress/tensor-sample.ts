/**
 * A sample of tensors that are named as the parameters of the entry, as `sorac run --inputs` takes them: each file is a call, or
 * many when its tensors hold many rows.
 */
import type { Entry, Program, Scored } from '../../ir/graph.ts';
import type { Dim } from '../../ir/symbolic.ts';
import type { InputTensor } from '../../runtime/inputs.ts';
import { permutation } from '../../training/random.ts';
import { dataError } from '../exit-codes.ts';
import { type FileTensor, hostTensor, readTensorFile } from '../tensor-file.ts';
import type { Sample, SampleBatch, SamplePart, SampleSettings } from './sample.ts';

/** Rows of one file that belong together. */
interface RowsOfFile {
  readonly tensors: ReadonlyMap<string, InputTensor>;
  /** Tensors with a row for each example. */
  readonly batched: ReadonlySet<string>;
  readonly rows: number;
}

/** Names under which a file of inputs may say the classes of its rows. */
const labelNames = ['label', 'labels'];

/** Undefined when the first file does not have what the entry needs: then it is data of another kind. */
export async function openTensorSample(
  paths: readonly string[],
  program: Program,
  entry: Entry,
  settings: SampleSettings,
): Promise<Sample | undefined> {
  const needed = entry.parameters.filter(({ initial, role }) => initial === undefined && role === undefined);
  const files: RowsOfFile[] = [];
  for (const path of paths) {
    const tensors = await readTensorFile(path);
    const missing = needed.find(({ name }) => !tensors.has(name));
    if (missing && files.length === 0) return undefined;
    if (missing) throw dataError(`\`${path}\` has no tensor \`${missing.name}\``, 'the files before it have one');
    files.push(rowsOf(path, tensors, entry));
  }
  const scored = scoredOf(program, entry, files);
  const held = settings.validation === undefined ? undefined : await heldBack(settings.validation, entry);
  const order = [...permutation(settings.seed, 'split', 0, countOf(files))];
  // One example cannot be split: what calibrates also measures, and the report says so.
  const count =
    held || order.length < 2
      ? 0
      : Math.min(order.length - 1, Math.max(1, Math.round(order.length * settings.heldBack)));
  const ascending = (part: readonly number[]) => part.toSorted((a, b) => a - b);
  const calibration = partOf(files, ascending(order.slice(count)), settings.calibration, settings.batch);
  const evaluation = held
    ? partOf(
        held,
        Array.from({ length: countOf(held) }, (_, at) => at),
        settings.evaluation,
        settings.batch,
      )
    : partOf(files, ascending(count === 0 ? order : order.slice(0, count)), settings.evaluation, settings.batch);
  return {
    calibration,
    evaluation,
    scored,
    split: held
      ? `held back: \`${settings.validation}\``
      : count === 0
        ? 'one example: what calibrates also measures'
        : `${count} of ${order.length} examples are held back, drawn by seed ${settings.seed}`,
    close: async () => undefined,
  };
}

async function heldBack(path: string, entry: Entry): Promise<readonly RowsOfFile[]> {
  const tensors = await readTensorFile(path);
  return [rowsOf(path, tensors, entry)];
}

const countOf = (files: readonly RowsOfFile[]): number => files.reduce((sum, { rows }) => sum + rows, 0);

/** The dim that counts examples: the first of the first parameter, when it is no number. */
function batchDim(entry: Entry): Dim | undefined {
  const [first] = entry.parameters.filter(({ role }) => role === undefined);
  const dim = first?.type.shape[0];
  return dim === undefined || dim.terms.every(({ factors }) => factors.length === 0) ? undefined : dim;
}

function rowsOf(path: string, tensors: ReadonlyMap<string, FileTensor>, entry: Entry): RowsOfFile {
  const dim = batchDim(entry);
  const read = new Map<string, InputTensor>();
  const batched = new Set<string>();
  let rows: number | undefined;
  for (const { name, type, role } of entry.parameters) {
    const tensor = tensors.get(name);
    if (tensor === undefined || role !== undefined) continue;
    const dtype = type.dtype === 'f16' ? 'f32' : type.dtype;
    read.set(name, { shape: tensor.shape, data: tensor.read(dtype) as InputTensor['data'] });
    if (dim === undefined || type.shape[0]?.key !== dim.key) continue;
    batched.add(name);
    rows ??= tensor.shape[0];
    if (tensor.shape[0] !== rows)
      throw dataError(`\`${name}\` of \`${path}\` has ${tensor.shape[0]} rows, the inputs before it ${rows}`);
  }
  for (const name of labelNames) {
    const tensor = tensors.get(name);
    if (!tensor || read.has(name) || tensor.shape[0] !== rows) continue;
    read.set(name, hostTensor(tensor));
    batched.add(name);
  }
  return { tensors: read, batched, rows: rows ?? 1 };
}

function scoredOf(program: Program, entry: Entry, files: readonly RowsOfFile[]): readonly Scored[] {
  const [file] = files;
  if (program.train?.entry === entry.name) {
    const known = program.train.scored.filter(({ target }) => file?.tensors.has(target) === true);
    if (known.length > 0) return known;
  }
  const label = labelNames.find((name) => file?.batched.has(name) === true);
  const [result, ...others] = entry.results;
  if (label !== undefined && result && others.length === 0)
    return [{ scores: result.name, target: label, kind: 'classes', ignore: undefined }];
  const [tokens] = entry.parameters;
  const follows = program.generation !== undefined && result?.type.shape.length === 3 && tokens?.type.dtype === 'i32';
  return follows ? [{ scores: result.name, target: tokens.name, kind: 'next', ignore: undefined }] : [];
}

/** Examples by number, over all files; a batch is of one file. */
function partOf(files: readonly RowsOfFile[], examples: readonly number[], most: number, batch: number): SamplePart {
  const used = examples.slice(0, most);
  return {
    available: examples.length,
    used: used.length,
    async *batches() {
      let first = 0;
      for (const file of files) {
        const own = used.filter((at) => at >= first && at < first + file.rows).map((at) => at - first);
        for (let at = 0; at < own.length; at += batch) yield batchOf(file, own.slice(at, at + batch));
        first += file.rows;
      }
    },
  };
}

function batchOf({ tensors, batched }: RowsOfFile, rows: readonly number[]): SampleBatch {
  const inputs = [...tensors].map(([name, tensor]) => [name, batched.has(name) ? rowsFrom(tensor, rows) : tensor]);
  return { inputs: Object.fromEntries(inputs), size: rows.length };
}

function rowsFrom({ shape, data }: InputTensor, rows: readonly number[]): InputTensor {
  const size = shape.slice(1).reduce((product, dim) => product * dim, 1);
  const Kind = data instanceof Float32Array ? Float32Array : data instanceof Uint32Array ? Uint32Array : Int32Array;
  const kept = new Kind(rows.length * size);
  for (const [at, row] of rows.entries())
    for (let k = 0; k < size; k++) kept[at * size + k] = Number(data[row * size + k] ?? 0);
  return { shape: [rows.length, ...shape.slice(1)], data: kept };
}
