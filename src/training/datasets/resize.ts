/**
 * Bilinear scaling with a filter as wide as the step when images get smaller, so that no pixel is skipped: what Pillow and
 * torchvision (with `antialias`) do.
 */
import type { TensorValue } from './dataset.ts';

interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

function tapsOf(from: number, to: number): readonly Taps[] {
  const step = from / to;
  const radius = Math.max(1, step);
  return Array.from({ length: to }, (_, at) => {
    const centre = (at + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - radius + 0.5));
    const last = Math.min(from, Math.floor(centre + radius + 0.5));
    const weights = Array.from({ length: last - first }, (_, tap) =>
      Math.max(0, 1 - Math.abs(first + tap + 0.5 - centre) / radius),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/**
 * @param image [channels, height, width]
 * @param size [height, width], each at least 1
 */
export function resize(image: TensorValue, size: readonly [number, number]): TensorValue {
  const [channels = 0, height = 0, width = 0] = image.shape;
  const [newHeight, newWidth] = size;
  if (height === newHeight && width === newWidth) return image;
  const across = tapsOf(width, newWidth);
  const down = tapsOf(height, newHeight);
  const narrow = new Float32Array(channels * height * newWidth);
  for (let row = 0; row < channels * height; row++) {
    across.forEach(({ first, weights }, column) => {
      let sum = 0;
      weights.forEach((weight, tap) => {
        sum += weight * (image.data[row * width + first + tap] ?? 0);
      });
      narrow[row * newWidth + column] = sum;
    });
  }
  const data = new Float32Array(channels * newHeight * newWidth);
  for (let channel = 0; channel < channels; channel++) {
    down.forEach(({ first, weights }, row) => {
      for (let column = 0; column < newWidth; column++) {
        let sum = 0;
        weights.forEach((weight, tap) => {
          sum += weight * (narrow[(channel * height + first + tap) * newWidth + column] ?? 0);
        });
        data[(channel * newHeight + row) * newWidth + column] = sum;
      }
    });
  }
  return { shape: [channels, newHeight, newWidth], data };
}
