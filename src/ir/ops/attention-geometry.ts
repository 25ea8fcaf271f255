/**
 * The operands of `attention`: which role each further operand has, the sizes they agree on, and what is wrong when they
 * do not.
 */
import type { Attributes } from '../graph.ts';
import type { AxisRun, InferFailure } from '../op.ts';
import { constantDim, constantValue, type Dim, divideDim, sameDim } from '../symbolic.ts';
import { isFloat, type Shape, sameShape, type TensorType } from '../types.ts';
import { operand, result } from './axes.ts';
import { dropoutProblem } from './dropout.ts';
import { fail, numberOf, quoteType, stringOf, stringsOf } from './shared.ts';

/** What the operands after the value may be. */
export const extraRoles = ['mask', 'offsets', 'sinks', 'reach', 'alpha', 'captured'] as const;

export type ExtraRole = (typeof extraRoles)[number];

/** How scores become weights. */
export const normalizers = ['softmax', 'entmax15', 'entmax'] as const;

/** Query, key and value: the operands before the extra ones. */
export const plainOperands = 3;

export function rolesOf(attributes: Attributes): readonly string[] {
  return attributes.extras === undefined ? [] : stringsOf(attributes, 'extras');
}

/** The operand with a role, of a list that goes parallel to the operands. */
export function extraOf<Item>(operands: readonly Item[], attributes: Attributes, role: ExtraRole): Item | undefined {
  const at = rolesOf(attributes).indexOf(role);
  return at < 0 ? undefined : operands[plainOperands + at];
}

/** Operands that the score map reads, in the order of its inputs after the score. */
export function capturedOf<Item>(operands: readonly Item[], attributes: Attributes): readonly Item[] {
  return operands.slice(plainOperands).filter((_, at) => rolesOf(attributes)[at] === 'captured');
}

export function isCausal(attributes: Attributes): boolean {
  return attributes.causal === true;
}

/** How many keys a query sees at most in one direction, itself included; 0: all. */
export function windowOf(attributes: Attributes): number {
  return attributes.window === undefined ? 0 : numberOf(attributes, 'window');
}

export function normalizerOf(attributes: Attributes): string {
  return attributes.normalize === undefined ? 'softmax' : stringOf(attributes, 'normalize');
}

/** Attributes of the `dropout` of the weights; undefined when none are dropped. */
export function dropoutOf(attributes: Attributes): { readonly p: number; readonly stream: number } | undefined {
  if (attributes.dropout === undefined) return undefined;
  return { p: numberOf(attributes, 'dropout'), stream: numberOf(attributes, 'stream') };
}

export function checkDropout(attributes: Attributes): InferFailure | undefined {
  if ((attributes.dropout === undefined) !== (attributes.stream === undefined))
    return fail('`dropout` and `stream` go together');
  const own = dropoutOf(attributes);
  const problem = own && dropoutProblem(own.p, own.stream);
  return problem === undefined ? undefined : fail(problem);
}

export interface AttentionGeometry {
  readonly batch: Shape;
  readonly heads: number;
  readonly queries: Dim;
  readonly keys: Dim;
  readonly keyWidth: Dim;
  readonly valueWidth: Dim;
  readonly groups: number;
  readonly headsPerGroup: number;
}

/** [batch…, heads, T, S] */
export function scoreShape(geometry: AttentionGeometry): Shape {
  return [...geometry.batch, constantDim(geometry.heads), geometry.queries, geometry.keys];
}

function checkHeads(heads: number, kvHeads: number): InferFailure | undefined {
  const positive = [heads, kvHeads].every((count) => Number.isInteger(count) && count > 0);
  if (!positive) return fail(`head counts must be positive integers, not ${heads} and ${kvHeads}`);
  return heads % kvHeads === 0
    ? undefined
    : fail(`\`heads\` is ${heads}, which is no multiple of \`kv_heads\`, ${kvHeads}`);
}

