/**
 * What an op is: one object per op, one file per op in `ops/`, registered in `ops/index.ts`.
 *
 * Shared code never branches on op names: it asks for traits, for the decomposition, for the scalar expression. When a
 * pass needs to know something about an op that is not here, the right move is a new trait.
 */
import type { Attributes, Graph, SparseFormat, Value, WeightFormat } from './graph.ts';
import type { Dim, DimRange } from './symbolic.ts';
import type { ProfileName } from './target.ts';
import type { DType, TensorType } from './types.ts';

/** Kinds of attributes, for the verifier and the text form. `dims` is a list of symbolic dims, `value` a scalar constant. */
export type AttributeKind = 'int' | 'float' | 'bool' | 'string' | 'dim' | 'ints' | 'strings' | 'dims' | 'floats';

export interface AttributeSpec {
  readonly kind: AttributeKind;
  readonly optional?: boolean;
  /**
   * Only a training step does what it says, by the op's decomposition: to everyone else the node is the same without it, and
   * canonicalize takes it off.
   */
  readonly isForTraining?: boolean;
  readonly doc: string;
}

/**
 * Structural facts that passes ask for.
 *
 * - `elementwise`: output[i] depends only on the inputs at i; all inputs and outputs have the same shape (broadcasts are
 *   explicit `broadcast` nodes). Has `scalar` and `wgsl`.
 * - `movement`: output elements are input elements at other places (reshape, transpose, broadcast, slice, concat).
 * - `view`: a movement with one input that a strided read can express (concat is no view).
 * - `filling`: a view some of whose elements are a constant instead of an operand's (pad).
 * - `overlapping`: a view that may show an element twice even when it has as many as its operand (window).
 * - `reduction`: reduces `axes`.
 * - `contraction`: a sum of products (dot_general, linear).
 * - `commutative`: binary, order of inputs does not matter.
 * - `flat`: its derivative is 0 or there is none (comparisons, rounding, indices): no gradient flows through it.
 * - `identity`: gives its operand as it is; what it says is for passes before canonicalize, which drops it.
 * - `leaf`: no inputs, defined by attributes (input, weight, state, constant, iota).
 * - `conversion`: the same numbers in another form (cast, dequantize_rows): a kernel can do it while it loads an operand.
 * - `effect`: must not be removed or merged.
 * - `stated`: the node states its output types, nothing infers them (input, weight, state; fused takes them from its region).
 * - `region`: computes its region and nothing else (fused); ops that take a region besides have `regionTypes`.
 */
export type Trait =
  | 'elementwise'
  | 'movement'
  | 'view'
  | 'filling'
  | 'overlapping'
  | 'reduction'
  | 'contraction'
  | 'commutative'
  | 'flat'
  | 'identity'
  | 'conversion'
  | 'leaf'
  | 'effect'
  | 'stated'
  | 'region';

/** The kernel family an op likes best; `view` needs no kernel when its reader can read strided. */
export type Skeleton =
  | 'map'
  | 'row'
  | 'contraction'
  | 'attention'
  | 'selection'
  | 'ordering'
  | 'segments'
  | 'recurrence'
  | 'indexed'
  | 'view'
  | 'none';

/** A problem with the inputs of an op. Lowering turns it into a diagnostic at the call's span. */
export interface InferFailure {
  readonly failure: string;
  /** Which operand is to blame, when one is. */
  readonly operand?: number;
  readonly help?: string;
}

export type InferResult = readonly TensorType[] | InferFailure;

/** Works on what `infer` gives and on what `tryEmit` gives. */
export function isFailure<Success extends object>(result: Success | InferFailure): result is InferFailure {
  return 'failure' in result;
}

export interface InferContext {
  readonly ranges: ReadonlyMap<string, DimRange>;
  /** Number formats of weights, by path: types do not depend on them, passes may. */
  readonly formats?: ReadonlyMap<string, WeightFormat>;
  /** Weights of which only some of neighbouring numbers are there; the same. */
  readonly sparse?: ReadonlyMap<string, SparseFormat>;
}

