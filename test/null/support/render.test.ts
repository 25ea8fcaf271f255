import { describe, expect, test } from 'vitest';
import { type Diagnostic, diagnose } from '../../../src/support/diagnostic.ts';
import { renderDiagnostics } from '../../../src/support/render.ts';
import type { SourceFile, Span } from '../../../src/support/source.ts';

const model: SourceFile = {
  path: 'models/a.sora',
  text: 'module A(c: Bert) {\n  q = Linear(c.hidden, c.heads)\n  k = Linear(c.hidden, c.hidden)\n\n\n\n  fn (x: f32[B]) {\n    q(x) + k(x)\n  }\n}\n',
};
const library: SourceFile = { path: 'sora:nn', text: 'module Linear(inputs: int) {\n  weight: f32[inputs]\n}' };

/** The place of the nth time this text stands in the file. */
function place(file: SourceFile, text: string, nth = 0): Span {
  let start = -1;
  for (let index = 0; index <= nth; index++) start = file.text.indexOf(text, start + 1);
  if (start < 0) throw new Error(`no ${text}`);
  return { file, start, end: start + text.length };
}

function pretty(...diagnostics: Diagnostic[]): string {
  return renderDiagnostics(diagnostics, { format: 'pretty', color: false });
}

describe('pretty', () => {
  test('one place', () => {
    expect(
      pretty(diagnose('SORA2001', 'unknown name `heads`', place(model, 'heads'))),
    ).toBe(`error[SORA2001]: unknown name \`heads\`
 --> models/a.sora:2:26
  |
2 |   q = Linear(c.hidden, c.heads)
  |                          ^^^^^
`);
  });

  test('labels in other lines and files, notes and help', () => {
    const diagnostic = diagnose('SORA2001', 'shapes differ', place(model, 'q(x) + k(x)'), {
      labels: [
        { span: place(model, 'c.heads'), text: 'this gives 12' },
        { span: place(model, 'c.hidden', 2), text: 'this gives 768' },
        { span: place(library, 'weight'), text: 'declared here' },
      ],
      notes: ['left:  f32[B, 12]\nright: f32[B, 768]'],
      help: 'use `c.hidden` twice',
    });
    expect(pretty(diagnostic)).toBe(`error[SORA2001]: shapes differ
 --> models/a.sora:8:5
  |
2 |   q = Linear(c.hidden, c.heads)
  |                        ------- this gives 12
3 |   k = Linear(c.hidden, c.hidden)
  |                        -------- this gives 768
...
8 |     q(x) + k(x)
  |     ^^^^^^^^^^^
 ::: sora:nn:2:3
  |
2 |   weight: f32[inputs]
  |   ------ declared here
  |
  = note: left:  f32[B, 12]
          right: f32[B, 768]
  = help: use \`c.hidden\` twice
`);
  });

  test('several labels on one line hang below it, the last one beside it', () => {
    const diagnostic = diagnose('SORA2001', 'shapes differ', place(model, '+'), {
      labels: [
        { span: place(model, 'q(x)'), text: 'left' },
        { span: place(model, 'k(x)'), text: 'right' },
        { span: place(model, 'x', 1), text: 'argument' },
      ],
    });
    expect(pretty(diagnostic)).toBe(
      `error[SORA2001]: shapes differ
 --> models/a.sora:8:10
  |
8 |     q(x) + k(x)
  |     ---- ^ ---- right
  |     | argument
  |     left
`,
    );
  });

  test('tabs and wide characters are underlined where they are seen, columns count UTF-16', () => {
    const file: SourceFile = { path: 'a.sora', text: '\tlet a = f("漢字", é, 😀) + oops\r\n' };
    expect(pretty(diagnose('SORA2001', 'unknown name', place(file, 'oops')))).toBe(`error[SORA2001]: unknown name
 --> a.sora:1:27
  |
1 |     let a = f("漢字", é, 😀) + oops
  |                                ^^^^
`);
  });

  test('a place over several lines is marked to the end of its first line, an empty one with one mark', () => {
    expect(pretty(diagnose('SORA1002', 'block', place(model, '{\n    q(x) + k(x)\n  }')))).toContain(
      '7 |   fn (x: f32[B]) {\n  |                  ^\n',
    );
    const end: Span = { file: library, start: library.text.length, end: library.text.length };
    expect(pretty(diagnose('SORA1002', 'end', end))).toContain(' --> sora:nn:3:2\n  |\n3 | }\n  |  ^\n');
    const empty: SourceFile = { path: 'e.sora', text: '' };
    expect(pretty(diagnose('SORA1002', 'empty', { file: empty, start: 0, end: 0 }))).toContain('1 |\n  | ^\n');
  });

  test('characters that would disturb the terminal are shown as signs', () => {
    const file: SourceFile = { path: 'a.sora', text: 'dim \u202e\u001b[31mB' };
    const text = pretty(diagnose('SORA1006', 'bad', place(file, '\u202e')));
    expect(text).toContain('dim \ufffd\ufffd[31mB');
    expect(text).not.toMatch(/[\u202e\u001b]/);
  });

  describe('a very long line', () => {
    const long: SourceFile = {
      path: 'long.sora',
      text: `fn (x: f32[B]) {\n  ${'first + '.repeat(60)}wrong${' + second'.repeat(60)} + 層 * last\n}\n`,
    };
    const [, line = ''] = long.text.split('\n');
    const frame = (diagnostic: Diagnostic): { readonly shown: string; readonly rows: readonly string[] } => {
      const [, , , shown = '', ...rows] = pretty(diagnostic).split('\n');
      return { shown: shown.slice(4), rows: rows.map((row) => row.slice(4)) };
    };
    /** The text of the shown line over the signs of a row. */
    const over = (shown: string, row: string, sign: string): string =>
      shown.slice(row.indexOf(sign), row.lastIndexOf(sign) + 1);

    test('is cut around its place, with ellipses', () => {
      const { shown, rows } = frame(diagnose('SORA2001', 'unknown name', place(long, 'wrong')));
      expect(shown).toMatch(/^….*first \+ wrong \+ second.*…$/);
      expect(shown.length).toBe(122);
      expect(line).toContain(shown.slice(1, -1));
      expect(over(shown, rows[0] ?? '', '^')).toBe('wrong');
    });

    test('keeps its beginning or end where the place is there', () => {
      const atStart = frame(diagnose('SORA2001', 'unknown name', place(long, 'first')));
      expect(atStart.shown).toMatch(/^ {2}first .*…$/);
      expect(over(atStart.shown, atStart.rows[0] ?? '', '^')).toBe('first');
      const atEnd = frame(diagnose('SORA2001', 'unknown name', place(long, 'last')));
      expect(atEnd.shown).toMatch(/^….* \+ 層 \* last$/);
      // Two columns of the terminal, one in the text.
      expect(over(atEnd.shown, (atEnd.rows[0] ?? '').slice(1), '^')).toBe('last');
    });

    test('shows several places together where they fit, and the others under the ellipsis', () => {
      const near = frame(
        diagnose('SORA2001', 'differ', place(long, 'wrong'), {
          labels: [{ span: place(long, 'second', 3), text: 'this' }],
        }),
      );
      expect(over(near.shown, near.rows[0] ?? '', '^')).toBe('wrong');
      expect(over(near.shown, near.rows[0] ?? '', '-')).toBe('second');
      const far = frame(
        diagnose('SORA2001', 'differ', place(long, 'wrong'), {
          labels: [
            { span: place(long, 'first'), text: 'left' },
            { span: place(long, 'last'), text: 'right' },
          ],
        }),
      );
      expect(over(far.shown, far.rows[0] ?? '', '^')).toBe('wrong');
      expect(far.rows[0]).toMatch(/^-\s+\^{5}\s+- right$/);
      expect(far.rows[1]).toBe('left');
      expect(Math.max(...far.rows.map((row) => row.length))).toBeLessThan(135);
    });

    test('a place that is longer than the window begins at its left', () => {
      const { shown, rows } = frame(
        diagnose('SORA2001', 'too much', { file: long, start: long.text.indexOf('wrong'), end: long.text.length - 4 }),
      );
      expect(shown).toMatch(/^…wrong \+ second.*…$/);
      expect(rows[0]).toBe(` ${'^'.repeat(120)}`);
    });

    test('is whole for programs', () => {
      const diagnostic = diagnose('SORA2001', 'unknown name', place(long, 'wrong'));
      const column = line.indexOf('wrong') + 1;
      expect(renderDiagnostics([diagnostic], { format: 'concise', color: false })).toContain(`long.sora:2:${column}:`);
      const document = JSON.parse(renderDiagnostics([diagnostic], { format: 'json', color: false })) as unknown;
      expect(JSON.stringify(document)).not.toContain('…');
    });
  });

  test('line numbers of different length share one gutter', () => {
    const file: SourceFile = { path: 'a.sora', text: `a\n${'\n'.repeat(98)}b\n` };
    const text = pretty(
      diagnose('SORA2001', 'm', place(file, 'b'), { labels: [{ span: place(file, 'a'), text: 'l' }] }),
    );
    expect(text).toContain('   --> a.sora:100:1\n    |\n  1 | a\n    | - l\n...\n100 | b\n    | ^\n');
  });

  test('colour changes nothing but colour', () => {
    const diagnostic = diagnose('SORA2001', 'm', place(model, 'q'), { help: 'h' });
    const coloured = renderDiagnostics([diagnostic], { format: 'pretty', color: true });
    expect(coloured).toContain('\u001b[');
    expect(coloured.replaceAll(/\u001b\[\d+m/g, '')).toBe(pretty(diagnostic));
  });

  test('more than the maximum are counted, 0 shows all', () => {
    const many = Array.from({ length: 23 }, () => diagnose('SORA2001', 'm', place(model, 'q')));
    expect(pretty(...many).match(/error\[/g)).toHaveLength(20);
    expect(pretty(...many)).toMatch(/\n\nand 3 more: --max-errors 0 shows all\n$/);
    const all = renderDiagnostics(many, { format: 'pretty', color: false, maximum: 0 });
    expect(all.match(/error\[/g)).toHaveLength(23);
    expect(pretty()).toBe('');
  });
});

test('concise is one line each', () => {
  const diagnostics = [
    diagnose('SORA2001', 'unknown name `q`', place(model, 'q'), { help: 'did you mean `k`?' }),
    diagnose('SORA3001', 'unused', place(library, 'weight')),
  ];
  expect(renderDiagnostics(diagnostics, { format: 'concise', color: false })).toBe(
    'models/a.sora:2:3: error[SORA2001]: unknown name `q` (did you mean `k`?)\nsora:nn:2:3: warning[SORA3001]: unused\n',
  );
});

test('json is one document with every place', () => {
  const span = place(model, 'q');
  const diagnostic = diagnose('SORA2001', 'm', span, {
    labels: [{ span: place(library, 'weight'), text: 'here' }],
    notes: ['n'],
    help: 'h',
    fixes: [{ title: 'rename', edits: [{ span, text: 'k' }] }],
  });
  const range = { start: { line: 2, column: 3, offset: 22 }, end: { line: 2, column: 4, offset: 23 } };
  const labelRange = { start: { line: 2, column: 3, offset: 31 }, end: { line: 2, column: 9, offset: 37 } };
  expect(JSON.parse(renderDiagnostics([diagnostic], { format: 'json', color: true, maximum: 1 }))).toEqual({
    version: 1,
    diagnostics: [
      {
        code: 'SORA2001',
        severity: 'error',
        message: 'm',
        file: 'models/a.sora',
        range,
        labels: [{ file: 'sora:nn', range: labelRange, text: 'here' }],
        notes: ['n'],
        help: 'h',
        fixes: [{ title: 'rename', edits: [{ file: 'models/a.sora', range, text: 'k' }] }],
        docs: 'docs/errors/SORA2001.md',
      },
    ],
  });
  expect(JSON.parse(renderDiagnostics([], { format: 'json', color: false }))).toEqual({ version: 1, diagnostics: [] });
});
