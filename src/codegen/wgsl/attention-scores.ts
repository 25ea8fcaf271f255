/**
 * What an attention kernel does to one score, and which keys it has to look at: the score map on a register, masks, and the
 * bounds that causality, window and reach put on the loop over keys.
 */
import { type Node, onlyOutput, type Value } from '../../ir/graph.ts';
import { capturedOf, extraOf, isCausal, windowOf } from '../../ir/ops/attention-geometry.ts';
import { constantValue, type Dim } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { constantIndex, type Index } from './index-algebra.ts';
import type { Draft } from './kernel.ts';
import type { Expression, IndexVector, Override } from './values.ts';

/** Below every score that is not masked, and finite. */
export const masked = '-1e30f';

export interface ScorePlace {
  readonly batch: readonly Index[];
  readonly head: Index;
}

/** An operand of full rank at a place of the scores: axes of size 1 are read at 0. */
function at(draft: Draft, value: Value, full: IndexVector): Expression {
  const index = value.type.shape.map((dim, axis) =>
    constantValue(dim) === 1 ? constantIndex(0) : (full[axis] ?? constantIndex(0)),
  );
  return draft.walker.at(value, index);
}

/** One number per head: sinks, reach. */
export function perHead(draft: Draft, node: Node, role: 'sinks' | 'reach', head: Index): string | undefined {
  const value = extraOf(node.inputs, node.attributes, role);
  return value && draft.walker.named(draft.walker.at(value, [head]), role).text;
}

/** `offset + ` of the batch row, or nothing. */
function startOf(draft: Draft, node: Node, batch: readonly Index[]): string {
  const offsets = extraOf(node.inputs, node.attributes, 'offsets');
  return offsets ? `${draft.walker.named(draft.walker.at(offsets, batch), 'offset').text} + ` : '';
}

/** Whether positions matter at all. */
export function isPositional(node: Node): boolean {
  return (
    isCausal(node.attributes) ||
    windowOf(node.attributes) > 0 ||
    extraOf(node.inputs, node.attributes, 'reach') !== undefined
  );
}

/** Writes the position of query `i`; conditions of causality, window and reach on the key `wanted_key`. */
export function positionConditions(draft: Draft, node: Node, place: ScorePlace, i: Index): readonly string[] {
  if (!isPositional(node)) return [];
  const { writer } = draft;
  const window = windowOf(node.attributes);
  const causal = isCausal(node.attributes);
  const position = writer.let('position', `${startOf(draft, node, place.batch)}i32(${writer.index(i)})`);
  const reach = perHead(draft, node, 'reach', place.head);
  const behind = `${position} - i32(wanted_key)`;
  return [
    ...(causal ? [`i32(wanted_key) <= ${position}`] : []),
    ...(window === 0 ? [] : [`${causal ? behind : `abs(${behind})`} < ${window}i`]),
    ...(reach === undefined ? [] : [`f32(abs(${behind})) <= ${reach}`]),
  ];
}

/** A stretch of queries, as WGSL of u32. */
export interface Stretch {
  readonly first: string;
  readonly last: string;
}

/** The keys that some query of a stretch may see: the first of them and the one after the last. */
export interface KeyBounds {
  readonly first: string;
  readonly end: string;
}

function fold(call: string, items: readonly string[]): string {
  return items.reduce((left, right) => `${call}(${left}, ${right})`);
}

/** What shares a loop over keys: heads of one batch row. */
export interface LoopPlace {
  readonly batch: readonly Index[];
  readonly heads: readonly Index[];
}

/** Writes the bounds; they are the same for all lanes that share the stretch. */
export function keyBounds(draft: Draft, node: Node, place: LoopPlace, queries: Stretch, keys: Dim): KeyBounds {
  const { writer } = draft;
  const all = writer.dim(keys);
  if (!isPositional(node)) return { first: '0u', end: all };
  const window = windowOf(node.attributes);
  const causal = isCausal(node.attributes);
  const start = startOf(draft, node, place.batch);
  const first = writer.let('first_position', `${start}i32(${queries.first})`);
  const last = writer.let('last_position', `${start}i32(${queries.last})`);
  const reaches = place.heads.flatMap((head) => perHead(draft, node, 'reach', head) ?? []);
  // A reach beyond every position would not fit into an integer.
  const far = reaches.length > 0 && writer.let('far', `i32(clamp(${fold('max', reaches)}, -1.0f, 1e9f))`);
  const lows = ['0i', ...(window === 0 ? [] : [`${first} - ${window - 1}i`]), ...(far ? [`${first} - ${far}`] : [])];
  const highs = [
    `i32(${all})`,
    ...(causal ? [`${last} + 1i`] : []),
    ...(window === 0 || causal ? [] : [`${last} + ${window}i`]),
    ...(far && !causal ? [`${last} + ${far} + 1i`] : []),
  ];
  return {
    first: writer.let('first_key', `u32(${fold('max', lows)})`),
    end: writer.let('end_key', `u32(max(0i, ${fold('min', highs)}))`),
  };
}

/** Gives the walker the inputs of the score map: the score by its name, the captured operands by what they are. */
export function scoreMapper(draft: Draft, node: Node): (score: string, full: IndexVector) => string {
  const { region } = node;
  const result = region?.results[0]?.value;
  if (!region || !result) return (score) => score;
  const { walker } = draft;
  const [scoreInput, ...others] = region.inputs.map(onlyOutput);
  const captured = capturedOf(node.inputs, node.attributes);
  let current = '';
  walker.addOverride((value, index): Override | undefined => {
    if (value === scoreInput) return { expression: { text: current, lanes: 1, dtype: 'f32' } };
    const which = others.indexOf(value);
    if (which < 0) return undefined;
    const operand = captured[which] ?? unreachable('a region has an input for each captured operand');
    return { value: operand, index };
  });
  return (score, full) => {
    current = score;
    return walker.at(result, full).text;
  };
}

/** Writes `score = …`: mapped, and far below all others where it is hidden. `wanted_key` is the key's index. */
export function finishScore(
  draft: Draft,
  node: Node,
  full: IndexVector,
  map: (score: string, full: IndexVector) => string,
  conditions: readonly string[],
): void {
  const { writer } = draft;
  const mapped = map('score', full);
  const mask = extraOf(node.inputs, node.attributes, 'mask');
  const all = [...conditions, ...(mask ? [writer.let('visible', at(draft, mask, full).text)] : [])];
  if (all.length > 0) writer.line(`score = select(${masked}, ${mapped}, ${all.map((one) => `(${one})`).join(' & ')});`);
  else if (mapped !== 'score') writer.line(`score = ${mapped};`);
}
