// Images of digits, 28 x 28, brightness from 0 (paper) to 1 (ink): those of MNIST, and some drawn here.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const side = 28;
const pixels = side * side;

/** The 10,000 test images of MNIST. `folder` holds its IDX files. */
export function readTestDigits(folder) {
  const images = readFileSync(join(folder, 't10k-images-idx3-ubyte'));
  const labels = readFileSync(join(folder, 't10k-labels-idx1-ubyte'));
  const count = labels.readUInt32BE(4);
  if (images.length !== 16 + count * pixels) throw new Error(`${folder} has not ${count} images of ${side} x ${side}`);
  return {
    count,
    at: (index) => ({
      name: `test image ${index}`,
      label: labels[8 + index],
      image: Float32Array.from(images.subarray(16 + index * pixels, 16 + (index + 1) * pixels), (byte) => byte / 255),
    }),
  };
}

/** Points of an ellipse from one angle to another, in turns: 0 is right, 0.25 below. */
function arc(x, y, width, height, from, to) {
  const count = Math.max(2, Math.ceil(Math.abs(to - from) * 24));
  return Array.from({ length: count + 1 }, (_, at) => {
    const angle = 2 * Math.PI * (from + ((to - from) * at) / count);
    return [x + width * Math.cos(angle), y + height * Math.sin(angle)];
  });
}

/** Lines of a pen for each digit, on a field from (0, 0) to (20, 20). */
const strokes = [
  [arc(10, 10, 6, 9, 0, 1)],
  [
    [
      [7, 5],
      [10.5, 1],
      [10, 19],
    ],
  ],
  [[...arc(10, 6, 6, 5, -0.45, 0.12), [3.5, 18.5], [17, 18]]],
  [[...arc(9, 5.7, 5, 4.5, -0.42, 0.22), ...arc(9, 14.3, 5.8, 4.8, -0.22, 0.42)]],
  [
    [
      [6, 1],
      [4.5, 11],
      [15, 10.5],
    ],
    [
      [14.5, 1.5],
      [13, 19],
    ],
  ],
  [[[15, 1], [6.5, 1.5], [6, 8.5], ...arc(9, 13.3, 6, 5.5, -0.28, 0.4)]],
  [[[12.5, 1], [7, 8], ...arc(10, 14, 5, 5, -0.45, 0.55)]],
  [
    [
      [3.5, 2.5],
      [15.5, 2],
      [9, 19],
    ],
  ],
  [arc(10, 5.5, 4.2, 4.5, 0, 1), arc(10, 14.5, 5, 4.5, 0, 1)],
  [arc(10, 6, 5, 5, 0, 1), [...arc(10, 6, 5, 5, 0, 0.02), [14, 12], [12, 19]]],
];

/** Distance of a point from the line between two others. */
function distance([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const share = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - ax - share * dx, y - ay - share * dy);
}

/** Brightness where the pen is `dx` and `dy` pixels away from the field's own place. */
function render(lines, dx, dy) {
  const image = new Float32Array(pixels);
  for (let at = 0; at < pixels; at++) {
    const point = [(at % side) - dx, Math.floor(at / side) - dy];
    const near = lines.flatMap((line) => line.slice(1).map((end, from) => distance(point, line[from], end)));
    image[at] = Math.min(1, Math.max(0, 1.9 - Math.min(...near)));
  }
  return image;
}

/** A digit as a pen would draw it, its centre of mass in the middle, as in MNIST. */
export function drawDigit(digit) {
  const lines = strokes[digit];
  const image = render(lines, 4, 4);
  let [mass, x, y] = [0, 0, 0];
  for (const [at, value] of image.entries()) {
    mass += value;
    x += value * (at % side);
    y += value * Math.floor(at / side);
  }
  const middle = (side - 1) / 2;
  return {
    name: 'drawn',
    label: digit,
    image: render(lines, 4 + Math.round(middle - x / mass), 4 + Math.round(middle - y / mass)),
  };
}

const shades = ' ░▒▓█';

/** Lines of text, half as many as the image has rows: characters are twice as high as wide. */
export function asText(image) {
  const shade = (row, column) => {
    const value = (image[2 * row * side + column] + image[(2 * row + 1) * side + column]) / 2;
    return shades[Math.round(value * (shades.length - 1))];
  };
  return Array.from({ length: side / 2 }, (_, row) =>
    Array.from({ length: side }, (_, column) => shade(row, column)).join(''),
  );
}
