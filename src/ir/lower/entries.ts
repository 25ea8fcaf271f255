/**
 * Entries: each becomes one graph with its parameters as inputs and its results by name.
 *
 * The sizes of the runtime dims are read off the inputs of a call, so every dim that an entry uses must stand alone
 * somewhere in its parameters.
 */
import type { EntryMember, FunctionParameter } from '../../parser/ast.ts';
import { type Entry, type EntryParameter, type Graph, GraphBuilder, type Result, type Value } from '../graph.ts';
import { symbolDim, symbolsOfDim } from '../symbolic.ts';
import { isFloat, sameType, type TensorType } from '../types.ts';
import { type Binding, describe, type Instance, numberOf, poison } from './binding.ts';
import { resultSpan } from './calls.ts';
import { type Context, inFrame, rangeLabels, report } from './context.ts';
import { checkExpectations, type EntrySession, isHiddenDim, makeEntrySession } from './entry-session.ts';
import { evaluate } from './expressions.ts';
import { clashingDims, numberNotes, originLabels, writtenType } from './origin.ts';
import { childScope, type Scope } from './scope.ts';
import { asTensor, fitsFloat, isTensor } from './tensors.ts';
import { resolveType } from './typing.ts';

/** The number that fills a parameter that is left out; undefined when there is none or it does not fit (reported). */
function initialValue(
  context: Context,
  parameter: FunctionParameter,
  type: TensorType,
  scope: Scope,
): number | undefined {
  if (parameter.initial === undefined) return undefined;
  const { span } = parameter.initial;
  const binding = evaluate(context, parameter.initial, scope);
  if (binding.kind === 'poison') return undefined;
  const number = binding.kind === 'bool' ? Number(binding.value) : numberOf(binding);
  const fits =
    number !== undefined &&
    ((isFloat(type.dtype) && fitsFloat(number, type.dtype)) ||
      (type.dtype === 'bool' && binding.kind === 'bool') ||
      (type.dtype === 'i32' && binding.kind === 'int' && number === (number | 0)) ||
      (type.dtype === 'u32' && binding.kind === 'int' && number === number >>> 0));
  if (fits) return number;
  report(
    context,
    'SORA2103',
    `the default of \`${parameter.name.text}\` must be one \`${type.dtype}\`, found ${describe(binding)}`,
    span,
    {
      labels: [{ span: parameter.type.span, text: 'declared here' }],
    },
  );
  return undefined;
}

function entryParameter(
  context: Context,
  parameter: FunctionParameter,
  builder: GraphBuilder,
  scope: Scope,
): { readonly binding: Binding; readonly parameter: EntryParameter | undefined } {
  const failed = { binding: poison, parameter: undefined };
  if (parameter.type.kind === 'scalar-type') {
    report(context, 'SORA2006', `an entry takes tensors, not \`${parameter.type.name}\``, parameter.type.span, {
      help: 'a single number is a tensor without dims: `f32`',
    });
    return failed;
  }
  const type = resolveType(context, parameter.type, scope);
  if (type === undefined) return failed;
  const initial = initialValue(context, parameter, type, scope);
  const value = builder.input(parameter.name.text, type, parameter.span);
  return {
    binding: { kind: 'tensor', value },
    parameter: { name: parameter.name.text, type, doc: parameter.doc, initial },
  };
}

/** Every result with its declared type, or undefined when one does not fit (reported). */
function entryResults(
  context: Context,
  entry: EntryMember,
  body: Binding,
  scope: Scope,
): readonly Result[] | undefined {
  const span = resultSpan(entry.body);
  const [only] = entry.results;
  const isRecord = entry.results.length > 1 || body.kind === 'record';
  if (body.kind === 'poison') {
    for (const result of entry.results) resolveType(context, result.type, scope);
    return undefined;
  }
  if (isRecord && body.kind !== 'record') {
    report(
      context,
      'SORA2104',
      `\`${entry.name.text}\` has ${entry.results.length} results, but this is ${describe(body)}`,
      span,
      {
        labels: only ? [{ span: only.type.span, text: 'declared here' }] : [],
        help: `give a record: \`{ ${entry.results.map((result) => `${result.name?.text ?? 'name'}: …`).join(', ')} }\``,
      },
    );
    return undefined;
  }
  const results: Result[] = [];
  for (const result of entry.results) {
    const name = result.name?.text ?? entry.name.text;
    const given = body.kind === 'record' ? body.fields.get(name) : body;
    if (given === undefined) {
      report(context, 'SORA2104', `the result \`${name}\` is missing`, span, {
        labels: [{ span: result.name?.span ?? result.type.span, text: 'declared here' }],
      });
      return undefined;
    }
    const value = checkedResult(context, entry, result.type, name, given, scope);
    if (value === undefined) return undefined;
    results.push({ name, value });
  }
  if (body.kind === 'record') {
    const extra = [...body.fields.keys()].find((name) => !results.some((result) => result.name === name));
    if (extra !== undefined) {
      report(context, 'SORA2104', `\`${extra}\` is no result of \`${entry.name.text}\``, span, {
        labels: only ? [{ span: only.type.span, text: 'the results are declared here' }] : [],
      });
      return undefined;
    }
  }
  return results;
}

