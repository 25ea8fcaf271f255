/**
 * The reference interpreter: what a graph computes, in plain TypeScript, in f64 (the oracle) or in f32.
 *
 * Ops say themselves what they compute (`interpret` in ops/). Model-level ops without it run their decomposition; nodes
 * that are nothing but a region run the region. Intermediate tensors are dropped after their last use.
 * In f32 every op rounds its result to its element type; sums inside an op are in f64.
 */
import { InternalError, SoraError } from '../support/error.ts';
import { decomposeNode } from './emit.ts';
import type { Entry, EntryParameter, Graph, Node, Program, Value } from './graph.ts';
import type { InterpretContext, Tensor } from './op.ts';
import { hasTrait, opNamed } from './ops/index.ts';
import { evaluateDim, symbolsOfDim } from './symbolic.ts';
import { elementCount, newTensor, type Precision, roundToHalf, toPrecision } from './tensor.ts';
import { printType, type TensorType } from './types.ts';

export interface InterpretOptions {
  /** By parameter name. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  /** The tensor of the checkpoint with this path, in the element type that the program states. */
  weight(path: string): Tensor;
  /** Values of the runtime dims. */
  readonly dims: ReadonlyMap<string, number>;
  readonly precision: Precision;
  /** Where entries with states read and keep them. */
  readonly states?: StateHolder;
  /** Told what each node of the graph gives, in order; what it throws ends the run. */
  readonly watch?: Watch;
}

export type Watch = (node: Node, results: readonly Tensor[]) => void;

/** States by path, as a session holds them: [batch, room, width]. */
export interface StateHolder {
  read(path: string): Tensor;
  write(path: string, tensor: Tensor): void;
}

type Scope = Pick<InterpretContext, 'precision' | 'dims' | 'weight' | 'state' | 'keep'>;

const decompositions = new WeakMap<Node, Graph>();

/** The ranges of this call only serve the checks of `infer`: what is decomposed stays symbolic and fits every call. */
function decompositionOf(node: Node, dims: ReadonlyMap<string, number>): Graph | undefined {
  const known = decompositions.get(node);
  if (known) return known;
  const ranges = new Map([...dims].map(([name, value]) => [name, { minimum: value, maximum: value, multiple: 1 }]));
  const graph = decomposeNode(node, { ranges });
  if (graph) decompositions.set(node, graph);
  return graph;
}

export function concreteShape(type: TensorType, dims: ReadonlyMap<string, number>): number[] {
  return type.shape.map((dim) => evaluateDim(dim, dims));
}

function runNode(node: Node, operands: readonly Tensor[], scope: Scope): readonly Tensor[] {
  const definition = opNamed(node.op);
  if (node.region && definition.traits.includes('region')) return runGraph(node.region, operands, scope);
  const outputShapes = node.outputs.map((output) => concreteShape(output.type, scope.dims));
  if (!definition.interpret) {
    const lower =
      decompositionOf(node, scope.dims) ?? raise(`\`${node.op}\` can be neither interpreted nor decomposed`);
    return runGraph(lower, operands, scope);
  }
  const results = definition.interpret(operands, node.attributes, { ...scope, outputShapes });
  results.forEach((result, at) => {
    const wanted = outputShapes[at] ?? [];
    if (result.shape.join() === wanted.join() && result.data.length === elementCount(wanted)) return;
    throw new SoraError(
      'SORA7103',
      `\`${node.label ?? node.op}\` should be [${wanted.join(', ')}] and is [${result.shape.join(', ')}]`,
    );
  });
  const isRounded = scope.precision === 'f64' || hasTrait(node, 'movement') || hasTrait(node, 'leaf');
  return isRounded ? results : results.map((result) => (result.dtype === 'f16' ? roundToHalf(result) : result));
}

function raise(message: string): never {
  throw new InternalError(message);
}

/** Runs a graph on its inputs by position and gives its results by position. */
function runGraph(graph: Graph, inputs: readonly Tensor[], scope: Scope, watch?: Watch): readonly Tensor[] {
  const usesLeft = new Map<Value, number>();
  const use = (value: Value, count: number) => usesLeft.set(value, (usesLeft.get(value) ?? 0) + count);
  for (const node of graph.nodes) for (const value of node.inputs) use(value, 1);
  for (const result of graph.results) use(result.value, 1);

  const tensors = new Map<Value, Tensor>();
  const read = (value: Value): Tensor => tensors.get(value) ?? raise(`%${value.node.id} is read before it is computed`);
  const store = (node: Node, results: readonly Tensor[]) => {
    node.outputs.forEach((output, at) => {
      const tensor = results[at] ?? raise(`\`${node.op}\` gave ${results.length} results`);
      if (usesLeft.has(output)) tensors.set(output, tensor);
    });
  };
  graph.inputs.forEach((node, at) => {
    store(node, inputs.slice(at, at + 1));
  });
  const isInput = new Set(graph.inputs);
  for (const node of graph.nodes) {
    if (isInput.has(node)) continue;
    const given = runNode(node, node.inputs.map(read), scope);
    watch?.(node, given);
    store(node, given);
    for (const value of node.inputs) {
      use(value, -1);
      if (usesLeft.get(value) === 0) tensors.delete(value);
    }
  }
  return graph.results.map((result) => read(result.value));
}

