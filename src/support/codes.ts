/**
 * The table of diagnostic codes: one line per code. `docs/errors/` gets a page per code.
 */
import type { Severity } from './diagnostic.ts';

interface CodeInfo {
  readonly severity: Severity;
  readonly title: string;
}

const error = (title: string): CodeInfo => ({ severity: 'error', title });
const warning = (title: string): CodeInfo => ({ severity: 'warning', title });

export const codes = {
  // 1xxx: text and syntax (src/parser)
  SORA1001: error('unexpected character'),
  SORA1002: error('syntax error'),

  // 2xxx: names, types and shapes (src/ir/lower)
  SORA2001: error('unknown name'),

  // 3xxx: lints
  SORA3001: warning('unused declaration'),

  // 5xxx: code generation and limits
  SORA5001: error('not supported'),
} as const satisfies Record<string, CodeInfo>;

export type Code = keyof typeof codes;
