import { describe, expect, test } from 'vitest';
import { parse } from '../../../src/parser/index.ts';
import { limits } from '../../../src/support/limits.ts';
import { describeDiagnostics, expectError, expectErrors, expectOk, sourceFile } from '../../support/language.ts';
import { sketch } from './sketch.ts';

/** Text inside the body of a function; lines count from 2. */
function inBody(text: string): string {
  return `fn f(x: f32) {\n${text}\n}`;
}

function inModule(text: string): string {
  return `module M(c: C) {\n${text}\n}`;
}

describe('one mistake gives one diagnostic, near it', () => {
  test.each([
    [
      'name without =',
      inModule('q Linear(c.h)\nk = Linear(c.h)'),
      { line: 2, at: 'Linear', message: 'expected `=` and a module' },
    ],
    ['no name after let', inBody('let = 3\nx'), { line: 2, at: '=', message: 'expected a name' }],
    ['keyword as name', inBody('let if = 3\nx'), { line: 2, at: 'if', message: 'found the keyword `if`' }],
    ['no value of let', inBody('let a =\nlet b = 2\nb'), { line: 2, column: 8, message: /^expected an expression$/ }],
    ['operator without operand', inBody('let a = x *\nlet b = 2\nb'), { line: 2, message: 'expected an expression' }],
    ['two expressions on a line', inBody('x y'), { line: 2, at: 'y', label: 'x' }],
    [
      'two expressions on two lines',
      inBody('f(x)\n(y)'),
      { line: 3, at: '(y)', label: 'f(x)', message: 'one expression' },
    ],
    ['return', inBody('return x'), { line: 2, at: 'return' }],
    ['only lets', inBody('let a = x'), { line: 3, at: '}', message: 'gives nothing' }],
    ['let last', inBody('x\nlet a = x'), { line: 2, at: 'x', message: 'stands last' }],
    ['assignment in an expression', inBody('let a = x = 3\nx'), { line: 2, at: '=', help: '==' }],
    ['chained comparison', inBody('a < b < c'), { line: 2, at: '<', label: '<', message: 'do not chain' }],
    ['missing comma of arguments', inBody('f(a b)'), { line: 2, column: 4, message: '`,` between arguments' }],
    ['missing comma of items', inBody('[a b]'), { line: 2, message: '`,` between items' }],
    ['missing comma of indices', inBody('a[1 :]\n+ a[: new]'), { line: 3, message: '`,` between indices' }],
    ['missing comma of fields', inBody('{ a: 1 b: 2 }'), { line: 2, message: '`,` between fields' }],
    ['two commas', inBody('f(a,, b)'), { line: 2, at: ',' }],
    ['empty index', inBody('x[]'), { line: 2, at: '[]' }],
    ['empty braces', inBody('x + {}'), { line: 2, at: '{}' }],
    ['member without name', inBody('let a = c.\nlet b = 3\nb'), { line: 2, message: 'expected a name' }],
    ['attend of two', inBody('attend(a, b)'), { line: 2, at: 'attend', message: 'found 2 arguments' }],
    ['attend with named argument', inBody('attend(a, b, c, heads: 2)'), { line: 2, at: 'heads', help: '{ heads' }],
    ['function value', inBody('f((s) => s)'), { line: 2, at: '=>', help: 'modifier of `attend`' }],
    ['new outside an index', inBody('x + new'), { line: 2, at: 'new', help: 'x[:, new]' }],
    ['parameter without type', 'fn f(x, y: f32) = y', { line: 1, at: ',', message: 'expected `:` and a type' }],
    ['function without body', 'fn f(x: f32)\ndim B in 1..2', { line: 1, column: 13, message: 'expected `{` or `=`' }],
    ['function without name', 'fn (x: f32) = x', { line: 1, at: 'fn', message: 'needs a name' }],
    ['dim without in', 'dim B 1..2\ndim C in 1..2', { line: 1, at: '1', message: 'expected `in`' }],
    ['dim with a number', 'dim B in 1.32\ndim C in 1..2', { line: 1, help: '`1..32`' }],
    ['dim without end', 'dim B in 1..\nconfig C { a: int }', { line: 1, message: 'expected an expression' }],
    ['entry without result', inModule('entry f(x: f32) { x }'), { line: 2, at: 'f', help: '-> f32' }],
    [
      'path without quotes',
      inModule('w: f32[3] as bias\nv: f32'),
      { line: 2, at: 'bias', message: 'a name in quotes' },
    ],
    ['submodule without arguments', inModule('q = Linear\nk = Linear(1)'), { line: 2, message: 'expected `(`' }],
    ['import of a bare name', 'import a from "x"\ndim B in 1..2', { line: 1, at: 'a', message: 'expected `{`' }],
    ['import without from', 'import { a } form "x"\ndim B in 1..2', { line: 1, at: 'form', message: '`from`' }],
    [
      'misspelt declaration',
      'modul A(c: C) {\n  q = { foo }\n}\ndim B in 1..2',
      { line: 1, at: 'modul', help: '`module`' },
    ],
    ['no language at all', 'hello world', { line: 1, at: 'hello' }],
  ])('%s', (_name, text, expected) => {
    expectError(text, { code: 'SORA1002', ...expected });
  });

  test.each([
    ['semicolon', inBody('let a = x;\na'), { code: 'SORA1001', line: 2, at: ';', help: 'remove' }],
    ['&&', inBody('a && b'), { code: 'SORA1001', line: 2, at: '&&', help: '`and`' }],
    ['curly quotes', 'import { a } from “x”', { code: 'SORA1001', line: 1, at: '“', help: '`"`' }],
    ['other alphabet', inBody('let größe = 1\nx'), { code: 'SORA1001', line: 2, help: 'ASCII' }],
    ['block comment', inBody('/* no\n */ x'), { code: 'SORA1001', line: 2, help: '//' }],
    ['single quotes', "import { a } from 'x'", { code: 'SORA1001', at: "'x'", help: '`"x"`' }],
    ['open string', 'import { a } from "x\ndim B in 1..2', { code: 'SORA1003', line: 1, at: '"' }],
    ['string that ends in a backslash', inBody('f("a\\")'), { code: 'SORA1003', line: 2 }],
    ['bad escape', 'import { a } from "a\\qb"', { code: 'SORA1004', at: '\\q' }],
    ['bad code point', 'import { a } from "\\u{110000}"', { code: 'SORA1004', at: '\\u{110000}' }],
    ['surrogate', 'import { a } from "\\u{d800}"', { code: 'SORA1004', at: '\\u{d800}' }],
    ['escape without braces', 'import { a } from "\\u0041"', { code: 'SORA1004', at: '\\u' }],
    ['number without zero', inBody('x + .5'), { code: 'SORA1005', at: '.5', help: '`0.5`' }],
    ['number with underscores', inBody('x + 1_000'), { code: 'SORA1005', at: '1_000', help: '`1000`' }],
    ['hexadecimal', inBody('x + 0x10'), { code: 'SORA1005', at: '0x10', help: '`16`' }],
    ['two points', inBody('x + 1.2.3'), { code: 'SORA1005', at: '1.2.3' }],
    ['huge integer', inBody('x + 9007199254740993'), { code: 'SORA1005', at: '9007199254740993' }],
    ['huge number', inBody('x + 1e999'), { code: 'SORA1005', at: '1e999' }],
    ['direction control in a comment', '// a\u202eb\ndim B in 1..2', { code: 'SORA1006', line: 1, at: '\u202e' }],
    ['direction control in a string', 'import { a } from "\u2066"', { code: 'SORA1006', at: '\u2066' }],
    ['direction control in code', inBody('x \u200f+ x'), { code: 'SORA1006', line: 2 }],
    ['unknown config type', 'config C { a: itn }', { code: 'SORA1013', at: 'itn', help: '`int`' }],
  ])('%s', (_name, text, expected) => {
    expectError(text, expected);
  });
});

