/**
 * What a compiled model is at run time: plain data, made by src/codegen, printed into the generated module, read by the
 * runtime. No functions, so nothing from a model's text can run.
 */

/**
 * An integer computed from the runtime dims of a call: a number, a dim's name, or `[operator, ...operands]`.
 * `+`, `*`, `max` take any number of operands; `-` two; `ceil` is `[ceil, value, divisor]`, the quotient rounded up.
 */
export type SizeExpression = number | string | readonly ['+' | '*' | 'max' | '-' | 'ceil', ...SizeExpression[]];

/** Element types that cross the API; `bool` is one u32 per element on the device. */
export type ElementType = 'f32' | 'f16' | 'i32' | 'u32' | 'bool';

export interface TensorSpec {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly SizeExpression[];
  readonly doc?: string;
  /** Inputs: the value that fills the tensor when the caller leaves it out. */
  readonly initial?: number;
  /** Inputs that index a table or say a class: least and greatest value allowed, checked on the host before anything runs. */
  readonly range?: readonly [number, number];
  /** Allowed beside them: a class that does not count. */
  readonly except?: number;
  /** Results that stay on the device until somebody asks for them. */
  readonly lazy?: boolean;
}

/**
 * An input that callers never see. i32[batch]: the session fills it with the positions that each row holds (`past`) or with
 * how many positions of the call are real (`lengths`). u32[2]: the trainer fills it with what random numbers depend on (`seed`). f32[]: what
 * the trainer has the loss multiplied by (`scale`).
 */
export interface HiddenSpec extends TensorSpec {
  readonly role: 'past' | 'lengths' | 'seed' | 'scale';
}

/**
 * How a weight's elements lie in its buffer. The compiler picks what its kernel reads best; the loader writes it.
 *
 * - `row-major`: as in the file.
 * - `panels`: a matrix [N, K] as [ceil(N / width)][K][width], zero-filled past N: the `width` values that a lane reads for
 *   one k are neighbours.
 * - `packed`: whole numbers with scales, as PackedLayout says.
 * - `nm`: some of neighbouring numbers with their places, as NmLayout says.
 */
export type WeightLayout =
  | { readonly kind: 'row-major' }
  | { readonly kind: 'panels'; readonly width: number }
  | PackedLayout
  | NmLayout;

/** int8 or int4 (src/runtime/number-formats.ts says what the numbers are). */
export interface PackedFormat {
  readonly kind: 'int8' | 'int4';
  readonly group?: number;
  readonly asymmetric?: boolean;
  readonly transposed?: boolean;
}

/**
 * The weight as a matrix [N, K], N the outputs: words of 4 (int8) or 8 (int4) neighbours along K, the first in the lowest bits, int8 plus
 * 128 and symmetric int4 plus 8, so that nothing is below 0. What lies past the ends is 0. P = ceil(N / width) panels, G groups:
 *
 *   [P][W / run][width / 32][run][32] words of numbers, W = ceil(K / 4 or 8) of a row: `run` of a row's words are read one after the other
 *   [P][G][width] scales, f32
 *   [P][G][width / 4] words of four zero points each, where the format is asymmetric
 */
export interface PackedLayout {
  readonly kind: 'packed';
  readonly width: number;
  readonly run: number;
  readonly format: PackedFormat;
  /** Of 32 bits. */
  readonly words: number;
}

/** Of each `of` neighbours along the inputs the `keep` largest. */
export interface NmFormat {
  readonly keep: number;
  readonly of: number;
  readonly transposed?: boolean;
}

/**
 * The weight as a matrix [N, K], N the outputs, in groups of `of` along K: the numbers that are there, and the place of each in its group,
 * the first one's in the lowest bits; `bits` of places for each group, as many groups to a word as it holds. G = K / of:
 *
 *   [P][G * keep][width] f32
 *   [P][ceil(G * bits / 32)][width] words of places
 */
export interface NmLayout {
  readonly kind: 'nm';
  readonly width: number;
  readonly format: NmFormat;
  readonly bits: number;
  /** Of 32 bits. */
  readonly words: number;
}

/**
 * A tensor of the checkpoint; `tied` names the one that is read when the file has none of the name `path`. In models that train,
 * `initial` says how it is drawn where there is none.
 */
export interface WeightSource {
  readonly path: string;
  readonly shape: readonly number[];
  readonly tied?: string;
  /** Heads or neurons were cut out of it: the checkpoint that the model was trained as is larger. */
  readonly sliced?: boolean;
  readonly initial?: InitializerSpec;
}

/**
 * One device buffer of weights, made of one or more tensors of the checkpoint concatenated along axis 0, or of some rows of
 * that: a weight larger than a binding has several buffers.
 */
