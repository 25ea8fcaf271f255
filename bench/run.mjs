// `npm run bench [-- --work minilm|gpt2step --rounds N --runs N --cold-rounds N --sides a,b]`: sorac and its peers on lavapipe, in
// turns. Every measurement is its own process; the order alternates, so that the machine's load hits all sides alike.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { works } from './works.mjs';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

function stop(message, code) {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(code);
}

function readOptions() {
  const options = {
    work: { type: 'string', default: 'minilm' },
    rounds: { type: 'string', default: '5' },
    runs: { type: 'string', default: '7' },
    'cold-rounds': { type: 'string', default: '3' },
    sides: { type: 'string' },
  };
  try {
    return parseArgs({ options });
  } catch (error) {
    return stop(
      `${error.message}\n  usage: npm run bench -- ${Object.keys(options)
        .map((name) => `[--${name} …]`)
        .join(' ')}`,
      2,
    );
  }
}
const { values } = readOptions();

const count = (name, least) => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < least) stop(`--${name} must be a whole number from ${least}`, 2);
  return value;
};
const warmRounds = count('rounds', 1);
const coldRounds = count('cold-rounds', 0);

const work = Object.hasOwn(works, values.work) ? works[values.work] : undefined;
if (!work) stop(`--work must be one of ${Object.keys(works).join(', ')}`, 2);
const wanted = values.sides?.split(',') ?? Object.keys(work.sides);
const unknown = wanted.find((name) => !Object.hasOwn(work.sides, name));
if (unknown !== undefined) stop(`no side \`${unknown}\`, there are ${Object.keys(work.sides).join(', ')}`, 2);
const names = ['sorac', ...wanted.filter((name) => name !== 'sorac')];

const icdFolders = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d'];
const lavapipe = icdFolders
  .flatMap((folder) => (existsSync(folder) ? readdirSync(folder).map((file) => `${folder}/${file}`) : []))
  .find((path) => /\/lvp_icd.*\.json$/.test(path));
if (lavapipe === undefined) stop('lavapipe is missing\n  next: npx sorac doctor', 3);
if (!existsSync(at('node_modules/onnxruntime-node'))) {
  stop('the peers are not installed\n  next: npm ci --prefix bench', 3);
}

