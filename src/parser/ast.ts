/**
 * The syntax tree of a `.sora` file, as the person wrote it: nothing resolved, nothing checked.
 * One discriminated union per syntactic class; every node carries its span. Built by build-ast.ts, read by
 * src/ir/lower and by the formatter (which also needs the comments of the token stream).
 */
import type { SourceFile, Span } from '../support/source.ts';

export interface Identifier {
  readonly text: string;
  readonly span: Span;
}

/** A string literal after unescaping. */
export interface StringValue {
  readonly text: string;
  readonly span: Span;
}

export interface SourceTree {
  readonly file: SourceFile;
  readonly imports: readonly Import[];
  readonly declarations: readonly Declaration[];
  readonly uses: readonly UseBlock[];
}

/** `import { Linear, gelu } from "sora:nn"` */
export interface Import {
  readonly kind: 'import';
  readonly names: readonly { readonly name: Identifier; readonly alias: Identifier | undefined }[];
  readonly from: StringValue;
  readonly span: Span;
}

export type Declaration = DimDeclaration | ConfigDeclaration | ModuleDeclaration | FunctionDeclaration;

/** One dim of `dim B in 1..32, T in 1..512 multiple of 4`. */
export interface DimDeclaration {
  readonly kind: 'dim';
  readonly name: Identifier;
  readonly minimum: Expression;
  readonly maximum: Expression;
  readonly multiple: Expression | undefined;
  readonly doc: string | undefined;
  readonly span: Span;
  /** True for the second and later dims of one `dim` line (the formatter keeps them on the line). */
  readonly continued: boolean;
}

export interface ConfigDeclaration {
  readonly kind: 'config';
  readonly name: Identifier;
  readonly fields: readonly ConfigField[];
  readonly doc: string | undefined;
  readonly span: Span;
}

export type ConfigType = 'int' | 'float' | 'bool' | 'string';

/** `labels: int = 2 from "num_labels" or count("id2label")` */
export interface ConfigField {
  readonly name: Identifier;
  readonly type: ConfigType;
  readonly typeSpan: Span;
  readonly initial: Expression | undefined;
  /** Tried in order; a dotted key walks into objects. `count` gives the number of entries of an object or array. */
  readonly from: readonly { readonly kind: 'key' | 'count'; readonly key: StringValue }[];
  readonly doc: string | undefined;
  readonly span: Span;
}

/** `module Layer(c: Bert) { … }` and `model Name(c: Bert) { … }`: a model is a module with entries. */
export interface ModuleDeclaration {
  readonly kind: 'module' | 'model';
  readonly name: Identifier;
  readonly parameters: readonly ModuleParameter[];
  readonly members: readonly Member[];
  readonly doc: string | undefined;
  readonly span: Span;
}

/** `inputs: int`, `bias: bool = true`, `c: Bert`. */
export interface ModuleParameter {
  readonly name: Identifier;
  /** `int`, `float`, `bool`, `string`, or the name of a config. */
  readonly type: Identifier;
  readonly initial: Expression | undefined;
  readonly span: Span;
}

export type Member = SubmoduleField | TensorField | StateField | FunctionMember | EntryMember | DerivedEntry;

/** `q = Linear(c.hidden, c.hidden) as "attention.self.query"`; with `repeat layer[c.layers] = …` a list of them. */
export interface SubmoduleField {
  readonly kind: 'submodule';
  readonly name: Identifier;
  /** `i` of `repeat layer[i in c.layers] = Layer(c, i)`: 0 to count - 1 in the arguments of each copy. */
  readonly index: Identifier | undefined;
  /** `c.layers` of `repeat layer[c.layers]`; undefined without `repeat`. */
  readonly count: Expression | undefined;
  readonly module: Identifier;
  readonly arguments: readonly Argument[];
  readonly as: StringValue | undefined;
  /** Only tensors begin somehow; lowering says so. */
  readonly init: InitClause | undefined;
  readonly tied: readonly TiedClause[];
  /** `if c.pooler`: the field exists only when this config condition holds. */
  readonly condition: Expression | undefined;
  readonly doc: string | undefined;
  readonly span: Span;
}

