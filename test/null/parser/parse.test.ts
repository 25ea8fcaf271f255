import { describe, expect, test } from 'vitest';
import type { Declaration, Expression, Member, ModuleDeclaration } from '../../../src/parser/ast.ts';
import { parse } from '../../../src/parser/index.ts';
import { spanText } from '../../../src/support/source.ts';
import { expectOk, sourceFile } from '../../support/language.ts';
import { samples } from './samples.ts';
import { sketch, sketchType } from './sketch.ts';

function declaration<Kind extends Declaration['kind']>(text: string, kind: Kind): Declaration & { kind: Kind } {
  const found = expectOk(text).declarations.find((one) => one.kind === kind);
  if (found === undefined) throw new Error(`no ${kind}`);
  return found as Declaration & { kind: Kind };
}

function member<Kind extends Member['kind']>(text: string, kind: Kind): Member & { kind: Kind } {
  const module = declaration(`module M(c: C) {\n${text}\n}`, 'module') as ModuleDeclaration;
  const [found] = module.members;
  if (found?.kind !== kind) throw new Error(`a ${found?.kind}`);
  return found as Member & { kind: Kind };
}

function body(text: string): Expression {
  return declaration(`fn f(x: f32) {\n${text}\n}`, 'function').body;
}

/** The expression of a function body, with its implied brackets. */
function expression(text: string): string {
  return sketch(declaration(`fn f(x: f32) = ${text}`, 'function').body);
}

describe('declarations', () => {
  test('the samples parse', () => {
    for (const sample of samples) expectOk(sample);
  });

  test('an import has names, aliases and a path', () => {
    const { imports } = expectOk('import { Linear, LayerNorm as Norm, } from "sora:nn"');
    expect(imports).toHaveLength(1);
    expect(imports[0]?.from.text).toBe('sora:nn');
    expect(imports[0]?.names.map(({ name, alias }) => [name.text, alias?.text])).toEqual([
      ['Linear', undefined],
      ['LayerNorm', 'Norm'],
    ]);
  });

  test('dims are separated by commas or lines and say whether they continue', () => {
    const { declarations } = expectOk('dim B in 1..32, T in 1..512 multiple of 4\n  N in 2..c.max\ndim M in 1..8');
    const dims = declarations.flatMap((dim) => (dim.kind === 'dim' ? [dim] : []));
    expect(
      dims.map((dim) => [
        dim.name.text,
        sketch(dim.minimum),
        sketch(dim.maximum),
        dim.multiple && sketch(dim.multiple),
        dim.continued,
      ]),
    ).toEqual([
      ['B', '1', '32', undefined, false],
      ['T', '1', '512', '4', true],
      ['N', '2', 'c.max', undefined, true],
      ['M', '1', '8', undefined, false],
    ]);
  });

  test('config fields have type, default and keys, on one line or many, with or without commas', () => {
    const text =
      'hidden: int = 768 from "hidden_size"  labels: int = 2 from "num_labels" or count("id2label"), theta: float\nact: string = "gelu"';
    const config = declaration(`config Bert { ${text} }`, 'config');
    expect(
      config.fields.map((field) => [
        field.name.text,
        field.type,
        field.initial && sketch(field.initial),
        field.from.map(({ kind, key }) => `${kind} ${key.text}`),
      ]),
    ).toEqual([
      ['hidden', 'int', '768', ['key hidden_size']],
      ['labels', 'int', '2', ['key num_labels', 'count id2label']],
      ['theta', 'float', undefined, []],
      ['act', 'string', '"gelu"', []],
    ]);
  });

  test('words with a meaning in one place are names elsewhere', () => {
    const words = [
      'import',
      'dim',
      'config',
      'module',
      'model',
      'entry',
      'repeat',
      'in',
      'multiple',
      'of',
      'from',
      'as',
      'count',
    ];
    const config = declaration(
      `config C {\n${words.map((word) => `${word}: int from "${word}"`).join('\n')}\n}`,
      'config',
    );
    expect(config.fields.map((field) => field.name.text)).toEqual(words);
    const fields = words.map((word) => `${word} = Linear(c.${word}, ${word}: 1)`).join('\n');
    const module = declaration(`module M(c: C) {\n${fields}\n}`, 'module') as ModuleDeclaration;
    expect(module.members.map((field) => field.name?.text)).toEqual(words);
    const tensors = declaration(`module M(c: C) {\n${words.map((word) => `${word}: f32[2]`).join('\n')}\n}`, 'module');
    expect((tensors as ModuleDeclaration).members.map((field) => field.name?.text)).toEqual(words);
  });

  test('doc comments go to what follows them', () => {
    const text = '/// First.\n/// Second.\nconfig C {\n  // no doc\n  /// Width.\n  a: int /// trailing\n  b: int\n}';
    const config = declaration(text, 'config');
    expect(config.doc).toBe('First.\nSecond.');
    expect(config.fields.map((field) => field.doc)).toEqual(['Width.', undefined]);
    const entry = member('/// Doc.\nentry f(\n/// Ids.\nx: i32[B], y: i32[B]) -> f32 { x }', 'entry');
    expect(entry.doc).toBe('Doc.');
    expect(entry.parameters.map((parameter) => parameter.doc)).toEqual(['Ids.', undefined]);
    expect(member('/// Query.\nq = Linear(1)', 'submodule').doc).toBe('Query.');
    expect(declaration('/// Tokens.\ndim T in 1..4', 'dim').doc).toBe('Tokens.');
  });

  test('a module has parameters with defaults', () => {
    const module = declaration('module L(inputs: int, c: Bert, bias: bool = true,) {}', 'module') as ModuleDeclaration;
    expect(module.parameters.map((one) => [one.name.text, one.type.text, one.initial && sketch(one.initial)])).toEqual([
      ['inputs', 'int', undefined],
      ['c', 'Bert', undefined],
      ['bias', 'bool', 'true'],
    ]);
    expect(declaration('model M {}', 'model').kind).toBe('model');
  });
});

