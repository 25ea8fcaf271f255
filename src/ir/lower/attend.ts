/**
 * `attend(q, k, v) { heads: …, kv_heads: …, scale: …, mask: … }`.
 *
 * query [batch…, T, heads*D], key [batch…, S, kv_heads*D], value [batch…, S, kv_heads*E]. `heads` is 1 and `kv_heads` is
 * `heads` when not given, `scale` is 1/sqrt(D). A mask says where a query may look: `padding(lengths)` with one length
 * per sequence, `padding(mask)` with a number per key (not 0: visible), `causal`, any bool tensor that broadcasts to
 * [batch…, heads, T, S], and `and`, `or`, `not` of these. A query that may look nowhere gets zeros.
 */
import type { Expression, RecordField } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import { closest } from '../../support/suggest.ts';
import type { Value } from '../graph.ts';
import { constantDim, constantValue, type Dim, divideDim, sameDim } from '../symbolic.ts';
import type { Shape } from '../types.ts';
import { type Binding, describe, numberOf, poison, tensorBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { conditionValue, enterBlock, evaluate } from './expressions.ts';
import { emitNode } from './nodes.ts';
import { dimWithNumber, originLabels, writtenDim, writtenType } from './origin.ts';
import { lookup, type Scope } from './scope.ts';
import { asTensor, broadcastTogether, fitsFloat, isTensor, type Operand, reshapeTo, tensorOf } from './tensors.ts';

type Attend = Extract<Expression, { kind: 'attend' }>;

const modifierNames: readonly string[] = ['heads', 'kv_heads', 'scale', 'mask'];
/** Modifiers that the language names and this version does not build. */
const laterModifiers: readonly string[] = [
  'bias',
  'softcap',
  'rope',
  'cache',
  'sinks',
  'dropout',
  'span',
  'normalize',
  'gate',
  'temperature',
  'score',
  'window',
];

interface Geometry {
  readonly batch: Shape;
  readonly heads: Dim;
  readonly queries: Dim;
  readonly keys: Dim;
}

function fullShape(geometry: Geometry): Shape {
  return [...geometry.batch, geometry.heads, geometry.queries, geometry.keys];
}

/** Modifiers by name; unknown, repeated and future ones are reported. */
function readModifiers(context: Context, attend: Attend): ReadonlyMap<string, RecordField> | undefined {
  const found = new Map<string, RecordField>();
  let failed = false;
  for (const modifier of attend.modifiers) {
    const { text, span } = modifier.name;
    const earlier = found.get(text);
    if (laterModifiers.includes(text)) {
      report(context, 'SORA5001', `\`${text}\` of \`attend\` is not supported yet`, span);
      failed = true;
    } else if (!modifierNames.includes(text)) {
      const guess = closest(text, [...modifierNames, ...laterModifiers]);
      report(context, 'SORA2111', `\`attend\` has no modifier \`${text}\``, span, {
        help:
          guess === undefined
            ? `there is ${modifierNames.map((name) => `\`${name}\``).join(', ')}`
            : `did you mean \`${guess}\`?`,
        ...(guess === undefined
          ? {}
          : { fixes: [{ title: `replace by \`${guess}\``, edits: [{ span, text: guess }] }] }),
      });
      failed = true;
    } else if (earlier) {
      report(context, 'SORA2002', `\`${text}\` is given twice`, span, {
        labels: [{ span: earlier.name.span, text: 'first here' }],
      });
      failed = true;
    }
    found.set(text, modifier);
  }
  return failed ? undefined : found;
}

function headCount(
  context: Context,
  modifier: RecordField | undefined,
  fallback: number,
  scope: Scope,
): number | undefined {
  if (modifier === undefined) return fallback;
  const binding = evaluate(context, modifier.value, scope);
  if (binding.kind === 'poison') return undefined;
  const count = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
  if (count !== undefined && count >= 1) return count;
  report(
    context,
    'SORA2204',
    `\`${modifier.name.text}\` must be a positive integer, found ${describe(binding)}`,
    modifier.value.span,
  );
  return undefined;
}