function checkedResult(
  context: Context,
  entry: EntryMember,
  syntax: EntryMember['results'][number]['type'],
  name: string,
  given: Binding,
  scope: Scope,
): Value | undefined {
  if (given.kind === 'poison') return undefined;
  const expected = resolveType(context, syntax, scope);
  if (expected === undefined) return undefined;
  const span = resultSpan(entry.body);
  const value = asTensor(context, { binding: given, span }, isTensor(given) ? undefined : expected.dtype);
  if (value === undefined || sameType(value.type, expected)) return value;
  const clash = clashingDims(expected.shape, value.type.shape);
  report(
    context,
    'SORA2104',
    `result \`${name}\` is declared \`${writtenType(expected)}\`, but this is \`${writtenType(value.type)}\``,
    span,
    {
      labels: [{ span: syntax.span, text: 'declared here' }, ...originLabels(clash, [span, syntax.span])],
      notes: numberNotes(expected, value.type),
    },
  );
  return undefined;
}

/** Runtime dims of every shape in the graph. */
export function symbolsOfGraph(graph: Graph): ReadonlySet<string> {
  const names = new Set<string>();
  for (const node of graph.nodes) {
    for (const output of node.outputs) {
      for (const dim of output.type.shape) for (const name of symbolsOfDim(dim)) names.add(name);
    }
    for (const attribute of Object.values(node.attributes)) {
      if (typeof attribute !== 'object' || !('terms' in attribute)) continue;
      for (const name of symbolsOfDim(attribute)) names.add(name);
    }
  }
  return names;
}

/** Says which dims a call could not tell from its inputs. */
function checkDetermined(
  context: Context,
  entry: EntryMember,
  parameters: readonly EntryParameter[],
  graph: Graph,
): boolean {
  const alone = new Set<string>();
  for (const parameter of parameters) {
    if (parameter.role !== undefined) continue;
    // A parameter that may be left out tells nothing.
    if (parameter.initial !== undefined) continue;
    for (const dim of parameter.type.shape) {
      const [name, ...others] = symbolsOfDim(dim);
      if (name === dim.key && others.length === 0) alone.add(name);
    }
  }
  const unknown = [...symbolsOfGraph(graph)].filter((name) => !alone.has(name) && !isHiddenDim(context, name));
  if (unknown.length === 0) return true;
  const names = unknown.map((name) => `\`${name}\``).join(', ');
  report(context, 'SORA2206', `no parameter of \`${entry.name.text}\` tells the size of ${names}`, entry.name.span, {
    labels: unknown.flatMap((name) => rangeLabels(context, symbolDim(name))),
    help: 'some parameter without a default must have the dim alone on one of its axes',
  });
  return false;
}

export function lowerEntry(context: Context, entry: EntryMember, model: Instance): Entry | undefined {
  if (context.states.size === 0) return lowerOnce(context, entry, model, undefined);
  const session = makeEntrySession(entry.parameters.map((parameter) => parameter.name.text));
  const { calls } = context;
  const lowered = lowerOnce(context, entry, model, session);
  if (session.appended.size > 0 || session.hidden.size === 0) return lowered;
  // It has nothing to do with the states after all: every call starts at position 0.
  context.calls = calls;
  return lowerOnce(context, entry, model, undefined);
}

function lowerOnce(
  context: Context,
  entry: EntryMember,
  model: Instance,
  session: EntrySession | undefined,
): Entry | undefined {
  const builder = new GraphBuilder();
  context.site = { builder, weights: new Map(), nodes: 0, ...(session ? { session } : {}) };
  const scope = childScope(model.scope);
  const parameters: EntryParameter[] = [];
  let failed = false;
  const bindings = entry.parameters.map((parameter) => entryParameter(context, parameter, builder, model.scope));
  for (const [at, parameter] of entry.parameters.entries()) {
    const bound = bindings[at];
    if (bound?.parameter) parameters.push(bound.parameter);
    else failed = true;
    scope.names.set(parameter.name.text, {
      binding: bound?.binding ?? poison,
      span: parameter.name.span,
      declaration: parameter,
    });
  }
  const frame = { span: entry.name.span, declaration: entry, owner: model, label: undefined };
  const results = inFrame(context, frame, () =>
    entryResults(context, entry, evaluate(context, entry.body, scope), scope),
  );
  context.site = undefined;
  if (results === undefined || failed) return undefined;
  const steps = session?.steps;
  if (session && steps) {
    if (!checkExpectations(context, session)) return undefined;
    for (const { parameter } of session.hidden.values()) parameters.push(parameter);
  }
  const graph = builder.finish(entry.name.text, results);
  if (!checkDetermined(context, entry, parameters, graph)) return undefined;
  return {
    name: entry.name.text,
    doc: entry.doc,
    parameters,
    results: results.map(({ name, value }) => ({ name, type: value.type })),
    graph,
    span: entry.span,
    ...(steps ? { steps } : {}),
  };
}
