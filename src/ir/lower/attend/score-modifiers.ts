/**
 * Modifiers that map the scores: `score`, `softcap`, `bias`, `temperature`, `span`.
 */
import type { Expression, RecordField } from '../../../parser/ast.ts';
import type { Span } from '../../../support/source.ts';
import type { Value } from '../../graph.ts';
import { constantDim, productOfDims } from '../../symbolic.ts';
import { evaluateArguments, matchArguments } from '../arguments.ts';
import { tensorBinary } from '../arithmetic.ts';
import { type Binding, describe, numberOf, poison, tensorBinding } from '../binding.ts';
import { report } from '../context.ts';
import { evaluate } from '../expressions.ts';
import { emitNode } from '../nodes.ts';
import { childScope, lookup } from '../scope.ts';
import { asTensor, broadcastTo, fitsFloat, reshapeTo, tensorOf } from '../tensors.ts';
import { type Building, geometryOf } from './building.ts';
import { broadcastingToScores, fitting, perHead } from './fitting.ts';
import { keyPositions, positionsMeet, queryPositions } from './positions.ts';
import { mapScore } from './scores.ts';

/** Scores this low are hidden (ops/attention.ts). */
const hiddenScore = -1e30;
/** The least factor whose logarithm is taken. */
const leastFactor = 1e-30;

const one = constantDim(1);
const number = (value: number): Binding => ({ kind: 'float', value });

/** Elementwise arithmetic on bindings, at one place of the model. */
function arithmetic(building: Building, span: Span) {
  const { context } = building;
  const binary =
    (op: string) =>
    (left: Binding, right: Binding): Binding =>
      left.kind === 'poison' || right.kind === 'poison'
        ? poison
        : tensorBinary(context, op, { binding: left, span }, { binding: right, span }, span, op);
  const unary =
    (op: string) =>
    (operand: Binding): Binding => {
      const value = tensorOf(context, operand);
      const result = value && emitNode(context, op, [value], {}, span);
      return result ? tensorBinding(result) : poison;
    };
  return {
    add: binary('add'),
    sub: binary('sub'),
    mul: binary('mul'),
    div: binary('div'),
    min: binary('min'),
    max: binary('max'),
    greater: binary('greater'),
    abs: unary('abs'),
    log: unary('log'),
    tanh: unary('tanh'),
    float: (operand: Binding): Binding => {
      const value = tensorOf(context, operand);
      const result = value && emitNode(context, 'cast', [value], { dtype: 'f32' }, span);
      return result ? tensorBinding(result) : poison;
    },
    reshape: (value: Value, shape: Value['type']['shape']): Binding => {
      const result = reshapeTo(context, value, shape, span);
      return result ? tensorBinding(result) : poison;
    },
  };
}

/** Number of the batch row and of the head, of the rank of the scores. */
function rowIndices(building: Building, span: Span): { readonly b: Value; readonly h: Value } | undefined {
  const { context } = building;
  const { batch, heads } = geometryOf(building);
  const rows = emitNode(context, 'iota', [], { length: productOfDims(batch), dtype: 'i32' }, span);
  const b = rows && reshapeTo(context, rows, [...batch, one, one, one], span);
  const each = emitNode(context, 'iota', [], { length: heads, dtype: 'i32' }, span);
  const h = each && reshapeTo(context, each, [...batch.map(() => one), heads, one, one], span);
  return b && h && { b, h };
}

type Lambda = Extract<Expression, { kind: 'lambda' }>;

/** The body of a function of a modifier with its parameters bound. */
function callLambda(building: Building, lambda: Lambda, values: readonly Binding[]): Binding {
  const scope = childScope(building.scope);
  for (const [at, name] of lambda.parameters.entries()) {
    building.context.used.add(name);
    scope.names.set(name.text, { binding: values[at] ?? poison, span: name.span, declaration: name });
  }
  return evaluate(building.context, lambda.body, scope);
}

