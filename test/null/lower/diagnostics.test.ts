/**
 * Wrong models and what is said about them. Each `.sora` file of test/golden/diagnostics has one mistake and gives one
 * diagnostic; the `.txt` beside it is what a person sees. What must hold whatever the wording stands in the table below
 * (the code, the line, and the line of a second place where one explains the first) or in the first line of the file:
 *
 *   // expect: CODE line N: text that names the mistake
 *   // config: {"key": "value"}
 *   // file other.sora: the text of another file of the project, on one line
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fixSource } from '../../../src/cli/fix.ts';
import { type Code, codes } from '../../../src/support/codes.ts';
import type { Diagnostic, Label } from '../../../src/support/diagnostic.ts';
import { renderDiagnostics } from '../../../src/support/render.ts';
import { positionAt, spanText } from '../../../src/support/source.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { type LowerOptions, lower, through } from './kit.ts';

const folder = new URL('../../golden/diagnostics/', import.meta.url);

/** Name, code, line, line of the label that explains (undefined: the mistake stands alone), a word of the help. */
const cases: readonly (readonly [name: string, code: Code, line: number, label: number | undefined, help?: string])[] =
  [
    ['absent-field-used', 'SORA2005', 12, 10, 'if … { … } else { … }'],
    ['argument-missing', 'SORA2007', 6, undefined, 'Linear(inputs, outputs, bias, std)'],
    ['condition-on-a-runtime-dim', 'SORA2203', 5, 1, 'where(condition, a, b)'],
    ['condition-on-a-tensor', 'SORA2203', 5, undefined, 'where(condition, a, b)'],
    ['config-default-of-another-type', 'SORA2202', 6, 6],
    ['config-value-missing', 'SORA2201', 6, 6, '= …'],
    ['dim-mismatch-across-repeat', 'SORA2107', 21, 12],
    ['dim-mismatch-in-call', 'SORA2101', 15, 12],
    [
      'dim-without-a-size',
      'SORA2206',
      4,
      1,
      'some parameter without a default must have the dim alone on one of its axes',
    ],
    ['division-leaves-a-rest', 'SORA2204', 9, undefined, 'a division must leave no remainder here'],
    ['duplicate-field', 'SORA2002', 7, 6],
    ['empty-range', 'SORA2206', 1, 1],
    ['float-times-integer-tensor', 'SORA2103', 5, 5, 'f32(…)'],
    ['fraction-with-integer-tensor', 'SORA2103', 5, 5, 'f32(…)'],
    ['function-calls-itself', 'SORA2008', 3, 6],
    ['heads-do-not-divide', 'SORA2108', 16, 11],
    ['import-without-such-name', 'SORA2003', 1, 1, 'Linear'],
    ['index-out-of-range', 'SORA2106', 5, 4],
    ['key-heads-do-not-divide', 'SORA2108', 5, 5],
    ['mask-of-another-length', 'SORA2110', 5, 4],
    ['missing-import', 'SORA2001', 9, 1, 'gelu'],
    ['model-without-entry', 'SORA2011', 5, undefined, 'entry name(x: f32[B, T]) -> y: f32[B, T] { … }'],
    ['module-called-as-a-function', 'SORA2006', 6, undefined, 'name = Linear(…)'],
    ['module-contains-itself', 'SORA2008', 7, 5],
    ['names-for-a-list', 'SORA2007', 9, 9],
    ['position-table-too-small', 'SORA2106', 14, 11, 'declare a smaller range for the runtime dim'],
    ['reshape-to-another-size', 'SORA2101', 5, 5],
    ['result-missing', 'SORA2104', 10, 8],
    ['result-of-another-shape', 'SORA2104', 14, 13],
    ['shapes-do-not-broadcast', 'SORA2105', 7, 6],
    ['split-leaves-a-rest', 'SORA2101', 9, 6],
    ['two-weights-with-one-name', 'SORA2009', 7, 6, 'as "…"'],
    ['unknown-activation', 'SORA2205', 10, undefined],
    ['unknown-argument', 'SORA2007', 13, 3, 'bias'],
    ['unknown-config-field', 'SORA2004', 10, 5, 'hidden'],
    ['unknown-modifier', 'SORA2111', 5, undefined, 'mask'],
    ['unknown-name', 'SORA2001', 10, 9, 'scores'],
    ['weight-of-the-wrong-shape', 'SORA2101', 6, 10, 'a weight is [outputs, inputs], as in PyTorch'],
    ['wrong-rank', 'SORA2102', 8, 3],
  ];

