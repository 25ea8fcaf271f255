/**
 * A test kit for the language: tests of diagnostics that read like prose.
 *
 *   expectError(source, { code: 'SORA1002', at: 'Linear', line: 3 })
 */
import { expect } from 'vitest';
import type { SourceTree } from '../../src/parser/ast.ts';
import { parse } from '../../src/parser/index.ts';
import type { Diagnostic } from '../../src/support/diagnostic.ts';
import { positionAt, type SourceFile, spanText } from '../../src/support/source.ts';

export interface ExpectedDiagnostic {
  readonly code: string;
  /** 1-based line of the main place. */
  readonly line?: number;
  /** 1-based column of the main place. */
  readonly column?: number;
  /** The text under the main place. */
  readonly at?: string;
  readonly message?: string | RegExp;
  readonly help?: string | RegExp;
  /** The text under the first label. */
  readonly label?: string;
}

export function sourceFile(text: string, path = 'test.sora'): SourceFile {
  return { path, text };
}

/** One line a diagnostic: what a failing test shows. */
export function describeDiagnostics(diagnostics: readonly Diagnostic[]): string[] {
  return diagnostics.map((diagnostic) => {
    const { line, column } = positionAt(diagnostic.span.file, diagnostic.span.start);
    return `${line}:${column} ${diagnostic.code} ${diagnostic.message}`;
  });
}

function matches(actual: string | undefined, expected: string | RegExp): boolean {
  if (actual === undefined) return false;
  return typeof expected === 'string' ? actual.includes(expected) : expected.test(actual);
}

/** Checks the details of one diagnostic; strings are searched for, patterns tested. */
export function expectDiagnostic(diagnostic: Diagnostic | undefined, expected: ExpectedDiagnostic): void {
  expect(diagnostic, `no diagnostic where ${expected.code} was expected`).toBeDefined();
  if (diagnostic === undefined) return;
  const { line, column } = positionAt(diagnostic.span.file, diagnostic.span.start);
  const [label] = diagnostic.labels;
  const seen = {
    code: diagnostic.code,
    ...(expected.line === undefined ? {} : { line }),
    ...(expected.column === undefined ? {} : { column }),
    ...(expected.at === undefined ? {} : { at: spanText(diagnostic.span) }),
    ...(expected.label === undefined ? {} : { label: label && spanText(label.span) }),
  };
  const { message, help, ...places } = expected;
  expect(seen, diagnostic.message).toEqual(places);
  if (message !== undefined) {
    expect(matches(diagnostic.message, message), `message: ${diagnostic.message}`).toBe(true);
  }
  if (help !== undefined) expect(matches(diagnostic.help, help), `help: ${diagnostic.help}`).toBe(true);
}

/** The diagnostics are these, in this order, and no others. */
export function expectDiagnostics(diagnostics: readonly Diagnostic[], expected: readonly ExpectedDiagnostic[]): void {
  expect(describeDiagnostics(diagnostics)).toHaveLength(expected.length);
  expected.forEach((one, index) => {
    expectDiagnostic(diagnostics[index], one);
  });
}

/** The text parses without a diagnostic; gives its tree. */
export function expectOk(text: string): SourceTree {
  const { value, diagnostics } = parse(sourceFile(text));
  expect(describeDiagnostics(diagnostics)).toEqual([]);
  return value;
}

/** The text gives exactly one syntax diagnostic, this one; gives what could be made of the tree. */
export function expectError(text: string, expected: ExpectedDiagnostic): SourceTree {
  const { value, diagnostics } = parse(sourceFile(text));
  expect(describeDiagnostics(diagnostics)).toHaveLength(1);
  expectDiagnostic(diagnostics[0], expected);
  return value;
}

/** The text gives exactly these syntax diagnostics. */
export function expectErrors(text: string, expected: readonly ExpectedDiagnostic[]): SourceTree {
  const { value, diagnostics } = parse(sourceFile(text));
  expectDiagnostics(diagnostics, expected);
  return value;
}
