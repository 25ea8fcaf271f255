/**
 * Every limit of src/support/limits.ts just below, at and above: what is allowed passes, what is beyond is one diagnostic of the file
 * that crosses it, in bounded time.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadSource } from '../../src/cli/source-files.ts';
import { checkSource, compile } from '../../src/compile.ts';
import { diagnose } from '../../src/support/diagnostic.ts';
import { limits } from '../../src/support/limits.ts';
import { renderDiagnostics } from '../../src/support/render.ts';
import { describeDiagnostics, sourceFile } from '../support/language.ts';

/** Other files by path. */
type Files = (path: string) => string | undefined;

interface Limit {
  readonly limit: keyof typeof limits;
  readonly code: string;
  /** A program that has `amount` of what is limited. */
  readonly make: (amount: number) => string;
  readonly files?: (amount: number) => Files;
  /** Distance from the limit of what is tried, where single steps cost too much. */
  readonly step?: number;
}

const model = (body: string, before = '', members = ''): string =>
  `dim B in 1..4\n${before}\nmodel M {\n${members}\n entry f(x: f32[B, 4]) -> y: f32[B, 4] { ${body} }\n}\n`;

/** `lines` functions that call each other: f0 is the outermost. */
function callChain(count: number): string {
  const functions = Array.from({ length: count }, (_, at) =>
    at === count - 1
      ? `fn f${at}(x: f32[B, 4]) -> f32[B, 4] = x + 1`
      : `fn f${at}(x: f32[B, 4]) -> f32[B, 4] = f${at + 1}(x)`,
  );
  return model('f0(x)', functions.join('\n'));
}

/** A function of numbers that makes `amount` calls in all: binary digits of the amount, doubled by levels. */
function manyCalls(amount: number): string {
  const lines = ['fn c0(k: int) = k'];
  // c{n} makes 2^(n + 1) - 1 calls: itself and two of the level below.
  for (let level = 1; level < 15; level++) lines.push(`fn c${level}(k: int) = c${level - 1}(k) + c${level - 1}(k)`);
  const terms: string[] = [];
  let rest = amount;
  for (let level = 14; level >= 0; level--) {
    const cost = 2 ** (level + 1) - 1;
    for (; rest >= cost; rest -= cost) terms.push(`c${level}(1)`);
  }
  return model(`x * (${terms.join(' + ')})`, lines.join('\n'));
}

const table: readonly Limit[] = [
  {
    limit: 'sourceLength',
    code: 'SORA1008',
    make(amount) {
      const text = model('x + 1');
      const line = `// ${'z'.repeat(97_000)}\n`;
      const comments = line.repeat(Math.floor((amount - text.length) / line.length));
      return text + comments + ' '.repeat(amount - text.length - comments.length);
    },
  },
  {
    limit: 'nesting',
    code: 'SORA1008',
    make: (amount) => model(`${'('.repeat(amount - 2)}x${')'.repeat(amount - 2)} + 1`),
  },
  {
    limit: 'expressionDepth',
    code: 'SORA1008',
    make: (amount) =>
      `dim B in 1..4\nmodel M {\nentry f(x: f32[B]) -> y: f32[B] = ${Array.from({ length: amount }, () => 'x').join(' + ')}\n}\n`,
  },
  {
    limit: 'identifierLength',
    code: 'SORA1008',
    make: (amount) => model('x + 1').replace('entry f', `entry ${'n'.repeat(amount)}`),
  },
  {
    limit: 'importDepth',
    code: 'SORA1008',
    make: () => `import { g1 } from "./1.sora"\n${model('g1(x)')}`,
    files: (amount) => (path) => {
      const at = Number.parseInt(path, 10);
      if (at === amount - 1) return `fn g${at}(x: f32[...]) -> f32[...] = x + 1\n`;
      return `import { g${at + 1} } from "./${at + 1}.sora"\nfn g${at}(x: f32[...]) -> f32[...] = g${at + 1}(x)\n`;
    },
  },
  {
    limit: 'files',
    code: 'SORA1008',
    make(amount) {
      const names = Array.from({ length: amount - 1 }, (_, at) => at);
      const imports = names.map((at) => `import { g${at} } from "./${at}.sora"`).join('\n');
      return `${imports}\n${model(`x * (${names.map((at) => `g${at}(1)`).join(' + ')})`)}`;
    },
    files: () => (path) => `fn g${Number.parseInt(path, 10)}(k: int) = k\n`,
  },
  {
    limit: 'repeatCount',
    code: 'SORA5002',
    make: (amount) =>
      model('layer[0](x)', 'module L() { fn (x: f32[B, 4]) -> f32[B, 4] = x + 1 }', `repeat layer[${amount}] = L()`),
  },
  { limit: 'elaboratedCalls', code: 'SORA5002', make: manyCalls },
  { limit: 'callDepth', code: 'SORA5002', make: (amount) => callChain(amount - 1) },
  {
    limit: 'rank',
    code: 'SORA5002',
    make: (amount) => {
      const ones = Array.from({ length: amount - 1 }, () => '1').join(', ');
      return `dim B in 1..4\nmodel M { entry f(x: f32[B, ${ones}]) -> y: f32[B, ${ones}] { x + 1 } }\n`;
    },
  },
  {
    limit: 'dim',
    code: 'SORA5002',
    make: (amount) => `dim B in 1..4\nmodel M { entry f(x: f32[B, ${amount}]) -> y: f32[B] { x[:, 0] + 1 } }\n`,
  },
];

