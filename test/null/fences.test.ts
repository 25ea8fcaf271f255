/**
 * Folders import downwards only. The table is the one of CONTRIBUTING.md; a new folder needs a line here.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Folders of src/ whose values a folder may import, and those of which it may import types only. */
const fences: Readonly<Record<string, { readonly values: readonly string[]; readonly types: readonly string[] }>> = {
  support: { values: ['support'], types: [] },
  parser: { values: ['parser', 'support'], types: [] },
  ir: { values: ['ir', 'parser', 'support'], types: [] },
  passes: { values: ['passes', 'ir', 'support'], types: [] },
  codegen: { values: ['codegen', 'passes', 'ir', 'support'], types: ['runtime'] },
  runtime: { values: ['runtime'], types: [] },
  text: { values: ['text', 'runtime'], types: [] },
  training: { values: ['training', 'runtime', 'support'], types: ['text'] },
  compression: { values: ['compression', 'runtime'], types: ['ir'] },
};

/** Packages that a folder may import; `node:` has its own rule. */
const packages: Readonly<Record<string, readonly string[]>> = {
  support: ['picocolors'],
  parser: ['chevrotain'],
  ir: [],
  passes: [],
  codegen: ['ts-morph'],
  runtime: ['webgpu', 'koffi', 'sorac/cpu'],
  text: ['@huggingface/tokenizers', '@huggingface/jinja'],
  compression: [],
  training: ['csv-parse', 'hyparquet', 'hyparquet-compressors', 'pngjs', 'jpeg-js'],
};

/** Files of the runtime that may touch `node:`: everything else of it runs in a browser too. */
const nodeFiles = [
  /^(?:runtime|support)\/node-[\w-]+\.ts$/,
  /^runtime\/io\/[\w-]+\.ts$/,
  /^training\/(?:datasets\/[\w-]+|checkpoints|events)\.ts$/,
  /^cli\//,
];

interface ImportStatement {
  readonly file: string;
  readonly specifier: string;
  readonly isTypeOnly: boolean;
  readonly isDynamic: boolean;
}

function sourceFiles(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.(ts|mts|js|mjs)$/.test(path) && !path.endsWith('.generated.ts'))
    .map((path) => join(folder, path).split(sep).join('/'));
}

/** Comments and template text out, so that only real statements remain. */
function importsOf(file: string): readonly ImportStatement[] {
  const text = readFileSync(join(root, file), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '');
  const found: ImportStatement[] = [];
  const statement = /^(?:import|export)\s+(type\s+)?(?:([\w*{}\s,$]+?)\s+from\s+)?['"]([^'"\n]+)['"]/gm;
  for (const [, typeWord, clause, specifier = ''] of text.matchAll(statement)) {
    // `import { type A, type B } from` has no values either.
    const names = /^\{([\s\S]*)\}$/
      .exec(clause?.trim() ?? '')?.[1]
      ?.split(',')
      .filter((name) => name.trim() !== '');
    const hasOnlyTypes = names !== undefined && names.length > 0 && names.every((name) => /^\s*type\s/.test(name));
    found.push({ file, specifier, isTypeOnly: typeWord !== undefined || hasOnlyTypes, isDynamic: false });
  }
  for (const [, specifier = ''] of text.matchAll(/(?<!typeof )\bimport\(\s*(?:\/\*.*?\*\/\s*)?['"]([^'"]+)['"]/g)) {
    found.push({ file, specifier, isTypeOnly: false, isDynamic: true });
  }
  return found;
}

/** The folder of src/ that a relative import leads to; `''` for files directly in src/. */
function targetFolder({ file, specifier }: ImportStatement): string {
  const target = relative(join(root, 'src'), resolve(root, dirname(file), specifier));
  const parts = target.split(sep);
  return parts.length > 1 ? (parts[0] ?? '') : '';
}

describe.each(Object.keys(fences))('src/%s', (folder) => {
  const imports = sourceFiles(`src/${folder}`).flatMap(importsOf);
  const fence = fences[folder];

  test('imports only what lies below it', () => {
    const wrong = imports
      .filter(({ specifier }) => specifier.startsWith('.'))
      .filter((statement) => {
        const target = targetFolder(statement);
        if (fence?.values.includes(target) === true) return false;
        return !(statement.isTypeOnly && fence?.types.includes(target) === true);
      })
      .map(({ file, specifier }) => `${file}: ${specifier}`);
    expect(wrong).toEqual([]);
  });

  test('imports only its packages', () => {
    const allowed = packages[folder] ?? [];
    const wrong = imports
      .filter(({ specifier }) => !specifier.startsWith('.') && !specifier.startsWith('node:'))
      .filter(({ specifier, isTypeOnly }) => !allowed.includes(specifier) && !isTypeOnly)
      .map(({ file, specifier }) => `${file}: ${specifier}`);
    expect(wrong).toEqual([]);
  });
});

test('only node files of the runtime and the command line touch `node:`', () => {
  const wrong = sourceFiles('src')
    .flatMap(importsOf)
    .filter(({ specifier }) => specifier.startsWith('node:'))
    .filter(({ file }) => !nodeFiles.some((allowed) => allowed.test(file.replace(/^src\//, ''))))
    .map(({ file, specifier }) => `${file}: ${specifier}`);
  expect(wrong).toEqual([]);
});

test.each(['parser/index.ts', 'passes/index.ts', 'codegen/generate.ts', 'compile.ts'])(
  'src/%s bundles for a browser',
  async (entry) => {
    const result = await build({
      entryPoints: [join(root, 'src', entry)],
      bundle: true,
      write: false,
      platform: 'browser',
      format: 'esm',
      metafile: true,
      logLevel: 'silent',
    });
    const inputs = Object.keys(result.metafile.inputs).map((path) =>
      relative(root, resolve(path)).split(sep).join('/'),
    );
    expect(inputs).toContain(`src/${entry}`);
    expect(inputs.filter((path) => path.startsWith('src/cli/') || path.startsWith('src/runtime/'))).toEqual([]);
    // esbuild's own list of imports judges the scan above: a statement that the scan missed would slip through every fence.
    for (const [path, { imports }] of Object.entries(result.metafile.inputs)) {
      const file = relative(root, resolve(path)).split(sep).join('/');
      if (!file.startsWith('src/')) continue;
      const seen = new Set(importsOf(file).map(({ specifier }) => specifier));
      expect(imports.map(({ original }) => original).filter((specifier) => !seen.has(specifier ?? ''))).toEqual([]);
    }
  },
);

test('src/text bundles for a browser', async () => {
  const result = await build({
    entryPoints: [join(root, 'src/text/index.ts')],
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'esm',
    metafile: true,
    logLevel: 'silent',
  });
  expect(result.warnings).toEqual([]);
  expect(Object.keys(result.metafile.inputs).some((path) => path.includes('@huggingface/jinja'))).toBe(true);
});

test('files of 500 lines at most', () => {
  const long = [...sourceFiles('src'), ...sourceFiles('scripts'), ...sourceFiles('examples'), ...sourceFiles('test')]
    .filter(
      (file) => !file.includes('/generated/') && !file.includes('node_modules/') && !file.startsWith('test/golden/'),
    )
    .map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').split('\n').length - 1 }))
    .filter(({ lines }) => lines > 500);
  expect(long).toEqual([]);
});

test('no default export and no enum in src/', () => {
  const wrong = sourceFiles('src').flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    return /^export default /m.test(text) || /^\s*(?:export\s+)?(?:const\s+)?enum\s/m.test(text) ? [file] : [];
  });
  expect(wrong).toEqual([]);
});
