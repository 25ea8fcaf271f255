/**
 * Random numbers without state: the number at a counter is a function of counter and seed, on every device and in any order.
 *
 * Philox2x32-10 of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", with the counter (counter, block). The
 * upper 24 bits of the first word make the number, so all of them are exact in f32. The text in WGSL is
 * src/codegen/wgsl/helpers.ts.
 */
import type { OpDefinition } from '../op.ts';
import { checkElementwise, interpretByScalar } from './elementwise.ts';
import { fail, quoteType, wgslLiteral } from './shared.ts';

const multiplier = 0xd256d193;
const weyl = 0x9e3779b9;

/** The upper half of the product of two u32. The runtime's is in src/runtime/philox.ts; a test compares them. */
function high(a: number, b: number): number {
  const low = (a & 0xffff) * (b & 0xffff);
  const middle = (a >>> 16) * (b & 0xffff) + (low >>> 16);
  const other = (a & 0xffff) * (b >>> 16) + (middle % 0x10000);
  return ((a >>> 16) * (b >>> 16) + Math.floor(middle / 0x10000) + Math.floor(other / 0x10000)) >>> 0;
}

/** First word of what the counter (`counter`, `block`) gives under the key `seed`; all are u32. */
export function philox2(counter: number, seed: number, block = 0): number {
  let [a, b, key] = [counter >>> 0, block >>> 0, seed >>> 0];
  for (let round = 0; round < 10; round++) {
    [a, b] = [(high(multiplier, a) ^ key ^ b) >>> 0, Math.imul(multiplier, a) >>> 0];
    key = (key + weyl) >>> 0;
  }
  return a;
}

const scalar: NonNullable<OpDefinition['scalar']> = ([counter = 0, seed = 0, block = 0]) =>
  (philox2(counter, seed, block) >>> 8) / 2 ** 24;

export const random: OpDefinition = {
  name: 'random',
  level: 'tensor',
  doc:
    'A number in [0, 1) with 24 random bits for each u32 counter, the same for the same u32 seed on every device. `block` is ' +
    'the upper word of the counter, 0 when left out.',
  operands: ['counter', 'seed', 'block?'],
  attributes: {},
  traits: ['elementwise', 'flat'],
  skeleton: 'map',
  infer(inputs) {
    const [counter] = inputs;
    const wrong = inputs.findIndex((type) => type.dtype !== 'u32');
    const offender = inputs[wrong];
    if (offender) return fail(`\`random\` takes u32, not ${quoteType(offender)}`, wrong);
    return checkElementwise('random', 'number', inputs) ?? (counter ? [{ dtype: 'f32', shape: counter.shape }] : []);
  },
  interpret(inputs, attributes, context) {
    return [interpretByScalar(scalar, inputs, attributes, 'f32', context)];
  },
  scalar,
  wgsl: ([counter = '', seed = '', block], _attributes, _dtypes, lanes = 1) =>
    `sora_random${lanes === 1 ? '' : lanes}(${counter}, ${seed}, ${block ?? wgslLiteral('0', 'u32', lanes)})`,
  wgslHelpers: ['sora_random'],
};
