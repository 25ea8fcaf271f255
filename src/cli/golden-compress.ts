/**
 * Runner `compress`: quantized and pruned checkpoints against those of a reference. What is compressed, and how, is read from the
 * files of the case: `X.S.RESULT` of the outputs names the schemes, `S.safetensors` the matrices that a scheme touches.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../ir/graph.ts';
import { decodeRows, encodeRows, matrixOf, transpose } from '../runtime/number-formats.ts';
import { type Compiled, compileFile, openModel } from './execute.ts';
import type { GoldenCase, GoldenVariant } from './golden-case.ts';
import { runForward } from './golden-plain.ts';
import { type CompressDescription, runMasked, runStructured } from './golden-prune.ts';
import { failedRow, type Place, type Row } from './golden-rows.ts';
import { type FileTensor, readTensorFile } from './tensor-file.ts';

export interface CompressCase {
  readonly golden: GoldenCase;
  readonly folder: string;
  readonly model: string;
  readonly path: string;
  readonly device: string;
  readonly seen: (adapter: string) => void;
}

/** Runs one compiled model on the inputs of every variant and compares the results of a scheme. */
export async function runScheme(
  { golden, device, seen }: CompressCase,
  scheme: string,
  compiled: Compiled,
  weights: string | Uint8Array,
): Promise<readonly Row[]> {
  const { compilation, diagnostics } = compiled;
  const place = { case: golden.name, variant: '' };
  if (!compilation) return [failedRow(place, diagnostics[0]?.message ?? 'the model does not compile', scheme)];
  const model = await openModel(compilation.artifact, { weights, device });
  seen(model.adapter);
  try {
    const rows: Row[] = [];
    for (const variant of golden.variants) {
      const own = variantOf(variant, scheme);
      if (own.outputs.size === 0) continue;
      const at: Place = { case: golden.name, variant: variant.name };
      const found = await runForward(at, own, [...own.outputs.keys()], compilation.artifact.entries, model);
      rows.push(...found.map((row) => ({ ...row, result: `${scheme}.${row.result}` })));
    }
    return rows;
  } finally {
    await model.close();
  }
}

/** The outputs of one scheme, under the names of the results. */
function variantOf(variant: GoldenVariant, scheme: string): GoldenVariant {
  const own = [...variant.outputs].filter(([name]) => name.startsWith(`${scheme}.`));
  return { ...variant, outputs: new Map(own.map(([name, tensor]) => [name.slice(scheme.length + 1), tensor])) };
}

function schemesOf({ variants }: GoldenCase): readonly string[] {
  const names = variants.flatMap(({ outputs }) => [...outputs.keys()].map((key) => key.slice(0, key.indexOf('.'))));
  return [...new Set(names)].filter((name) => name !== '');
}

/** Use blocks in place of all that the file may have. */
export function blocksFor(model: string, quantize: readonly string[], prune: readonly string[]): string {
  return `quantize ${model} {\n${quantize.join('\n')}\n}\nprune ${model} {\n${prune.join('\n')}\n}\n`;
}

export function compileScheme({ path, model, golden }: CompressCase, uses: string): Compiled {
  return compileFile({ path, model, configPath: golden.configPath, uses });
}

export async function runCompression(job: CompressCase): Promise<readonly Row[]> {
  const { golden, folder, model } = job;
  const weightsPath = golden.weightsPath;
  if (weightsPath === undefined) return [failedRow({ case: golden.name, variant: '' }, 'the case has no weights')];
  const description = describedBy(golden.description.compress);
  const weights = await readTensorFile(weightsPath);
  const dense = compileScheme(job, blocksFor(model, [], []));
  const rows: Row[] = [];
  for (const scheme of schemesOf(golden)) {
    const place = { case: golden.name, variant: '' };
    const file = join(folder, `${scheme}.safetensors`);
    if (existsSync(file)) {
      const tensors = await readTensorFile(file);
      const isQuantized = [...tensors.keys()].some((name) => name.endsWith('.q'));
      rows.push(
        ...(isQuantized
          ? await runQuantized(job, scheme, tensors, weights)
          : await runMasked(job, scheme, tensors, weights, dense)),
      );
    } else if (scheme === 'dense') rows.push(...(await runScheme(job, scheme, dense, weightsPath)));
    else if (typeof description === 'string') rows.push(failedRow(place, description, scheme));
    else rows.push(...(await runStructured(job, scheme, description, weights, dense)));
  }
  return rows;
}

