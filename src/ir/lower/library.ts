/**
 * What the libraries export, for "import it" hints in files that do not import it yet.
 */
import { library } from '../../parser/library.generated.ts';

/** Declarations stand at the start of a line; a look at the text spares parsing the library for a hint. */
const declaration = /^(?:module|fn|config|dim) +([A-Za-z_][A-Za-z0-9_]*)/gm;

export function libraryNames(): readonly string[] {
  return [...(library.get('sora:nn') ?? '').matchAll(declaration)].flatMap((match) => match[1] ?? []);
}
