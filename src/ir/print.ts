/**
 * The text form of graphs and programs, in the manner of MLIR. read.ts reads it back to an equal graph; only spans are
 * lost. Printing never fails, not even on a graph that the verifier rejects.
 *
 *   graph "embed" {
 *     %0 = input {name = "ids"} : i32[B, T] "ids"
 *     %1 = weight {paths = ["word.weight"]} : f32[30522, 384]
 *     %2 = gather(%1, %0) : f32[B, T, 384] "embeddings"
 *     return "hidden" = %2
 *   }
 *
 * A node with several outputs is read as `%3#0`, `%3#1`. The string after the types is the label.
 */
import type {
  Attributes,
  AttributeValue,
  Entry,
  Graph,
  Initializer,
  Node,
  Program,
  SparseFormat,
  State,
  Value,
  Weight,
  WeightFormat,
} from './graph.ts';
import { isDim } from './ops/shared.ts';
import { printType } from './types.ts';

/** JSON's escapes are a subset that every reader knows; strings never hold a line break. */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
}

/** Shortest text that reads back to the same number, with `inf`, `nan` and `-0`. */
export function printNumber(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  return Object.is(value, -0) ? '-0' : String(value);
}

function printAttribute(value: AttributeValue): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'number') return printNumber(value);
  if (typeof value === 'boolean') return String(value);
  return isDim(value) ? value.key : `[${value.map(printAttribute).join(', ')}]`;
}

function printAttributes(attributes: Attributes): string {
  const pairs = Object.entries(attributes).map(([name, value]) => `${name} = ${printAttribute(value)}`);
  return pairs.length === 0 ? '' : ` {${pairs.join(', ')}}`;
}

function printValue(value: Value): string {
  return value.node.outputs.length === 1 ? `%${value.node.id}` : `%${value.node.id}#${value.output}`;
}

function printTypes(node: Node): string {
  const types = node.outputs.map((output) => printType(output.type));
  return types.length === 1 ? (types[0] ?? '') : `(${types.join(', ')})`;
}

export interface PrintOptions {
  /** Names from the model behind each node; without them, graphs that compute the same print the same. Default: true. */
  readonly labels?: boolean;
}

/** One node without its region: what messages show. */
export function printNode(node: Node, options: PrintOptions = {}): string {
  const operands = node.inputs.length === 0 ? '' : `(${node.inputs.map(printValue).join(', ')})`;
  const label = node.label === undefined || options.labels === false ? '' : ` ${quote(node.label)}`;
  return `%${node.id} = ${node.op}${operands}${printAttributes(node.attributes)} : ${printTypes(node)}${label}`;
}

function graphLines(graph: Graph, indent: string, options: PrintOptions = {}): string[] {
  const inner = `${indent}  `;
  const nodes = graph.nodes.flatMap((node) => {
    if (!node.region) return [`${inner}${printNode(node, options)}`];
    const [head = '', ...body] = graphLines(node.region, inner, options);
    return [`${inner}${printNode(node, options)} ${head.trimStart()}`, ...body];
  });
  const results = graph.results.map((result) => `${quote(result.name)} = ${printValue(result.value)}`);
  const last = `${inner}return${results.length === 0 ? '' : ` ${results.join(', ')}`}`;
  return [`${indent}graph ${quote(graph.name)} {`, ...nodes, last, `${indent}}`];
}

export function printGraph(graph: Graph, options: PrintOptions = {}): string {
  return `${graphLines(graph, '', options).join('\n')}\n`;
}

function docOf(doc: string | undefined): string {
  return doc === undefined ? '' : ` doc ${quote(doc)}`;
}

