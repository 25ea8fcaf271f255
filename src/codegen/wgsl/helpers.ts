/**
 * WGSL functions that kernels call, each as scalar and as vector overload (WGSL has no user overloads, so the vector one
 * ends in `4`). Emitted only into kernels that use them.
 */
import { addWord, wordHelper } from './packed-words.ts';

/**
 * Error function with absolute error below 1.5e-7 in exact arithmetic, 3e-7 in f32.
 *
 *   erf(x) = 1 - (a1 t + … + a5 t^5) exp(-x^2),  t = 1 / (1 + p x)
 *
 * Source: Abramowitz & Stegun, Handbook of Mathematical Functions, 7.1.26. Near zero that form cancels, so for |x| < 1 the
 * Maclaurin series is used: erf(x) = 2/sqrt(pi) * sum (-1)^n x^(2n+1) / (n! (2n+1)), cut after n = 9 (error below 2e-8).
 */
const erf = `fn sora_erf(x: f32) -> f32 {
  let size = min(abs(x), f32(10.0));
  let square = size * size;
  let t = 1.0 / (1.0 + 0.3275911 * size);
  let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let far = 1.0 - tail * exp(-square);
  let s = min(square, f32(1.0));
  let high = ((((-1.4503852e-7 * s + 1.4589169e-6) * s - 1.3227513e-5) * s + 1.0683761e-4) * s - 7.5757576e-4) * s;
  let series = ((((high + 4.6296296e-3) * s - 2.3809524e-2) * s + 0.1) * s - 0.33333334) * s + 1.0;
  let near = 1.1283791670955126 * size * series;
  return sign(x) * select(far, near, size < f32(1.0));
}`;

/**
 * Sine and cosine of radians with absolute error below 2e-7 for |x| up to 1.3e5, the angle of the fastest pair of rotary
 * positions. WGSL promises 2^-11 in [-pi, pi] and nothing outside; SwiftShader takes that at its word.
 *
 * x = k pi/2 + r with pi/2 in four parts, of which three have so few bits that k times them is exact (Cody & Waite 1980);
 * then the minimax polynomials of the Cephes library (sinf, cosf) on |r| <= pi/4. `shift` is 1 for the cosine, which is the
 * sine a quarter turn on.
 */
function turn(name: string, shift: string): string {
  return `fn ${name}(x: f32) -> f32 {
  let k = round(x * 0.6366197723675814);
  let r = (((x - k * 1.5625) - k * 0.0081787109375) - k * 0.00011730194091796875) - k * 3.139164786504813e-07;
  let s = r * r;
  let sine = r + r * s * ((-1.9515295891e-4 * s + 8.3321608736e-3) * s - 1.6666654611e-1);
  let high = (2.443315711809948e-5 * s - 1.388731625493765e-3) * s + 4.166664568298827e-2;
  let cosine = 1.0 - 0.5 * s + s * s * high;
  let quarter = k${shift};
  let value = select(sine, cosine, fract(quarter * 0.5) != f32(0.0));
  return select(value, -value, fract(quarter * 0.25) >= f32(0.5));
}`;
}

/** A u32 in the order of the floats: all NaN the greatest, -0 equal to +0. See src/ir/ops/order.ts. */
const orderKey = `fn sora_order_key(x: f32) -> u32 {
  let word = bitcast<u32>(x);
  let size = word & u32(2147483647);
  let number = select(size | u32(2147483648), ~word, (word > u32(2147483648)));
  return select(number, u32(4294967295), size > u32(2139095040));
}`;

/** Philox2x32-10; see src/ir/ops/random.ts. WGSL has no wide product, so its upper half comes from halves of 16 bits. */
const random = `fn sora_random(counter: u32, seed: u32, block: u32) -> f32 {
  var a = counter;
  var b = block;
  var key = seed;
  for (var turn = 0; turn < 10; turn++) {
    let lower = (a & u32(65535)) * u32(53651);
    let middle = (a >> u32(16)) * u32(53651) + (lower >> u32(16));
    let other = (a & u32(65535)) * u32(53846) + (middle & u32(65535));
    let upper = (a >> u32(16)) * u32(53846) + (middle >> u32(16)) + (other >> u32(16));
    let next = upper ^ key ^ b;
    b = a * u32(3528905107);
    a = next;
    key = key + u32(2654435769);
  }
  return f32(a >> u32(8)) * f32(5.9604644775390625e-8);
}`;

const sources: Readonly<Record<string, string>> = {
  sora_erf: erf,
  sora_sin: turn('sora_sin', ''),
  sora_cos: turn('sora_cos', ' + 1.0'),
  sora_order_key: orderKey,
  sora_random: random,
  [wordHelper(4)]: addWord(4),
  [wordHelper(8)]: addWord(8),
};

/** The same text for four lanes at once; constants are written as calls, `u32(7)`. */
function vectorized(name: string, source: string): string {
  return source.replaceAll('f32', 'vec4f').replaceAll('u32', 'vec4u').replace(`fn ${name}(`, `fn ${name}4(`);
}

/** Text of the named functions (`sora_erf`, `sora_erf_vec4`), sorted, each followed by an empty line. */
export function helperSource(names: ReadonlySet<string>): readonly string[] {
  return [...names].sort().flatMap((name) => {
    const base = name.replace(/4$/, '');
    const source = sources[base];
    if (source === undefined) throw new Error(`no helper ${name}`);
    return [...(name === base ? source : vectorized(base, source)).split('\n'), ''];
  });
}
