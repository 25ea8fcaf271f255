/**
 * What is legal at each stage. Runs after every pass in tests and with `--verify`; a problem is always a bug of the
 * compiler, so problems are plain sentences, not diagnostics.
 *
 * - `model`: ops of both levels, no fused nodes: what lowering makes.
 * - `tensor`: tensor-level ops and fused nodes: after decomposition, while fusing.
 * - `kernels`: inputs, weights, constants and fused nodes: what code generation takes.
 *
 * Regions may hold ops of both levels at every stage, but no fused nodes.
 */
import { InternalError } from '../support/error.ts';
import type { Entry, Graph, Node, Program, Value, Weight } from './graph.ts';
import { type InferContext, isFailure, type RegionTypes } from './op.ts';
import { attributeProblems, hasTrait, inferOp, operandRange, ops } from './ops/index.ts';
import { printGraph, printNode } from './print.ts';
import { addDims, constantDim, constantValue, symbolDim, symbolsOfDim } from './symbolic.ts';
import { printType, sameType, type TensorType, tensorType } from './types.ts';
import { updateProblems } from './verify-updates.ts';

export type GraphStage = 'model' | 'tensor' | 'kernels';

export interface VerifyOptions {
  readonly stage: GraphStage;
}

type Scope = GraphStage | 'region';

/** What may stand beside fused nodes once kernels are chosen: things that live in buffers. */
function liesInMemory(node: Node): boolean {
  return node.op === 'constant' || (hasTrait(node, 'leaf') && hasTrait(node, 'stated'));
}

function stageProblem(node: Node, scope: Scope): string | undefined {
  const definition = ops.get(node.op);
  if (!definition) return `there is no op \`${node.op}\``;
  const hasRegion = definition.traits.includes('region');
  switch (scope) {
    case 'model':
      return hasRegion ? `\`${node.op}\` is not allowed before fusion` : undefined;
    case 'tensor':
      return definition.level === 'model' ? `\`${node.op}\` should be decomposed` : undefined;
    case 'kernels':
      return hasRegion || liesInMemory(node) ? undefined : `\`${node.op}\` stands outside of a kernel`;
    case 'region':
      return hasRegion ? `\`${node.op}\` inside a region` : undefined;
  }
}

function operandProblems(graph: Graph, node: Node, position: number): string[] {
  return node.inputs.flatMap((value, at) => {
    const source = graph.nodes[value.node.id];
    if (source !== value.node) return [`operand ${at} is not a value of this graph`];
    if (value.node.id >= position) return [`operand ${at} is defined later`];
    return value.node.outputs[value.output] === value ? [] : [`operand ${at} is not an output of %${value.node.id}`];
  });
}

function outputProblems(node: Node): string[] {
  return node.outputs.flatMap((output, at) =>
    output.node === node && output.output === at ? [] : [`output ${at} does not belong to its node`],
  );
}

/** Types that the node states must make sense by themselves. */
function statedProblems(node: Node): string[] {
  const [only] = node.outputs;
  if (node.outputs.length !== 1 || !only) return ['needs exactly one output'];
  if (node.op !== 'weight') return [];
  const isStatic = only.type.shape.every((dim) => constantValue(dim) !== undefined);
  const problems = isStatic ? [] : [`a weight needs constant dims, not ${printType(only.type)}`];
  const { paths } = node.attributes;
  return Array.isArray(paths) && paths.length === 0 ? [...problems, 'a weight needs a path'] : problems;
}

function typeListProblem(what: string, stated: readonly TensorType[], wanted: readonly TensorType[]): string[] {
  if (stated.length !== wanted.length) return [`has ${stated.length} ${what}, should have ${wanted.length}`];
  return stated.flatMap((type, at) => {
    const other = wanted[at];
    if (!other || sameType(type, other)) return [];
    return [`${what} ${at}: stated ${printType(type)}, should be ${printType(other)}`];
  });
}

const typesOf = (values: readonly Value[]): readonly TensorType[] => values.map((value) => value.type);

function regionProblems(region: Graph, wanted: RegionTypes, context: InferContext): string[] {
  return [
    ...typeListProblem('region inputs', typesOf(region.inputs.flatMap((input) => input.outputs)), wanted.inputs),
    ...typeListProblem('outputs', wanted.results, typesOf(region.results.map((result) => result.value))),
    ...checkGraph(region, context, 'region').map((problem) => `region: ${problem}`),
  ];
}

/** The region that an op carries besides its operands. */
function carriedProblems(node: Node, context: InferContext): string[] {
  const definition = ops.get(node.op);
  if (!node.region) return [];
  if (!definition?.regionTypes) return [`\`${node.op}\` has no region`];
  const wanted = definition.regionTypes(typesOf(node.inputs), node.attributes);
  return isFailure(wanted) ? [] : regionProblems(node.region, wanted, context);
}

