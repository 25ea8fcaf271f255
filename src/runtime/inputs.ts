/**
 * Checks the inputs of a call on the host, before anything runs, and infers the runtime dims from their shapes.
 */
import type { Artifact, DimSpec, ElementType, EntrySpec, SizeExpression, TensorSpec } from './artifact.ts';
import { type ElementArray, newElements } from './convert.ts';
import { SoraError } from './error.ts';
import { singleToHalf } from './half.ts';
import type { Lazies } from './lazies.ts';
import { type Dims, dimsOf, evaluateSize, printSize, product, solveSize } from './size.ts';
import type { Feed } from './steps-ahead.ts';

/** i32 takes Int32Array, u32 Uint32Array, f32 and f16 Float32Array, bool Uint32Array or Uint8Array. */
export type InputData = Int32Array | Uint32Array | Float32Array | Uint8Array;

export interface InputTensor {
  readonly data: InputData;
  readonly shape: readonly number[];
}

export type Inputs = Readonly<Record<string, InputTensor | undefined>>;

export interface BoundInputs {
  readonly dims: Dims;
  /** In the order of the entry's inputs, ready for the device; undefined: fill with the spec's `initial`. */
  readonly data: readonly (InputData | undefined)[];
  /** By input, concrete. */
  readonly shapes: readonly (readonly number[])[];
  /** Keeps results that stay on the device; without it nobody can ask for them. */
  readonly lazies?: Lazies | undefined;
  /** By which calls of a session feed each other. */
  readonly feed?: Feed | undefined;
}

/** In the order of `BoundInputs` of a session: what callers give, then what the session fills. */
export function allInputs(entry: EntrySpec): readonly TensorSpec[] {
  return entry.hidden ? [...entry.inputs, ...entry.hidden] : entry.inputs;
}

export function bindInputs(artifact: Pick<Artifact, 'dims'>, entry: EntrySpec, inputs: Inputs): BoundInputs {
  if (typeof inputs !== 'object' || inputs === null) {
    throw new SoraError('SORA6011', `${titleOf(entry)} takes an object with ${listNames(entry.inputs)}`);
  }
  const names = new Set(entry.inputs.map((spec) => spec.name));
  const unknown = Object.keys(inputs).find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new SoraError(
      'SORA6011',
      `${titleOf(entry)} has no input \`${unknown}\`, it takes ${listNames(entry.inputs)}`,
    );
  }
  const given = entry.inputs.map((spec) => (Object.hasOwn(inputs, spec.name) ? inputs[spec.name] : undefined));
  entry.inputs.forEach((spec, at) => {
    const input = given[at];
    if (input !== undefined) checkTensor(spec, input, artifact.dims);
    else if (spec.initial === undefined)
      throw new SoraError('SORA6011', `${titleOf(entry)} needs the input \`${spec.name}\``);
  });
  const dims = inferDims(artifact.dims, entry, given);
  entry.inputs.forEach((spec, at) => {
    const input = given[at];
    if (input !== undefined) checkShape(spec, input.shape, dims, artifact.dims);
  });
  return {
    dims,
    data: given.map((input) => input?.data),
    shapes: entry.inputs.map((spec) => spec.shape.map((size) => evaluateSize(size, dims))),
  };
}

/** Entries of a trainer are named after the one that they train: `classify:gradients`. */
const titleOf = ({ name }: EntrySpec): string => `\`${name.split(':')[0]}\``;

function listNames(specs: readonly TensorSpec[]): string {
  return specs.map((spec) => `\`${spec.name}\``).join(', ');
}

const arrayNames: Readonly<Record<ElementType, readonly string[]>> = {
  f32: ['Float32Array'],
  f16: ['Float32Array'],
  i32: ['Int32Array'],
  u32: ['Uint32Array'],
  bool: ['Uint32Array', 'Uint8Array'],
};

function checkTensor(spec: TensorSpec, input: InputTensor, dims: Artifact['dims']): void {
  const tag = Object.prototype.toString.call(input?.data).slice('[object '.length, -1);
  if (!arrayNames[spec.dtype].includes(tag)) {
    const expected = arrayNames[spec.dtype].join(' or ');
    throw new SoraError('SORA6012', `\`${spec.name}\`: \`data\` must be ${expected} (${spec.dtype}), got ${tag}`);
  }
  const { shape, data } = input;
  const isShape = Array.isArray(shape) && shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0);
  if (!isShape) throw new SoraError('SORA6013', `\`${spec.name}\`: \`shape\` must be a list of whole numbers`);
  if (shape.length !== spec.shape.length) throw wrongShape(spec, shape, new Map(), dims);
  const elements = product(shape);
  if (elements !== data.length) {
    const has = `[${shape.join(', ')}] has ${elements} elements, \`data\` ${data.length}`;
    throw new SoraError('SORA6013', `\`${spec.name}\`: shape ${has}`);
  }
  checkValues(spec, data);
}

