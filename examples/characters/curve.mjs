// Losses of runs by step as a picture:
//
//   node examples/characters/curve.mjs OUT.svg NAME=log.json [NAME=other.json]
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const size = { width: 720, height: 340, left: 48, right: 24, top: 32, bottom: 40 };
const ink = { text: '#4b5563', grid: '#d1d5db', train: '#c7cbd1' };
/** The second run is drawn over the first: thin and broken, so that both can be seen. */
const styles = ['stroke="#c2410c" stroke-width="4" stroke-opacity="0.55"', 'stroke="#1d4ed8" stroke-width="1.5"'];
const colors = ['#c2410c', '#1d4ed8'];

const escaped = (text) =>
  text.replace(/[&<>"]/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[one]);

/** About five round numbers of `low` to `high`. */
function ticks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? rough;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, at) => (first + at) * step);
}

/** @param {{ name: string, log: { validation: { step: number, loss: number }[], train?: { step: number, loss: number }[] } }[]} runs */
export function curveOf(runs) {
  const train = runs[0]?.log.train ?? [];
  const losses = [...train, ...runs.flatMap(({ log }) => log.validation)].map(({ loss }) => loss);
  const last = Math.max(...runs.flatMap(({ log }) => log.validation.map(({ step }) => step)));
  const [low, high] = [Math.floor(Math.min(...losses) * 4) / 4, Math.ceil(Math.max(...losses) * 4) / 4];
  const x = (step) => size.left + ((size.width - size.left - size.right) * step) / last;
  const y = (loss) => size.top + ((size.height - size.top - size.bottom) * (high - loss)) / (high - low);
  const points = (list) => list.map(({ step, loss }) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(' ');
  const text = (px, py, anchor, words, color = ink.text) =>
    `<text x="${px}" y="${py}" text-anchor="${anchor}" fill="${color}">${escaped(words)}</text>`;
  const right = size.width - size.right;
  const names = [
    ['training, a batch each', '#8a8f98'],
    ...runs.map(({ name }, at) => [`validation, ${name}`, colors[at]]),
  ];
  // From the right; 7 units are more than a letter of 12 takes.
  const behind = (at) => names.slice(at + 1).reduce((sum, [words]) => sum + words.length * 7 + 12, 0);
  const legend = names.map(([words, color], at) => text(right - behind(at), 18, 'end', words, color));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${size.width}" height="${size.height}" fill="#ffffff"/>`,
    ...ticks(low, high).flatMap((loss) => [
      `<line x1="${size.left}" x2="${right}" y1="${y(loss).toFixed(1)}" y2="${y(loss).toFixed(1)}" stroke="${ink.grid}"/>`,
      text(size.left - 8, (y(loss) + 4).toFixed(1), 'end', String(Number(loss.toPrecision(3)))),
    ]),
    ...ticks(0, last).map((step) => text(x(step).toFixed(1), size.height - size.bottom + 18, 'middle', String(step))),
    `<polyline fill="none" stroke="${ink.train}" points="${points(train)}"/>`,
    ...runs.map(({ log }, at) => `<polyline fill="none" ${styles[at]} points="${points(log.validation)}"/>`),
    text(size.left, 18, 'start', 'loss by step (nats per character)'),
    ...legend,
    '</svg>',
    '',
  ].join('\n');
}

export function writeCurve(path, runs) {
  writeFileSync(path, curveOf(runs));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [path, ...named] = process.argv.slice(2);
  if (path === undefined || named.length < 1 || named.length > 2) {
    console.error('usage: node examples/characters/curve.mjs OUT.svg NAME=log.json [NAME=other.json]');
    process.exit(2);
  }
  const runs = named.map((one) => {
    const [name = '', ...rest] = one.split('=');
    return { name, log: JSON.parse(readFileSync(rest.join('='), 'utf8')) };
  });
  writeCurve(path, runs);
}
