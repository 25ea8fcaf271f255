// Builds the package: `npm run build`. Makes the generated sources, then dist/.
//
//   1. src/codegen/module/runtime-text.generated.ts: the runtime as one text, for the end of every generated module, one for
//      each kind of model: plain, with states, generating, training, all of it, with number formats of weights
//   2. src/parser/library.generated.ts: the `.sora` library (`sora:nn`), so that the compiler reads no files
//   3. dist/ with tsc; left out with --no-emit
//
// The generated files are not in the repository. Equal inputs give equal bytes.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));

function writeIfChanged(path, text) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}

async function runtimeText(entry) {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [`src/runtime/${entry}`],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
    charset: 'ascii',
    legalComments: 'none',
    external: ['node:*', 'webgpu', 'koffi', 'sorac/cpu'],
    logLevel: 'warning',
  });
  const [output] = result.outputFiles;
  if (!/export \{\n {2}SoraError,\n {2}(?:create\w+ as )?createModel\n\};\n$/.test(output?.text ?? '')) {
    throw new Error(`${entry} must export SoraError and createModel only`);
  }
  const text = output.text.replace(/^\/\/ src\/runtime\/.*\n/gm, '');
  if (/^import\b/m.test(text)) throw new Error('the runtime has a static import');
  return text;
}

const runtimes = [
  ['runtimeText', 'embedded.ts'],
  ['sessionRuntimeText', 'embedded-sessions.ts'],
  ['generationRuntimeText', 'embedded-generation.ts'],
  ['trainingRuntimeText', 'embedded-training.ts'],
  ['wholeRuntimeText', 'embedded-whole.ts'],
  ['packedRuntimeText', 'embedded-packed.ts'],
  ['packedGenerationRuntimeText', 'embedded-packed-generation.ts'],
];

async function textConstant([name, entry]) {
  return `export const ${name}: string = ${JSON.stringify(await runtimeText(entry))};\n`;
}

/** `models/nn/nn.sora` is `sora:nn`, `models/nn/NAME.sora` is `sora:NAME`. */
function library() {
  const folder = join(root, 'models/nn');
  const files = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith('.sora'))
        .sort()
    : [];
  return files.map((name) => [
    `sora:${name.slice(0, -'.sora'.length)}`,
    readFileSync(join(folder, name), 'utf8').replaceAll('\r\n', '\n'),
  ]);
}

const head = '// Made by scripts/build.mjs. Do not edit.\n';

export async function generateSources() {
  writeIfChanged(
    join(root, 'src/codegen/module/runtime-text.generated.ts'),
    `${head}${(await Promise.all(runtimes.map(textConstant))).join('')}`,
  );
  const entries = library().map(([name, text]) => `  [${JSON.stringify(name)}, ${JSON.stringify(text)}],\n`);
  writeIfChanged(
    join(root, 'src/parser/library.generated.ts'),
    `${head}export const library: ReadonlyMap<string, string> = new Map<string, string>([\n${entries.join('')}]);\n`,
  );
}

function compileTypeScript() {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const done = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.json')], { cwd: root, stdio: 'inherit' });
  if (done.status !== 0) throw new Error('tsc found errors');
}

await generateSources();
if (!process.argv.includes('--no-emit')) {
  try {
    compileTypeScript();
  } catch (error) {
    console.error(`build: ${error.message}`);
    process.exitCode = 1;
  }
}
