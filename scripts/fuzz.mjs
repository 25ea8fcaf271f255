// Fuzzing: `npm run fuzz -- --seed N [--minutes M] [--cases N] [--kind bytes|tokens|grammar|valid|text|all] [--models N]
// [--workers W]`. `--models` adds that many valid models to the cases. `--replay KIND:SEED` runs one case and prints its source. Exit 1 on a failure.
// Findings belong in test/fuzz/regressions.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'node_modules/.cache/sorac', `fuzz-${process.pid}`);
const { values: options } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string' },
    cases: { type: 'string' },
    kind: { type: 'string', default: 'all' },
    models: { type: 'string' },
    workers: { type: 'string', default: '1' },
    replay: { type: 'string' },
  },
});

/** A case that takes longer than this is stopped: text in milliseconds of work, models in some hundred. */
const hangMilliseconds = 20_000;

function fail(message) {
  console.error(`fuzz: ${message}`);
  process.exit(2);
}

function integer(name, fallback) {
  if (options[name] === undefined) return fallback;
  const value = Number(options[name]);
  if (!Number.isFinite(value) || value < 0) fail(`--${name} needs a number`);
  return value;
}

async function bundle() {
  mkdirSync(folder, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: ['test/fuzz/worker.ts', 'test/fuzz/campaign.ts'],
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    logLevel: 'warning',
  });
}

function show(failure) {
  console.error(
    `\nFAILURE --replay ${failure.kind}:${failure.seed}\n${failure.message}\n--- source\n${failure.source}\n---`,
  );
}

function merge(total, part) {
  total.cases += part.cases;
  total.parses += part.parses;
  total.checks += part.checks;
  total.slowest = Math.max(total.slowest, part.slowest);
  for (const kind of Object.keys(part.byKind)) total.byKind[kind] += part.byKind[kind];
}

/** Runs one share of the cases; after a hang a new thread goes on behind it. */
async function runShare(campaign, job, total) {
  let failures = 0;
  for (let first = job.first; first < job.end && Date.now() < job.until; ) {
    const progress = new SharedArrayBuffer(8);
    const view = new Int32Array(progress);
    view[0] = -1;
    const worker = new Worker(join(folder, 'worker.mjs'), { workerData: { ...job, first, progress } });
    let latest = campaign.newFigures();
    first = await new Promise((resolve, reject) => {
      let [seen, since] = [-1, Date.now()];
      const timer = setInterval(() => {
        const now = Atomics.load(view, 0);
        if (now !== seen) [seen, since] = [now, Date.now()];
        if (now < 0 || Date.now() - since < hangMilliseconds) return;
        clearInterval(timer);
        const kind = job.kinds[Atomics.load(view, 1)];
        const seed = campaign.caseSeed(job.seed, now);
        failures++;
        show({
          kind,
          seed,
          message: `still running after ${hangMilliseconds} ms`,
          source: campaign.sourceOf(kind, seed),
        });
        worker.terminate().then(() => resolve(now + job.step), reject);
      }, 500);
      worker.on('error', reject);
      worker.on('message', (message) => {
        if (message.figures) latest = message.figures;
        if (message.failure) {
          failures++;
          show(message.failure);
        }
        if (!message.done) return;
        clearInterval(timer);
        resolve(message.next);
      });
    });
    merge(total, latest);
  }
  return failures;
}

await bundle();
try {
  const campaign = await import(pathToFileURL(join(folder, 'campaign.mjs')).href);
  const figures = campaign.newFigures();
  if (options.replay !== undefined) {
    const [kind, seed] = options.replay.split(':');
    if (!campaign.kinds.includes(kind)) fail('--replay needs KIND:SEED');
    console.log(campaign.sourceOf(kind, Number(seed)));
    const failure = campaign.runCase(kind, Number(seed), figures);
    if (failure) console.error(failure.message);
    process.exitCode = failure ? 1 : 0;
  } else {
    const seed = integer('seed');
    const workers = Math.max(1, integer('workers', 1));
    const text = campaign.kinds.filter((kind) => kind !== 'valid');
    const kinds = options.kind === 'all' ? campaign.kinds : options.kind === 'text' ? text : [options.kind];
    if (!kinds.every((kind) => campaign.kinds.includes(kind)))
      fail(`--kind is one of ${campaign.kinds.join(', ')}, text, all`);
    const minutes = integer('minutes', options.cases === undefined ? 1 : Number.POSITIVE_INFINITY);
    const end = integer('cases', Number.MAX_SAFE_INTEGER);
    const start = Date.now();
    const until = start + minutes * 60_000;
    const parts = [
      { kinds, end },
      { kinds: ['valid'], end: integer('models', 0) },
    ];
    let failed = 0;
    for (const part of parts) {
      const shares = Array.from({ length: workers }, (_, first) => ({ ...part, seed, first, step: workers, until }));
      const failures = await Promise.all(shares.map((job) => runShare(campaign, job, figures)));
      failed += failures.reduce((sum, count) => sum + count, 0);
    }
    const seconds = (Date.now() - start) / 1000;
    console.log(
      `seed ${seed}: ${figures.cases} cases in ${seconds.toFixed(1)} s on ${workers} thread${workers === 1 ? '' : 's'} ` +
        `(${Math.round(figures.cases / seconds)} a second), ${failed} failure${failed === 1 ? '' : 's'}`,
    );
    console.log(
      `  ${Object.entries(figures.byKind)
        .map(([kind, count]) => `${kind} ${count}`)
        .join(', ')}; ` +
        `${figures.parses} texts parse, ${figures.checks} have no error; slowest case ${Math.round(figures.slowest)} ms; ` +
        `peak memory ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`,
    );
    process.exitCode = failed > 0 ? 1 : 0;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