/** A concrete tensor of the interpreter. f32 mode holds Float32Array, f64 mode Float64Array for every float dtype. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;
}

export interface InterpretContext {
  /** `f64` computes and stores floats in double precision, `f32` rounds after every op (sums in f64, rounded once). */
  readonly precision: 'f32' | 'f64';
  readonly dims: ReadonlyMap<string, number>;
  /** Numbers of each output's type with the runtime dims put in. */
  readonly outputShapes: readonly (readonly number[])[];
  weight(path: string): Tensor;
  /** What the state with this path holds, in the precision asked for. */
  state(path: string): Tensor;
  /** `next` takes the place of `previous`, which is a state or what took its place before. */
  keep(previous: Tensor, next: Tensor): void;
}

/** Emits nodes with inferred types; what decompositions and lowering write with. */
export interface Emitter {
  readonly context: InferContext;
  /** Throws InternalError when the types do not fit: callers have checked with `infer`. */
  emit(op: string, inputs: readonly Value[], attributes?: Attributes, region?: Graph): Value;
}

/** What the region of an op takes and gives. */
export interface RegionTypes {
  readonly inputs: readonly TensorType[];
  readonly results: readonly TensorType[];
}

/** What a gradient rule is given: a node of the graph, and the gradient of the loss with respect to its output. */
export interface GradientRequest {
  readonly inputs: readonly Value[];
  readonly output: Value;
  readonly attributes: Attributes;
  /** Of the type of `output`. */
  readonly cotangent: Value;
}

/** One gradient per operand, of its type; undefined where nothing flows. What nobody needs is dropped as dead code. */
export type GradientRule = (emitter: Emitter, request: GradientRequest) => readonly (Value | undefined)[];

export type Lanes = 1 | 2 | 4;

/**
 * A reduction that walks over its row several times: a value that starts somewhere and takes steps, each computed from sums
 * over the row. WGSL of scalars; operands after the first are given as `parameters`.
 */
export interface IteratedReduction {
  /** Steps at most. */
  readonly rounds: number;
  /** A step below this is the last, where a kernel can stop early. */
  readonly closeEnough: string;
  readonly start: string;
  /** What an element `x` adds to each of the sums, given the value so far. */
  sums(x: string, value: string, parameters: readonly string[]): readonly string[];
  step(sums: readonly string[]): string;
}

/**
 * A run of indices along one axis of an operand, a result, an input (`inner`) or a result (`mapped`) of the node's region. Index i has the key
 * floor((i - from) / each) % keys.
 */
export interface AxisRun {
  readonly of: 'operand' | 'result' | 'inner' | 'mapped';
  readonly at: number;
  readonly axis: number;
  /** 0 when left out. */
  readonly from?: number;
  /** The whole axis when left out. */
  readonly length?: number;
  /** 1 when left out. */
  readonly each?: number;
  /** As many as there are when left out. */
  readonly keys?: number;
}

/** Sizes before and after features were taken out, for the attributes that repeat them. */
export interface Resizing {
  readonly before: { readonly inputs: readonly TensorType[]; readonly outputs: readonly TensorType[] };
  readonly after: { readonly inputs: readonly TensorType[]; readonly outputs: readonly TensorType[] };
  /** How many of the first `count` indices of an axis of an operand remain. */
  remaining(operand: number, axis: number, count: number): number;
}