function check(text: string, files: Files = () => undefined) {
  return checkSource({ file: sourceFile(text), host: { readFile: files } });
}

describe('what is at the limit passes, what is beyond is one diagnostic', () => {
  test.each(table.map((one) => [one.limit, one] as const))('%s', (name, { code, make, files, step = 1 }) => {
    const limit = limits[name];
    for (const amount of [limit - step, limit]) {
      const { diagnostics } = check(make(amount), files?.(amount));
      expect(describeDiagnostics(diagnostics), `${amount} of ${limit}`).toEqual([]);
    }
    const start = performance.now();
    const { value, diagnostics } = check(make(limit + step), files?.(limit + step));
    expect(value).toBeUndefined();
    expect(describeDiagnostics(diagnostics)).toHaveLength(1);
    expect(diagnostics[0]?.code).toBe(code);
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test('the end of a range of a dim', () => {
    const ranged = (most: number): string =>
      `dim B in 1..${most}\nmodel M { entry f(x: f32[B]) -> y: f32[B] { x + 1 } }\n`;
    for (const most of [limits.dim - 1, limits.dim]) expect(check(ranged(most)).diagnostics).toEqual([]);
    expect(check(ranged(limits.dim + 1)).diagnostics.map(({ code }) => code)).toEqual(['SORA2206']);
  });

  test('the sizes of a state, and its elements', () => {
    const kept = (positions: number, heads = 1): string =>
      `dim B in 1..4, T in 1..8\nmodel M { state kv = KVCache(B, ${heads}, ${positions}, 1)\n` +
      `entry f(x: f32[B, T, ${heads}]) -> y: f32[B, T, ${heads}] { attend(x, x, x) { heads: ${heads}, cache: kv } } }\n`;
    for (const most of [limits.dim - 1, limits.dim]) expect(check(kept(most)).diagnostics).toEqual([]);
    expect(check(kept(limits.dim + 1)).diagnostics.map(({ code }) => code)).toEqual(['SORA5002']);
    expect(check(kept(Number.MAX_SAFE_INTEGER)).diagnostics.map(({ code }) => code)).toEqual(['SORA5002']);
    const [least, over] = [limits.elements / 5, limits.elements / 5 + 1];
    for (const most of [least - 1, least]) expect(check(kept(most, 5)).diagnostics).toEqual([]);
    expect(check(kept(over, 5)).diagnostics.map(({ code }) => code)).toEqual(['SORA5002']);
  });

  test('dims that grow beyond it in a product', () => {
    const squared = (most: number): string =>
      `dim B in 1..${most}\nmodel M { entry f(x: f32[B, 4]) -> y: f32[B * ${2 ** 16}] { x[:, 0] + 1 } }\n`;
    expect(check(squared(2 ** 15)).diagnostics.map(({ code }) => code)).toContain('SORA5002');
  });
});

describe('expansion is foreseen, not tried', () => {
  const layer = 'module L() { fn (x: f32[B, 4]) -> f32[B, 4] { let a = x + 1 let b = tanh(a) a * b } }';
  const nested = (outer: number, inner: number): string =>
    model(
      'layer(x)',
      `${layer}\nmodule N() { repeat inner[${inner}] = L() fn (x: f32[B, 4]) -> f32[B, 4] = inner(x) }`,
      `repeat layer[${outer}] = N()`,
    );

  test('instances and operations', () => {
    expect(check(nested(20, 20)).diagnostics).toEqual([]);
    const start = performance.now();
    for (const [outer, inner] of [
      [4096, 4096],
      [4096, 1000],
      [1000, 1000],
    ] as const) {
      const { diagnostics } = check(nested(outer, inner));
      expect(diagnostics.map(({ code }) => code)).toEqual(['SORA5002']);
    }
    // A million instances take minutes.
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  test('expressions inside each other over open calls', () => {
    const level = (depth: number, at: number): string => `${'('.repeat(depth)}f${at}(x)${' * 2)'.repeat(depth)}`;
    const chain = (count: number, depth: number): string => {
      const functions = Array.from(
        { length: count },
        (_, at) => `fn f${at}(x: f32[B, 4]) -> f32[B, 4] = ${level(depth, at + 1)}`,
      );
      return model('f0(x)', [...functions, `fn f${count}(x: f32[B, 4]) -> f32[B, 4] = x + 1`].join('\n'));
    };
    expect(check(chain(10, 50)).diagnostics).toEqual([]);
    const per = Math.floor(limits.elaborationDepth / 60);
    expect(check(chain(per + 1, 60)).diagnostics.map(({ code }) => code)).toEqual(['SORA5002']);
  });
});

describe('sizes in bytes are computed exactly', () => {
  const weight = (rows: number, columns: number): string =>
    `dim B in 1..4\nmodel M { w: f32[${rows}, ${columns}] entry f(x: f32[B, ${columns}]) -> y: f32[B, ${rows}] { linear(x, w) } }\n`;

  test('a tensor beyond what a device can bind is refused with its name', () => {
    expect(compile({ file: sourceFile(weight(4096, 4096)) }).diagnostics).toEqual([]);
    for (const [rows, columns] of [
      [2 ** 31 - 1, 2],
      [2 ** 31 - 1, 2 ** 31 - 1],
      [2 ** 20, 2 ** 20],
    ] as const) {
      const { value, diagnostics } = compile({ file: sourceFile(weight(rows, columns)) });
      expect(value).toBeUndefined();
      expect(new Set(diagnostics.map(({ code }) => code))).toEqual(new Set(['SORA5002']));
    }
  });

  test('elements of a tensor', () => {
    const wide = (columns: number): string =>
      `dim B in 1..4\nmodel M { entry f(x: f32[B, 65536, ${columns}]) -> y: f32[B] { x[:, 0, 0] + 1 } }\n`;
    for (const columns of [65_534, 65_535]) expect(check(wide(columns)).diagnostics).toEqual([]);
    expect(check(wide(65_536)).diagnostics.map(({ code }) => code)).toEqual(['SORA5002']);
    // Tensors that no one declares.
    for (const body of [
      'sum(matmul(a, b), axis: [0, 1])',
      'sum(a + b, axis: [0, 1])',
      'sum(reshape(a, [2147483647, 2147483647, 2147483647]), axis: [0, 1, 2])',
    ]) {
      const text = `dim B in 1..2\nmodel M { entry f(x: f32[B], a: f32[2147483647, 1], b: f32[1, 2147483647]) -> y: f32[B] { x + ${body} } }\n`;
      expect(
        check(text).diagnostics.map(({ code }) => code),
        body,
      ).toEqual(['SORA5002']);
    }
  });
});

describe('reports are bounded', () => {
  const broken = (lines: number): string => `model M {\n${'  q Linear(1)\n'.repeat(lines)}}\n`;

  test('syntax errors kept', () => {
    for (const lines of [limits.syntaxErrors - 1, limits.syntaxErrors]) {
      expect(check(broken(lines)).diagnostics).toHaveLength(lines);
    }
    expect(check(broken(limits.syntaxErrors + 1)).diagnostics).toHaveLength(limits.syntaxErrors);
  });

  test('diagnostics shown', () => {
    const shown = (count: number): string => {
      const span = { file: sourceFile('x\n'), start: 0, end: 1 };
      const list = Array.from({ length: count }, (_, at) => diagnose('SORA2001', `number ${at}`, span));
      return renderDiagnostics(list, { format: 'concise', color: false });
    };
    expect(shown(limits.diagnosticsShown - 1)).not.toContain('more');
    expect(shown(limits.diagnosticsShown)).not.toContain('more');
    expect(shown(limits.diagnosticsShown + 1)).toContain('1 more');
  });
});

describe('imports stay in the project', () => {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'sorac-limits-')));
  afterAll(() => rmSync(base, { recursive: true }));
  const project = join(base, 'project');
  mkdirSync(join(project, 'blocks'), { recursive: true });
  mkdirSync(join(base, 'project-secret'));
  writeFileSync(join(project, 'package.json'), '{}');
  const helper = 'fn g(x: f32[...]) -> f32[...] = x + 1\n';
  for (const path of ['outside.sora', 'project-secret/s.sora', 'project/inside.sora', 'project/blocks/b.sora']) {
    writeFileSync(join(base, path), helper);
  }
  symlinkSync(join(base, 'outside.sora'), join(project, 'link.sora'));
  symlinkSync(base, join(project, 'up'));
  symlinkSync(join(project, 'inside.sora'), join(project, 'blocks/to-inside.sora'));
  symlinkSync(join(project, 'loop.sora'), join(project, 'loop.sora'));
  mkdirSync(join(project, 'folder.sora'));
  writeFileSync(join(project, 'long.sora'), `// ${' '.repeat(limits.sourceLength * 3)}\n`);

  function codesOf(path: string): readonly string[] {
    const main = join(project, 'blocks/main.sora');
    writeFileSync(main, `import { g } from "${path}"\n${model('g(x)')}`);
    const { file, host } = loadSource(main);
    return checkSource({ file, host }).diagnostics.map(({ code }) => code);
  }

  test.each(['./b.sora', '../inside.sora', './to-inside.sora', '../blocks/../inside.sora', './/b.sora'])(
    '%s is read',
    (path) => {
      expect(codesOf(path)).toEqual([]);
    },
  );

  test.each([
    ['../../outside.sora', 'SORA1012'],
    ['../../project-secret/s.sora', 'SORA1012'],
    ['../blocks/../../outside.sora', 'SORA1012'],
    ['/etc/passwd', 'SORA1012'],
    [`${base}/outside.sora`, 'SORA1012'],
    ['C:/x.sora', 'SORA1012'],
    ['..\\\\..\\\\outside.sora', 'SORA1012'],
    ['\\\\\\\\host\\\\x.sora', 'SORA1012'],
    ['./b.sora\\u{0}.sora', 'SORA1012'],
    ['file:///etc/x.sora', 'SORA1010'],
    ['https://example.org/x.sora', 'SORA1010'],
    ['../link.sora', 'SORA1010'],
    ['../up/outside.sora', 'SORA1010'],
    ['../up/project-secret/s.sora', 'SORA1010'],
    ['../loop.sora', 'SORA1010'],
    ['../folder.sora', 'SORA1010'],
    ['../long.sora', 'SORA1010'],
    ['../package.json', 'SORA1010'],
    ['sora:../../outside.sora', 'SORA1010'],
  ])('%s is refused', (path, code) => {
    expect(codesOf(path)[0]).toBe(code);
  });
});