interface Side {
  readonly name: string;
  readonly value: Value;
  readonly span: Span;
  readonly count: number;
  readonly counted: string;
  /** Where the count was written. */
  readonly countSpan: Span;
}

/** Width of one head; undefined when the count does not divide the last axis (reported). */
function headWidth(context: Context, side: Side): Dim | undefined {
  const width = side.value.type.shape.at(-1);
  const each = width && divideDim(width, constantDim(side.count));
  if (each || width === undefined) return each;
  report(
    context,
    'SORA2108',
    `${side.count} ${side.counted} do not divide the width of the ${side.name}, ${dimWithNumber(width)}`,
    side.countSpan,
    {
      labels: [
        { span: side.span, text: `the ${side.name} is \`${writtenType(side.value.type)}\`` },
        ...originLabels([width], [side.span]),
      ],
      notes:
        constantValue(width) === undefined
          ? []
          : [`${width.key} / ${side.count} leaves ${Number(width.key) % side.count}`],
    },
  );
  return undefined;
}

function scaleOf(
  context: Context,
  modifier: RecordField | undefined,
  width: Dim,
  scope: Scope,
  span: Span,
): number | undefined {
  if (modifier) {
    const binding = evaluate(context, modifier.value, scope);
    const value = numberOf(binding);
    if (value === undefined && binding.kind !== 'poison') {
      report(context, 'SORA2006', `\`scale\` must be a known number, found ${describe(binding)}`, modifier.value.span);
    }
    if (value === undefined || fitsFloat(value, 'f32')) return value;
    report(context, 'SORA2204', `${value} does not fit in \`f32\``, modifier.value.span);
    return undefined;
  }
  const known = constantValue(width);
  if (known === undefined) report(context, 'SORA2203', 'the width of a head must be known when compiling', span);
  return known === undefined ? undefined : 1 / Math.sqrt(known);
}

export function attendExpression(context: Context, attend: Attend, scope: Scope): Binding {
  const modifiers = readModifiers(context, attend);
  const operands: Operand[] = [attend.query, attend.key, attend.value].map((expression) => ({
    binding: evaluate(context, expression, scope),
    span: expression.span,
  }));
  const [query, key, value] = operands.map((operand) => asTensor(context, operand));
  if (!query || !key || !value || !modifiers) return poison;
  for (const [at, tensor] of [query, key, value].entries()) {
    if (tensor.type.shape.length >= 2) continue;
    report(
      context,
      'SORA2102',
      `\`attend\` needs [..., T, width], found \`${writtenType(tensor.type)}\``,
      operands[at]?.span ?? attend.span,
    );
    return poison;
  }
  const heads = headCount(context, modifiers.get('heads'), 1, scope);
  if (heads === undefined) return poison;
  const kvHeads = headCount(context, modifiers.get('kv_heads'), heads, scope);
  if (kvHeads === undefined) return poison;
  const headsSpan = modifiers.get('heads')?.value.span ?? attend.span;
  const kvSpan = modifiers.get('kv_heads')?.value.span ?? headsSpan;
  if (heads % kvHeads !== 0) {
    report(context, 'SORA2108', `${heads} heads are no multiple of ${kvHeads} key and value heads`, kvSpan, {
      labels: [{ span: headsSpan, text: `${heads} heads` }],
    });
    return poison;
  }
  const queryWidth = headWidth(context, {
    name: 'query',
    value: query,
    span: attend.query.span,
    count: heads,
    counted: 'heads',
    countSpan: headsSpan,
  });
  if (queryWidth === undefined) return poison;
  for (const [name, tensor, span] of [
    ['key', key, attend.key.span],
    ['value', value, attend.value.span],
  ] as const) {
    const counted = modifiers.has('kv_heads') ? 'key and value heads' : 'heads';
    if (headWidth(context, { name, value: tensor, span, count: kvHeads, counted, countSpan: kvSpan }) === undefined)
      return poison;
  }
  const scale = scaleOf(context, modifiers.get('scale'), queryWidth, scope, attend.span);
  if (scale === undefined) return poison;

  const rank = query.type.shape.length;
  const geometry: Geometry = {
    batch: query.type.shape.slice(0, -2),
    heads: constantDim(heads),
    queries: query.type.shape[rank - 2] as Dim,
    keys: key.type.shape.at(-2) as Dim,
  };
  const maskModifier = modifiers.get('mask');
  const inputs = [query, key, value];
  if (maskModifier) {
    const mask = maskValue(context, maskModifier.value, scope, geometry);
    if (mask === undefined) return poison;
    if (mask !== 'everything') inputs.push(mask);
  }
  const spans = [...operands.map((operand) => operand.span), maskModifier?.value.span ?? attend.span];
  const attributes = { heads, kv_heads: kvHeads, scale };
  const result = emitNode(context, 'attention', inputs, attributes, attend.span, spans);
  return result === undefined ? poison : tensorBinding(result);
}

