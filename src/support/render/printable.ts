/**
 * Text of a person's file in output for terminals and logs: control characters and direction controls would move the cursor, colour
 * or hide what follows, so they become a visible sign.
 */
import type { Diagnostic } from '../diagnostic.ts';

/** Line ends stay; messages may have several lines. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}]/gu, (character) => (character === '\n' ? character : '\ufffd'));
}

/** A diagnostic whose own texts are printable; the lines of the source are the renderer's business. */
export function printableDiagnostic(diagnostic: Diagnostic): Diagnostic {
  return {
    ...diagnostic,
    message: printable(diagnostic.message),
    labels: diagnostic.labels.map((label) => ({ ...label, text: printable(label.text) })),
    notes: diagnostic.notes.map(printable),
    ...(diagnostic.help === undefined ? {} : { help: printable(diagnostic.help) }),
  };
}
