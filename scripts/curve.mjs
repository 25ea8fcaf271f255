// `node scripts/curve.mjs RUN/train.json OUT.svg`: the losses of a run of `sorac train` as a picture.
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const size = { width: 720, height: 320, left: 56, right: 16, top: 28, bottom: 36 };
const colors = { train: '#8a8f98', validation: '#c2410c', text: '#4b5563', grid: '#d1d5db' };

/** About five round numbers from 0 to `most`. */
function ticks(most) {
  const rough = most / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? rough;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, at) => at * step);
}

const plain = (value) => String(Number(value.toPrecision(3)));

/** @param record what `train.json` has */
export function curveOf({ model, points, epochs, steps }) {
  const measured = epochs.filter(({ validation }) => validation !== undefined);
  const losses = [...points.map(({ loss }) => loss), ...measured.map(({ validation }) => validation.loss)];
  const most = Math.max(...losses, 1e-6) * 1.05;
  const x = (step) => size.left + ((size.width - size.left - size.right) * step) / Math.max(1, steps);
  const y = (loss) => size.height - size.bottom - ((size.height - size.top - size.bottom) * loss) / most;
  const at = (step, loss) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`;
  const line = (list, color, width) =>
    `<polyline fill="none" stroke="${color}" stroke-width="${width}" points="${list.join(' ')}"/>`;
  const text = (px, py, anchor, words, color = colors.text) =>
    `<text x="${px}" y="${py}" text-anchor="${anchor}" fill="${color}">${words}</text>`;
  const right = size.width - size.right;
  const below = size.height - size.bottom;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12">`,
    ...ticks(most).flatMap((loss) => [
      `<line x1="${size.left}" x2="${right}" y1="${y(loss).toFixed(1)}" y2="${y(loss).toFixed(1)}" stroke="${colors.grid}"/>`,
      text(size.left - 8, (y(loss) + 4).toFixed(1), 'end', plain(loss)),
    ]),
    ...ticks(steps).map((step) => text(x(step).toFixed(1), below + 18, 'middle', plain(step))),
    line(
      points.map(({ step, loss }) => at(step, loss)),
      colors.train,
      1,
    ),
    line(
      measured.map(({ steps: step, validation }) => at(step, validation.loss)),
      colors.validation,
      2,
    ),
    ...measured.map(
      ({ steps: step, validation }) =>
        `<circle cx="${x(step).toFixed(1)}" cy="${y(validation.loss).toFixed(1)}" r="3" fill="${colors.validation}"/>`,
    ),
    text(size.left, 16, 'start', `${model}: loss by step`),
    text(right - 90, 16, 'end', 'training', colors.train),
    text(right, 16, 'end', 'validation', colors.validation),
    '</svg>',
    '',
  ].join('\n');
}

export function writeCurve(record, path) {
  writeFileSync(path, curveOf(JSON.parse(readFileSync(record, 'utf8'))));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [record, path] = process.argv.slice(2);
  if (record === undefined || path === undefined) {
    console.error('usage: node scripts/curve.mjs RUN/train.json OUT.svg');
    process.exit(2);
  }
  writeCurve(record, path);
}
