/**
 * Scalars in WGSL: types in registers and in memory, literals, the neutral elements of reductions.
 */
import type { DType } from '../../ir/types.ts';
import { unreachable } from '../../support/error.ts';

/** One element, or four neighbours as a vector. */
export type Lanes = 1 | 4;

/** Largest finite f32: stands for infinities, which WGSL has no literals for. */
const greatestFloat = '3.4028234e+38f';

/** Type of a value in an expression; f16 is computed in f32. */
export function wgslType(dtype: DType, lanes: Lanes): string {
  const scalar = dtype === 'f16' ? 'f32' : dtype;
  return lanes === 1 ? scalar : `vec4<${scalar}>`;
}

/** Type of an element in a buffer; two f16 share a u32, so no device feature is needed. */
export function memoryType(dtype: DType): string {
  return dtype === 'bool' || dtype === 'f16' ? 'u32' : dtype;
}

/** Type of four neighbours in a buffer. */
export function memoryFour(dtype: DType): string {
  return dtype === 'f16' ? 'vec2<u32>' : `vec4<${memoryType(dtype)}>`;
}

/** Four halves of two words as a vector. */
export function unpackFour(words: string): string {
  return `vec4f(unpack2x16float(${words}.x), unpack2x16float(${words}.y))`;
}

/** Two neighbours in one word. What an f16 cannot hold is undefined in WGSL, so it saturates. */
export function packPair(pair: string): string {
  return `pack2x16float(clamp(${pair}, vec2f(-65504.0f), vec2f(65504.0f)))`;
}

/** The same, but what is beyond the greatest f16 (65520 rounds up, and so do infinities and NaN) becomes NaN. @param pair a name */
export function packFinite(pair: string): string {
  const isBeyond = `((bitcast<vec2u>(${pair}) & vec2u(0x7fffffffu)) >= vec2u(0x477ff000u))`;
  const nans = `dot(select(vec2u(0u), vec2u(0x7fffu, 0x7fff0000u), ${isBeyond}), vec2u(1u))`;
  return `(${packPair(pair)} | ${nans})`;
}

/** A loaded element as a value; f16 has its own ways, `unpackFour` and `unpack2x16float`. */
export function fromMemory(dtype: DType, text: string, lanes: Lanes): string {
  if (dtype === 'bool') return lanes === 1 ? `(${text} != 0u)` : `(${text} != vec4<u32>(0u))`;
  return text;
}

/** A value as it is stored; f16 see `packPair`. */
export function toMemory(dtype: DType, text: string, lanes: Lanes): string {
  if (dtype !== 'bool') return text;
  return lanes === 1 ? `u32(${text})` : `vec4<u32>(${text})`;
}

export function floatLiteral(value: number): string {
  if (Number.isNaN(value)) return unreachable('a NaN literal');
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded)) return rounded > 0 ? greatestFloat : `(-${greatestFloat})`;
  // Numbers below the least normal f32 may be refused or flushed.
  if (Math.abs(rounded) < 2 ** -126) return '0.0f';
  const short = String(value);
  const text = /[.e]/.test(short) ? short : `${short}.0`;
  return value < 0 ? `(${text}f)` : `${text}f`;
}

export function literal(dtype: DType, value: number | boolean): string {
  switch (dtype) {
    case 'bool':
      return value === true || (typeof value === 'number' && value !== 0) ? 'true' : 'false';
    case 'f32':
    case 'f16':
      return floatLiteral(Number(value));
    case 'u32':
      return `${Number(value) >>> 0}u`;
    case 'i32':
      // -2147483648 has no literal of its own: the minus is an operator.
      if (Number(value) === -(2 ** 31)) return '(-2147483647i - 1i)';
      return Number(value) < 0 ? `(${Number(value) | 0}i)` : `${Number(value) | 0}i`;
    default:
      return unreachable(`a literal of type ${dtype satisfies never}`);
  }
}

/** How a reduction starts and how it takes in one more value; works for scalars and vectors. */
export interface Reducer {
  start(dtype: DType): string;
  combine(left: string, right: string): string;
}

export const reducers: Readonly<Record<string, Reducer>> = {
  sum: { start: (dtype) => literal(dtype, 0), combine: (left, right) => `${left} + ${right}` },
  prod: { start: (dtype) => literal(dtype, 1), combine: (left, right) => `${left} * ${right}` },
  max: {
    start: (dtype) => (dtype === 'i32' ? literal(dtype, -(2 ** 31)) : dtype === 'u32' ? '0u' : `(-${greatestFloat})`),
    combine: (left, right) => `max(${left}, ${right})`,
  },
  min: {
    start: (dtype) => (dtype === 'i32' ? '2147483647i' : dtype === 'u32' ? '4294967295u' : greatestFloat),
    combine: (left, right) => `min(${left}, ${right})`,
  },
};

export const boolReducers: Readonly<Record<string, Reducer>> = {
  max: { start: () => 'false', combine: (left, right) => `${left} | ${right}` },
  min: { start: () => 'true', combine: (left, right) => `${left} & ${right}` },
};