work.prepare();
const compiled = spawnSync(process.execPath, [at('../bin/sorac.js'), 'compile', ...work.compile, '-o', at('.cache')], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
if (compiled.status !== 0) stop(`${values.work} does not compile`, compiled.status ?? 1);

const environment = {
  ...process.env,
  VK_ICD_FILENAMES: lavapipe,
  VK_DRIVER_FILES: lavapipe,
  XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir(),
};

/** One process; a cold one has no shader cache on disk and stops after the first call. */
function measureOnce(file, runs, isCold, flags = []) {
  const child = spawnSync(process.execPath, [...flags, at(`${values.work}/${file}`), String(runs)], {
    encoding: 'utf8',
    env: isCold ? { ...environment, MESA_SHADER_CACHE_DISABLE: 'true' } : environment,
    timeout: 300_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  const line = (child.stdout ?? '').split('\n').find((text) => text.startsWith('{'));
  if (line !== undefined && (child.status === 0 || child.signal !== null)) return JSON.parse(line);
  const tail = (child.stderr ?? '').split('\n').slice(-15).join('\n');
  stop(`${file} failed (${child.signal ?? child.status})\n${tail}`, 1);
}
const measureSide = (name, runs, isCold) => measureOnce(`measure-${name}.mjs`, runs, isCold, work.sides[name].node);

const measurements = [];
function rounds(kind, total, runs) {
  for (let round = 1; round <= total; round++) {
    for (const name of round % 2 === 1 ? names : [...names].reverse()) {
      const result = measureSide(name, runs, kind === 'cold');
      measurements.push({ kind, round, name, load1: loadavg()[0], ...result });
      const shown = kind === 'cold' ? result.coldStart : median(result.warm);
      process.stderr.write(`${kind} ${round}/${total} ${name.padEnd(18)} ${shown.toFixed(1)} ms\n`);
    }
    if (kind === 'warm' && work.copy) {
      const result = measureOnce(work.copy, runs, false);
      measurements.push({ kind: 'copy', round, name: 'copy', load1: loadavg()[0], ...result });
      process.stderr.write(
        `${kind} ${round}/${total} ${'copy kernel'.padEnd(18)} ${median(result.warm).toFixed(2)} GB/s\n`,
      );
    }
  }
}

function median(list) {
  const sorted = [...list].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Fills the disk caches of all sides before the warm rounds.
for (const name of names) measureSide(name, 1, false);
rounds('warm', warmRounds, count('runs', 1));
rounds('cold', coldRounds, 0);

const find = (kind, round, name) =>
  measurements.find((one) => one.kind === kind && one.round === round && one.name === name);
const kinds = { warm: warmRounds, cold: coldRounds };
const rows = [
  ['warm call', 'warm', (result) => median(result.warm)],
  ['cold first call', 'cold', (result) => result.first],
  ['cold load (device, weights)', 'cold', (result) => result.load],
  ['cold process start to first result', 'cold', (result) => result.coldStart],
].flatMap(([title, kind, pick]) => {
  if (kinds[kind] === 0) return [];
  const perRound = (name) => Array.from({ length: kinds[kind] }, (_, index) => pick(find(kind, index + 1, name)));
  const ours = perRound('sorac');
  const sides = names.map((name) => {
    const all = perRound(name);
    // The median of the ratios inside rounds: load on the machine moves all sides of a round.
    const ratios = all.map((value, index) => ours[index] / value);
    return { name, milliseconds: median(all), ratio: median(ratios), ratios };
  });
  const peers = sides.slice(1).sort((left, right) => left.milliseconds - right.milliseconds);
  return [{ title, sides, fastestPeer: peers[0]?.name }];
});

const first = (name) => measurements.find((one) => one.name === name);
function cosine(left, right) {
  const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
  return dot(left, right) / Math.sqrt(dot(left, left) * dot(right, right));
}
const cosines = Object.fromEntries(
  names.slice(1).map((name) => [name, cosine(first('sorac').embedding, first(name).embedding)]),
);
for (const [name, value] of Object.entries(cosines)) {
  if (!(value > work.leastCosine)) stop(`sorac and ${name} disagree: cosine of their results is ${value}`, 1);
}

const machine = `${first('sorac').adapter}, ${cpus().length} CPUs ${cpus()[0]?.model ?? ''}`;
console.log(`${work.title}, ${machine}, medians`);
for (const { title, sides, fastestPeer } of rows) {
  console.log(title);
  for (const { name, milliseconds, ratio } of sides) {
    const times =
      name === 'sorac' ? '' : `  sorac takes ${ratio.toFixed(3)} of it, ${(1 / ratio).toFixed(1)} times as fast`;
    console.log(
      `  ${name.padEnd(18)}${milliseconds.toFixed(1).padStart(10)} ms${times}${name === fastestPeer ? ' (fastest peer)' : ''}`,
    );
  }
}
let bandwidth;
if (work.copy) {
  const shares = Array.from({ length: warmRounds }, (_, index) => {
    const rate = work.work.weightBytes / median(find('warm', index + 1, 'sorac').warm) / 1e6;
    return { rate, copy: median(find('copy', index + 1, 'copy').warm) };
  });
  const rate = median(shares.map((share) => share.rate));
  const copy = median(shares.map((share) => share.copy));
  bandwidth = { weights: rate, copy, share: median(shares.map((share) => share.rate / share.copy)) };
  const share = `${(100 * bandwidth.share).toFixed(0)} % of a copy kernel's ${copy.toFixed(2)} GB/s (read and written)`;
  console.log(`weights read: ${rate.toFixed(2)} GB/s, ${share}`);
}
console.log(
  `cosines of results with sorac's: ${Object.entries(cosines)
    .map(([name, value]) => `${name} ${value.toFixed(7)}`)
    .join(', ')}`,
);

mkdirSync(at('results'), { recursive: true });
const stamp = new Date().toISOString().slice(0, 16).replace(/:/g, '');
const path = at(`results/${stamp}-${values.work}.json`);
const summary = {
  work: work.work,
  machine: { node: process.version, platform: process.platform, cpus: cpus().length, cpu: cpus()[0]?.model },
  adapter: first('sorac').adapter,
  peers: names.slice(1).map((name) => first(name).peer),
  rows,
  ...(bandwidth ? { bandwidth } : {}),
  cosines,
  measurements: measurements.map(({ embedding, ...rest }) => rest),
};
writeFileSync(path, `${JSON.stringify(summary, null, 2)}\n`);
console.log(`written to bench/results/${stamp}-${values.work}.json`);