/** A mask of full rank, each axis possibly 1; `everything` when it hides nothing whatever the input. */
type Mask = Value | 'everything';

function maskValue(context: Context, expression: Expression, scope: Scope, geometry: Geometry): Mask | undefined {
  switch (expression.kind) {
    case 'name':
      if (expression.name !== 'causal' || lookup(scope, 'causal')) break;
      return causal(context, geometry, expression.span);
    case 'call': {
      const { callee } = expression;
      if (callee.kind !== 'name' || callee.name !== 'padding' || lookup(scope, 'padding')) break;
      const [argument] = expression.arguments;
      if (expression.arguments.length !== 1 || argument === undefined) {
        report(context, 'SORA2007', '`padding` takes one argument: lengths or a mask', expression.span);
        return undefined;
      }
      const operand = { binding: evaluate(context, argument.value, scope), span: argument.value.span };
      return padding(context, operand, geometry);
    }
    case 'if': {
      const condition = conditionValue(context, expression.condition, scope);
      if (condition === undefined) return undefined;
      const branch = condition ? expression.then : expression.otherwise;
      return branch === undefined ? 'everything' : maskValue(context, branch, scope, geometry);
    }
    case 'block': {
      const inner = enterBlock(context, expression.lets, scope);
      return maskValue(context, expression.result, inner, geometry);
    }
    case 'unary': {
      if (expression.operator !== 'not') break;
      const operand = maskValue(context, expression.operand, scope, geometry);
      if (operand === undefined) return undefined;
      if (operand === 'everything') {
        report(context, 'SORA2110', 'this mask hides everything', expression.span);
        return undefined;
      }
      return emitNode(context, 'not', [operand], {}, expression.span);
    }
    case 'binary': {
      if (expression.operator !== 'and' && expression.operator !== 'or') break;
      const left = maskValue(context, expression.left, scope, geometry);
      const right = maskValue(context, expression.right, scope, geometry);
      if (left === undefined || right === undefined) return undefined;
      if (left === 'everything') return expression.operator === 'and' ? right : 'everything';
      if (right === 'everything') return expression.operator === 'and' ? left : 'everything';
      const sides = [
        { value: left, span: expression.left.span },
        { value: right, span: expression.right.span },
      ];
      const joined = broadcastTogether(context, sides, expression.operatorSpan, expression.operator);
      return joined && emitNode(context, expression.operator, joined, {}, expression.span);
    }
    default:
  }
  return boolMask(context, { binding: evaluate(context, expression, scope), span: expression.span }, geometry);
}

/** Key j is visible to query i when j <= i. */
function causal(context: Context, geometry: Geometry, span: Span): Value | undefined {
  const { queries, keys } = geometry;
  if (!sameDim(queries, keys)) {
    report(
      context,
      'SORA2110',
      `\`causal\` needs as many queries as keys, found ${dimWithNumber(queries)} and ${dimWithNumber(keys)}`,
      span,
      {
        labels: originLabels([queries, keys], [span]),
      },
    );
    return undefined;
  }
  const ones = geometry.batch.map(() => constantDim(1));
  const index = emitNode(context, 'iota', [], { length: keys, dtype: 'i32' }, span);
  const row = index && reshapeTo(context, index, [...ones, constantDim(1), constantDim(1), keys], span);
  const column = index && reshapeTo(context, index, [...ones, constantDim(1), queries, constantDim(1)], span);
  if (row === undefined || column === undefined) return undefined;
  const joined = broadcastTogether(
    context,
    [
      { value: row, span },
      { value: column, span },
    ],
    span,
    'causal',
  );
  return joined && emitNode(context, 'less_equal', joined, {}, span);
}

