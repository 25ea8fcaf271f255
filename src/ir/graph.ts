/**
 * The graph: one node type for the model level, the tensor level and fused regions.
 *
 * Nodes are immutable and stand in topological order. A value is one output of a node. Passes never edit: they build a
 * new graph with `GraphBuilder` (`rewriteGraph` in src/passes does the walking). Ids are given by the builder in order,
 * so printing is stable. What an op means is said by its definition in `ops/`.
 *
 * Not here: the legality rules (verify.ts), the text form (print.ts, read.ts).
 */
import type { Span } from '../support/source.ts';
import type { PruneBlock, PrunePlan, Sparsity } from './pruning.ts';
import type { Dim, DimRange } from './symbolic.ts';
import type { DType, TensorType } from './types.ts';

/** What an attribute may hold; the op's definition says which kind each attribute has. */
export type AttributeValue = number | boolean | string | Dim | readonly AttributeValue[];

export type Attributes = Readonly<Record<string, AttributeValue>>;

export interface Value {
  readonly node: Node;
  /** Which output of the node. */
  readonly output: number;
  readonly type: TensorType;
}

export interface Node {
  readonly id: number;
  /** Name in the op registry: `linear`, `add`, `input`, `fused`, … */
  readonly op: string;
  readonly inputs: readonly Value[];
  readonly attributes: Attributes;
  readonly outputs: readonly Value[];
  /**
   * The body of a `fused` node: its graph inputs stand for `inputs`, its results for `outputs`, in order. Of other nodes a
   * part of what they compute, as their op says (`regionTypes`).
   */
  readonly region: Graph | undefined;
  /** The place in the model that asked for it. */
  readonly span: Span | undefined;
  /** The part of the model: `encoder.layer.0.attention`. For people, and for what is computed again; never identity. */
  readonly label: string | undefined;
}

export interface Result {
  readonly name: string;
  readonly value: Value;
}

export interface Graph {
  readonly name: string;
  /** Nodes with op `input`, in the order of the entry's parameters. They stand in `nodes` too. */
  readonly inputs: readonly Node[];
  readonly nodes: readonly Node[];
  readonly results: readonly Result[];
}

/**
 * How a tensor begins that no checkpoint gives: one number, numbers from `low` to `high`, or normal numbers, cut off at two
 * standard deviations when `truncated`.
 */
export type Initializer =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number }
  | { readonly kind: 'normal'; readonly mean: number; readonly std: number; readonly truncated?: boolean };

/**
 * How the numbers of a weight are stored; what reads it computes with f32 all the same. The type of the weight stays what it is.
 * src/runtime/number-formats.ts says what each means.
 */
export interface WeightFormat {
  readonly kind: 'int8' | 'int4' | 'f16';
  /** Neighbours along the axis that readers sum over that share a scale; undefined: all of them. */
  readonly group?: number;
  /** With a zero point per group. */
  readonly asymmetric?: boolean;
  /** Readers sum over axis 0: the weight lies [inputs, outputs]. */
  readonly transposed?: boolean;
}

/**
 * How `sorac compress` rounds a weight: src/compression/calibrate.ts. Nothing else reads it: a module that is given plain numbers
 * takes the greatest of each group (`minmax`). The text form of programs has none.
 */
export type Calibration =
  | { readonly kind: 'minmax' | 'mse' | 'gptq' }
  /** Share of the weights of a group that is not cut off. */
  | { readonly kind: 'percentile'; readonly share: number };

/** Of each `of` neighbours along the axis that readers sum over only `keep` are there. */
export interface SparseFormat {
  readonly keep: number;
  readonly of: number;
  /** Readers sum over axis 0: the weight lies [inputs, outputs]. */
  readonly transposed?: boolean;
}

/** A tensor of the checkpoint, under its name in the file. */
export interface Weight {
  readonly path: string;
  readonly type: TensorType;
  readonly span: Span | undefined;
  readonly doc: string | undefined;
  /** Path of the weight that stands in when the checkpoint has no tensor of this name. */
  readonly tied?: string;
  readonly initial?: Initializer;
  /** Undefined: as its type says. */
  readonly format?: WeightFormat;
  readonly calibration?: Calibration;
  /** How a device holds it, beside f32; a weight has this or a number format. */
  readonly sparse?: SparseFormat;
}