function headWidth(name: string, type: TensorType, heads: number, operand: number): Dim | InferFailure {
  const width = type.shape[type.shape.length - 1] ?? constantDim(0);
  return (
    divideDim(width, constantDim(heads)) ??
    fail(`last dim of \`${name}\` is \`${width.key}\`, which does not divide into ${heads} heads`, operand)
  );
}

export function attentionGeometry(
  inputs: readonly TensorType[],
  attributes: Attributes,
): AttentionGeometry | InferFailure {
  const heads = numberOf(attributes, 'heads');
  const kvHeads = numberOf(attributes, 'kv_heads');
  const [query, key, value] = inputs;
  if (!query || !key || !value) return fail('`attention` takes `query`, `key` and `value`');
  const wrongHeads = checkHeads(heads, kvHeads);
  if (wrongHeads) return wrongHeads;
  for (const [operand, [name, type]] of Object.entries({ query, key, value }).entries()) {
    if (!isFloat(type.dtype) || type.dtype !== query.dtype || type.shape.length < 2) {
      return fail(
        `\`${name}\` must be \`${isFloat(query.dtype) ? query.dtype : 'f32'}[..., T, D]\`, not ${quoteType(type)}`,
        operand,
      );
    }
    if (!sameShape(type.shape.slice(0, -2), query.shape.slice(0, -2))) {
      return fail(`batch axes differ: \`query\` is ${quoteType(query)}, \`${name}\` is ${quoteType(type)}`, operand);
    }
  }
  const rank = query.shape.length;
  const keys = key.shape[rank - 2] ?? constantDim(0);
  const others = value.shape[rank - 2] ?? constantDim(0);
  if (!sameDim(keys, others)) {
    return fail(`\`key\` has \`${keys.key}\` positions, \`value\` has \`${others.key}\``, 2);
  }
  const queryWidth = headWidth('query', query, heads, 0);
  const keyWidth = headWidth('key', key, kvHeads, 1);
  const valueWidth = headWidth('value', value, kvHeads, 2);
  if ('failure' in queryWidth) return queryWidth;
  if ('failure' in keyWidth) return keyWidth;
  if ('failure' in valueWidth) return valueWidth;
  if (!sameDim(queryWidth, keyWidth)) {
    return fail(`heads of \`query\` are \`${queryWidth.key}\` wide, heads of \`key\` \`${keyWidth.key}\``, 1);
  }
  return {
    batch: query.shape.slice(0, -2),
    heads,
    queries: query.shape[rank - 2] ?? constantDim(0),
    keys,
    keyWidth,
    valueWidth,
    groups: kvHeads,
    headsPerGroup: heads / kvHeads,
  };
}

function broadcastsTo(shape: Shape, full: Shape): boolean {
  return (
    shape.length === full.length &&
    shape.every((dim, axis) => constantValue(dim) === 1 || sameDim(dim, full[axis] ?? dim))
  );
}

type Check = (type: TensorType, geometry: AttentionGeometry) => string | undefined;

const axesHelp = 'its axes are batch, head, query position and key position; each may be 1';

function exactly(wanted: (geometry: AttentionGeometry) => TensorType): Check {
  return (type, geometry) => {
    const { dtype, shape } = wanted(geometry);
    return type.dtype === dtype && sameShape(type.shape, shape)
      ? undefined
      : `${quoteType(type)}, should be ${quoteType({ dtype, shape })}`;
  };
}

const perHead = exactly(({ heads }) => ({ dtype: 'f32', shape: [constantDim(heads)] }));

const checks: Readonly<Record<ExtraRole, Check>> = {
  mask(type, geometry) {
    const full: TensorType = { dtype: 'bool', shape: scoreShape(geometry) };
    const fits = type.dtype === 'bool' && broadcastsTo(type.shape, full.shape);
    return fits ? undefined : `${quoteType(type)}, which does not broadcast to ${quoteType(full)}`;
  },
  offsets: exactly(({ batch }) => ({ dtype: 'i32', shape: batch })),
  sinks: perHead,
  reach: perHead,
  alpha: perHead,
  captured(type, geometry) {
    const shape = scoreShape(geometry);
    return broadcastsTo(type.shape, shape)
      ? undefined
      : `${quoteType(type)}, which does not broadcast to ${quoteType({ dtype: type.dtype, shape })}`;
  },
};