function checkedInput(node: Node, options: InterpretOptions): Tensor {
  const name = String(node.attributes.name);
  const type = node.outputs[0]?.type ?? raise('an input without a type');
  const tensor = options.inputs.get(name);
  if (!tensor) throw new SoraError('SORA7102', `the input \`${name}\` is missing`);
  const wanted = concreteShape(type, options.dims);
  if (tensor.dtype !== type.dtype || tensor.shape.join() !== wanted.join()) {
    throw new SoraError(
      'SORA7102',
      `the input \`${name}\` is ${tensor.dtype}[${tensor.shape.join(', ')}], expected ${type.dtype}[${wanted.join(', ')}] ` +
        `(\`${printType(type)}\`)`,
    );
  }
  return toPrecision(tensor, options.precision);
}

/** Which state a tensor belongs to is known by the tensor itself: nodes of equal layers have no name to tell them apart. */
function stateScope(options: InterpretOptions): Pick<InterpretContext, 'state' | 'keep'> {
  const holder = options.states;
  const paths = new WeakMap<Tensor, string>();
  return {
    state(path) {
      if (!holder) throw new SoraError('SORA7102', `the state \`${path}\` is missing`);
      const tensor = toPrecision(holder.read(path), options.precision);
      paths.set(tensor, path);
      return tensor;
    },
    keep(previous, next) {
      // In a graph by itself the state may be an input: then nobody keeps it.
      const path = paths.get(previous);
      if (path === undefined) return;
      paths.set(next, path);
      holder?.write(path, next);
    },
  };
}

/** Runs a whole graph; the results by name. */
export function interpretGraph(graph: Graph, options: InterpretOptions): Map<string, Tensor> {
  const converted = new Map<string, Tensor>();
  const scope: Scope = {
    precision: options.precision,
    dims: options.dims,
    weight(path) {
      const tensor = converted.get(path) ?? toPrecision(options.weight(path), options.precision);
      converted.set(path, tensor);
      return tensor;
    },
    ...stateScope(options),
  };
  const inputs = graph.inputs.map((node) => checkedInput(node, options));
  const results = runGraph(graph, inputs, scope, options.watch);
  return new Map(graph.results.map((result, at) => [result.name, results[at] ?? raise('a result is missing')]));
}

export function entryNamed(program: Program, name: string): Entry {
  const entry = program.entries.find((candidate) => candidate.name === name);
  if (entry) return entry;
  const known = program.entries.map((candidate) => `\`${candidate.name}\``).join(', ');
  throw new SoraError('SORA7104', `\`${program.name}\` has no entry \`${name}\``, { help: `there is ${known}` });
}

/**
 * Values of the runtime dims, read off the shapes of the given inputs. Only axes that are a lone dim are read; the others
 * are checked when the graph runs.
 */
export function dimsOfInputs(
  parameters: readonly EntryParameter[],
  inputs: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): Map<string, number> {
  const dims = new Map<string, number>();
  for (const parameter of parameters) {
    const given = inputs.get(parameter.name);
    if (!given) continue;
    if (given.shape.length !== parameter.type.shape.length) {
      throw new SoraError(
        'SORA7102',
        `the input \`${parameter.name}\` has ${given.shape.length} axes, expected \`${printType(parameter.type)}\``,
      );
    }
    parameter.type.shape.forEach((dim, axis) => {
      const [name] = symbolsOfDim(dim);
      const size = given.shape[axis];
      if (name === undefined || size === undefined || dim.key !== name) return;
      const known = dims.get(name);
      if (known !== undefined && known !== size) {
        throw new SoraError(
          'SORA7102',
          `\`${name}\` is ${known} elsewhere and ${size} in axis ${axis} of \`${parameter.name}\``,
        );
      }
      dims.set(name, size);
    });
  }
  return dims;
}

/** One call of an entry: dims come from the inputs, inputs with an initial value may be left out. */
export function runProgram(
  program: Program,
  entryName: string,
  options: Omit<InterpretOptions, 'dims'> & { readonly dims?: ReadonlyMap<string, number> },
): Map<string, Tensor> {
  const entry = entryNamed(program, entryName);
  const missing = entry.parameters.find(({ name, initial }) => initial === undefined && !options.inputs.has(name));
  if (missing) throw new SoraError('SORA7102', `the input \`${missing.name}\` is missing`);
  const dims = new Map([...dimsOfInputs(entry.parameters, options.inputs), ...(options.dims ?? [])]);
  const unknown = entry.parameters
    .flatMap(({ type }) => type.shape.flatMap(symbolsOfDim))
    .find((name) => !dims.has(name));
  if (unknown !== undefined) throw new SoraError('SORA7102', `no given input tells the value of \`${unknown}\``);
  const inputs = new Map(options.inputs);
  for (const { name, type, initial } of entry.parameters) {
    if (inputs.has(name) || initial === undefined) continue;
    const filled = newTensor(type.dtype, concreteShape(type, dims), options.precision);
    filled.data.fill(initial);
    inputs.set(name, filled);
  }
  return interpretGraph(entry.graph, { ...options, inputs, dims });
}
