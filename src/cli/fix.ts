/**
 * Applies the fix-its of diagnostics to one file: those that are alone at their mistake, round after round, as one fix can
 * uncover the next. A round that leaves more errors than before is not kept.
 */
import type { Diagnostic } from '../support/diagnostic.ts';
import type { SourceFile } from '../support/source.ts';

export interface Fixed {
  readonly text: string;
  /** Titles of the fixes that were made, in order. */
  readonly titles: readonly string[];
}

/** Each round mends one place of a name at least; text that never settles must end too. */
const maximumRounds = 50;

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Edits of this file that do not touch each other, by place; a fix is taken whole or not at all. */
function chooseEdits(file: SourceFile, diagnostics: readonly Diagnostic[]): { edits: Edit[]; titles: string[] } {
  const edits: Edit[] = [];
  const titles: string[] = [];
  for (const { fixes = [] } of diagnostics) {
    const [only, second] = fixes;
    if (only === undefined || second !== undefined) continue;
    if (only.edits.some((edit) => edit.span.file.path !== file.path)) continue;
    const own = only.edits.map(({ span, text }) => ({ start: span.start, end: span.end, text }));
    const touches = own.some((edit) => edits.some((other) => edit.start <= other.end && other.start <= edit.end));
    if (touches) continue;
    edits.push(...own);
    titles.push(only.title);
  }
  return { edits: edits.sort((left, right) => right.start - left.start), titles };
}

/** Errors of the syntax hide all others, so they are compared first. */
function isWorse(after: readonly Diagnostic[], before: readonly Diagnostic[]): boolean {
  const count = (diagnostics: readonly Diagnostic[], codes: RegExp): number =>
    diagnostics.filter(({ severity, code }) => severity === 'error' && codes.test(code)).length;
  const syntax = count(after, /^SORA1/) - count(before, /^SORA1/);
  return syntax === 0 ? count(after, /./) > count(before, /./) : syntax > 0;
}

export function fixSource(file: SourceFile, check: (file: SourceFile) => readonly Diagnostic[]): Fixed {
  const titles: string[] = [];
  let current = file;
  let diagnostics = check(current);
  for (let round = 0; round < maximumRounds; round++) {
    const chosen = chooseEdits(current, diagnostics);
    if (chosen.edits.length === 0) break;
    let text = current.text;
    for (const edit of chosen.edits) text = text.slice(0, edit.start) + edit.text + text.slice(edit.end);
    const next = { ...current, text };
    const after = check(next);
    // Places of one unknown name are one diagnostic, so the count may stay.
    if (isWorse(after, diagnostics)) break;
    titles.push(...chosen.titles);
    current = next;
    diagnostics = after;
  }
  return { text: current.text, titles };
}