/** The function that a modifier was given with so many parameters; undefined otherwise (reported). */
function lambdaOf(building: Building, field: RecordField, parameters: readonly string[]): Lambda | undefined {
  const { context } = building;
  const { name, value } = field;
  const form = `\`${name.text}: (${parameters.join(', ')}) => …\``;
  if (value.kind !== 'lambda') {
    report(context, 'SORA2114', `\`${name.text}\` takes a function`, value.span, { help: `write ${form}` });
    return undefined;
  }
  const twice = value.parameters.find((each, at) => value.parameters.findIndex((one) => one.text === each.text) < at);
  if (twice !== undefined) {
    const labels = value.parameters
      .filter((each) => each !== twice && each.text === twice.text)
      .slice(0, 1)
      .map((each) => ({ span: each.span, text: 'first here' }));
    const message = `\`${twice.text}\` is declared twice in the function of \`${name.text}\``;
    report(context, 'SORA2002', message, twice.span, { labels, help: `write ${form}` });
    return undefined;
  }
  if (value.parameters.length === parameters.length) return value;
  const message = `the function of \`${name.text}\` has ${parameters.length} parameters, found ${value.parameters.length}`;
  report(context, 'SORA2114', message, value.span, { help: `write ${form}` });
  return undefined;
}

/** Batch row, head and absolute positions as bindings. */
function indexBindings(building: Building, span: Span): readonly [Binding, Binding, Binding, Binding] | undefined {
  const rows = rowIndices(building, span);
  const i = queryPositions(building, span);
  const j = keyPositions(building, span);
  if (!rows || !i || !j) return undefined;
  return [tensorBinding(rows.b), tensorBinding(rows.h), tensorBinding(i), tensorBinding(j)];
}

/** Whether a mapped score has the shape of the scores; reported when it has not. */
function keepsShape(building: Building, name: string, value: Binding, span: Span): Binding {
  const fits = value.kind === 'poison' ? undefined : broadcastingToScores(building, name, { binding: value, span });
  return fits === undefined ? poison : tensorBinding(fits);
}

export function applyScore(building: Building, field: RecordField): boolean {
  const lambda = lambdaOf(building, field, ['s', 'b', 'h', 'i', 'j']);
  if (lambda === undefined) return false;
  const { span } = lambda.body;
  return mapScore(building, span, (score) => {
    const indices = indexBindings(building, span);
    if (indices === undefined) return poison;
    const mapped = keepsShape(building, 'score', callLambda(building, lambda, [score, ...indices]), span);
    // What does not depend on the score may be smaller than the scores.
    return spread(building, mapped, score, span);
  });
}

/** The value under the shape of the score. */
function spread(building: Building, value: Binding, score: Binding, span: Span): Binding {
  const [from, like] = [tensorOf(building.context, value), tensorOf(building.context, score)];
  const wide = from && like && broadcastTo(building.context, from, like.type.shape, span);
  return wide ? tensorBinding(wide) : poison;
}

/** A known number above 0; undefined otherwise (reported). */
function positiveNumber(building: Building, name: string, binding: Binding, span: Span): number | undefined {
  if (binding.kind === 'poison') return undefined;
  const value = numberOf(binding);
  if (value !== undefined && value > 0 && fitsFloat(value, 'f32')) return value;
  report(building.context, 'SORA2204', `\`${name}\` is a known number above 0, found ${describe(binding)}`, span);
  return undefined;
}

export function applySoftcap(building: Building, field: RecordField): boolean {
  const { span } = field.value;
  const cap = positiveNumber(building, 'softcap', evaluate(building.context, field.value, building.scope), span);
  if (cap === undefined) return false;
  const { mul, tanh } = arithmetic(building, span);
  return mapScore(building, span, (score) => mul(tanh(mul(score, number(1 / cap))), number(cap)));
}

export function applyBias(building: Building, field: RecordField): boolean {
  const { value } = field;
  const { span } = value;
  const { add } = arithmetic(building, span);
  const lambda = value.kind === 'lambda' ? lambdaOf(building, field, ['h', 'i', 'j']) : undefined;
  if (value.kind === 'lambda' && lambda === undefined) return false;
  return mapScore(building, span, (score) => {
    const indices = lambda && indexBindings(building, span);
    if (lambda && !indices) return poison;
    const given =
      lambda && indices
        ? callLambda(building, lambda, indices.slice(1))
        : evaluate(building.context, value, building.scope);
    const bias = keepsShape(building, 'bias', given, span);
    return bias.kind === 'poison' ? poison : add(score, bias);
  });
}