/** A buffer that a session keeps between calls: [batch, room, width]. */
export interface State {
  /** `layers.0.kv.key` */
  readonly path: string;
  readonly dtype: DType;
  readonly batch: Dim;
  /** The most positions that it may be asked to hold. */
  readonly positions: number;
  readonly width: number;
  readonly span: Span | undefined;
}

/** What the states of a program have in common. The dims are hidden: their names clash with no dim of the model. */
export interface SessionDims {
  /** Dim: positions that the fullest row held before the call. */
  readonly past: string;
  /** Dim: room behind the positions of the call; a state is [batch, past + steps + slack, width]. */
  readonly slack: string;
  /** The most positions that every state can hold. */
  readonly positions: number;
}

/**
 * A parameter that callers never see. Sessions fill `past`, the positions that each row held before the call, and `lengths`, how
 * many of the positions of this call are real, both i32[batch]; trainers fill `seed`, u32[2]: a seed and the number of the step, and
 * `scale`, f32[]: what the loss is multiplied by.
 */
export type ParameterRole = 'past' | 'lengths' | 'seed' | 'scale';

/** A flat vector of f32 that a trainer keeps between steps: decision 0007. */
export interface Arena {
  /** `weights:0` */
  readonly path: string;
  readonly elements: number;
}

/** Part of an arena with a name of its own. */
export interface Piece {
  /** `weight:encoder.layer.0.weight` */
  readonly path: string;
  /** Index into the arenas. */
  readonly arena: number;
  /** In elements. */
  readonly offset: number;
  readonly type: TensorType;
}

export interface Schedule {
  readonly kind: 'constant' | 'linear' | 'cosine' | 'step';
  readonly peak: number;
  /** Share of all steps. */
  readonly warmup: number;
  readonly final: number;
  /** Of `step`: the rate is multiplied by the factor every so many steps. */
  readonly every?: number;
  readonly factor?: number;
}

export type Optimizer =
  | {
      readonly name: 'lion';
      readonly schedule: Schedule;
      readonly weightDecay: number;
      readonly beta1: number;
      readonly beta2: number;
    }
  | {
      readonly name: 'sgd';
      readonly schedule: Schedule;
      readonly weightDecay: number;
      readonly momentum: number;
      readonly nesterov: boolean;
    }
  | {
      readonly name: 'adam' | 'adamw';
      readonly schedule: Schedule;
      readonly weightDecay: number;
      readonly beta1: number;
      readonly beta2: number;
      readonly eps: number;
    };

/** Low-rank matrices that train beside a weight: y = W x + alpha / rank B (A x). Hu et al. 2021. */
export interface Adapter {
  /** The weight [outputs, inputs] or [inputs, outputs]. */
  readonly path: string;
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly span: Span;
}

/** The input of a loss that stands for a result of the entry: no name of a model has a colon. */
export function resultInput(name: string): string {
  return `result:${name}`;
}

/** A `train` block as it is written: what src/passes/training makes entries of. */
export interface TrainBlock {
  readonly entry: string;
  readonly targets: readonly EntryParameter[];
  /** Where parameters and targets come from when a dataset is read, as far as that is said or goes without saying. */
  readonly reads: readonly TrainRead[];
  /** What the loss compares, where that has names. */
  readonly scored: readonly Scored[];
  /** Its inputs are parameters and targets by name, and results of the entry by `resultInput`; its one result is the loss, f32[]. */
  readonly loss: Graph;
  readonly optimizer: Optimizer;
  /** Paths of weights that do not decay, and that do not train. */
  readonly noDecay: ReadonlySet<string>;
  readonly frozen: ReadonlySet<string>;
  /** Factors of the learning rate by weight; 1 where there is none. */
  readonly rates: ReadonlyMap<string, number>;
  /** Weight decay by weight; that of the optimizer where there is none. */
  readonly decays: ReadonlyMap<string, number>;
  readonly clipNorm: number | undefined;
  /** How values lie between the kernels of a step on devices, as far as products read them. */
  readonly precision: 'f32' | 'f16';
  /** Share of itself that the moving average of the weights keeps at each step; undefined: there is none. */
  readonly ema: number | undefined;
  /** Parts whose activations are computed again in the backward part instead of kept: `encoder.layer.0`. */
  readonly recomputed: readonly string[];
  readonly microBatches: number;
  readonly seed: number;
  readonly adapters: readonly Adapter[];
  /** Weights that train beside adapters; undefined: every one does. */
  readonly alone: ReadonlySet<string> | undefined;
  /** Number formats by weight that the step computes with, while the weights themselves stay f32. */
  readonly formats: ReadonlyMap<string, WeightFormat>;
  readonly span: Span;
}

