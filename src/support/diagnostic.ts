/**
 * Diagnostics: what the compiler says about a person's model.
 *
 * Codes are stable: 1xxx text and syntax, 2xxx names, types and shapes, 3xxx lints, 4xxx passes, 5xxx code generation
 * and limits, 6xxx runtime, 7xxx weights and data. Every code stands once in `codes.ts`.
 * Messages are lower case, without full stop, names in backquotes.
 */
import { type Code, codes } from './codes.ts';
import type { Span } from './source.ts';

export type Severity = 'error' | 'warning';

/** A second place that explains the first: "this dimension came from here". */
export interface Label {
  readonly span: Span;
  readonly text: string;
}

/** A text edit that mends the mistake. */
export interface Fix {
  readonly title: string;
  readonly edits: readonly { readonly span: Span; readonly text: string }[];
}

export interface Diagnostic {
  readonly code: Code;
  readonly severity: Severity;
  readonly message: string;
  readonly span: Span;
  readonly labels: readonly Label[];
  readonly notes: readonly string[];
  readonly help?: string;
  readonly fixes?: readonly Fix[];
}

export interface DiagnosticDetails {
  /** Text under the primary underline; the message stands there when absent. */
  readonly labels?: readonly Label[];
  readonly notes?: readonly string[];
  readonly help?: string;
  readonly fixes?: readonly Fix[];
}

export function diagnose(code: Code, message: string, span: Span, details: DiagnosticDetails = {}): Diagnostic {
  return {
    code,
    severity: codes[code].severity,
    message,
    span,
    labels: details.labels ?? [],
    notes: details.notes ?? [],
    ...(details.help === undefined ? {} : { help: details.help }),
    ...(details.fixes === undefined ? {} : { fixes: details.fixes }),
  };
}

/** The result of a stage: its value (as much of it as could be made) and what there is to say. */
export interface Stage<Value> {
  readonly value: Value;
  readonly diagnostics: readonly Diagnostic[];
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((diagnostic) => diagnostic.severity === 'error');
}
