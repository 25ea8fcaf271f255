import { describe, expect, test } from 'vitest';
import { type ImportHost, resolveImportPath, resolveImports } from '../../../src/parser/index.ts';
import { limits } from '../../../src/support/limits.ts';
import { expectDiagnostics, sourceFile } from '../../support/language.ts';

function hostOf(files: Readonly<Record<string, string>>): ImportHost & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    library: new Map([
      ['sora:nn', 'import { a } from "sora:base"\nmodule Linear() {}'],
      ['sora:base', 'dim A in 1..2'],
    ]),
    readFile(path) {
      asked.push(path);
      return Object.hasOwn(files, path) ? files[path] : undefined;
    },
    listFiles: () => Object.keys(files),
  };
}

function resolve(text: string, files: Readonly<Record<string, string>> = {}, path = 'main.sora') {
  return resolveImports(sourceFile(text, path), hostOf(files));
}

describe('paths', () => {
  test.each([
    ['main.sora', './a.sora', 'a.sora'],
    ['main.sora', 'a/b.sora', 'a/b.sora'],
    ['models/bert/bert.sora', './a.sora', 'models/bert/a.sora'],
    ['models/bert/bert.sora', '../shared/./a.sora', 'models/shared/a.sora'],
    ['models/bert/bert.sora', '../../a.sora', 'a.sora'],
    ['models/bert/bert.sora', '../../../a.sora', undefined],
    ['main.sora', '../a.sora', undefined],
    ['models/a.sora', 'sora:nn', 'sora:nn'],
  ])('%s imports %s: %s', (from, imported, expected) => {
    expect(resolveImportPath(from, imported)).toBe(expected);
  });
});

describe('resolution', () => {
  test('imported files come before their importers, each once', () => {
    const { value, diagnostics } = resolve(
      'import { A } from "./a.sora"\nimport { B } from "./sub/b.sora"\nimport { Linear } from "sora:nn"',
      {
        'a.sora': 'import { B } from "./sub/b.sora"\nmodule A() {}',
        'sub/b.sora': 'import { C } from "../c.sora"\nmodule B() {}',
        'c.sora': 'module C() {}',
      },
    );
    expect(diagnostics).toEqual([]);
    expect(value.map((tree) => tree.file.path)).toEqual([
      'c.sora',
      'sub/b.sora',
      'a.sora',
      'sora:base',
      'sora:nn',
      'main.sora',
    ]);
  });

  test('a missing file is reported at the path, with the nearest one', () => {
    const { value, diagnostics } = resolve('import { A } from "./bloks.sora"', { 'blocks.sora': '' });
    expectDiagnostics(diagnostics, [
      { code: 'SORA1010', line: 1, at: '"./bloks.sora"', message: '`bloks.sora`', help: '`./blocks.sora`' },
    ]);
    expect(diagnostics[0]?.fixes?.[0]?.edits[0]?.text).toBe('"./blocks.sora"');
    expect(value).toHaveLength(1);
  });

  test('a missing library is reported with the nearest one or the list', () => {
    expectDiagnostics(resolve('import { A } from "sora:n"').diagnostics, [
      { code: 'SORA1010', at: '"sora:n"', help: 'did you mean `sora:nn`' },
    ]);
    expectDiagnostics(resolve('import { A } from "sora:something"').diagnostics, [
      { code: 'SORA1010', help: 'the libraries are `sora:nn`, `sora:base`' },
    ]);
  });

  test.each([
    ['/etc/passwd.sora', 'SORA1012'],
    ['../outside.sora', 'SORA1012'],
    ['a/../../outside.sora', 'SORA1012'],
    ['C:/x.sora', 'SORA1012'],
    ['.\\\\a.sora', 'SORA1012'],
    ['./a\\u{0}.sora', 'SORA1012'],
    ['./a', 'SORA1010'],
    ['./a.json', 'SORA1010'],
  ])('"%s" is refused without asking the host', (path, code) => {
    const host = hostOf({});
    const { diagnostics } = resolveImports(sourceFile(`import { A } from "${path}"`, 'main.sora'), host);
    expectDiagnostics(diagnostics, [{ code, line: 1 }]);
    expect(host.asked).toEqual([]);
  });

  test('a library cannot reach into the project', () => {
    const host: ImportHost = {
      readFile: () => 'dim A in 1..2',
      library: new Map([['sora:nn', 'import { A } from "./a.sora"']]),
    };
    const { diagnostics } = resolveImports(sourceFile('import { A } from "sora:nn"'), host);
    expectDiagnostics(diagnostics, [{ code: 'SORA1012', message: 'library' }]);
    expect(diagnostics[0]?.span.file.path).toBe('sora:nn');
  });

  test('a circle names its files', () => {
    const { diagnostics } = resolve('import { A } from "./a.sora"', {
      'a.sora': 'import { B } from "./b.sora"',
      'b.sora': '\nimport { A } from "./a.sora"',
    });
    expectDiagnostics(diagnostics, [{ code: 'SORA1011', line: 2, at: '"./a.sora"', label: '"./b.sora"' }]);
    expect(diagnostics[0]?.notes).toEqual(['`a.sora` → `b.sora` → `a.sora`']);
    expectDiagnostics(resolve('import { A } from "./main.sora"', {}).diagnostics, [{ code: 'SORA1011' }]);
  });

  test('depth is limited', () => {
    const files = Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [`f${index}.sora`, `import { A } from "./f${index + 1}.sora"`]),
    );
    const { value, diagnostics } = resolve('import { A } from "./f0.sora"', files);
    expectDiagnostics(diagnostics, [{ code: 'SORA1008', message: '32' }]);
    expect(value).toHaveLength(limits.importDepth);
  });

  test('the number of files is limited', () => {
    const text = Array.from({ length: 300 }, (_, index) => `import { A } from "./f${index}.sora"`).join('\n');
    const files = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`f${index}.sora`, '']));
    const { value, diagnostics } = resolve(text, files);
    expect(value).toHaveLength(limits.files);
    expect(new Set(diagnostics.map((one) => one.code))).toEqual(new Set(['SORA1008']));
  });

  test('mistakes of imported files are reported in those files', () => {
    const { diagnostics } = resolve('import { A } from "./a.sora"', { 'a.sora': 'dim A 1..2' });
    expect(diagnostics.map((one) => [one.code, one.span.file.path])).toEqual([['SORA1002', 'a.sora']]);
  });
});