/** What `case.json` says under `compress`, or what is wrong with it. */
function describedBy(value: unknown): CompressDescription | string {
  const given = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const fields = ['layers', 'heads', 'kv_heads', 'head_dim', 'drop_groups', 'keep_ffn'] as const;
  const odd = fields.find((name) => !Number.isInteger(given[name]) || Number(given[name]) < 0);
  return odd === undefined
    ? (given as unknown as CompressDescription)
    : `\`compress\` of case.json needs a number \`${odd}\``;
}

interface QuantizedMatrix {
  readonly name: string;
  readonly codes: FileTensor;
  readonly scale: FileTensor;
  readonly zero: FileTensor | undefined;
  readonly dequantised: FileTensor | undefined;
}

function matricesOf(tensors: ReadonlyMap<string, FileTensor>): readonly QuantizedMatrix[] {
  return [...tensors].flatMap(([key, codes]) => {
    if (!key.endsWith('.q')) return [];
    const name = key.slice(0, -'.q'.length);
    const scale = tensors.get(`${name}.scale`);
    const [zero, dequantised] = [tensors.get(`${name}.zero`), tensors.get(`${name}.dequantised`)];
    return scale ? [{ name, codes, scale, zero, dequantised }] : [];
  });
}

/** The rules that give these numbers: how many groups, how large the integers, whether there are zero points. */
function rulesOf(matrices: readonly QuantizedMatrix[]): readonly string[] {
  const most = Math.max(...matrices.map(({ codes }) => greatest(codes.read('i32'))));
  const shared = groupOf(matrices.filter(({ scale }) => scale.shape.length > 1));
  return matrices.map(({ name, codes, scale, zero }) => {
    const isInt4 = zero !== undefined || most <= 7;
    const columns = codes.read('i32').length / Math.max(1, scale.shape[0] ?? 1);
    const group = scale.shape.length > 1 ? shared : isInt4 ? columns : undefined;
    const settings = [
      // Groups of 32 go without saying, and then the last one may be shorter.
      ...(group === undefined || (isInt4 && group === 32) ? [] : [`group: ${group}`]),
      ...(isInt4 ? [`symmetric: ${zero === undefined}`] : []),
    ];
    const given = settings.length === 0 ? '' : `(${settings.join(', ')})`;
    return `${JSON.stringify(name)}: ${isInt4 ? 'int4' : 'int8'}${given}`;
  });
}

/** The power of two that gives as many groups as every matrix has. */
function groupOf(matrices: readonly QuantizedMatrix[]): number {
  const fits = (size: number) =>
    matrices.every(({ codes, scale }) =>
      scale.shape.some((groups) => codes.shape.some((columns) => Math.ceil(columns / size) === groups)),
    );
  return [32, 64, 128, 16, 8, 256, 512, 4].find(fits) ?? 32;
}

const greatest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** The greatest difference over all matrices, of the greatest number of each. */
export class Worst {
  absolute = 0;
  relative = 0;
  name = '';