describe('brackets', () => {
  test.each([
    ['parenthesis open at the end of a line', inBody('let a = f(x\nlet b = g(a)\nb'), { line: 2, at: '(' }],
    ['two open', inBody('let a = f(g(x)\nlet b = a\nb'), { line: 2, at: '(' }],
    ['bracket open before the result', inBody('let a = x[0, 1\na'), { line: 2, at: '[' }],
    ['submodule left open', inModule('q = Linear(c.h\nfn (x: f32[B]) { q(x) }'), { line: 2, at: '(' }],
    [
      'body left open',
      'module A {\n  fn (x: f32) {\n    x\n}\nmodule B {\n  fn (x: f32) { x }\n}',
      { line: 2, at: '{' },
    ],
    ['branch left open', inBody('  if a { b else { c }\n'), { line: 2, at: '{' }],
    ['file ends early', 'module A {', { line: 1, at: '{' }],
    ['closer too many', inBody('f(x))'), { line: 2, at: ')', message: 'closes nothing' }],
    ['lone closer', '}', { line: 1, at: '}', message: 'closes nothing' }],
  ])('%s', (_name, text, expected) => {
    expectError(text, { code: 'SORA1007', ...expected });
  });

  test('declarations after an open bracket are still read', () => {
    const tree = expectError('module A {\n  fn (x: f32) {\n    f(x\n\ndim B in 1..2\nmodule C {\n  w: f32\n}', {
      code: 'SORA1007',
      line: 1,
      label: 'dim',
    });
    expect(tree.declarations.map((one) => one.name.text)).toEqual(['A', 'B', 'C']);
  });
});