export interface WeightSpec {
  readonly sources: readonly WeightSource[];
  readonly shape: readonly number[];
  /** The row of the sources that the buffer begins with; 0 when left out. */
  readonly first?: number;
  readonly dtype: ElementType;
  readonly layout: WeightLayout;
}

/** The line by which every kernel with runtime dims declares them … */
export const IMMEDIATE_DECLARATION = 'var<immediate> dims: Dims;';
/** … and what stands in its place on devices without immediates. */
export const UNIFORM_DECLARATION = '@group(1) @binding(0) var<uniform> dims: Dims;';

/** Behind it, in a line `let x = …;`, stands what eight lanes of a subgroup can compute instead (eight-lanes.ts). */
export const EIGHT_LANES = '// eight lanes: ';

export interface KernelSpec {
  /** WGSL with one entry point `main`. Runtime dims are in `var<immediate> dims: Dims` (a struct of u32, see wgsl/writer.ts). */
  readonly code: string;
  /**
   * Access of binding i of group 0: `r` read-only storage, `w` read_write storage, `p` words of a packed weight, read only through a
   * function, so that they may lie in a texture (word-textures.ts).
   */
  readonly bindings: string;
  /** How many u32 the kernel takes in `dims`; at most 16. */
  readonly params: number;
  /** Optional device features that it needs (`subgroups`, `shader-f16`). */
  readonly features?: readonly string[];
}

export type BufferSpec =
  | { readonly kind: 'input'; readonly name: string }
  | { readonly kind: 'result'; readonly name: string; readonly bytes: SizeExpression }
  | { readonly kind: 'weight'; readonly weight: number }
  | { readonly kind: 'constant'; readonly dtype: ElementType; readonly values: readonly number[] }
  | { readonly kind: 'scratch'; readonly bytes: SizeExpression }
  /** By index into `states`; the session brings it. */
  | { readonly kind: 'state'; readonly state: number }
  /** Part of an arena, by index into `arenas`; the trainer brings it. `offset` is a multiple of 256. */
  | { readonly kind: 'arena'; readonly arena: number; readonly offset: number; readonly bytes: number };

/**
 * One dispatch: `groups` workgroups in one line, folded by the runtime when there are more than 65,535. A step with
 * `when` runs only if the value lies in the range: two schedules of one kernel for few and for many rows.
 */
export interface Step {
  readonly kernel: string;
  /** Index into `buffers` for each binding. */
  readonly buffers: readonly number[];
  readonly params: readonly SizeExpression[];
  readonly groups: SizeExpression;
  readonly when?: { readonly value: SizeExpression; readonly minimum: number; readonly maximum: number };
}

export interface EntryPlan {
  readonly buffers: readonly BufferSpec[];
  readonly steps: readonly Step[];
}

/** `software`: CPU drivers (lavapipe, SwiftShader, WARP). `gpu`: everything else. */
export type ProfileName = 'software' | 'gpu';

export interface EntrySpec {
  readonly name: string;
  readonly doc?: string;
  readonly inputs: readonly TensorSpec[];
  readonly hidden?: readonly HiddenSpec[];
  readonly results: readonly TensorSpec[];
  /** Positions that a call appends to every row of the states; absent: it needs no session. */
  readonly steps?: SizeExpression;
  /** For the runtime only: no method of the model, not in its signature. */
  readonly internal?: boolean;
  /** Results that lie in arenas and are not read back; `path` as in the program's text, `weight:NAME` or `gradient:NAME`. */
  readonly pieces?: readonly PieceSpec[];
  readonly plans: Readonly<Record<ProfileName, EntryPlan>>;
}

/** A tensor [batch, room, width] that a session keeps between calls. */
export interface StateSpec {
  readonly path: string;
  readonly dtype: ElementType;
  readonly width: number;
}

/**
 * What states have in common. `past` and `slack` name dims that no caller sees: the positions that the fullest row held
 * before the call, and the room behind those of the call: room = past + steps + slack.
 */
export interface SessionSpec {
  readonly past: string;
  readonly slack: string;
  /** The most that a row may hold. */
  readonly positions: number;
}

/** How a session generates text: see src/ir/lower/use-generate.ts. */
export interface GenerationSpec {
  readonly entry: string;
  /** Hidden entries for any number of tokens, and for one. Their results are `ids`, `values`, `totals`, lazily `logits`. */
  readonly prefill: string;
  readonly step: string;
  /** Input of the tokens. */
  readonly tokens: string;
  /** The dim that counts tokens of a call. */
  readonly length: string;
  readonly vocabulary: number;
  /** How many ids and values a call gives. */
  readonly top: number;
  /** Tokens that end a text. */
  readonly stop: readonly number[];
}