function checkValues(spec: TensorSpec, data: InputData): void {
  const range = spec.dtype === 'bool' ? ([0, 1] as const) : spec.range;
  if (!range) return;
  const [least, greatest] = range;
  for (let at = 0; at < data.length; at++) {
    const value = data[at] ?? 0;
    if (!(value >= least && value <= greatest) && value !== spec.except) {
      const allowed = [`${least} to ${greatest}`, spec.except ?? []].flat().join(' and ');
      throw new SoraError('SORA6014', `\`${spec.name}\`: element ${at} is ${value}, allowed are ${allowed}`);
    }
  }
}

/** Plain names first, then shapes like `T + 1`, until nothing new is found. */
function inferDims(ranges: Artifact['dims'], entry: EntrySpec, given: readonly (InputTensor | undefined)[]): Dims {
  const dims = new Map<string, number>();
  const axes = entry.inputs.flatMap((spec, at) =>
    spec.shape.map((size, axis) => ({ size, value: given[at]?.shape[axis] })),
  );
  for (const { size, value } of axes) {
    if (typeof size === 'string' && value !== undefined && !dims.has(size)) dims.set(size, value);
  }
  for (let found = true; found; ) {
    found = false;
    for (const { size, value } of axes) {
      const solved = value === undefined ? undefined : solveSize(size, value, dims);
      if (solved) {
        dims.set(...solved);
        found = true;
      }
    }
  }
  const needed = [...entry.inputs, ...entry.results].flatMap((spec) => spec.shape.flatMap(dimsOf));
  for (const name of needed) {
    if (dims.has(name)) continue;
    // A dim with one possible value needs no input to tell it.
    const range = Object.hasOwn(ranges, name) ? ranges[name] : undefined;
    if (range && range.minimum === range.maximum) dims.set(name, range.minimum);
    else throw new SoraError('SORA6013', `${titleOf(entry)}: the inputs given do not tell the dim \`${name}\``);
  }
  return dims;
}

function checkShape(spec: TensorSpec, shape: readonly number[], dims: Dims, ranges: Artifact['dims']): void {
  const fits = spec.shape.every((size, axis) => {
    if (evaluateSize(size, dims) !== shape[axis]) return false;
    return dimsOf(size).every((name) => violation(name, dims.get(name) ?? 0, ranges) === undefined);
  });
  if (!fits) throw wrongShape(spec, shape, dims, ranges);
}

function violation(name: string, value: number, ranges: Artifact['dims']): string | undefined {
  const range: DimSpec | undefined = Object.hasOwn(ranges, name) ? ranges[name] : undefined;
  if (!range) return undefined;
  if (value > range.maximum) return `${name}<=${range.maximum}`;
  if (value < range.minimum) return `${name}>=${range.minimum}`;
  return value % range.multiple === 0 ? undefined : `${name} a multiple of ${range.multiple}`;
}

/** `input_ids: expected [B, T<=512], got [2, 600]` */
function wrongShape(spec: TensorSpec, shape: readonly number[], dims: Dims, ranges: Artifact['dims']): SoraError {
  const expected = spec.shape.map((size: SizeExpression, axis) => {
    const broken = dimsOf(size).flatMap((name) => violation(name, dims.get(name) ?? 0, ranges) ?? []);
    if (typeof size === 'string' && broken[0] !== undefined && dims.has(size)) return broken[0];
    const value = dimsOf(size).every((name) => dims.has(name)) ? evaluateSize(size, dims) : undefined;
    // `T` was taken from another input: say which value it has.
    if (typeof size !== 'number' && value !== undefined && value !== shape[axis]) return `${printSize(size)}=${value}`;
    return printSize(size);
  });
  const message = `\`${spec.name}\`: expected [${expected.join(', ')}], got [${shape.join(', ')}]`;
  return new SoraError('SORA6013', message);
}

/** The bytes of an input as the device wants them. */
export function deviceInput(spec: TensorSpec, data: InputData | undefined, elements: number): ElementArray {
  if (data === undefined) {
    const filled = newElements(spec.dtype, elements);
    const initial = spec.initial ?? 0;
    return filled.fill(spec.dtype === 'f16' ? singleToHalf(initial) : initial);
  }
  if (spec.dtype === 'f16') {
    const halves = newElements('f16', data.length);
    for (let i = 0; i < data.length; i++) halves[i] = singleToHalf(data[i] ?? 0);
    return halves;
  }
  return data instanceof Uint8Array ? Uint32Array.from(data) : (data as ElementArray);
}