describe('recovery', () => {
  test('many mistakes in one file are all found', () => {
    const text = `import { a, } form "x"
config C { a: itn = 3 }
module A(c: C) {
  q Linear(c.h)
  k = Linear(c.h c.h) as "k"
  v = Linear(c.,)
  fn (x f32) {
    let a = x &
    let b = +
    a b
  }
  fn f(y: f32) { y y }
}
dim B 1..2
`;
    expectErrors(text, [
      { code: 'SORA1002', line: 1, at: 'form' },
      { code: 'SORA1013', line: 2, at: 'itn' },
      { code: 'SORA1002', line: 4, at: 'Linear' },
      { code: 'SORA1002', line: 5 },
      { code: 'SORA1002', line: 6, at: ',' },
      { code: 'SORA1002', line: 7, at: 'f32' },
      { code: 'SORA1001', line: 8, at: '&' },
      { code: 'SORA1002', line: 9 },
      { code: 'SORA1002', line: 10, at: 'b' },
      { code: 'SORA1002', line: 12, at: 'y' },
      { code: 'SORA1002', line: 14, at: '1' },
    ]);
  });

  test('what is right around a mistake stays in the tree', () => {
    const tree = expectError(inModule('a = Linear(1)\nb Linear(2)\nc = Linear(3)\nfn (x: f32) { c(a(x)) }'), {
      code: 'SORA1002',
      line: 3,
    });
    const [module] = tree.declarations;
    if (module?.kind !== 'module') throw new Error('no module');
    expect(module.members.map((one) => [one.kind, one.name?.text])).toEqual([
      ['submodule', 'a'],
      ['submodule', 'c'],
      ['function', undefined],
    ]);
  });

  test('an absent expression is `missing` in the tree', () => {
    const tree = expectError(inBody('let a =\nlet b = x\nb'), { code: 'SORA1002', line: 2 });
    const [fn] = tree.declarations;
    expect(fn?.kind === 'function' && sketch(fn.body)).toBe('<let a = ?; let b = x; b>');
  });

  test('every prefix of a file parses without a throw and with few diagnostics', () => {
    const text = inModule(
      'q = Linear(c.h, b: [1, 2]) as "q"\nfn (x: f32[B]) { let a = if x { { r: "s" } } else { y[0] }\na }',
    );
    for (let end = 0; end <= text.length; end++) {
      const { diagnostics } = parse(sourceFile(text.slice(0, end)));
      expect(diagnostics.length, `${text.slice(0, end)}\n${describeDiagnostics(diagnostics).join('\n')}`).toBeLessThan(
        4,
      );
    }
  });
});

