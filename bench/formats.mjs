// `npm run bench:formats [-- --model stories|chat --rounds N --tokens N --formats f32,int8,int4 --threads N]`: greedy text with weights of
// several number formats on lavapipe, in turns. `--threads default,0` says how many threads the driver has (`driverThreads` of `load`; default: one
// for each core, 0: work is done where it is handed in). One process has all models, so the machine's load hits all alike; each round gives ratios
// of its own, to f32 with as many threads and to f32 with those of the driver.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'stories' },
    rounds: { type: 'string', default: '9' },
    tokens: { type: 'string', default: '64' },
    formats: { type: 'string', default: 'f32,int8,int4' },
    threads: { type: 'string', default: 'default,0' },
  },
});

function stop(message, code) {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(code);
}

/** Weights that the demos have converted, and the tokens that the text begins with. */
const models = {
  stories: {
    title: 'stories15M',
    folder: '../examples/stories/generated',
    demo: 'demo:stories',
    ids: [1, 9038, 2501, 263, 931],
  },
  chat: {
    title: 'MiniMind2-small',
    folder: '../examples/chat/generated',
    demo: 'demo:chat',
    ids: [1, 324, 261, 1030, 87, 5],
  },
};
/** What a format is written as in a `quantize` block: every matrix, table of embeddings and head included. */
const rules = { f32: '', int8: '"**": int8', int4: '"**": int4(group: 32)' };

const model = Object.hasOwn(models, values.model) ? models[values.model] : undefined;
if (!model) stop(`--model must be one of ${Object.keys(models).join(', ')}`, 2);
const formats = values.formats.split(',');
const unknown = formats.find((format) => !Object.hasOwn(rules, format));
if (unknown !== undefined) stop(`no format \`${unknown}\`, there are ${Object.keys(rules).join(', ')}`, 2);
const [rounds, tokens] = [Number(values.rounds), Number(values.tokens)];
const settings = values.threads.split(',');
const odd = settings.find((threads) => !/^(default|\d+)$/.test(threads));
if (odd !== undefined) stop(`\`--threads\` takes \`default\` and numbers, not \`${odd}\``, 2);
const weights = at(`${model.folder}/model.safetensors`);
if (!existsSync(weights)) stop(`the weights are not here yet\n  next: npm run ${model.demo}`, 3);

function compile(format) {
  const source = at(`.cache/formats-${format}`);
  mkdirSync(source, { recursive: true });
  for (const file of readdirSync(at('../models/llama')).filter((name) => name.endsWith('.sora')))
    copyFileSync(at(`../models/llama/${file}`), `${source}/${file}`);
  const block = rules[format] === '' ? '' : `\nquantize LlamaForCausalLM {\n  ${rules[format]}\n}\n`;
  writeFileSync(`${source}/llama.sora`, readFileSync(at('../models/llama/llama.sora'), 'utf8') + block);
  const out = `${source}/${values.model}`;
  const config = at(`${model.folder}/config.json`);
  const done = spawnSync(
    process.execPath,
    [at('../bin/sorac.js'), 'compile', `${source}/llama.sora`, '--config', config, '-o', out],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  if (done.status !== 0) stop(`${values.model} in ${format} does not compile`, done.status ?? 1);
  return `${out}/llama.js`;
}

const sides = [];
for (const format of formats) {
  const { load } = await import(compile(format));
  for (const threads of settings) {
    let bytes = 0;
    const start = performance.now();
    const own = threads === 'default' ? {} : { driverThreads: Number(threads) };
    const loaded = await load({ weights, adapter: 'lavapipe', onProgress: ({ total }) => (bytes = total), ...own });
    sides.push({ format, threads, model: loaded, bytes, load: performance.now() - start, runs: [], text: [] });
  }
}

/** Milliseconds per token behind the first. */
async function run(side) {
  const session = side.model.session();
  const text = [];
  let start = 0;
  let used;
  for await (const { token } of session.generate(model.ids, { maxTokens: tokens + 1, stop: [] })) {
    if (text.length === 0) [start, used] = [performance.now(), process.cpuUsage()];
    text.push(token);
  }
  const { user, system } = process.cpuUsage(used);
  side.text = text;
  const count = text.length - 1;
  return { wall: (performance.now() - start) / count, cpu: (user + system) / 1000 / count };
}

// The first texts have the driver compile.
for (const side of sides) await run(side);
for (let round = 1; round <= rounds; round++) {
  const load1 = loadavg()[0];
  for (const side of round % 2 === 1 ? sides : [...sides].reverse()) side.runs.push({ load1, ...(await run(side)) });
  process.stderr.write(
    `${round}/${rounds} ${sides.map(({ format, threads, runs }) => `${format}/${threads} ${runs.at(-1).wall.toFixed(2)} ms`).join(', ')}\n`,
  );
}

const median = (list) => {
  const sorted = [...list].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const [first] = sides;
const rows = sides.map(({ format, threads, bytes, load, runs, text }) => {
  const alike = sides.find((side) => side.threads === threads);
  const times = (side, what) => median(runs.map((run, round) => side.runs[round][what] / run[what]));
  const other = first.text.findIndex((token, place) => token !== text[place]);
  return {
    format,
    threads,
    weightBytes: bytes,
    loadMilliseconds: load,
    millisecondsPerToken: median(runs.map(({ wall }) => wall)),
    fastest: Math.min(...runs.map(({ wall }) => wall)),
    cpuMillisecondsPerToken: median(runs.map(({ cpu }) => cpu)),
    timesAsFast: times(alike, 'wall'),
    cpuTimesAsFast: times(alike, 'cpu'),
    timesAsFastAsFirst: times(first, 'wall'),
    tokensAsFirst: other < 0 ? text.length : other,
  };
});
const device = first.model.device.name;
console.log(`${model.title}, greedy, ${tokens} tokens, ${device}, ${cpus().length} cores, medians of ${rounds} rounds`);
for (const row of rows) {
  const {
    format,
    threads,
    weightBytes,
    millisecondsPerToken,
    fastest,
    cpuMillisecondsPerToken,
    timesAsFast,
    cpuTimesAsFast,
    timesAsFastAsFirst,
    tokensAsFirst,
  } = row;
  console.log(
    `  ${format.padEnd(5)} ${`driver threads ${threads}`.padEnd(22)} ${(weightBytes / 1e6).toFixed(1).padStart(6)} MB ${millisecondsPerToken.toFixed(2).padStart(7)} ms/token (fastest ${fastest.toFixed(2)}), ` +
      `${timesAsFast.toFixed(2)} times ${first.format} with as many, ${timesAsFastAsFirst.toFixed(2)} times ${first.format} with ${first.threads}; ` +
      `CPU ${cpuMillisecondsPerToken.toFixed(2)} ms, ${cpuTimesAsFast.toFixed(2)} times; ` +
      `the first ${tokensAsFirst} tokens as ${first.format}`,
  );
}
mkdirSync(at('results'), { recursive: true });
const stamp = new Date().toISOString().slice(0, 16).replace(/:/g, '');
const summary = {
  work: { model: model.title, tokens, prompt: model.ids.length },
  machine: { node: process.version, platform: process.platform, cpus: cpus().length, cpu: cpus()[0]?.model },
  adapter: device,
  rows,
  measurements: sides.map(({ format, threads, runs }) => ({ format, threads, runs })),
};
writeFileSync(at(`results/${stamp}-formats-${values.model}.json`), `${JSON.stringify(summary, null, 2)}\n`);
console.log(`written to bench/results/${stamp}-formats-${values.model}.json`);
await Promise.all(sides.map((side) => side.model.close()));
process.exit(0);