/** `weight: f32[outputs, inputs] as "weight" init zeros if condition`: a tensor of the checkpoint. */
export interface TensorField {
  readonly kind: 'tensor';
  readonly name: Identifier;
  readonly type: TensorTypeSyntax;
  readonly as: StringValue | undefined;
  readonly init: InitClause | undefined;
  readonly tied: readonly TiedClause[];
  readonly condition: Expression | undefined;
  readonly doc: string | undefined;
  readonly span: Span;
}

/** `init uniform(bound: 1 / sqrt(inputs))`: how the tensor begins when no checkpoint gives it. */
export interface InitClause {
  /** The name of an initializer, a call of one, or an `if` between such. */
  readonly value: Expression;
  readonly span: Span;
}

/** `tied embed.weight if missing`: a checkpoint without the field's tensor gives this one in its place. */
export interface TiedClause {
  /** A chain of names. */
  readonly target: Expression;
  readonly span: Span;
}

/** `state kv = KVCache(B, c.kv_heads, c.ctx, c.head_dim)` */
export interface StateField {
  readonly kind: 'state';
  readonly name: Identifier;
  readonly type: Identifier;
  readonly arguments: readonly Argument[];
  readonly doc: string | undefined;
  readonly span: Span;
}

/** `entry decode = prefill with T = 1`: the same entry with sizes filled in. */
export interface DerivedEntry {
  readonly kind: 'derived-entry';
  readonly name: Identifier;
  readonly base: Identifier;
  readonly sizes: readonly { readonly dim: Identifier; readonly value: Expression }[];
  readonly doc: string | undefined;
  readonly span: Span;
}

export type UseWord = 'train' | 'quantize' | 'prune' | 'adapter' | 'generate' | 'golden';

/** `quantize Llama { … }`, `train Model.entry { … }`: how a model is used, apart from what it is. */
export interface UseBlock {
  readonly use: UseWord;
  readonly useSpan: Span;
  readonly model: Identifier;
  readonly entry: Identifier | undefined;
  readonly items: readonly UseItem[];
  readonly doc: string | undefined;
  readonly span: Span;
}

export type UseItem = UseTarget | UseRead | UseSetting | UseRule;

/** `target y: i32[B]`: what a training step gets besides the inputs of the entry. */
export interface UseTarget {
  readonly kind: 'target';
  readonly name: Identifier;
  readonly type: TensorTypeSyntax;
  readonly span: Span;
}

/** `read ids: tokens("text", max: 128)`: where a parameter or a target comes from when a dataset is read. */
export interface UseRead {
  readonly kind: 'read';
  readonly name: Identifier;
  readonly value: Expression;
  readonly span: Span;
}

/** `optimizer: adamw(lr: 1e-4)`, `freeze: "a.**", "b.**"` */
export interface UseSetting {
  readonly kind: 'setting';
  readonly name: Identifier;
  readonly values: readonly UseValue[];
  readonly span: Span;
}

/** `"lm_head.weight": int8(group: 64)`, `state "**.kv": f16`, `heads "attn": keep 0.75 by l2` */
export interface UseRule {
  readonly kind: 'rule';
  /** `state`, `heads`: what the globs select when it is not weights. */
  readonly about: Identifier | undefined;
  readonly globs: readonly StringValue[];
  readonly value: UseValue;
  readonly span: Span;
}

export interface UseValue {
  /** `keep 0.75`: the share that stays. */
  readonly isKept: boolean;
  readonly value: Expression;
  /** `by l2` */
  readonly by: Identifier | undefined;
  readonly span: Span;
}

/** `fn (x: …) -> … { … }` of a module (name undefined: called as the module itself) or `fn helper(x: …) = …`. */
export interface FunctionMember {
  readonly kind: 'function';
  readonly name: Identifier | undefined;
  readonly parameters: readonly FunctionParameter[];
  readonly result: TensorTypeSyntax | undefined;
  /** `fn … = expression` gives an expression, `fn … { … }` a block. */
  readonly body: Expression;
  readonly doc: string | undefined;
  readonly span: Span;
}

/** A function outside modules; as FunctionMember, with a name. */
export interface FunctionDeclaration extends Omit<FunctionMember, 'name'> {
  readonly name: Identifier;
}

/**
 * `entry classify(ids: i32[B, T], mask: i32[B, T] = 1) -> logits: f32[B, c.labels] { … }`. Several results:
 * `-> { start_logits: f32[B, T], end_logits: f32[B, T] }`. An unnamed single result takes the entry's name.
 */