describe('use blocks and clauses', () => {
  test.each(['train', 'quantize', 'prune', 'adapter', 'generate', 'golden'])(
    'a `%s` block is one shape for all',
    (word) => {
      const text = `${word} Model.entry {\n  target y: i32[B]\n  read y: label("a"), "a.**", "b": int4(group: 32), freeze: "c", "d"\n  heads "e": keep 0.5 by l2\n}\ndim B in 1..2`;
      const tree = expectOk(text);
      expect(tree.declarations).toHaveLength(1);
      const [block] = tree.uses;
      expect([block?.use, block?.model.text, block?.entry?.text]).toEqual([word, 'Model', 'entry']);
      const items = block?.items.map((item) => {
        if (item.kind === 'target') return item.name.text;
        if (item.kind === 'read') return `${item.name.text} ${item.value.kind}`;
        if (item.kind === 'setting') return `${item.name.text} ${item.values.length}`;
        return `${item.about?.text ?? ''} ${item.globs.map(({ text: glob }) => glob)} ${item.value.by?.text ?? ''}`;
      });
      expect(items).toEqual(['y', 'y call', ' a.**,b ', 'freeze 2', 'heads e l2']);
    },
  );

  test('these words are names elsewhere', () => {
    const names = 'train golden tied missing init with state target read keep by'.split(' ');
    expectOk(`config C {\n${names.map((name) => `${name}: int`).join('\n')}\n}\nfn f(golden: f32) = golden`);
    expectOk(
      inModule(
        'state = Linear(1)\ntied: f32[2]\ninit: f32[2] init init\ninit = Linear(1)\nwith: f32[1] if missing\nentry = Linear(2)',
      ),
    );
  });

  test.each([
    ['tied embed.weight', '`if missing`'],
    ['tied if missing', 'the field whose tensor is taken'],
    ['tied a.b if c.d', '`missing`'],
    ['init', 'how the tensor begins'],
    ['init tied a.b if missing', '`=` and a module'],
  ])('`%s`', (clause, message) => {
    expectError(inModule(`head = Linear(1) ${clause}\nq = Linear(1)`), { code: 'SORA1002', line: 2, message });
  });

  test.each([
    ['entry decode = prefill', '`with` and sizes'],
    ['entry decode = prefill with T', '`=` and a size'],
    ['entry decode = with = 1', '`with` and sizes'],
    ['state kv = KVCache', '`(`'],
  ])('`%s`', (member, message) => {
    expectError(inModule(`${member}\nq = Linear(1)`), { code: 'SORA1002', line: 2, message });
  });

  test.each([
    ['train { }', 1, 'the name of a model'],
    ['train M\ndim B in 1..2', 1, '`{` and what the block says'],
    ['quantize M {\n  "a" int4\n}', 2, '`:` and what is done with these weights'],
    ['train M {\n  loss = 3\n}', 2, '`:` and a value'],
    ['train M {\n  target y\n}', 2, '`:` and a tensor type'],
    ['train M {\n  read y\n}', 2, '`:` and how it is read'],
    ['train M {\n  a: 1 b: 2\n}', 2, '`,` between items'],
  ])('`%s`', (text, line, message) => {
    expectError(text, { code: 'SORA1002', line, message });
  });
});

describe('limits', () => {
  test.each([
    ['(', ')'],
    ['[', ']'],
    ['{ a: ', '}'],
    ['if a { ', '}'],
    ['f(', ')'],
    ['-(', ')'],
  ])('nesting of %j up to the limit parses, one more is one diagnostic', (open, close) => {
    const nested = (depth: number) => `fn f(x: f32) = ${open.repeat(depth)}x${close.repeat(depth)}`;
    expect(describeDiagnostics(parse(sourceFile(nested(limits.nesting))).diagnostics)).toEqual([]);
    expectError(nested(limits.nesting + 1), { code: 'SORA1008', message: '128' });
  });

  test('unclosed brackets without end are one diagnostic', () => {
    expectError(`fn f(x: f32) = ${'('.repeat(100_000)}`, { code: 'SORA1008' });
  });

  test.each([
    ['sum', Array.from({ length: 10_000 }, () => 'x').join(' + ')],
    ['powers', Array.from({ length: 10_000 }, () => 'x').join(' ** ')],
    ['minus signs', `${'- '.repeat(10_000)}x`],
    ['members', `x${'.a'.repeat(10_000)}`],
    ['calls', `x${'()'.repeat(10_000)}`],
    ['branches', `if a { b }${' else if a { b }'.repeat(2_000)}`],
  ])('a chain of %s is one diagnostic, not a crash', (_name, text) => {
    expectError(`fn f(x: f32) = ${text}`, { code: 'SORA1008' });
  });

  test('names have 64 characters at most', () => {
    const { diagnostics } = parse(sourceFile(`dim ${'a'.repeat(64)} in 1..2`));
    expect(diagnostics).toEqual([]);
    expectError(`dim ${'a'.repeat(65)} in 1..2`, { code: 'SORA1008', message: '65' });
  });

  test('a file beyond the size limit is not read', () => {
    const text = `// ${'x'.repeat(limits.sourceLength)}\ndim B 1..2`;
    expectError(text, { code: 'SORA1008', message: 'characters' });
  });

  test('rubbish gives a bounded number of diagnostics', () => {
    const { diagnostics } = parse(sourceFile('module { ; fn ( ] = \n'.repeat(5_000)));
    expect(diagnostics.length).toBeGreaterThan(0);
    expect(diagnostics.length).toBeLessThan(limits.syntaxErrors + 1);
  });
});