export interface OpDefinition {
  readonly name: string;
  /** `model`: an op with a name that people use, has `decompose`. `tensor`: a primitive. */
  readonly level: 'model' | 'tensor';
  readonly doc: string;
  /** Names of the operands, for messages and docs; a name ending in `?` is optional, `...` at the end repeats. */
  readonly operands: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeSpec>>;
  readonly traits: readonly Trait[];
  readonly skeleton: Skeleton;
  /**
   * How many of the leading operands a kernel reads tile by tile, so that nothing but views and casts may stand before
   * them; the others are evaluated element by element. All when left out.
   */
  readonly tileOperands?: number;
  /** Whether a kernel of the profile takes a node of this model-level op as it is; no kernel does when left out. */
  staysWhole?(
    profile: ProfileName,
    inputs: readonly TensorType[],
    attributes: Attributes,
    context: InferContext,
  ): boolean;
  /** Ops that may carry a region as a part of what they compute: its types. */
  regionTypes?(inputs: readonly TensorType[], attributes: Attributes): RegionTypes | InferFailure;
  infer(inputs: readonly TensorType[], attributes: Attributes, context: InferContext): InferResult;
  /** Reference semantics. A model-level op may leave it out: then its decomposition is interpreted. */
  interpret?(inputs: readonly Tensor[], attributes: Attributes, context: InterpretContext): readonly Tensor[];
  /** The same function in lower ops. Every model-level op has one. */
  decompose?(emitter: Emitter, inputs: readonly Value[], attributes: Attributes, region?: Graph): Value;
  /**
   * The same value when operand `at` comes as parts of whole rows (axis 0), in order; undefined when the op cannot do with
   * parts. Weights larger than a binding are split by this.
   */
  byParts?(
    emitter: Emitter,
    inputs: readonly Value[],
    attributes: Attributes,
    at: number,
    parts: readonly Value[],
  ): Value | undefined;
  /**
   * When operand `at` is a matrix that maps the last axis of another operand to the last axis of the result: that operand, and
   * whether the matrix is [inputs, outputs] instead of [outputs, inputs]. Low-rank adapters go beside such matrices.
   */
  mapsLastAxis?(
    inputs: readonly Value[],
    attributes: Attributes,
    at: number,
  ): { readonly x: Value; readonly isTransposed: boolean } | undefined;
  /**
   * Sets of runs of indices that are the same features: where one feature goes, those with its key in every other run of the
   * set go too. A set of one run says that any features of the axis may go. An axis without a run cannot lose any. Elementwise
   * ops may leave it out: all their axes run along.
   */
  axes?(
    inputs: readonly TensorType[],
    outputs: readonly TensorType[],
    attributes: Attributes,
  ): readonly (readonly AxisRun[])[];
  /** The attributes when axes have lost features; left out where no attribute repeats a size. */
  resized?(attributes: Attributes, sizes: Resizing): Attributes;
  /**
   * Reverse-mode derivative. A model-level op may leave it out: then its decomposition is differentiated. A tensor-level op
   * without it cannot be trained through, unless it is `constant` to the gradient (trait `flat`).
   */
  readonly gradient?: GradientRule;
  /** Elementwise ops: the function on numbers (booleans are 0 and 1), in f64. */
  scalar?(operands: readonly number[], attributes: Attributes, dtypes: readonly DType[]): number;
  /**
   * Elementwise ops: a WGSL expression from operand expressions (already parenthesised or atomic) that works for scalars
   * and for vectors alike; helpers it needs (`sora_erf`) are named in `wgslHelpers`. `lanes` is the vector width of the
   * operands (1 when left out): literals, type names and helpers (`sora_erf4`) depend on it. Infix results are
   * parenthesised. Operands of dtype `bool` are WGSL bools, not their u32 storage.
   */
  wgsl?(operands: readonly string[], attributes: Attributes, dtypes: readonly DType[], lanes?: Lanes): string;
  readonly wgslHelpers?: readonly string[];
  /** Reductions that no single walk over a row can compute. */
  readonly iterated?: IteratedReduction;
  /** Lookups: what the values of operand 1 must be below. */
  indexedExtent?(inputs: readonly TensorType[], attributes: Attributes): Dim | undefined;
  /**
   * Arithmetic operations for the cost model, where one per output element (elementwise) or input element (reduction) is
   * wrong. Shapes are concrete.
   */
  flops?(
    inputs: readonly (readonly number[])[],
    outputs: readonly (readonly number[])[],
    attributes: Attributes,
  ): number;
  /**
   * The result lies in the buffer of this operand and writes part of it, or all of it element by element (`elementwise`). Its
   * node is an effect, and the last to look at the operand.
   */
  readonly updates?: number;
  /** For the cost model: elements read of each operand, where that is not all of them. */
  elementsRead?(inputs: readonly (readonly number[])[], outputs: readonly (readonly number[])[]): readonly number[];
  /** For the cost model: elements written, where that is not the whole result. */
  elementsWritten?(inputs: readonly (readonly number[])[]): number;
}
