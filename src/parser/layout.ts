/**
 * A small document algebra for the formatter: groups go on one line when they fit, else break at all their lines.
 *
 * After Wadler, "A prettier printer" (2003), in the iterative form that Prettier uses. Two additions keep comments simple:
 * `fresh` ends the line only when something stands on it, so that any number of them make one line end, and `suffix` text
 * waits for the end of the line it falls on.
 */

export type Doc =
  | string
  | readonly Doc[]
  | { readonly kind: 'group'; readonly doc: Doc; readonly isBroken: boolean }
  | { readonly kind: 'indent'; readonly doc: Doc }
  /** A blank (`soft`: nothing) in a group that fits, else a line end. */
  | { readonly kind: 'line'; readonly soft: boolean }
  | { readonly kind: 'fresh' }
  /** As `fresh`, with one empty line between; nothing at the start of the text. */
  | { readonly kind: 'blank' }
  | { readonly kind: 'suffix'; readonly text: string }
  /** Only in a group that breaks. */
  | { readonly kind: 'ifBroken'; readonly text: string };

export const line: Doc = { kind: 'line', soft: false };
export const softline: Doc = { kind: 'line', soft: true };
export const fresh: Doc = { kind: 'fresh' };
export const blank: Doc = { kind: 'blank' };

export function indent(...parts: readonly Doc[]): Doc {
  return { kind: 'indent', doc: parts };
}

export function suffix(text: string): Doc {
  return { kind: 'suffix', text };
}

export function ifBroken(text: string): Doc {
  return { kind: 'ifBroken', text };
}

function isList(doc: Doc): doc is readonly Doc[] {
  return Array.isArray(doc);
}

/** Whether the document ends a line in any case. */
function mustBreak(doc: Doc): boolean {
  if (typeof doc === 'string') return false;
  if (isList(doc)) return doc.some(mustBreak);
  if (doc.kind === 'group') return doc.isBroken;
  if (doc.kind === 'indent') return mustBreak(doc.doc);
  return doc.kind === 'fresh' || doc.kind === 'blank';
}

export function group(parts: readonly Doc[], options: { readonly isBroken?: boolean } = {}): Doc {
  return { kind: 'group', doc: parts, isBroken: options.isBroken === true || mustBreak(parts) };
}

interface Command {
  readonly depth: number;
  readonly isFlat: boolean;
  readonly doc: Doc;
}

/** Puts the parts of a list on the stack, first part on top. */
function pushParts(work: Command[], parts: readonly Doc[], depth: number, isFlat: boolean): void {
  for (let index = parts.length - 1; index >= 0; index--) {
    const doc = parts[index];
    if (doc !== undefined && doc !== '') work.push({ depth, isFlat, doc });
  }
}

/** Whether `next` on one line, with what follows it up to a possible line end, takes at most `room` columns. */
function fits(next: Command, rest: readonly Command[], room: number): boolean {
  const work: Command[] = [next];
  let restAt = rest.length;
  let left = room;
  while (left >= 0) {
    const command = work.pop() ?? rest[--restAt];
    if (command === undefined) return true;
    const { doc, isFlat } = command;
    if (typeof doc === 'string') left -= doc.length;
    else if (isList(doc)) pushParts(work, doc, 0, isFlat);
    else if (doc.kind === 'group') work.push({ depth: 0, doc: doc.doc, isFlat: isFlat && !doc.isBroken });
    else if (doc.kind === 'indent') work.push({ depth: 0, doc: doc.doc, isFlat });
    else if (doc.kind === 'fresh' || doc.kind === 'blank') return true;
    else if (doc.kind === 'line' && !isFlat) return true;
    else if (doc.kind === 'line' && !doc.soft) left -= 1;
    else if (doc.kind === 'ifBroken' && !isFlat) left -= doc.text.length;
  }
  return false;
}

/** The text of a document, without trailing blanks, ending with one line end. */
export function printDoc(root: Doc, width: number, indentWidth: number): string {
  const lines: string[] = [];
  let current = '';
  let pending = '';
  const endLine = (depth: number): void => {
    // A blank that nothing followed on this line stays away from the comment that waits for its end.
    const text = pending === '' || current.trim() === '' ? current : current.trimEnd();
    lines.push((text + pending).trimEnd());
    pending = '';
    current = ' '.repeat(depth * indentWidth);
  };
  const isEmpty = (): boolean => current.trim() === '' && pending === '';
  const freshLine = (depth: number): void => {
    if (isEmpty()) current = ' '.repeat(depth * indentWidth);
    else endLine(depth);
  };

  const work: Command[] = [{ depth: 0, isFlat: false, doc: root }];
  for (let command = work.pop(); command !== undefined; command = work.pop()) {
    const { doc, depth, isFlat } = command;
    if (typeof doc === 'string') current += doc;
    else if (isList(doc)) pushParts(work, doc, depth, isFlat);
    else if (doc.kind === 'indent') work.push({ depth: depth + 1, isFlat, doc: doc.doc });
    else if (doc.kind === 'group') {
      const flat: Command = { depth, isFlat: true, doc: doc.doc };
      const isOneLine = !doc.isBroken && (isFlat || fits(flat, work, width - current.length));
      work.push({ depth, isFlat: isOneLine, doc: doc.doc });
    } else if (doc.kind === 'fresh') freshLine(depth);
    else if (doc.kind === 'blank') {
      freshLine(depth);
      if (lines.length > 0 && lines.at(-1) !== '') lines.push('');
    } else if (doc.kind === 'suffix') pending += doc.text;
    else if (doc.kind === 'ifBroken') current += isFlat ? '' : doc.text;
    else if (isFlat) current += doc.soft ? '' : ' ';
    else freshLine(depth);
  }
  if (!isEmpty()) endLine(0);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}
