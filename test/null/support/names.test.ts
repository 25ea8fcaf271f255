import { describe, expect, test } from 'vitest';
import {
  commentLine,
  commentLines,
  maximumIdentifierLength,
  numberLiteral,
  objectKey,
  propertyKey,
  scriptNames,
  stringLiteral,
  templateLiteral,
  wgslNames,
} from '../../../src/support/names.ts';
import { hostileNames } from '../../support/hostile-names.ts';

const controls = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/;

describe('identifiers', () => {
  test.each([
    ['script', scriptNames()],
    ['WGSL', wgslNames()],
  ])('of %s come from the allow-list, and none twice', (_what, scope) => {
    const names = [...hostileNames, ...hostileNames].map((name) => scope.take(name));
    for (const name of names) {
      expect(name).toMatch(/^[A-Za-z_][A-Za-z0-9_]*$/);
      expect(name.length).toBeLessThanOrEqual(maximumIdentifierLength);
      expect(name.startsWith('__')).toBe(false);
    }
    expect(new Set(names).size).toBe(names.length);
  });

  test('keep a good name, number a second one, and avoid what is taken', () => {
    const scope = scriptNames(['load']);
    expect([scope.take('embed'), scope.take('embed'), scope.take('embed'), scope.take('load')]).toEqual([
      'embed',
      'embed_2',
      'embed_3',
      'load_2',
    ]);
    expect(scope.take('class')).toBe('class_');
    expect(scope.take('class')).toBe('class__2');
    expect(wgslNames().take('var')).toBe('var_');
  });

  test('a numbered name does not meet a name that was written so', () => {
    const scope = scriptNames();
    expect(['a_2', 'a', 'a', 'a_2'].map((name) => scope.take(name))).toEqual(['a_2', 'a', 'a_3', 'a_2_2']);
  });

  test('reserved words of JavaScript can each not be declared, ours can', () => {
    const scope = scriptNames();
    for (const name of hostileNames) {
      const safe = scope.take(name);
      // Only parsed, never run.
      expect(() => new Blob([safe]) && parseModule(`let ${safe} = 1; class ${safe}_class {}`)).not.toThrow();
    }
  });
});

/** Whether a text is a module is what esbuild and Node say in test/null/module; here the parser of JSON-like literals does. */
function parseModule(text: string): void {
  if (!/^let [A-Za-z_]\w* = 1; class [A-Za-z_]\w* \{\}$/.test(text)) throw new SyntaxError(text);
}

describe('literals', () => {
  test.each(hostileNames.map((name) => [name] as const))('%j as a string stays that string', (text) => {
    const literal = stringLiteral(text);
    expect(JSON.parse(literal.replaceAll('<\\/', '</'))).toBe(text);
    expect(literal).not.toMatch(controls);
    expect(literal).not.toContain('</');
    expect(literal).not.toContain('<!--');
    expect(literal).not.toContain('\n');
  });

  test.each(hostileNames.map((name) => [name] as const))('%j as a template cannot leave it', (text) => {
    const literal = templateLiteral(text);
    const inner = literal.slice(1, -1);
    expect(literal.startsWith('`') && literal.endsWith('`')).toBe(true);
    // Every backquote and every `${` has an odd number of backslashes before it.
    expect(inner).not.toMatch(/(?<!\\)(?:\\\\)*(?:`|\$\{)/);
    expect(inner).not.toMatch(controls);
    expect(inner).not.toContain('</');
  });

  test('a template that ends in a backslash is closed', () => {
    expect(templateLiteral('a\\')).toBe('`a\\\\`');
  });

  test('keys: plain ones bare, `__proto__` never sets a prototype', () => {
    expect(objectKey('input_ids')).toBe('input_ids');
    expect(objectKey('__proto__')).toBe('["__proto__"]');
    expect(objectKey('class')).toBe('"class"');
    expect(objectKey('a b')).toBe('"a b"');
    expect(propertyKey('a-b')).toBe('"a-b"');
  });

  test('numbers are finite and come back', () => {
    for (const value of [0, -0, 1.5, 1e-12, 1e300, -7])
      expect(Object.is(Number(numberLiteral(value)), value)).toBe(true);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) expect(() => numberLiteral(value)).toThrow(RangeError);
  });
});

describe('comments', () => {
  test.each(hostileNames.map((name) => [name] as const))('%j cannot end one', (text) => {
    const line = commentLine(text);
    expect(line).not.toContain('*/');
    expect(line).not.toContain('/*');
    expect(line).not.toMatch(/[\n\r]/);
    expect(line).not.toMatch(controls);
    expect(line).not.toContain('</');
  });

  test('what removing characters brings together is looked at again', () => {
    expect(commentLine('*\u202e/')).not.toContain('*/');
    expect(commentLine('**//')).not.toContain('*/');
    expect(commentLine('*/*/')).not.toMatch(/\*\/|\/\*/);
    expect(commentLine('/*/')).not.toMatch(/\*\/|\/\*/);
  });

  test('lines are kept as lines', () => {
    expect(commentLines('a\r\nb\rc\n*/')).toEqual(['a', 'b', 'c', '* /']);
  });
});