/** Lengths [batch…], or one number per key [batch…, S]. */
function padding(context: Context, operand: Operand, geometry: Geometry): Value | undefined {
  const given = asTensor(context, operand);
  if (given === undefined) return undefined;
  const { span } = operand;
  const { batch, keys } = geometry;
  const one = constantDim(1);
  const { shape, dtype } = given.type;
  const perKey = [...batch, keys];
  const fits = (wanted: Shape) =>
    shape.length === wanted.length && shape.every((dim, at) => sameDim(dim, wanted[at] as Dim));
  if (fits(perKey)) {
    const spread = reshapeTo(context, given, [...batch, one, one, keys], span);
    if (spread === undefined || dtype === 'bool') return spread;
    const zero = asTensor(
      context,
      { binding: { kind: 'float', value: 0 }, span },
      dtype === 'f32' || dtype === 'f16' ? dtype : undefined,
    );
    const nothing =
      dtype === 'i32' || dtype === 'u32'
        ? emitNode(context, 'constant', [], { values: [0], dtype, shape: [] }, span)
        : zero;
    const joined =
      nothing &&
      broadcastTogether(
        context,
        [
          { value: spread, span },
          { value: nothing, span },
        ],
        span,
        'padding',
      );
    return joined && emitNode(context, 'not_equal', joined, {}, span);
  }
  if (fits(batch) && dtype === 'i32') {
    const index = emitNode(context, 'iota', [], { length: keys, dtype: 'i32' }, span);
    const row = index && reshapeTo(context, index, [...batch.map(() => one), one, one, keys], span);
    const lengths = reshapeTo(context, given, [...batch, one, one, one], span);
    if (row === undefined || lengths === undefined) return undefined;
    const joined = broadcastTogether(
      context,
      [
        { value: row, span },
        { value: lengths, span },
      ],
      span,
      'padding',
    );
    return joined && emitNode(context, 'less', joined, {}, span);
  }
  const text = (wanted: Shape) => `[${wanted.map(writtenDim).join(', ')}]`;
  report(
    context,
    'SORA2110',
    `\`padding\` needs lengths \`i32${text(batch)}\` or one number per key, \`i32${text(perKey)}\`; found \`${writtenType(given.type)}\``,
    span,
    { labels: originLabels([keys, shape.at(-1)], [span]) },
  );
  return undefined;
}

/** Any condition, aligned at the end with [batch…, heads, T, S]. */
function boolMask(context: Context, operand: Operand, geometry: Geometry): Mask | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'poison') return undefined;
  if (binding.kind === 'bool' && binding.value) return 'everything';
  const value = isTensor(binding) ? tensorOf(context, binding) : undefined;
  if (value === undefined || value.type.dtype !== 'bool') {
    report(context, 'SORA2110', `a mask is a condition, found ${describe(binding)}`, span, {
      help: 'use `padding(…)`, `causal`, or compare: `x != 0`',
    });
    return undefined;
  }
  const full = fullShape(geometry);
  const { shape } = value.type;
  const missing = full.length - shape.length;
  const wrong =
    missing < 0
      ? undefined
      : shape.find((dim, at) => constantValue(dim) !== 1 && !sameDim(dim, full[at + missing] as Dim));
  if (missing < 0 || wrong) {
    report(
      context,
      'SORA2110',
      `the mask \`${writtenType(value.type)}\` does not broadcast to \`bool[${full.map(writtenDim).join(', ')}]\``,
      span,
      {
        labels: originLabels([...(wrong ? [wrong] : []), geometry.queries, geometry.keys], [span]),
        notes: ['the axes of a mask are batch, head, query and key'],
      },
    );
    return undefined;
  }
  return reshapeTo(context, value, [...Array.from({ length: missing }, () => constantDim(1)), ...shape], span);
}