  add(name: string, got: ArrayLike<number>, wants: readonly ArrayLike<number>[]): void {
    // A reference may have matrices as they lie in the checkpoint, or by outputs.
    const found = wants.map((want) => this.#difference(got, want)).sort((a, b) => a.absolute - b.absolute)[0];
    if (!found || found.relative <= this.relative) return;
    [this.absolute, this.relative, this.name] = [found.absolute, found.relative, name];
  }

  #difference(got: ArrayLike<number>, want: ArrayLike<number>): { absolute: number; relative: number } {
    if (got.length !== want.length) return { absolute: Number.POSITIVE_INFINITY, relative: Number.POSITIVE_INFINITY };
    let absolute = 0;
    for (let at = 0; at < got.length; at++) {
      const difference = Math.abs((got[at] ?? Number.NaN) - (want[at] ?? Number.NaN));
      if (!(difference <= absolute)) absolute = difference;
    }
    return { absolute, relative: absolute / Math.max(greatest(want), Number.MIN_VALUE) };
  }

  row(place: Place, result: string, most: number): Row {
    const isRight = this.relative <= most;
    return {
      ...place,
      result,
      maxAbsolute: this.absolute,
      maxRelative: this.relative,
      outcome: isRight ? 'pass' : 'fail',
      ...(isRight ? {} : { detail: this.name }),
    };
  }
}

/** Numbers of a matrix by outputs: as they are, and turned where they may lie the other way. */
export function orientations(values: Float32Array, rows: number, columns: number): readonly Float32Array[] {
  return [values, transpose(values, columns, rows)];
}

async function runQuantized(
  job: CompressCase,
  scheme: string,
  tensors: ReadonlyMap<string, FileTensor>,
  weights: ReadonlyMap<string, FileTensor>,
): Promise<readonly Row[]> {
  const { golden, model } = job;
  const place = { case: golden.name, variant: '' };
  const matrices = matricesOf(tensors);
  if (matrices.length === 0) return [failedRow(place, `${scheme}.safetensors has no matrices`, scheme)];
  const compiled = compileScheme(job, blocksFor(model, rulesOf(matrices), []));
  const program = compiled.compilation?.program;
  if (!program) return [failedRow(place, compiled.diagnostics[0]?.message ?? 'the rule does not compile', scheme)];
  const rows = compareNumbers(place, scheme, matrices, weights, program);
  return [...rows, ...(await runScheme(job, scheme, compiled, golden.weightsPath ?? ''))];
}

/** Integers, scales and zero points by our functions against those of the reference. */
function compareNumbers(
  place: Place,
  scheme: string,
  matrices: readonly QuantizedMatrix[],
  weights: ReadonlyMap<string, FileTensor>,
  program: Program,
): readonly Row[] {
  const [q, scale, zero, dequantised] = [new Worst(), new Worst(), new Worst(), new Worst()];
  for (const matrix of matrices) {
    const { name } = matrix;
    const source = weights.get(name)?.read('f32');
    const format = program.weights.find(({ path }) => path === name)?.format;
    if (!source || !format) return [failedRow(place, `the model has no matrix \`${name}\``, scheme)];
    const shape = weights.get(name)?.shape ?? [];
    const { rows, columns } = matrixOf(shape, format);
    const encoded = encodeRows(format.transposed ? transpose(source, columns, rows) : source, columns, format);
    const groups = rows === 0 ? 1 : encoded.scales.length / rows;
    const both = (tensor: FileTensor, width: number) => orientations(tensor.read('f32'), rows, width);
    q.add(name, encoded.values, both(asFloats(matrix.codes), columns));
    scale.add(name, encoded.scales, both(matrix.scale, groups));
    if (matrix.zero) zero.add(name, encoded.zeros ?? [], both(asFloats(matrix.zero), groups));
    if (matrix.dequantised)
      dequantised.add(name, decodeRows(encoded, columns, format), both(matrix.dequantised, columns));
  }
  return [
    q.row(place, `${scheme}: q`, 0),
    scale.row(place, `${scheme}: scale`, 1e-6),
    ...(matrices.some((matrix) => matrix.zero) ? [zero.row(place, `${scheme}: zero`, 0)] : []),
    dequantised.row(place, `${scheme}: dequantised`, 1e-6),
  ];
}

function asFloats(tensor: FileTensor): FileTensor {
  return { ...tensor, read: (() => Float32Array.from(tensor.read('i32'))) as FileTensor['read'] };
}
