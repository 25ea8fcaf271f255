/**
 * What must hold for any text and for valid models. An oracle throws an error that says what does not hold; a throw of the compiler goes
 * through.
 */
import { checkSource, compile } from '../../src/compile.ts';
import type { Graph, Program } from '../../src/ir/graph.ts';
import { interpretGraph } from '../../src/ir/interpret.ts';
import type { Tensor } from '../../src/ir/op.ts';
import { profileNames } from '../../src/ir/target.ts';
import { tensorOf } from '../../src/ir/tensor.ts';
import { verifyProgram } from '../../src/ir/verify.ts';
import { formatSource, parse } from '../../src/parser/index.ts';
import { type Diagnostic, hasErrors } from '../../src/support/diagnostic.ts';
import { renderDiagnostics } from '../../src/support/render.ts';
import { withoutSpans } from '../null/parser/sketch.ts';
import { randomNumbers, randomTensor } from '../support/equivalence.ts';
import type { RandomModel } from './random-model.ts';

/** Longest time for one small source, in milliseconds. */
export const patience = 2000;

const path = 'fuzz.sora';

function demand(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

function checkPlaces(diagnostics: readonly Diagnostic[], length: number): void {
  for (const { span, code } of diagnostics) {
    if (span.file.path !== path) continue;
    demand(span.start >= 0 && span.start <= span.end && span.end <= length, `${code} lies outside of the file`);
  }
}

/** What a formatter may never lose: all characters but blanks and commas, in any order since comments may move. */
function substance(text: string): string {
  return [...text.replace(/[\s,]/g, '')].sort().join('');
}

/** A file without syntax errors: formatting is idempotent, loses nothing and changes no meaning. */
export function checkFormat(text: string): void {
  const file = { path, text };
  const parsed = parse(file);
  if (hasErrors(parsed.diagnostics)) return;
  const once = formatSource(file);
  demand(!hasErrors(once.diagnostics), 'the formatter refuses what the parser accepts');
  const formatted = { path, text: once.value };
  demand(substance(once.value) === substance(text), `formatting loses or adds something:\n${once.value}`);
  const again = parse(formatted);
  demand(!hasErrors(again.diagnostics), `formatted text does not parse:\n${once.value}`);
  const [before, after] = [parsed.value, again.value].map((tree) => JSON.stringify(withoutSpans(tree)));
  demand(before === after, `formatting changes the tree:\n${once.value}`);
  demand(formatSource(formatted).value === once.value, `formatting twice differs:\n${once.value}`);
}

export interface TextOutcome {
  readonly parses: boolean;
  readonly checks: boolean;
}

/** Any text: only diagnostics, and what is accepted is formatted, verified and, when `isWhole`, compiled. */
export function checkText(text: string, isWhole: boolean): TextOutcome {
  const start = performance.now();
  const file = { path, text };
  const { value, diagnostics } = checkSource({ file });
  checkPlaces(diagnostics, text.length);
  demand(value === undefined || !hasErrors(diagnostics), 'a program in spite of an error');
  // A file of modules only is checked and makes no program.
  demand(value !== undefined || hasErrors(diagnostics) || !/\bmodel\b/.test(text), 'no program and no error');
  const parses = !diagnostics.some(({ code }) => code.startsWith('SORA1'));
  if (parses) checkFormat(text);
  if (hasErrors(diagnostics) && text.length % 4 === 0)
    renderDiagnostics(diagnostics, { format: 'pretty', color: false });
  if (value !== undefined) {
    const broken = verifyProgram(value, { stage: 'model' });
    demand(broken.length === 0, `the verifier refuses the program: ${broken[0]}`);
    if (isWhole) compile({ file });
  }
  const time = performance.now() - start;
  demand(time < patience, `took ${Math.round(time)} ms`);
  return { parses, checks: value !== undefined };
}

function graphOf(program: Program): Graph {
  const [entry] = program.entries;
  demand(entry !== undefined, 'no entry');
  return entry.graph;
}

/** Weights in [-1, 1) / sqrt(fan-in) by path. */
export function randomWeights(program: Program, seed: number): ReadonlyMap<string, Tensor> {
  const next = randomNumbers(seed);
  return new Map(
    program.weights.map(({ path: name, type }) => {
      const tensor = randomTensor(type, new Map(), next);
      const scale = type.shape.length < 2 ? 1 : 1 / Math.sqrt(tensor.shape.at(-1) ?? 1);
      return [
        name,
        tensorOf(
          type.dtype,
          tensor.shape,
          [...tensor.data].map((value) => value * scale),
          'f64',
        ),
      ] as const;
    }),
  );
}

/** Results of the entry in f64. */
export function interpretModel(
  model: RandomModel,
  graph: Graph,
  weights: ReadonlyMap<string, Tensor>,
): ReadonlyMap<string, Tensor> {
  const inputs = Object.entries(model.inputs).map(
    ([name, { dtype, shape, values }]) =>
      [name, tensorOf(dtype, shape, values, dtype === 'f32' ? 'f64' : 'f32')] as const,
  );
  return interpretGraph(graph, {
    inputs: new Map(inputs),
    dims: new Map(Object.entries(model.sizes)),
    precision: 'f64',
    weight(name) {
      const tensor = weights.get(name);
      demand(tensor !== undefined, `no weight ${name}`);
      return tensor;
    },
  });
}

function compareResults(left: ReadonlyMap<string, Tensor>, right: ReadonlyMap<string, Tensor>, what: string): void {
  demand([...left.keys()].join() === [...right.keys()].join(), `${what}: other results`);
  for (const [name, tensor] of left) {
    const other = right.get(name);
    demand(other?.shape.join() === tensor.shape.join(), `${what}: \`${name}\` has another shape`);
    tensor.data.forEach((value, at) => {
      const twin = other.data[at] ?? Number.NaN;
      demand(Number.isFinite(value), `${what}: \`${name}\`[${at}] is ${value}`);
      const gap = Math.abs(value - twin) / Math.max(1, Math.abs(value));
      // Folding and packing keep the order of sums; only constants folded in f64 may move a last bit.
      demand(gap < 1e-9, `${what}: \`${name}\`[${at}] is ${twin}, not ${value}`);
    });
  }
}

/** A valid model: no diagnostic on the whole way, formats, and every stage computes the same numbers. */
export function checkModel(model: RandomModel): void {
  checkFormat(model.source);
  const start = performance.now();
  const { value, diagnostics } = compile({ file: { path, text: model.source } });
  const time = performance.now() - start;
  demand(diagnostics.length === 0, renderDiagnostics(diagnostics, { format: 'pretty', color: false }));
  demand(value !== undefined, 'no artifact');
  demand(time < patience, `compiling took ${Math.round(time)} ms`);
  for (const [name, kernel] of Object.entries(value.artifact.kernels)) {
    demand(/^[A-Za-z][A-Za-z0-9_]*$/.test(name) && kernel.code.includes('@compute'), `kernel \`${name}\` is odd`);
  }
  const weights = randomWeights(value.program, model.seed);
  const expected = interpretModel(model, graphOf(value.program), weights);
  compareResults(expected, interpretModel(model, graphOf(value.optimized), weights), 'optimized');
  for (const profile of profileNames) {
    compareResults(expected, interpretModel(model, graphOf(value.kernels[profile]), weights), `kernels of ${profile}`);
  }
}