export function applyTemperature(building: Building, field: RecordField): boolean {
  const { context } = building;
  const { span } = field.value;
  const { batch, heads, queries } = geometryOf(building);
  const given = { binding: evaluate(context, field.value, building.scope), span };
  const isKnown = numberOf(given.binding) !== undefined;
  if (isKnown && positiveNumber(building, 'temperature', given.binding, span) === undefined) return false;
  const tau = fitting(building, 'temperature', given, [[...batch, queries, heads], [heads], []]);
  if (tau === undefined) return false;
  const { shape } = tau.type;
  const ones = batch.map(() => one);
  const rank = batch.length;
  const turned =
    shape.length < 2
      ? reshapeTo(context, tau, [...ones, ...(shape.length === 1 ? [heads] : [one]), one, one], span)
      : headsFirst(building, tau, rank, span);
  if (turned === undefined) return false;
  const { div } = arithmetic(building, span);
  return mapScore(building, span, (score) => div(score, tensorBinding(turned)));
}

/** [batch…, T, H] as [batch…, H, T, 1] */
function headsFirst(building: Building, value: Value, rank: number, span: Span): Value | undefined {
  const { context } = building;
  const { batch, heads, queries } = geometryOf(building);
  const permutation = [...batch.map((_, axis) => axis), rank + 1, rank];
  const turned = emitNode(context, 'transpose', [value], { permutation }, span);
  return turned && reshapeTo(context, turned, [...batch, heads, queries, one], span);
}

/** `adaptive(z, ramp: R)`: keys fade out linearly over R positions beyond z. */
export function applySpan(building: Building, field: RecordField): boolean {
  const { context, scope } = building;
  const { value } = field;
  const { span } = value;
  const isAdaptive =
    value.kind === 'call' &&
    value.callee.kind === 'name' &&
    value.callee.name === 'adaptive' &&
    lookup(scope, 'adaptive') === undefined;
  if (!isAdaptive) {
    report(context, 'SORA2115', '`span` takes `adaptive(z, ramp: R)`', span);
    return false;
  }
  const parameters = ['z', 'ramp'].map((name) => ({ name, required: true }));
  const given = evaluateArguments(context, value.arguments, scope);
  const [z, ramp] = matchArguments(context, { name: 'adaptive', parameters, span: undefined }, given, span) ?? [];
  if (!z || !ramp || !positionsMeet(building, 'span', span)) return false;
  const size = positiveNumber(building, 'ramp', ramp.binding, ramp.span);
  const spans = perHead(building, 'adaptive', z);
  if (size === undefined || spans === undefined) return false;
  const { batch, heads } = geometryOf(building);
  const { add, sub, mul, min, max, greater, abs, log, float, reshape } = arithmetic(building, span);
  const reach = tensorOf(context, add(tensorBinding(spans), number(size)));
  if (reach === undefined) return false;
  building.extras.push({ role: 'reach', value: reach, span });
  const byHead = reshape(reach, [...batch.map(() => one), heads, one, one]);
  return mapScore(building, span, (score) => {
    const [i, j] = [queryPositions(building, span), keyPositions(building, span)];
    if (!i || !j) return poison;
    const distance = float(abs(sub(tensorBinding(i), tensorBinding(j))));
    const factor = max(min(mul(sub(byHead, distance), number(1 / size)), number(1)), number(0));
    const faded = tensorOf(context, add(score, log(max(factor, number(leastFactor)))));
    const isSeen = tensorOf(context, greater(factor, number(0)));
    const wide = isSeen && faded && emitNode(context, 'broadcast', [isSeen], { shape: faded.type.shape }, span);
    const hidden = asTensor(context, { binding: number(hiddenScore), span });
    const low = hidden && faded && emitNode(context, 'broadcast', [hidden], { shape: faded.type.shape }, span);
    const result = wide && faded && low && emitNode(context, 'select', [wide, faded, low], {}, span);
    return result ? tensorBinding(result) : poison;
  });
}
