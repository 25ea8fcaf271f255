/**
 * Diagnostics as text: one door for all reporters. `pretty` and `concise` are for people (render/pretty.ts), `json`,
 * `github` and `sarif` for programs.
 */
import picocolors from 'picocolors';
import type { Diagnostic } from './diagnostic.ts';
import { limits } from './limits.ts';
import { renderGithub } from './render/github.ts';
import { diagnosticJson } from './render/json.ts';
import { renderConcise, renderPretty } from './render/pretty.ts';
import { printableDiagnostic } from './render/printable.ts';
import { sarifLog } from './render/sarif.ts';

export const reporters = ['pretty', 'concise', 'json', 'github', 'sarif'] as const;

export type Reporter = (typeof reporters)[number];

export interface RenderOptions {
  readonly format: Reporter;
  readonly color: boolean;
  /** Diagnostics shown before the rest is only counted; 0: all. JSON and SARIF always have all. */
  readonly maximum?: number;
  /** Version of sorac, for SARIF. */
  readonly version?: string;
}

/** Text that ends with a line end, or nothing for no diagnostics (`json` and `sarif` always give their document). */
export function renderDiagnostics(diagnostics: readonly Diagnostic[], options: RenderOptions): string {
  const { format } = options;
  if (format === 'json') {
    return `${JSON.stringify({ version: 1, diagnostics: diagnostics.map(diagnosticJson) }, undefined, 2)}\n`;
  }
  if (format === 'sarif') return `${JSON.stringify(sarifLog(diagnostics, options.version), undefined, 2)}\n`;
  if (diagnostics.length === 0) return '';
  const colors = picocolors.createColors(options.color);
  const maximum = options.maximum ?? limits.diagnosticsShown;
  const shown = maximum === 0 ? diagnostics : diagnostics.slice(0, maximum);
  const parts = shown.map(printableDiagnostic).map((diagnostic) => {
    if (format === 'github') return renderGithub(diagnostic);
    return format === 'pretty' ? renderPretty(diagnostic, colors) : renderConcise(diagnostic, colors);
  });
  const hidden = diagnostics.length - shown.length;
  // A line that is no workflow command is plain output of the step.
  if (hidden > 0) parts.push(`and ${hidden} more: --max-errors 0 shows all`);
  return `${parts.join(format === 'pretty' ? '\n\n' : '\n')}\n`;
}
