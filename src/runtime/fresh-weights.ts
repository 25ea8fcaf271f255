/**
 * Fresh weights, drawn on the host. A number depends on the seed, the weight's name and its place in the weight alone, so weights
 * may be drawn in any order, and one weight more changes no other.
 */
import type { InitializerSpec } from './artifact.ts';
import { philox } from './philox.ts';

/** FNV-1a of the UTF-8 bytes, u32. */
function hash(text: string, start: number): number {
  let value = start;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}

/** In (0, 1), so that its logarithm is finite. */
const open = (bits: number): number => (bits + 0.5) / 2 ** 32;

type Four = readonly [number, number, number, number];

/** Four from the normal distribution of mean 0 and standard deviation 1 (Box and Muller). */
function normals([a, b, c, d]: Four): Four {
  const [near, far] = [Math.sqrt(-2 * Math.log(open(a))), Math.sqrt(-2 * Math.log(open(c)))];
  const [first, second] = [2 * Math.PI * open(b), 2 * Math.PI * open(d)];
  return [near * Math.cos(first), near * Math.sin(first), far * Math.cos(second), far * Math.sin(second)];
}

/** Where a truncated normal distribution ends, in standard deviations. */
const CUT = 2;

/**
 * @param seed u32
 * @param name the weight's name in the checkpoint
 */
export function drawWeight(
  initial: InitializerSpec,
  seed: number,
  name: string,
  elements: number,
): Float32Array<ArrayBuffer> {
  const data = new Float32Array(elements);
  if (initial.kind === 'constant') return data.fill(initial.value);
  const key = [seed >>> 0, hash(name, 0x811c9dc5)] as const;
  const other = hash(name, 0x9747b28c);
  const block = (at: number, attempt: number): Four => philox([at, attempt, other, 0], key);
  const fill = (draw: (at: number, lane: number, bits: Four) => number, prepare: (bits: Four) => Four): void => {
    for (let at = 0; at * 4 < elements; at++) {
      const four = prepare(block(at, 0));
      for (let lane = 0; lane < 4 && at * 4 + lane < elements; lane++) data[at * 4 + lane] = draw(at, lane, four);
    }
  };
  if (initial.kind === 'uniform') {
    const { low, high } = initial;
    fill(
      (_at, lane, four) => low + (high - low) * open(four[lane] ?? 0),
      (bits) => bits,
    );
    return data;
  }
  const { mean, std, truncated } = initial;
  const value = (at: number, lane: number, four: Four): number => {
    let drawn = four[lane] ?? 0;
    for (let attempt = 1; truncated === true && Math.abs(drawn) > CUT; attempt++)
      drawn = normals(block(at, attempt))[lane] ?? 0;
    return mean + std * drawn;
  };
  fill(value, normals);
  return data;
}
