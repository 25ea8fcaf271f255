/**
 * A strict reader for the JSON of a safetensors header. Unlike JSON.parse it refuses a key that stands twice, numbers that are
 * not plain whole numbers, deep nesting and lone surrogates, and it never makes an object with a key from the file.
 */
import { SoraError } from './error.ts';

export type ScannedValue =
  | { readonly kind: 'string'; readonly text: string }
  /** `value` is undefined for what is no whole number in 0..2^53-1 as JSON writes it: `1.5`, `1e3`, `-1`. */
  | { readonly kind: 'number'; readonly text: string; readonly value: number | undefined }
  | { readonly kind: 'other'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly ScannedValue[] }
  | { readonly kind: 'object'; readonly fields: ReadonlyMap<string, ScannedValue> };

/** A tensor entry needs three levels. */
const MAXIMUM_DEPTH = 8;

const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const space = /[ \t\n\r]*/y;
const literal = /true|false|null/y;

export function scanJson(text: string, name: string): ScannedValue {
  let at = 0;
  const fail = (what: string): never => {
    throw new SoraError('SORA7003', `\`${name}\` has no valid JSON: ${what} at character ${at}`);
  };
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const expect = (character: string): void => {
    match(space);
    if (text[at] !== character) fail(`expected \`${character}\``);
    at++;
  };
  const readString = (): string => {
    match(space);
    const quoted = match(string) ?? fail('expected a string');
    const value: unknown = JSON.parse(quoted);
    if (typeof value !== 'string' || /\p{Surrogate}/u.test(value)) return fail('half of a character in a string');
    return value;
  };
  /** What stands between brackets, separated by commas. */
  const readItems = (close: string, item: () => void): void => {
    match(space);
    if (text[at] === close) {
      at++;
      return;
    }
    for (;;) {
      item();
      match(space);
      if (text[at] === close) {
        at++;
        return;
      }
      expect(',');
    }
  };
  const readValue = (depth: number): ScannedValue => {
    if (depth > MAXIMUM_DEPTH) fail('nested too deeply');
    match(space);
    if (text[at] === '{') {
      at++;
      const fields = new Map<string, ScannedValue>();
      readItems('}', () => {
        const key = readString();
        if (fields.has(key)) throw new SoraError('SORA7004', `\`${name}\` names \`${key}\` twice`);
        expect(':');
        fields.set(key, readValue(depth + 1));
      });
      return { kind: 'object', fields };
    }
    if (text[at] === '[') {
      at++;
      const items: ScannedValue[] = [];
      readItems(']', () => items.push(readValue(depth + 1)));
      return { kind: 'list', items };
    }
    if (text[at] === '"') return { kind: 'string', text: readString() };
    const digits = match(number);
    if (digits !== undefined) {
      const value = Number(digits);
      const isPlain = /^[0-9]+$/.test(digits) && Number.isSafeInteger(value);
      return { kind: 'number', text: digits, value: isPlain ? value : undefined };
    }
    return { kind: 'other', text: match(literal) ?? fail('expected a value') };
  };
  const value = readValue(0);
  match(space);
  if (at !== text.length) fail('text after the end');
  return value;
}
