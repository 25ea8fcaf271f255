/**
 * Rows of int8 against PyTorch: `fake_quantize_per_channel_affine(x, s, 0, …, -127, 127)` with s = max |x| / 127 of each head (1 where that
 * is 0), and `round(x / s)`. Made with PyTorch 1.13, `manual_seed(3)`.
 */
import { expect, test } from 'vitest';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { buildGraph, f32, runGraph } from './support.ts';

const x = [
  -0.07664429396390915, 0.35988152027130127, -0.7820168137550354, 0.125, 0.6648393869400024, -0.28678029775619507,
  1.6205507516860962, -1.596708059310913, 0, 0, 0, -0, -0, 0, -0, -0, 24.255701065063477, 10.26171875,
  16.921409606933594, 67.63770294189453, 18.6817684173584, 0.6708239912986755, 38.683658599853516, -5.4621758460998535,
];
const greatest = [0.7820168137550354, 1.6205507516860962, 0, 0, 67.63770294189453, 38.683658599853516];
const whole = [-12, 58, -127, 20, 52, -22, 127, -125, 0, 0, 0, 0, 0, 0, 0, 0, 46, 19, 32, 127, 61, 2, 127, -18];
const back = [
  -0.07389135658740997, 0.35714155435562134, -0.7820168137550354, 0.12315225601196289, 0.6635326147079468,
  -0.2807253301143646, 1.6205507516860962, -1.5950303077697754, 0, 0, 0, 0, 0, 0, 0, 0, 24.498695373535156,
  10.119026184082031, 17.042570114135742, 67.63770294189453, 18.580339431762695, 0.6091914772987366, 38.683658599853516,
  -5.482723236083984,
];

test('rows of int8 are those of PyTorch', () => {
  const graph = buildGraph((emitter) => {
    const inputs = [emitter.input('x', f32(3, 8)), emitter.input('greatest', f32(3, 2))];
    const words = emitter.emit('quantize_rows', inputs, { width: 4 });
    return { words, y: emitter.emit('dequantize_rows', [words], { width: 4 }) };
  });
  const results = runGraph(
    graph,
    {
      x: tensorOf('f32', [3, 8], x, 'f32'),
      greatest: tensorOf('f32', [3, 2], greatest, 'f32'),
    },
    'f32',
  );
  const words = Array.from(results.get('words')?.data ?? []);
  expect(words.length).toBe(12);
  const numbers = [0, 1, 4, 5, 8, 9].flatMap((at) => [24, 16, 8, 0].map((shift) => ((words[at] ?? 0) << shift) >> 24));
  expect(numbers).toEqual(whole);
  const scales = new Float32Array(Int32Array.from([2, 3, 6, 7, 10, 11], (at) => words[at] ?? 0).buffer);
  expect(Array.from(scales)).toEqual(greatest.map((most) => (most === 0 ? 1 : Math.fround(most / 127))));
  results.get('y')?.data.forEach((value, at) => {
    // The product is rounded once in both.
    expect(value).toBe(back[at] === 0 ? 0 : Math.fround(back[at] ?? 0));
  });
});