/** How an input is made of cells of a dataset; src/ir/lower/use-reads.ts says what each takes. */
export type ReadMethod =
  | 'tokens'
  | 'window'
  | 'next'
  | 'masked'
  | 'mask'
  | 'segments'
  | 'label'
  | 'labels'
  | 'number'
  | 'vector'
  | 'image'
  | 'audio';

/** `read input_ids: tokens("subject", "body", max: 128)` */
export interface TrainRead {
  /** The parameter or target. */
  readonly name: string;
  readonly type: TensorType;
  readonly method: ReadMethod;
  readonly columns: readonly string[];
  /** The input that it follows: `mask(input_ids)`. */
  readonly of: string | undefined;
  readonly options: Readonly<Record<string, number | readonly number[]>>;
}

/** A loss of a result against a target or parameter, both as they are. */
export interface Scored {
  /** Name of the result. */
  readonly scores: string;
  readonly target: string;
  /**
   * `classes`: the target has the number of a class for each row of scores. `next`: it has that of the position before. `binary`: 1 where
   * the score shall be above 0, else 0.
   */
  readonly kind: 'classes' | 'next' | 'binary';
  /** A class that does not count. */
  readonly ignore: number | undefined;
}

/** Which elements of a parameter are 0, or become so. */
export interface WeightPruning {
  readonly sparsity: Sparsity;
  /** Readers sum over axis 0: the weight lies [inputs, outputs]. */
  readonly transposed: boolean;
}

/** Parameters that are updated alike; its arenas are of one size. */
export interface ParameterGroup {
  /** Indices of arenas; `slots` are what the optimizer keeps. */
  readonly weights: number;
  readonly gradients: number;
  readonly sums: number;
  readonly slots: readonly number[];
  /** The moving average of the weights, the last of the slots. */
  readonly average: number | undefined;
  /** Elements that are 0 stay so. */
  readonly isPruned: boolean;
  /** Sums of -gradient weight, behind the optimizer's vectors, where a rule goes by movement. */
  readonly movement: number | undefined;
  readonly parameters: readonly {
    readonly weight: Weight;
    readonly offset: number;
    readonly pruning: WeightPruning | undefined;
  }[];
}

/** The matrices of an adapter by their paths: [rank, inputs] and [outputs, rank]. */
export interface AdapterParts {
  readonly path: string;
  readonly down: string;
  readonly up: string;
  /** alpha / rank */
  readonly factor: number;
  /** The weight is [inputs, outputs]. */
  readonly isTransposed: boolean;
}

/** How a program is trained: names of the hidden entries, and where everything lies. */
export interface Training {
  readonly block: TrainBlock;
  readonly gradients: string;
  readonly evaluate: string;
  readonly accumulate: string;
  readonly update: string;
  readonly arenas: readonly Arena[];
  readonly pieces: readonly Piece[];
  readonly groups: readonly ParameterGroup[];
  readonly adapters: readonly AdapterParts[];
}

export interface EntryParameter {
  readonly name: string;
  readonly type: TensorType;
  readonly doc: string | undefined;
  /** The value that fills the whole tensor when the caller leaves it out; undefined: required. */
  readonly initial: number | undefined;
  readonly role?: ParameterRole;
  /** Targets that are numbers of classes. */
  readonly classes?: ClassRange;
}

/** 0 to `count` - 1, and the number that does not count. */
export interface ClassRange {
  readonly count: number;
  readonly ignore: number | undefined;
}

export interface EntryResult {
  readonly name: string;
  readonly type: TensorType;
  /** State path of the piece of an arena that it is written to; it is not read back. */
  readonly piece?: string;
  /** It stays on the device until somebody asks for it. */
  readonly isLazy?: boolean;
}

