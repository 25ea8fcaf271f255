/**
 * What a name or an expression stands for while a model is elaborated.
 *
 * Config integers and runtime dims are one kind, `int`: a polynomial that may happen to be constant. Everything that is
 * known when compiling folds here; only `tensor` and `weight` bindings reach the graph. `poison` stands for a value whose
 * making was already reported: whoever meets it stays silent.
 */
import type {
  ConfigDeclaration,
  FunctionDeclaration,
  FunctionMember,
  ModuleDeclaration,
  StateField,
  SubmoduleField,
  TensorField,
  TiedClause,
} from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import type { Value, Weight } from '../graph.ts';
import { constantDim, constantValue, type Dim } from '../symbolic.ts';
import { printType } from '../types.ts';
import type { Origin } from './origin.ts';
import type { Scope } from './scope.ts';

/** `origin` is set where the name stands for what somebody else wrote: module parameters, shape variables. */
export interface IntBinding {
  readonly kind: 'int';
  readonly dim: Dim;
  /** Written as a number right here: it takes the element type of what it meets. */
  readonly literal: boolean;
  readonly origin?: Origin | undefined;
}

export interface FloatBinding {
  readonly kind: 'float';
  readonly value: number;
}

export interface ConfigBinding {
  readonly kind: 'config';
  readonly declaration: ConfigDeclaration;
  readonly values: ReadonlyMap<string, Binding>;
}

/** A module with its parameters and weight path bound. */
export interface Instance {
  readonly declaration: ModuleDeclaration;
  /** Parameters, fields and functions; the parent is the scope of the declaring file. */
  readonly scope: Scope;
  /** Segments of the weight path; empty for the model itself. */
  readonly path: readonly string[];
  /** The field that made it, for labels; undefined for the model. */
  readonly field: SubmoduleField | undefined;
  /** `tied` clauses of its fields, applied when all fields are bound. */
  readonly ties: Tie[];
}

export interface Tie {
  readonly clause: TiedClause;
  readonly field: SubmoduleField | TensorField;
  /** Paths of the weights that the field declared. */
  readonly weights: readonly string[];
}

export type StateFormat = 'f32' | 'f16' | 'int8';

/** A declared state: keys and values of earlier positions. */
export interface StateBinding {
  readonly kind: 'state';
  readonly field: StateField;
  /** `model.layers.0.kv` */
  readonly path: string;
  readonly batch: Dim;
  readonly heads: number;
  readonly positions: number;
  /** Of a head of the keys and of the values. */
  readonly width: number;
  readonly valueWidth: number;
  /** As it is stored: a `quantize` block may choose, before any entry is lowered. int8 has a scale for each position of a head. */
  dtype: StateFormat;
}

export interface FunctionBinding {
  readonly kind: 'function';
  readonly declaration: FunctionDeclaration | FunctionMember;
  /** Where its body's free names are looked up. */
  readonly scope: Scope;
  /** The module instance it belongs to. */
  readonly owner: Instance | undefined;
}

export interface RepeatBinding {
  readonly kind: 'repeat';
  readonly field: SubmoduleField;
  readonly instances: readonly Instance[];
}

export type Binding =
  | { readonly kind: 'tensor'; readonly value: Value }
  | { readonly kind: 'weight'; readonly weight: Weight; readonly field: TensorField }
  | IntBinding
  | FloatBinding
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'string'; readonly value: string }
  | ConfigBinding
  | { readonly kind: 'module'; readonly instance: Instance }
  | RepeatBinding
  | { readonly kind: 'list'; readonly items: readonly Binding[] }
  | { readonly kind: 'record'; readonly fields: ReadonlyMap<string, Binding> }
  | FunctionBinding
  | StateBinding
  | { readonly kind: 'module-type'; readonly declaration: ModuleDeclaration; readonly scope: Scope }
  | { readonly kind: 'intrinsic'; readonly name: string }
  /** A field whose `if` does not hold under this config. */
  | { readonly kind: 'absent'; readonly field: SubmoduleField | TensorField; readonly condition: Span }
  | { readonly kind: 'poison' };

export const poison: Binding = { kind: 'poison' };

export function tensorBinding(value: Value): Binding {
  return { kind: 'tensor', value };
}

export function intBinding(value: number | Dim, literal = false): IntBinding {
  return { kind: 'int', dim: typeof value === 'number' ? constantDim(value) : value, literal };
}

/** The number of a float, or of an integer that does not depend on a runtime dim. */
export function numberOf(binding: Binding): number | undefined {
  if (binding.kind === 'float') return binding.value;
  return binding.kind === 'int' ? constantValue(binding.dim) : undefined;
}

/** "a tensor `f32[B, T, 384]`": what a message calls a value that stands in the wrong place. */
export function describe(binding: Binding): string {
  switch (binding.kind) {
    case 'tensor':
      return `a tensor \`${printType(binding.value.type)}\``;
    case 'weight':
      return `a tensor \`${printType(binding.weight.type)}\``;
    case 'int':
      return constantValue(binding.dim) === undefined
        ? `the dim \`${binding.dim.key}\``
        : `the integer ${binding.dim.key}`;
    case 'float':
      return `the number ${binding.value}`;
    case 'bool':
      return `the condition \`${binding.value}\``;
    case 'string':
      return `the string ${JSON.stringify(binding.value)}`;
    case 'config':
      return `the config \`${binding.declaration.name.text}\``;
    case 'module':
      return `an instance of module \`${binding.instance.declaration.name.text}\``;
    case 'repeat':
      return `a repeated module \`${binding.field.name.text}\``;
    case 'list':
      return `a list of ${binding.items.length}`;
    case 'record':
      return 'a record';
    case 'function':
      return `the function \`${binding.declaration.name?.text ?? 'fn'}\``;
    case 'module-type':
      return `the ${binding.declaration.kind} \`${binding.declaration.name.text}\``;
    case 'intrinsic':
      return `the built-in function \`${binding.name}\``;
    case 'state':
      return `the state \`${binding.field.name.text}\``;
    case 'absent':
      return `the absent field \`${binding.field.name.text}\``;
    case 'poison':
      return 'a mistake';
  }
}