function initialOf(initial: Initializer | undefined): string {
  if (initial === undefined) return '';
  const numbers = (...values: readonly number[]) => values.map(printNumber).join(' ');
  switch (initial.kind) {
    case 'constant':
      return ` init constant ${numbers(initial.value)}`;
    case 'uniform':
      return ` init uniform ${numbers(initial.low, initial.high)}`;
    case 'normal':
      return ` init normal ${numbers(initial.mean, initial.std)}${initial.truncated ? ' truncated' : ''}`;
  }
}

/** `int4 group 32 asymmetric`: as the text form of programs has it. */
export function printFormat({ kind, group, asymmetric, transposed }: WeightFormat): string {
  const words = [kind, ...(group === undefined ? [] : [`group ${printNumber(group)}`])];
  return [...words, ...(asymmetric ? ['asymmetric'] : []), ...(transposed ? ['transposed'] : [])].join(' ');
}

/** `2 of 4 transposed` */
export function printSparsity({ keep, of, transposed }: SparseFormat): string {
  return `${printNumber(keep)} of ${printNumber(of)}${transposed ? ' transposed' : ''}`;
}

function weightLine({ path, type, tied, initial, format, sparse, doc }: Weight): string {
  const tie = tied === undefined ? '' : ` tied ${quote(tied)}`;
  const some = sparse === undefined ? '' : ` sparse ${printSparsity(sparse)}`;
  const stored = format === undefined ? some : ` format ${printFormat(format)}`;
  return `  weight ${quote(path)} : ${printType(type)}${tie}${initialOf(initial)}${stored}${docOf(doc)}`;
}

function stateLine(state: State): string {
  const { path, dtype, batch, positions, width } = state;
  return `  state ${quote(path)} : ${dtype}[${batch.key}, ${printNumber(positions)}, ${printNumber(width)}]`;
}

function sessionLines(program: Program): string[] {
  if (!program.session) return [];
  const { past, slack, positions } = program.session;
  return [`  session ${past} slack ${slack} positions ${printNumber(positions)}`];
}

function generationLines({ generation }: Program): string[] {
  if (!generation) return [];
  const { entry, prefill, step, tokens, length, vocabulary, top, stop } = generation;
  const numbers = [vocabulary, top, ...stop].map(printNumber).join(', ');
  const names = [entry, prefill, step, tokens].map(quote).join(', ');
  return [`  generate ${names}, ${length}, ${numbers}`];
}

function entryLines(entry: Entry): string[] {
  const steps = entry.steps === undefined ? '' : ` steps [${entry.steps.key}]`;
  return [
    `  entry ${quote(entry.name)}${docOf(entry.doc)}${steps}${entry.isHidden ? ' hidden' : ''} {`,
    ...entry.parameters.map((parameter) => {
      const initial = parameter.initial === undefined ? '' : ` = ${printNumber(parameter.initial)}`;
      const role = parameter.role === undefined ? '' : ` role ${quote(parameter.role)}`;
      return `    parameter ${quote(parameter.name)} : ${printType(parameter.type)}${initial}${docOf(parameter.doc)}${role}`;
    }),
    ...entry.results.map(
      (result) => `    result ${quote(result.name)} : ${printType(result.type)}${result.isLazy ? ' lazy' : ''}`,
    ),
    ...graphLines(entry.graph, '    '),
    '  }',
  ];
}

export function printProgram(program: Program): string {
  const config = Object.entries(program.config).map(
    ([name, value]) => `  config ${quote(name)} = ${printAttribute(value)}`,
  );
  const dims = [...program.dims].map(([name, range]) => {
    const multiple = range.multiple === 1 ? '' : ` multiple ${printNumber(range.multiple)}`;
    return `  dim ${name} in ${printNumber(range.minimum)} .. ${printNumber(range.maximum)}${multiple}`;
  });
  const lines = [
    `program ${quote(program.name)}${docOf(program.doc)} {`,
    ...config,
    ...dims,
    ...program.weights.map(weightLine),
    ...program.states.map(stateLine),
    ...sessionLines(program),
    ...program.entries.flatMap(entryLines),
    ...generationLines(program),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}
