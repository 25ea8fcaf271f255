/**
 * Prints plain data as a JavaScript literal, wrapped at 110 columns: readable, deterministic, and safe through names.ts.
 */
import { numberLiteral, objectKey, stringLiteral } from '../../support/names.ts';

export type Data =
  | number
  | string
  | boolean
  | undefined
  | readonly Data[]
  | { readonly [key: string]: Data }
  | Verbatim;

/** Marked by a symbol: a key could come from a model's text. */
const expression = Symbol('expression');

interface Verbatim {
  readonly [expression]: string;
}

const lineWidth = 110;

/** Text that is already a safe expression (an identifier of the module). */
export function verbatim(text: string): Verbatim {
  return { [expression]: text };
}

function isVerbatim(data: object): data is Verbatim {
  return expression in data;
}

/** One literal; `indent` is the column at which its first line starts. */
export function printData(data: Data, indent = 0): string {
  if (typeof data === 'number') return numberLiteral(data);
  if (typeof data === 'string') return stringLiteral(data);
  if (typeof data === 'boolean') return String(data);
  if (data === undefined) return 'undefined';
  if (!Array.isArray(data) && isVerbatim(data)) return data[expression];
  const items: readonly string[] = Array.isArray(data)
    ? data.map((item: Data) => printData(item, indent + 2))
    : Object.entries(data)
        .filter(([, value]) => value !== undefined)
        .map(([key, value]) => `${objectKey(key)}: ${printData(value as Data, indent + 2)}`);
  const [open, close] = Array.isArray(data) ? ['[', ']'] : ['{ ', ' }'];
  if (items.length === 0) return open.trim() + close.trim();
  const oneLine = `${open}${items.join(', ')}${close}`;
  if (indent + oneLine.length <= lineWidth && !oneLine.includes('\n')) return oneLine;
  const padding = ' '.repeat(indent + 2);
  // A long list of numbers is filled like text, everything else gets a line per item.
  if (Array.isArray(data) && data.every((item) => typeof item === 'number')) {
    return `[\n${fill(items, padding)}\n${' '.repeat(indent)}]`;
  }
  return `${open.trim()}\n${items.map((item) => `${padding}${item},`).join('\n')}\n${' '.repeat(indent)}${close.trim()}`;
}

function fill(items: readonly string[], padding: string): string {
  const lines: string[] = [];
  let line = padding;
  for (const item of items) {
    if (line.length + item.length + 2 > lineWidth && line !== padding) {
      lines.push(line.trimEnd());
      line = padding;
    }
    line += `${item}, `;
  }
  lines.push(line.trimEnd());
  return lines.join('\n');
}