const sources = readdirSync(folder).filter((name) => name.endsWith('.sora'));
const inTable = new Set(cases.map(([name]) => `${name}.sora`));
const textOf = (name: string): string => readFileSync(new URL(name, folder), 'utf8');

interface Expected {
  readonly code: string;
  readonly line: number;
  readonly names: string;
  readonly options: LowerOptions;
}

function readHeader(text: string): Expected {
  const [, code = '', line = '', names = ''] = /^\/\/ expect: (SORA\d{4}) line (\d+): (.+)\n/.exec(text) ?? [];
  const config = /^\/\/ config: (.*)$/m.exec(text)?.[1];
  const files = [...text.matchAll(/^\/\/ file (\S+): (.*)$/gm)].map(([, path = '', content = '']) => [path, content]);
  return {
    code,
    line: Number(line),
    names,
    options: {
      ...(config === undefined ? {} : { config: JSON.parse(config) as Record<string, unknown> }),
      files: Object.fromEntries(files) as Record<string, string>,
    },
  };
}

/** Everything that a person reads. */
function wordsOf(diagnostic: Diagnostic): string {
  const { message, span, labels, notes, help = '' } = diagnostic;
  return [message, spanText(span), ...labels.map((label) => label.text), ...notes, help].join('\n');
}

/** What a person sees, with each line of the library as if it were its first: the library grows, these mistakes stay. */
function shown(diagnostics: readonly Diagnostic[]): string {
  const firstLine = (label: Label): Label => {
    const { file, start, end } = label.span;
    if (!file.path.startsWith('sora:')) return label;
    const from = file.text.lastIndexOf('\n', start - 1) + 1;
    const to = file.text.indexOf('\n', start);
    const line = { path: file.path, text: file.text.slice(from, to) };
    return { ...label, span: { file: line, start: start - from, end: Math.min(end, to) - from } };
  };
  const moved = diagnostics.map((each) => ({ ...each, labels: each.labels.map(firstLine) }));
  return renderDiagnostics(moved, { format: 'pretty', color: false });
}

describe('each wrong model gives one diagnostic', () => {
  test('there are at least 100, each with a row or a header', () => {
    expect(sources.length).toBeGreaterThanOrEqual(100);
    const without = sources.filter((name) => !inTable.has(name) && readHeader(textOf(name)).code === '');
    expect(without).toEqual([]);
    expect([...inTable].filter((name) => !sources.includes(name))).toEqual([]);
  });

  test.each(sources.filter((name) => !inTable.has(name)))('%s', async (path) => {
    const text = textOf(path);
    const { code, line, names, options } = readHeader(text);
    const { value, diagnostics } = through(text, options, path);
    const rendered = shown(diagnostics);
    expect(describeDiagnostics(diagnostics), rendered).toHaveLength(1);
    const [only] = diagnostics;
    if (only === undefined) return;
    expect(only.code, rendered).toBe(code);
    expect(value === undefined).toBe(only.severity === 'error');
    expect(only.span.file.path).toBe(path);
    expect(Math.abs(positionAt(only.span.file, only.span.start).line - line), rendered).toBeLessThanOrEqual(1);
    expect(wordsOf(only)).toContain(names);
    await expect(rendered).toMatchFileSnapshot(new URL(path.replace(/sora$/, 'txt'), folder).pathname);
  });

  test.each(cases)('%s', async (name, code, line, label, help) => {
    const path = `${name}.sora`;
    const { value, diagnostics } = through(readFileSync(new URL(path, folder), 'utf8'), {}, path);
    expect(value).toBeUndefined();
    expect(describeDiagnostics(diagnostics)).toHaveLength(1);
    const [only] = diagnostics;
    if (only === undefined) return;
    expect(only.code).toBe(code);
    expect(only.span.file.path).toBe(path);
    expect(positionAt(only.span.file, only.span.start).line).toBe(line);
    const labelLines = only.labels
      .filter((each) => each.span.file.path === path)
      .map((each) => positionAt(each.span.file, each.span.start).line);
    if (label === undefined) expect(labelLines).toEqual([]);
    else expect(labelLines).toContain(label);
    if (help !== undefined) expect(only.help).toContain(help);
    await expect(shown(diagnostics)).toMatchFileSnapshot(new URL(`${name}.txt`, folder).pathname);
  });
});