function typeProblems(node: Node, context: InferContext): string[] {
  const definition = ops.get(node.op);
  if (!definition) return [];
  const { minimum, maximum } = operandRange(definition);
  if (definition.traits.includes('stated')) {
    const attributes = attributeProblems(definition, node.attributes);
    const count = node.inputs.length < minimum || node.inputs.length > maximum ? ['wrong number of operands'] : [];
    if (!definition.traits.includes('region')) {
      return [...carriedProblems(node, context), ...attributes, ...count, ...statedProblems(node)];
    }
    return [
      ...attributes,
      ...count,
      ...(node.region
        ? regionProblems(node.region, { inputs: typesOf(node.inputs), results: typesOf(node.outputs) }, context)
        : ['needs a region']),
    ];
  }
  const operandTypes = node.inputs.map((value) => value.type);
  const inferred = inferOp(definition, operandTypes, node.attributes, context);
  if (isFailure(inferred)) return [...carriedProblems(node, context), inferred.failure];
  return [...carriedProblems(node, context), ...typeListProblem('outputs', typesOf(node.outputs), inferred)];
}

function nodeProblems(graph: Graph, node: Node, position: number, context: InferContext, scope: Scope): string[] {
  const illegal = stageProblem(node, scope);
  const links = [
    ...(node.id === position ? [] : [`has id ${node.id} at position ${position}`]),
    ...(illegal === undefined ? [] : [illegal]),
    ...operandProblems(graph, node, position),
    ...outputProblems(node),
  ];
  return [...links, ...typeProblems(node, context)].map((problem) => `${problem}, in ${printNode(node)}`);
}

function graphProblems(graph: Graph): string[] {
  const inputs = graph.nodes.filter((node) => node.op === 'input');
  const names = graph.inputs.map((node) => String(node.attributes.name));
  const results = graph.results.map((result) => result.name);
  const isListed = inputs.length === graph.inputs.length && inputs.every((node, at) => node === graph.inputs[at]);
  return [
    ...(isListed ? [] : ['the inputs of the graph are not its `input` nodes in order']),
    ...(new Set(names).size === names.length ? [] : ['two inputs have one name']),
    ...(new Set(results).size === results.length ? [] : ['two results have one name']),
    ...graph.results.flatMap(({ name, value }) =>
      graph.nodes[value.node.id] === value.node && value.node.outputs[value.output] === value
        ? []
        : [`result \`${name}\` is not a value of this graph`],
    ),
  ];
}

function checkGraph(graph: Graph, context: InferContext, scope: Scope): string[] {
  return [
    ...graphProblems(graph),
    ...graph.nodes.flatMap((node, position) => nodeProblems(graph, node, position, context, scope)),
  ];
}

/** Everything that is wrong with a graph; empty when nothing is. */
export function verifyGraph(graph: Graph, context: InferContext, options: VerifyOptions): string[] {
  const updates = options.stage === 'kernels' ? updateProblems(graph) : [];
  return [...checkGraph(graph, context, options.stage), ...updates];
}

export function assertVerified(graph: Graph, context: InferContext, options: VerifyOptions): void {
  const problems = verifyGraph(graph, context, options);
  if (problems.length === 0) return;
  const list = problems.map((problem) => `- ${problem}`).join('\n');
  throw new InternalError(
    `graph \`${graph.name}\` is broken at stage ${options.stage}:\n${list}\n${printGraph(graph)}`,
  );
}

/** States are declared, have the room that the session gives them, and each is appended to once. */
function stateProblems(program: Program, entry: Entry): string[] {
  const nodes = entry.graph.nodes.filter((node) => node.op === 'state');
  const { session } = program;
  const roles = entry.parameters.flatMap((parameter) => parameter.role ?? []);
  const { steps } = entry;
  if (steps === undefined || session === undefined) {
    return nodes.length > 0 || roles.length > 0 ? ['states or hidden parameters in an entry without steps'] : [];
  }
  const room = addDims(addDims(symbolDim(session.past), steps), symbolDim(session.slack));
  const declared = new Map(program.states.map((state) => [state.path, state]));
  const paths = nodes.map((node) => String(node.attributes.path));
  const appends = entry.graph.nodes.flatMap((node) => {
    const writers = node.region?.results.map(({ value }) => value.node) ?? [node];
    return writers.flatMap((writer) => {
      const operand = ops.get(writer.op)?.updates;
      const state = operand === undefined ? undefined : writer.inputs[operand];
      const inner = state && node.region ? node.region.inputs.indexOf(state.node) : -1;
      return state ? [inner >= 0 ? node.inputs[inner] : state] : [];
    });
  });
  const [batch = constantDim(1)] = entry.parameters.find(({ role }) => role === 'past')?.type.shape ?? [];
  const hidden = tensorType('i32', [batch]);
  return [
    ...(new Set(paths).size === paths.length ? [] : ['two nodes for one state']),
    ...(new Set(appends).size === appends.length ? [] : ['two appends to one state']),
    ...(appends.every((value) => value?.node.op === 'state') ? [] : ['an append to something else than a state']),
    ...(roles.includes('past') && new Set(roles).size === roles.length ? [] : ['no hidden parameter `past`, or two']),
    ...entry.parameters.flatMap(({ name, role, type }) =>
      role === undefined || sameType(type, hidden) ? [] : [`hidden parameter \`${name}\` is ${printType(type)}`],
    ),
    ...nodes.flatMap((node) => {
      const state = declared.get(String(node.attributes.path));
      const type = node.outputs[0]?.type;
      if (!state || !type) return [`state \`${String(node.attributes.path)}\` is not declared`];
      const wanted = { dtype: state.dtype, shape: [batch, room, constantDim(state.width)] };
      return sameType(type, wanted) ? [] : [`state \`${state.path}\` is ${printType(type)}, not ${printType(wanted)}`];
    }),
  ];
}

