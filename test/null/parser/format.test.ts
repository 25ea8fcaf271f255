import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatSource, parse } from '../../../src/parser/index.ts';
import { lex } from '../../../src/parser/lex.ts';
import { contextOf, structure } from '../../../src/parser/structure.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';
import { encoder, samples } from './samples.ts';
import { withoutSpans } from './sketch.ts';

const seed = 20261;

function format(text: string): string {
  const { value, diagnostics } = formatSource(sourceFile(text));
  expect(describeDiagnostics(diagnostics), text).toEqual([]);
  return value;
}

function tree(text: string): unknown {
  const { value, diagnostics } = parse(sourceFile(text));
  expect(describeDiagnostics(diagnostics), text).toEqual([]);
  return withoutSpans(value);
}

interface Piece {
  /** The token's text, with the line end before it that its meaning needs. */
  readonly image: string;
  /** Whether a line end before it changes nothing. */
  readonly mayBreak: boolean;
}

function tokensOf(text: string): readonly Piece[] {
  const file = sourceFile(text);
  const { tokens } = structure(file, lex(file).tokens);
  return tokens.map((token) => {
    const { isInParentheses, startsLine } = contextOf(token);
    const isSensitive = !isInParentheses && /^(?:[([{]|-$)/.test(token.image);
    return {
      image: isSensitive && startsLine ? `\n${token.image}` : token.image,
      mayBreak: !isSensitive || startsLine,
    };
  });
}

describe('style', () => {
  test('the samples are in the style already', () => {
    for (const sample of samples.slice(0, 1)) expect(format(sample)).toBe(sample);
  });

  test.each([
    ['blanks', 'dim   B in 1 .. 32,T in 1..4', 'dim B in 1..32, T in 1..4\n'],
    [
      'config',
      'config C{a:int=3 from "a"or count("b"),b:float}',
      'config C {\n  a: int = 3 from "a" or count("b")\n  b: float\n}\n',
    ],
    [
      'comment after a field without clauses',
      'module M {\n  a = F(1)     // one\n  b = F(2) as "c"  // two\n}',
      'module M {\n  a = F(1) // one\n  b = F(2) as "c" // two\n}\n',
    ],
    ['empty', 'config C {\n\n}\nmodule M( ) { }', 'config C {}\n\nmodule M() {}\n'],
    ['operators', 'fn f(x:f32)=-x**2+not a==b and(c*-d)', 'fn f(x: f32) = -x ** 2 + not a == b and (c * -d)\n'],
    ['indices', 'fn f(x:f32)=x [ :,0,new , ... ,1 : 3 , -1:]', 'fn f(x: f32) = x[:, 0, new, ..., 1:3, -1:]\n'],
    ['record', 'fn f(x:f32)={a:1,b:2,}', 'fn f(x: f32) = { a: 1, b: 2 }\n'],
    ['import', 'import{a,b as c,}from"x"', 'import { a, b as c } from "x"\n'],
    ['let', 'fn f(x:f32){let[a,b]=g(x)a}', 'fn f(x: f32) {\n  let [a, b] = g(x)\n  a\n}\n'],
    [
      'module',
      'module M(a:int,c:C=3){w:f32[a,...]as"b"if c.d repeat l[3]=L(1,b:2)fn(x:f32)->f32[a]{x}}',
      'module M(a: int, c: C = 3) {\n  w: f32[a, ...] as "b" if c.d\n  repeat l[3] = L(1, b: 2)\n  fn (x: f32) -> f32[a] {\n    x\n  }\n}\n',
    ],
    [
      'entry',
      'model M{entry e(x:i32[B]=1)->{a:f32[B],b:f32}{attend(x,x,x){heads:1}}}',
      'model M {\n  entry e(x: i32[B] = 1) -> { a: f32[B], b: f32 } {\n    attend(x, x, x) { heads: 1 }\n  }\n}\n',
    ],
    ['if', 'fn f(x:f32)=if a{b}else if c{d}else{e}', 'fn f(x: f32) = if a { b } else if c { d } else { e }\n'],
    [
      'blank lines',
      '// a\n\n\n// b\ndim A in 1..2\ndim B in 1..2\n\n\n\ndim C in 1..2\nconfig D {\n\n  a: int\n\n\n  b: int\n\n}\n\n\n// end',
      '// a\n\n// b\ndim A in 1..2\ndim B in 1..2\n\ndim C in 1..2\n\nconfig D {\n  a: int\n\n  b: int\n}\n\n// end\n',
    ],
    [
      'use blocks',
      'train M.e{target y:i32[B],read y:label( "c" ),loss:l(y),freeze:"a","b"}quantize M{"a","b":int4(group:32),state "c":f16 }prune M{heads "a":keep 0.5 by l2}',
      'train M.e {\n  target y: i32[B]\n  read y: label("c")\n  loss: l(y)\n  freeze: "a", "b"\n}\n\nquantize M {\n  "a", "b": int4(group: 32)\n  state "c": f16\n}\n\nprune M {\n  heads "a": keep 0.5 by l2\n}\n',
    ],
    [
      'members',
      'model M{repeat l[i in 3]=L(i)h=L()tied a . b if missing if c.d state s=KVCache(B,1)entry a=b with T=1,B=2}',
      'model M {\n  repeat l[i in 3] = L(i)\n  h = L() tied a.b if missing if c.d\n  state s = KVCache(B, 1)\n  entry a = b with T = 1, B = 2\n}\n',
    ],
    [
      'beginnings',
      'module M{w:f32[a]as"b"init uniform(bound:1/sqrt(a),)tied v if missing if c.d // why\nv:f32[a]init if a>1{zeros}else{ones}if b\n/// A field.\ninit:f32[a]init zeros}',
      'module M {\n  w: f32[a] as "b" init uniform(bound: 1 / sqrt(a)) tied v if missing if c.d // why\n  v: f32[a] init if a > 1 { zeros } else { ones } if b\n  /// A field.\n  init: f32[a] init zeros\n}\n',
    ],
    ['nothing', '\n\n', ''],
    ['only a comment', '  // a  \n', '// a\n'],
  ])('%s', (_name, text, expected) => {
    expect(format(text)).toBe(expected);
    expect(format(expected)).toBe(expected);
  });

  test('long lists break with one item a line, long sums after operators', () => {
    const name = 'a_name_of_thirty_characters_xx';
    const text = `fn f(x: f32) {\n  let a = g(${name}, ${name}, h(${name}), ${name})\n  ${[name, name, name, name].join(' + ')}\n}\n`;
    expect(format(text)).toBe(
      `fn f(x: f32) {
  let a = g(
    ${name},
    ${name},
    h(${name}),
    ${name},
  )
  ${name} +
    ${name} +
    ${name} +
    ${name}
}
`,
    );
  });

  test('no line of the samples is longer than 110 columns, and none ends in a blank', () => {
    for (const line of samples.flatMap((sample) => format(sample).split('\n'))) {
      expect(line.length, line).toBeLessThanOrEqual(110);
      expect(line).toBe(line.trimEnd());
    }
  });

  test('a file with mistakes is given back as it is', () => {
    const text = 'dim   B 1..2';
    const { value, diagnostics } = formatSource(sourceFile(text));
    expect(value).toBe(text);
    expect(diagnostics).toHaveLength(1);
  });
});

describe('comments', () => {
  test('stay where they were written', () => {
    const text = `// head

import { a } from "x" // why

/// Doc.
config C { // opens
  // before a
  a: int // after a

  // before b
  b: int
  // at the end
}

fn f(
  x: f32, // first
  // second
  y: f32,
) {
  let a = g(
    x, // one
    y,
    // last
  )
  // result
  a +
    // term
    x
}
// end
`;
    expect(format(text)).toBe(text);
  });
});

describe('properties', () => {
  test('layout does not matter: any layout of the same tokens gives the same text', () => {
    for (const sample of samples) {
      const pieces = tokensOf(sample);
      const expected = format(pieces.map(({ image }) => image).join(' '));
      fc.assert(
        fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 16, maxLength: 64 }), (choices) => {
          const text = pieces
            .map(({ image, mayBreak }, index) => {
              const isBreak = mayBreak && !image.startsWith('\n') && choices[index % choices.length] === 0;
              return `${isBreak ? '\r\n\t' : ' '}${image}`;
            })
            .join('');
          expect(format(text)).toBe(expected);
        }),
        { seed, numRuns: 20 },
      );
    }
  });

  test('comments anywhere are kept once, the tree stays the same, and twice is the same as once', () => {
    for (const sample of samples) {
      const pieces = tokensOf(sample);
      const place = fc.record({ gap: fc.nat(pieces.length), style: fc.integer({ min: 0, max: 3 }) });
      fc.assert(
        fc.property(fc.array(place, { minLength: 1, maxLength: 12 }), (places) => {
          let count = 0;
          const gaps = pieces.map(({ image, mayBreak }, index) => {
            const here = mayBreak ? places.filter(({ gap }) => gap === index) : [];
            const comments = here.map(({ style }) => {
              const slashes = style % 2 === 0 ? '//' : '///';
              return `${style < 2 ? '\n' : ' '}${slashes} c${count++};\n`;
            });
            return `${comments.join('')} ${image}`;
          });
          const text = `${gaps.join('')}\n`;
          const once = format(text);
          for (let index = 0; index < count; index++) expect(once.split(`// c${index};`)).toHaveLength(2);
          expect(tree(once), text).toEqual(tree(text));
          expect(format(once), text).toBe(once);
        }),
        { seed, numRuns: 60 },
      );
    }
  });

  test('formatting changes nothing of the tree', () => {
    for (const sample of samples) expect(tree(format(sample))).toEqual(tree(sample));
    expect(tree(encoder.replaceAll('\n', '\r\n'))).toEqual(tree(encoder));
  });
});
