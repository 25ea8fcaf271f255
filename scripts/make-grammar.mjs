// Makes the files of grammar/ that come from the code: `npm run grammar`. test/null/grammar.test.ts fails when they are stale.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const bundle = join(root, 'node_modules/.cache/sorac', `grammar-${process.pid}.mjs`);

mkdirSync(join(bundle, '..'), { recursive: true });
await build({
  absWorkingDir: root,
  entryPoints: ['scripts/grammar/index.ts'],
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  outfile: bundle,
  logLevel: 'warning',
});
try {
  const { grammarFiles } = await import(pathToFileURL(bundle).href);
  const folder = join(root, 'grammar');
  for (const [name, text] of grammarFiles(readFileSync(join(folder, 'sora.md'), 'utf8'))) {
    const path = join(folder, name);
    writeFileSync(path, text);
    console.log(`grammar/${name}  ${text.length} characters`);
  }
} finally {
  rmSync(bundle);
}