describe('members', () => {
  test('a submodule has arguments, a path and a condition', () => {
    const field = member('q = Linear(c.hidden, bias: false) as "self.query" if c.pooled', 'submodule');
    expect(field.module.text).toBe('Linear');
    expect(field.arguments.map((one) => [one.name?.text, sketch(one.value)])).toEqual([
      [undefined, 'c.hidden'],
      ['bias', 'false'],
    ]);
    expect(field.as?.text).toBe('self.query');
    expect(field.condition && sketch(field.condition)).toBe('c.pooled');
    expect(field.count).toBeUndefined();
  });

  test('repeat has a count', () => {
    const field = member('repeat layer[c.layers * 2] = Layer(c) as "encoder.layer"', 'submodule');
    expect([field.name.text, field.count && sketch(field.count), field.module.text, field.as?.text]).toEqual([
      'layer',
      '(c.layers * 2)',
      'Layer',
      'encoder.layer',
    ]);
  });

  test('a tensor has a type, a path and a condition', () => {
    const field = member('offset: f32[outputs, c.n + 1] as "bias" if bias', 'tensor');
    expect([sketchType(field.type), field.as?.text, field.condition && sketch(field.condition)]).toEqual([
      'f32[outputs, (c.n + 1)]',
      'bias',
      'bias',
    ]);
    expect(sketchType(member('gain: f32', 'tensor').type)).toBe('f32');
  });

  test('fn takes tensors and scalars and gives a block or an expression', () => {
    const fn = member('fn (x: f32[..., inputs], kind: string, y: f32 = 1) -> f32[..., outputs] { x }', 'function');
    expect(fn.name).toBeUndefined();
    expect(
      fn.parameters.map(({ type }) => (type.kind === 'scalar-type' ? `scalar ${type.name}` : sketchType(type))),
    ).toEqual(['f32[..., inputs]', 'scalar string', 'f32']);
    expect(fn.result && sketchType(fn.result)).toBe('f32[..., outputs]');
    expect(sketch(fn.body)).toBe('<x>');
    const short = member('fn helper(x: f32) = x + 1', 'function');
    expect([short.name?.text, sketch(short.body), short.result]).toEqual(['helper', '(x + 1)', undefined]);
  });

  test('an entry has one result, a named one, or several', () => {
    const results = (arrow: string) =>
      member(`entry f(x: i32[B, T], m: i32[B, T] = 1) -> ${arrow} { x }`, 'entry').results.map(
        ({ name, type }) => `${name?.text} ${sketchType(type)}`,
      );
    expect(results('f32[B, c.labels]')).toEqual(['undefined f32[B, c.labels]']);
    expect(results('f32')).toEqual(['undefined f32']);
    expect(results('logits: f32[B]')).toEqual(['logits f32[B]']);
    expect(results('{ start: f32[B], end: f32[B, T] }')).toEqual(['start f32[B]', 'end f32[B, T]']);
    expect(results('{ start: f32[B]\n end: f32[B, T], }')).toEqual(['start f32[B]', 'end f32[B, T]']);
    const entry = member('entry f(x: i32[B], m: i32[B] = 1) -> f32 = x', 'entry');
    expect(entry.parameters.map(({ initial }) => initial && sketch(initial))).toEqual([undefined, '1']);
  });
});

