/**
 * What tests of lowering share: text to a program with the real library, and programs run in the interpreter.
 */
import { expect } from 'vitest';
import { compile } from '../../../src/compile.ts';
import type { Program } from '../../../src/ir/graph.ts';
import { runProgram } from '../../../src/ir/interpret.ts';
import { lowerModel } from '../../../src/ir/lower.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import type { DType } from '../../../src/ir/types.ts';
import { verifyProgram } from '../../../src/ir/verify.ts';
import { resolveImports } from '../../../src/parser/index.ts';
import { library } from '../../../src/parser/library.generated.ts';
import { type Diagnostic, hasErrors, type Stage } from '../../../src/support/diagnostic.ts';
import { describeDiagnostics, type ExpectedDiagnostic, expectDiagnostics, sourceFile } from '../../support/language.ts';

export interface LowerOptions {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly model?: string;
  /** Other files of the project by path. */
  readonly files?: Readonly<Record<string, string>>;
}

export function lower(text: string, options: LowerOptions = {}, path = 'test.sora'): Stage<Program | undefined> {
  const { files = {}, ...rest } = options;
  const parsed = resolveImports(sourceFile(text, path), { library, readFile: (name) => files[name] });
  if (hasErrors(parsed.diagnostics)) return { value: undefined, diagnostics: parsed.diagnostics };
  const lowered = lowerModel({ trees: parsed.value, ...rest });
  return { value: lowered.value, diagnostics: [...parsed.diagnostics, ...lowered.diagnostics] };
}

/** The same through the whole compiler, for mistakes that only the writing of kernels meets. */
export function through(text: string, options: LowerOptions = {}, path = 'test.sora'): Stage<Program | undefined> {
  const found = lower(text, options, path);
  if (found.diagnostics.length > 0) return found;
  const { files = {}, ...rest } = options;
  const stage = compile({ file: sourceFile(text, path), host: { readFile: (name) => files[name] }, ...rest });
  return { value: stage.value?.program, diagnostics: stage.diagnostics };
}

/** The text lowers without a word to a program that the verifier accepts. */
export function lowered(text: string, options: LowerOptions = {}): Program {
  const { value, diagnostics } = lower(text, options);
  expect(describeDiagnostics(diagnostics)).toEqual([]);
  if (value === undefined) throw new Error('no program and no diagnostic');
  expect(verifyProgram(value, { stage: 'model' })).toEqual([]);
  return value;
}

/** The text gives exactly one diagnostic, this one. */
export function refused(text: string, expected: ExpectedDiagnostic, options: LowerOptions = {}): Diagnostic {
  const { diagnostics } = lower(text, options);
  expectDiagnostics(diagnostics, [expected]);
  return diagnostics[0] as Diagnostic;
}

export interface PlainTensor {
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly dtype?: DType;
}

function toTensor({ shape, values, dtype = 'f32' }: PlainTensor): Tensor {
  return tensorOf(dtype, shape, values, dtype === 'f32' ? 'f64' : 'f32');
}

/** Results of an entry in f64, as plain numbers. */
export function run(
  program: Program,
  inputs: Readonly<Record<string, PlainTensor>>,
  weights: Readonly<Record<string, PlainTensor>> = {},
  entry = program.entries[0]?.name ?? '',
): Readonly<Record<string, PlainTensor>> {
  const results = runProgram(program, entry, {
    inputs: new Map(Object.entries(inputs).map(([name, tensor]) => [name, toTensor(tensor)])),
    precision: 'f64',
    weight(path) {
      const tensor = weights[path];
      if (!tensor) throw new Error(`the test gives no weight ${path}`);
      return toTensor(tensor);
    },
  });
  return Object.fromEntries(
    [...results].map(([name, tensor]) => [name, { shape: tensor.shape, values: [...tensor.data] }]),
  );
}

/** A model with one entry `forward(PARAMETERS) -> y: RESULT { BODY }`, dims B and T; `before` goes above the model. */
export function model(parameters: string, result: string, body: string, before = ''): string {
  return `dim B in 1..8, T in 2..16\n${before}\nmodel Test {\n  entry forward(${parameters}) -> y: ${result} { ${body} }\n}\n`;
}
