/**
 * f16 and bf16 from and to f32, exact in every bit: rounding to nearest even, subnormals, infinities, NaN stays NaN.
 * Node 20 has no Float16Array.
 */

const bitsView = new Uint32Array(1);
const floatView = new Float32Array(bitsView.buffer);

/** Bits of an f16 to the bits of the equal f32. NaN payloads move along. */
export function halfToSingleBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return (sign | 0x7f800000 | (fraction << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
  if (fraction === 0) return sign >>> 0;
  // Subnormal: fraction * 2^-24. Shift the leading one up to bit 10.
  const shift = Math.clz32(fraction) - 21;
  return (sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13)) >>> 0;
}

export function halfToSingle(half: number): number {
  bitsView[0] = halfToSingleBits(half);
  return floatView[0] ?? 0;
}

/** The nearest f16 (ties to even) of an f32, as bits; beyond 65519.99 it is infinity, as in IEEE 754. */
export function singleToHalf(value: number): number {
  floatView[0] = value;
  const bits = bitsView[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff);
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - 0x38000000) >>> 13);
  }
  if (magnitude < 0x33000000) return sign;
  // Subnormal result: units of 2^-24.
  const exponent = magnitude >>> 23;
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - exponent;
  const quotient = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const halfway = 1 << (shift - 1);
  return sign | (quotient + (rest > halfway || (rest === halfway && (quotient & 1) === 1) ? 1 : 0));
}

export function bfloatToSingle(bfloat: number): number {
  bitsView[0] = (bfloat << 16) >>> 0;
  return floatView[0] ?? 0;
}

/** The nearest bf16 (ties to even), as bits. */
export function singleToBfloat(value: number): number {
  floatView[0] = value;
  const bits = bitsView[0] ?? 0;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

let halfTable: Float32Array | undefined;

/** All 65,536 f16 values as f32: a look-up is what makes converting a checkpoint quick. */
export function halfValues(): Float32Array {
  if (!halfTable) {
    const bits = new Uint32Array(65536);
    for (let half = 0; half < 65536; half++) bits[half] = halfToSingleBits(half);
    halfTable = new Float32Array(bits.buffer);
  }
  return halfTable;
}