describe('expressions', () => {
  test.each([
    ['a + b * c - d', '((a + (b * c)) - d)'],
    ['a - b - c', '((a - b) - c)'],
    ['a ** b ** c', '(a ** (b ** c))'],
    ['-a ** 2', '(- (a ** 2))'],
    ['2 ** -1', '(2 ** (- 1))'],
    ['-a * b', '((- a) * b)'],
    ['a * -b', '(a * (- b))'],
    ['- -a', '(- (- a))'],
    ['not a == b and not c', '((not (a == b)) and (not c))'],
    ['a or b and c', '(a or (b and c))'],
    ['a == b and not c', '((a == b) and (not c))'],
    ['a + 1 <= b % 2', '((a + 1) <= (b % 2))'],
    ['a != b or a >= c', '((a != b) or (a >= c))'],
    ['(a + b) * c', '((a + b) * c)'],
    ['x * (1 + shift[:, new])', '(x * (1 + shift[:, new]))'],
    ['-x[0].y(1)', '(- x[0].y(1))'],
    ['h[:, 0]', 'h[:, 0]'],
    ['h[:, -1]', 'h[:, (- 1)]'],
    ['h[1:3, new, ...]', 'h[1:3, new, ...]'],
    ['h[a + 1:, :b, c:d, ]', 'h[(a + 1):, :b, c:d]'],
    ['[a, [b], c,]', '[a, [b], c]'],
    ['[]', '[]'],
    ['{ a: 1, b: x + 1, }', '{a: 1, b: (x + 1)}'],
    ['{ a: 1\n b: 2 }', '{a: 1, b: 2}'],
    ['f(a, n: b, g(c)(d),)', 'f(a, n: b, g(c)(d))'],
    ['1e-12 + 0.5 + 12 + 2E3', '(((1e-12f + 0.5f) + 12) + 2000f)'],
    ['true and false', '(true and false)'],
    ['"a\\n\\t\\"\\\\\\u{1F600}"', '"a\\n\\t\\"\\\\😀"'],
    [
      'attend(q(x), k(x), v(x)) { heads: c.heads, mask: padding(m), }',
      'attend(q(x), k(x), v(x)){heads: c.heads, mask: padding(m)}',
    ],
    ['attend(q, k, v)', 'attend(q, k, v){}'],
    ['if a { b } else { c }', 'if a <b> else <c>'],
    ['if a == "g" { b } else if not c { d } else { { e: f } }', 'if (a == "g") <b> else if (not c) <d> else <{e: f}>'],
    ['if a { b }', 'if a <b>'],
    ['1 + if a { b } else { c } * 2', '(1 + (if a <b> else <c> * 2))'],
  ])('%s', (text, expected) => {
    expect(expression(text)).toBe(expected);
  });

  test('every span is the text of its expression', () => {
    const text = 'f(a + b)[0].c ** -2';
    const fn = declaration(`fn f(x: f32) = ${text}`, 'function');
    expect(spanText(fn.body.span)).toBe(text);
    if (fn.body.kind !== 'binary') throw new Error('no power');
    expect(spanText(fn.body.operatorSpan)).toBe('**');
    expect(spanText(fn.body.left.span)).toBe('f(a + b)[0].c');
    expect(spanText(fn.body.right.span)).toBe('-2');
  });
});

describe('blocks', () => {
  test('lets need no separator and the last expression is the result', () => {
    expect(sketch(body('let a = f(x) let [b, c] = split(a, 2) { r: b, s: c }'))).toBe(
      '<let a = f(x); let [b, c] = split(a, 2); {r: b, s: c}>',
    );
  });

  test.each([
    ['let a = f(x)\n(b)', '<let a = f(x); b>'],
    ['let a = f(x)\n[b]', '<let a = f(x); [b]>'],
    ['let a = f(x)\n-b', '<let a = f(x); (- b)>'],
    ['let a = attend(q, k, v)\n{ r: a }', '<let a = attend(q, k, v){}; {r: a}>'],
    ['let a = f(x) (b)\na', '<let a = f(x)(b); a>'],
  ])('a bracket or minus that starts a line starts an expression: %j', (text, expected) => {
    expect(sketch(body(text))).toBe(expected);
  });

  test('other operators and members continue over lines, and everything does inside parentheses', () => {
    expect(sketch(body('a\n  + b\n  .c\n  * d'))).toBe('<(a + (b.c * d))>');
    expect(sketch(body('(a\n  - b\n  (c)\n [0])'))).toBe('<(a - b(c)[0])>');
    expect(sketch(body('f(\n  a\n  - b,\n  [c]\n)'))).toBe('<f((a - b), [c])>');
  });
});

test('any line ends will do', () => {
  const text = 'config C {\n  a: int // one\n  b: int\n}\n';
  for (const end of ['\r\n', '\r']) {
    const { value, diagnostics } = parse(sourceFile(text.replaceAll('\n', end)));
    expect(diagnostics).toEqual([]);
    expect(value.declarations[0]?.kind === 'config' && value.declarations[0].fields).toHaveLength(2);
  }
});
