/**
 * All files of grammar/ that come from the code, by name.
 */
import { refreshReference } from './built-ins.ts';
import { ebnf } from './ebnf.ts';
import { railroad } from './railroad.ts';
import { textMate } from './text-mate.ts';

/** `reference` is the present text of grammar/sora.md. */
export function grammarFiles(reference: string): ReadonlyMap<string, string> {
  return new Map([
    ['sora.ebnf', ebnf()],
    ['railroad.html', railroad()],
    ['sora.tmLanguage.json', textMate()],
    ['sora.md', refreshReference(reference)],
  ]);
}