export interface Entry {
  readonly name: string;
  readonly doc: string | undefined;
  readonly parameters: readonly EntryParameter[];
  readonly results: readonly EntryResult[];
  readonly graph: Graph;
  readonly span: Span | undefined;
  /** Positions that a call appends to every row of the states; undefined: it uses no state. */
  readonly steps?: Dim;
  /** Made by the compiler for the runtime: no caller sees it. */
  readonly isHidden?: boolean;
}

/** How a session generates text: the entries that give the most probable tokens, and what ends a text. */
export interface Generation {
  /** The entry that the model's author wrote. */
  readonly entry: string;
  /** Names of hidden entries: for any number of tokens, and for one. */
  readonly prefill: string;
  readonly step: string;
  /** Parameter of the tokens. */
  readonly tokens: string;
  /** The dim that counts tokens of a call. */
  readonly length: string;
  readonly vocabulary: number;
  /** How many tokens each call tells. */
  readonly top: number;
  /** Tokens that end a text. */
  readonly stop: readonly number[];
}

/** A model with its config bound: what lowering makes and passes transform. */
export interface Program {
  readonly name: string;
  readonly doc: string | undefined;
  /** Bound config values by `Config.field`, for the header of the generated module and `signature`. */
  readonly config: Readonly<Record<string, number | boolean | string>>;
  /** Of the values that a `config.json` may give (`from`): whether one did, or the file's default holds. */
  readonly configSources?: Readonly<Record<string, 'given' | 'default'>>;
  readonly dims: ReadonlyMap<string, DimRange>;
  readonly weights: readonly Weight[];
  readonly states: readonly State[];
  /** Undefined when there are no states. */
  readonly session?: SessionDims;
  readonly entries: readonly Entry[];
  /** Undefined when no `generate` block asks for it. */
  readonly generation?: Generation;
  /** Undefined when nothing trains it. The text form of programs has neither this nor `training`. */
  readonly train?: TrainBlock;
  /** Made of `train` (src/passes/training). */
  readonly training?: Training;
  /** Undefined when nothing is pruned. */
  readonly prune?: PruneBlock;
  /** What the rules about units came to: the program has the sizes that remain (src/passes/prune). */
  readonly pruned?: PrunePlan;
}

export interface NodeOptions {
  readonly attributes?: Attributes;
  readonly region?: Graph;
  readonly span?: Span | undefined;
  readonly label?: string | undefined;
}

/** Appends nodes in topological order. It checks nothing: `emit` in ops/index.ts infers types, verify.ts checks. */
export class GraphBuilder {
  readonly #nodes: Node[] = [];
  readonly #inputs: Node[] = [];

  add(op: string, inputs: readonly Value[], types: readonly TensorType[], options: NodeOptions = {}): Node {
    const outputs: Value[] = [];
    const node: Node = {
      id: this.#nodes.length,
      op,
      inputs,
      attributes: options.attributes ?? {},
      outputs,
      region: options.region,
      span: options.span,
      label: options.label,
    };
    types.forEach((type, output) => {
      outputs.push({ node, output, type });
    });
    this.#nodes.push(node);
    if (op === 'input') this.#inputs.push(node);
    return node;
  }

  /** A graph input; `name` is the entry parameter's name. */
  input(name: string, type: TensorType, span?: Span): Value {
    return onlyOutput(this.add('input', [], [type], { attributes: { name }, span, label: name }));
  }

  finish(name: string, results: readonly Result[]): Graph {
    return { name, inputs: [...this.#inputs], nodes: [...this.#nodes], results };
  }
}

export function onlyOutput(node: Node): Value {
  const [value] = node.outputs;
  if (node.outputs.length !== 1 || !value) throw new Error(`\`${node.op}\` has ${node.outputs.length} outputs`);
  return value;
}

/** Nodes that read each value: `users.get(value)`; results are not users. */
export function usersOf({ nodes }: Pick<Graph, 'nodes'>): ReadonlyMap<Value, readonly Node[]> {
  const users = new Map<Value, Node[]>();
  for (const node of nodes) {
    for (const value of new Set(node.inputs)) {
      const list = users.get(value);
      if (list) list.push(node);
      else users.set(value, [node]);
    }
  }
  return users;
}