/** A flat vector of f32 that the trainer keeps between steps. */
export interface ArenaSpec {
  /** `weights:0`, `gradients:0`, `first:0`, … */
  readonly path: string;
  readonly elements: number;
}

/** A result of an entry that is written into an arena. */
export interface PieceSpec {
  /** Name of the result in the program's text. */
  readonly name: string;
  readonly arena: number;
  /** In elements. */
  readonly offset: number;
  readonly shape: readonly number[];
}

/** How fresh weights are drawn: `uniform` from low to high, `normal` cut off at two standard deviations when `truncated`. */
export type InitializerSpec =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number }
  | { readonly kind: 'normal'; readonly mean: number; readonly std: number; readonly truncated?: boolean };

export interface ParameterSpec {
  /** Name in the checkpoint. */
  readonly path: string;
  readonly shape: readonly number[];
  /** Elements from the start of the group's arenas. */
  readonly offset: number;
  readonly initial?: InitializerSpec;
  /** The name that is read when the checkpoint has none of the name `path`. */
  readonly tied?: string;
  readonly pruning?: PruningSpec;
}

/**
 * Which elements of a parameter become 0, to stay so: all but the `keep` largest of `of` inputs in a row (`nm`), all but a share of the
 * matrix at once (`share`), or step by step between two shares of the run (`gradual`).
 */
export interface PruningSpec {
  readonly kind: 'nm' | 'share' | 'gradual';
  readonly keep: number;
  readonly of?: number;
  readonly from?: number;
  readonly to?: number;
  /** Of `gradual`: those go first whose `movement` is least; the smallest where nothing is said. */
  readonly by?: 'movement';
  /** The matrix lies [inputs, outputs]. */
  readonly transposed?: boolean;
}

/** Learning rates over the steps: a line up over the first `warmup` share of all steps, then what the kind says. */
export interface ScheduleSpec {
  readonly kind: 'constant' | 'linear' | 'cosine' | 'step';
  readonly peak: number;
  /** Share of all steps, 0 to 1. */
  readonly warmup: number;
  /** Learning rate of the last step; 0 when left out. */
  readonly final?: number;
  /** Of `step`: after every so many steps the rate is multiplied by the factor. */
  readonly every?: number;
  readonly factor?: number;
}

/** A train block: which hidden entries make a step, and what the host must keep. See decision 0007. */
export interface TrainingSpec {
  /** The entry that the model's author wrote. */
  readonly entry: string;
  readonly gradients: string;
  readonly evaluate: string;
  readonly accumulate: string;
  readonly update: string;
  /** Inputs that are targets, not parameters of the entry. */
  readonly targets: readonly string[];
  readonly groups: readonly {
    /** Arenas by index, each of the same number of elements; `slots` are the optimizer's. */
    readonly weights: number;
    readonly gradients: number;
    readonly sums: number;
    readonly slots: readonly number[];
    /** Sums of -gradient weight, among the slots, where a rule goes by movement. */
    readonly movement?: number;
    /** The moving average of the weights, the last of the slots. */
    readonly average?: number;
    readonly parameters: readonly ParameterSpec[];
  }[];
  /** Low-rank adapters: the weight stands for W + factor up down, transposed where W is [inputs, outputs]. */
  readonly adapters?: readonly {
    readonly path: string;
    readonly down: string;
    readonly up: string;
    readonly factor: number;
    readonly transposed?: boolean;
  }[];
  readonly optimizer: { readonly name: string; readonly beta1?: number; readonly beta2?: number };
  readonly schedule: ScheduleSpec;
  /** What the moving average of the weights keeps of itself at each step. */
  readonly ema?: number;
  /** Values between kernels lie as f16, and the loss is scaled. */
  readonly precision?: 'f16';
  /** Micro-batches that usually make a step. */
  readonly microBatches: number;
  readonly seed: number;
}

export interface DimSpec {
  readonly minimum: number;
  readonly maximum: number;
  readonly multiple: number;
}

export interface Artifact {
  readonly format: 1;
  readonly name: string;
  /** sorac's version and the hash of source and config. */
  readonly compiler: string;
  readonly source: string;
  readonly config: Readonly<Record<string, number | boolean | string>>;
  readonly dims: Readonly<Record<string, DimSpec>>;
  readonly weights: readonly WeightSpec[];
  readonly states?: readonly StateSpec[];
  /** Present when there are states. */
  readonly session?: SessionSpec;
  readonly kernels: Readonly<Record<string, KernelSpec>>;
  readonly entries: readonly EntrySpec[];
  /** Present when the model generates text. */
  readonly generation?: GenerationSpec;
  /** Present when the model trains. */
  readonly arenas?: readonly ArenaSpec[];
  readonly training?: TrainingSpec;
  /** Text form of the unoptimized program: what the CPU interpreter runs when there is no adapter. */
  readonly program: string;
}