function isRole(text: string): text is ExtraRole {
  return extraRoles.some((role) => role === text);
}

/** Whether the extra operands are what their roles say, and the attributes go together. */
export function checkExtras(
  inputs: readonly TensorType[],
  attributes: Attributes,
  geometry: AttentionGeometry,
): InferFailure | undefined {
  const roles = rolesOf(attributes);
  const extras = inputs.slice(plainOperands);
  if (extras.length !== roles.length) return fail(`\`extras\` names ${roles.length} operands, found ${extras.length}`);
  for (const [at, role] of roles.entries()) {
    const type = extras[at];
    if (!isRole(role)) return fail(`\`${role}\` is no role of an operand; there are ${extraRoles.join(', ')}`);
    if (role !== 'captured' && roles.indexOf(role) !== at) return fail(`two operands are \`${role}\``);
    const wrong = type && checks[role](type, geometry);
    if (wrong === undefined) continue;
    const isSpread = role === 'mask' || role === 'captured';
    return fail(`\`${role}\` is ${wrong}`, plainOperands + at, isSpread ? axesHelp : undefined);
  }
  const normalizer = normalizerOf(attributes);
  if (!normalizers.some((name) => name === normalizer)) return fail(`\`${normalizer}\` is no normalizer`);
  if (roles.includes('alpha') !== (normalizer === 'entmax')) return fail('`alpha` and `entmax` go together');
  if (roles.includes('sinks') && normalizer !== 'softmax') return fail('sinks need `softmax`');
  const window = windowOf(attributes);
  return Number.isSafeInteger(window) && window >= 0 && window < 2 ** 31
    ? undefined
    : fail(`a window is a number of keys, not ${window}`);
}

/** Key and value groups run through everything that has heads: rows of operands, extras per head, the map of the scores. */
export function headAxes(
  inputs: readonly TensorType[],
  attributes: Attributes,
  geometry: AttentionGeometry,
): readonly (readonly AxisRun[])[] {
  const { batch, groups, headsPerGroup } = geometry;
  const [keyWidth, valueWidth] = [geometry.keyWidth, geometry.valueWidth].map(constantValue);
  if (keyWidth === undefined || valueWidth === undefined) return [];
  const rank = batch.length + 3;
  const headAxis = batch.length;
  const last = batch.length + 1;
  const perHead = { each: headsPerGroup, keys: groups };
  const heads: AxisRun[] = [
    operand(0, last, { each: headsPerGroup * keyWidth, keys: groups }),
    operand(1, last, { each: keyWidth, keys: groups }),
    operand(2, last, { each: valueWidth, keys: groups }),
    result(last, { each: headsPerGroup * valueWidth, keys: groups }),
    { of: 'inner', at: 0, axis: headAxis, ...perHead },
    { of: 'mapped', at: 0, axis: headAxis, ...perHead },
  ];
  const others: AxisRun[][] = [];
  let captured = 0;
  for (const [at, role] of rolesOf(attributes).entries()) {
    const shape = inputs[plainOperands + at]?.shape ?? [];
    const hasHeads = shape.length === rank && constantValue(shape[headAxis] ?? constantDim(1)) === geometry.heads;
    if (role === 'offsets') continue;
    if (role === 'sinks' || role === 'reach' || role === 'alpha') heads.push(operand(plainOperands + at, 0, perHead));
    else if (hasHeads && geometry.heads > 1) heads.push(operand(plainOperands + at, headAxis, perHead));
    if (role !== 'captured') continue;
    captured++;
    const inner: AxisRun = { of: 'inner', at: captured, axis: headAxis };
    if (hasHeads) others.push([operand(plainOperands + at, headAxis), inner]);
  }
  return [heads, ...others];
}
