/** placeholder while writing */
import type { Stage } from '../support/diagnostic.ts';
import type { SourceFile } from '../support/source.ts';
import { parseConcrete } from './parse.ts';
export function formatSource(file: SourceFile): Stage<string> {
  return { value: file.text, diagnostics: parseConcrete(file).diagnostics };
}
