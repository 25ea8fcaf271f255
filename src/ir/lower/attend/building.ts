/**
 * An attention while its modifiers are read: what they change before the node is written.
 */
import type { Expression, RecordField } from '../../../parser/ast.ts';
import type { Span } from '../../../support/source.ts';
import type { Value } from '../../graph.ts';
import type { ExtraRole } from '../../ops/attention-geometry.ts';
import { constantDim, type Dim } from '../../symbolic.ts';
import type { Shape } from '../../types.ts';
import type { StateBinding } from '../binding.ts';
import type { Context, GraphSite } from '../context.ts';
import type { Scope } from '../scope.ts';

export type Attend = Extract<Expression, { kind: 'attend' }>;

/** A value and the place in the model that gave it. */
export interface Placed {
  readonly value: Value;
  readonly span: Span;
}

export interface Extra extends Placed {
  readonly role: ExtraRole;
}

export interface Building {
  readonly context: Context;
  readonly scope: Scope;
  readonly attend: Attend;
  readonly heads: number;
  readonly kvHeads: number;
  /** Width of a head of query and key. */
  readonly width: Dim;
  /** [batch…, T, heads*D], [batch…, S, kv_heads*D], [batch…, S, kv_heads*E]; modifiers replace them in their order. */
  query: Value;
  key: Value;
  value: Value;
  /** How many positions each row held before this call, i32[batch…]; undefined: none. */
  offsets: Value | undefined;
  /** The cache that keys and values go to. */
  state: StateBinding | undefined;
  causal: boolean;
  /** Keys that a query sees per direction, itself included; 0: all. */
  window: number;
  normalize: 'softmax' | 'entmax15' | 'entmax';
  /** Probability that training drops a weight. */
  dropout: number;
  /** What is done to the scores; undefined: nothing. */
  scores: ScoreMap | undefined;
  /** Operands after the value. */
  readonly extras: Extra[];
}

/** The score map under construction: expressions are evaluated in a graph of their own (scores.ts). */
export interface ScoreMap {
  readonly site: GraphSite;
  readonly input: Value;
  /** The score as mapped so far. */
  score: Value;
}

/** How one modifier is read; false when something was reported. */
export interface Modifier {
  readonly name: string;
  apply(building: Building, field: RecordField): boolean;
}

/** How a modifier changes what attention gives; undefined when something was reported. */
export interface ResultModifier {
  readonly name: string;
  apply(building: Building, field: RecordField, result: Value): Value | undefined;
}

export interface ScoreGeometry {
  readonly batch: Shape;
  readonly heads: Dim;
  readonly queries: Dim;
  readonly keys: Dim;
}

/** Sizes as they are now: a cache has more keys than were given. */
export function geometryOf(building: Building): ScoreGeometry {
  const { query, key } = building;
  return {
    batch: query.type.shape.slice(0, -2),
    heads: constantDim(building.heads),
    queries: query.type.shape.at(-2) ?? constantDim(0),
    keys: key.type.shape.at(-2) ?? constantDim(0),
  };
}

/** [batch…, heads, T, S] */
export function fullShape(geometry: ScoreGeometry): Shape {
  return [...geometry.batch, geometry.heads, geometry.queries, geometry.keys];
}