export interface EntryMember {
  readonly kind: 'entry';
  readonly name: Identifier;
  readonly parameters: readonly FunctionParameter[];
  readonly results: readonly { readonly name: Identifier | undefined; readonly type: TensorTypeSyntax }[];
  readonly body: Expression;
  readonly doc: string | undefined;
  readonly span: Span;
}

export interface FunctionParameter {
  readonly name: Identifier;
  /** A tensor type, or a scalar config type for helper functions (`kind: string`). */
  readonly type: TensorTypeSyntax | { readonly kind: 'scalar-type'; readonly name: ConfigType; readonly span: Span };
  /** A number that fills the tensor when the caller leaves it out. */
  readonly initial: Expression | undefined;
  readonly doc: string | undefined;
  readonly span: Span;
}

/** `f32[B, T, c.hidden]`, `f32[..., D]`, `f32` (rank 0). Each dim is an expression; `...` stands for any leading dims. */
export interface TensorTypeSyntax {
  readonly kind: 'tensor-type';
  readonly dtype: Identifier;
  readonly dims: readonly (Expression | EllipsisSyntax)[];
  readonly span: Span;
}

export interface EllipsisSyntax {
  readonly kind: 'ellipsis';
  readonly span: Span;
}

/** `q(x)`, `Linear(a, b, bias: false)`. */
export interface Argument {
  readonly name: Identifier | undefined;
  readonly value: Expression;
}

export type BinaryOperator = '+' | '-' | '*' | '/' | '%' | '**' | '==' | '!=' | '<' | '<=' | '>' | '>=' | 'and' | 'or';

export type Expression =
  | { readonly kind: 'number'; readonly value: number; readonly isInteger: boolean; readonly span: Span }
  | { readonly kind: 'string'; readonly value: string; readonly span: Span }
  | { readonly kind: 'boolean'; readonly value: boolean; readonly span: Span }
  | { readonly kind: 'name'; readonly name: string; readonly span: Span }
  | { readonly kind: 'member'; readonly object: Expression; readonly member: Identifier; readonly span: Span }
  | { readonly kind: 'call'; readonly callee: Expression; readonly arguments: readonly Argument[]; readonly span: Span }
  | { readonly kind: 'index'; readonly object: Expression; readonly items: readonly IndexItem[]; readonly span: Span }
  | { readonly kind: 'unary'; readonly operator: '-' | 'not'; readonly operand: Expression; readonly span: Span }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly operatorSpan: Span;
      readonly left: Expression;
      readonly right: Expression;
      readonly span: Span;
    }
  | { readonly kind: 'list'; readonly items: readonly Expression[]; readonly span: Span }
  | { readonly kind: 'record'; readonly fields: readonly RecordField[]; readonly span: Span }
  | {
      readonly kind: 'if';
      readonly condition: Expression;
      readonly then: Expression;
      readonly otherwise: Expression | undefined;
      readonly span: Span;
    }
  | { readonly kind: 'block'; readonly lets: readonly Let[]; readonly result: Expression; readonly span: Span }
  | {
      readonly kind: 'attend';
      readonly query: Expression;
      readonly key: Expression;
      readonly value: Expression;
      readonly modifiers: readonly RecordField[];
      readonly span: Span;
    }
  /** `(h, i, j) => …`, only as the value of a modifier. */
  | {
      readonly kind: 'lambda';
      readonly parameters: readonly Identifier[];
      readonly body: Expression;
      readonly span: Span;
    }
  /** What recovery put where an expression should stand; already reported, lower without complaint. */
  | { readonly kind: 'missing'; readonly span: Span };

export interface RecordField {
  readonly name: Identifier;
  readonly value: Expression;
  readonly span: Span;
}

/** `h[:, 0]`, `h[1:3, new]`, `h[..., -1]`. */
export type IndexItem =
  | { readonly kind: 'at'; readonly index: Expression; readonly span: Span }
  | {
      readonly kind: 'slice';
      readonly start: Expression | undefined;
      readonly end: Expression | undefined;
      readonly span: Span;
    }
  | { readonly kind: 'new'; readonly span: Span }
  | EllipsisSyntax;

/** `let a = …` and `let [q, k, v] = split(…)`. */
export interface Let {
  readonly names: readonly Identifier[];
  readonly isList: boolean;
  readonly value: Expression;
  readonly span: Span;
}