/** Codes that no text of one file causes; each with the test that does cause it. */
const fromElsewhere: Readonly<Record<string, string>> = {
  SORA4001: 'kernels: test/null/passes/fuse.test.ts',
  SORA4002: 'kernels: test/null/passes/fuse.test.ts',
};

test('every code that a source can cause has a wrong program', () => {
  const seen = new Set(sources.map((name) => readHeader(textOf(name)).code).concat(cases.map(([, code]) => code)));
  const expected = Object.keys(codes).filter((code) => /^SORA[1-5]/.test(code) && !(code in fromElsewhere));
  expect(expected.filter((code) => !seen.has(code))).toEqual([]);
});

describe('many mistakes in one file are told in one run, each once', () => {
  test('of names, types and shapes', () => {
    const text = `import { Linear, gleu } from "sora:nn"

dim B in 1..8, T in 16..2

config Sizes {
  hidden: int = "8"
}

module Layer(c: Sizes) {
  up = Linear(8, 16)
  up = Linear(8, 16)
  down = Linear(8, 8)

  fn (x: f32[B, 8]) = down(up(x))
}

model Test(c: Sizes) {
  layer = Layer(c)
  table: f32[4, 4]

  entry one(x: f32[B, 8]) -> y: f32[B, 8] = layer(x)
  entry two(x: f32[B, 3]) -> y: f32[B, 4] = x + table
  entry three(x: f32[B, 8]) -> y: f32[B] = softmx(x)
  entry four(ids: i32[B]) -> y: f32[B] = ids * 0.5
}
`;
    const found = lower(text).diagnostics.map((one) => `${positionAt(one.span.file, one.span.start).line} ${one.code}`);
    expect(found.sort()).toEqual(
      [
        '1 SORA2003',
        '3 SORA2206',
        '6 SORA2202',
        '11 SORA2002',
        '14 SORA2101',
        '22 SORA2105',
        '23 SORA2001',
        '24 SORA2103',
      ].sort(),
    );
  });

  test('of the syntax', () => {
    const text = `dim B in 1.8

module A {
  w: f32[4] as bias
  u = Linear

  fn (x: f32[4]) {
    let a = x +
    let b = max(a a)
    a && b
  }
}

modul C {
  v: f32[4]
}

model D {
  entry run(x: f32[4]) { x }
}
`;
    const found = lower(text).diagnostics.map((one) => `${positionAt(one.span.file, one.span.start).line} ${one.code}`);
    expect(found).toEqual([
      '1 SORA1002',
      '4 SORA1002',
      '5 SORA1002',
      '8 SORA1002',
      '9 SORA1002',
      '10 SORA1001',
      '14 SORA1002',
      '19 SORA1002',
    ]);
  });
});

/** Wrong programs whose diagnostic proposes an edit. */
const fixable = sources.flatMap((path) => {
  const text = textOf(path);
  const { options } = readHeader(text);
  const check = (content: string): readonly Diagnostic[] => lower(content, options, path).diagnostics;
  return check(text).some((one) => one.fixes !== undefined) ? [{ path, text, check }] : [];
});

describe('a fix mends its mistake', () => {
  test('there are some', () => expect(fixable.length).toBeGreaterThan(10));

  test.each(fixable)('$path', ({ path, text, check }) => {
    const fixed = fixSource({ path, text }, (file) => check(file.text));
    expect(fixed.titles).not.toEqual([]);
    expect(describeDiagnostics(check(fixed.text))).toEqual([]);
  });
});