function initialProblems({ path, initial }: Weight): string[] {
  if (initial === undefined) return [];
  const numbers = Object.values(initial).filter((value) => typeof value === 'number');
  const isOrdered =
    initial.kind === 'uniform' ? initial.low <= initial.high : initial.kind !== 'normal' || initial.std >= 0;
  return numbers.every(Number.isFinite) && isOrdered ? [] : [`weight \`${path}\` begins with impossible numbers`];
}

function formatProblems({ path, type, format }: Weight): string[] {
  if (format === undefined) return [];
  const { kind, group, asymmetric, transposed } = format;
  const rank = type.shape.length;
  return [
    ...(type.dtype === 'f32' && rank >= 2 ? [] : [`weight \`${path}\` has a number format and is no matrix of f32`]),
    ...(transposed && rank !== 2 ? [`weight \`${path}\` is transposed and has ${rank} axes`] : []),
    ...(group === undefined || (Number.isInteger(group) && group > 0 && kind !== 'f16')
      ? []
      : [`weight \`${path}\` has groups of ${group}`]),
    ...(asymmetric && kind !== 'int4' ? [`weight \`${path}\` is asymmetric, which ${kind} is not`] : []),
  ];
}

function sparsityProblems({ path, type, format, sparse }: Weight): string[] {
  if (sparse === undefined) return [];
  const { keep, of, transposed } = sparse;
  const inputs = type.shape[transposed ? 0 : 1];
  const size = inputs && constantValue(inputs);
  const isWhole = size !== undefined && keep >= 1 && keep < of && size % of === 0;
  return [
    ...(type.dtype === 'f32' && type.shape.length === 2 ? [] : [`weight \`${path}\` is sparse and no matrix of f32`]),
    ...(format === undefined ? [] : [`weight \`${path}\` is sparse and has a number format`]),
    ...(isWhole ? [] : [`weight \`${path}\` keeps ${keep} of ${of}`]),
  ];
}

/** Graphs of all entries, and that they agree with the program around them. */
export function verifyProgram(program: Program, options: VerifyOptions): string[] {
  const context: InferContext = { ranges: program.dims };
  const weights = new Map(program.weights.map((weight) => [weight.path, weight.type]));
  const ties = program.weights.flatMap((weight) => {
    if (weight.tied === undefined) return [];
    const other = weights.get(weight.tied);
    return other !== undefined && sameType(other, weight.type)
      ? []
      : [`weight \`${weight.path}\` is tied to \`${weight.tied}\`, which is not declared with its type`];
  });
  const ofEntries = program.entries.flatMap((entry) => {
    const { graph } = entry;
    const types = (nodes: readonly Node[]) => nodes.flatMap((node) => node.outputs.map((output) => output.type));
    const unknownDims = graph.nodes
      .flatMap((node) => node.outputs.flatMap((output) => output.type.shape.flatMap(symbolsOfDim)))
      .filter((name) => !program.dims.has(name));
    const unknownWeights = graph.nodes
      .filter((node) => node.op === 'weight' && Array.isArray(node.attributes.paths))
      .flatMap((node) => [node.attributes.paths].flat())
      .filter((path) => typeof path !== 'string' || !weights.has(path));
    const names = (list: readonly { readonly name: unknown }[]) => list.map((item) => item.name).join();
    const inputNames = graph.inputs.map((node) => ({ name: node.attributes.name }));
    return [
      ...[...new Set(unknownDims)].map((name) => `dim \`${name}\` is not declared`),
      ...[...new Set(unknownWeights)].map((path) => `weight \`${String(path)}\` is not declared`),
      ...(names(inputNames) === names(entry.parameters) ? [] : ['inputs and parameters have different names']),
      ...(names(graph.results) === names(entry.results)
        ? []
        : ['graph results and entry results have different names']),
      ...typeListProblem(
        'inputs',
        types(graph.inputs),
        entry.parameters.map((parameter) => parameter.type),
      ),
      ...typeListProblem(
        'results',
        graph.results.map((result) => result.value.type),
        entry.results.map((result) => result.type),
      ),
      ...stateProblems(program, entry),
      ...verifyGraph(graph, context, options),
    ].map((problem) => `entry \`${entry.name}\`: ${problem}`);
  });
  return [
    ...ties,
    ...program.weights.flatMap(initialProblems),
    ...program.weights.flatMap(formatProblems),
    ...program.weights.flatMap(sparsityProblems),
    ...ofEntries,
  ];
}
