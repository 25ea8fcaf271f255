/**
 * `h[:, 0]`, `h[..., -1]`, `x[1:T, new]`, `blocks[2]`, `parts[0]`.
 *
 * Bounds are checked for every size the declared ranges allow: `h[:, 0]` is fine when T is at least 1, `h[:, 4]` is a
 * mistake when T may be 3. `at` drops its axis, a slice keeps it, `new` adds an axis of size 1, `...` stands for the axes
 * that are not named; missing items at the end mean "all of it".
 */
import type { Expression, IndexItem } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import type { Value } from '../graph.ts';
import { addDims, constantDim, constantValue, type Dim, dimBounds, subtractDims } from '../symbolic.ts';
import { type Binding, describe, poison, tensorBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { evaluate } from './expressions.ts';
import { emitNode } from './nodes.ts';
import { dimWithNumber, originLabels } from './origin.ts';
import { safeDim } from './scalars.ts';
import type { Scope } from './scope.ts';
import { asTensor, isTensor, type Operand, reshapeTo } from './tensors.ts';

type IndexExpression = Extract<Expression, { kind: 'index' }>;

/** An index or slice bound as a dim; undefined when it is no integer (reported). */
function indexDim(context: Context, expression: Expression, scope: Scope): Dim | undefined {
  const binding = evaluate(context, expression, scope);
  if (binding.kind === 'int') return binding.dim;
  if (binding.kind === 'poison') return undefined;
  const help = isTensor(binding) ? { help: 'to look rows up by a tensor of indices use `gather(table, indices)`' } : {};
  report(context, 'SORA2006', `an index must be an integer, found ${describe(binding)}`, expression.span, help);
  return undefined;
}

function isNegativeConstant(dim: Dim): boolean {
  const value = constantValue(dim);
  return value !== undefined && value < 0;
}

function reportRange(context: Context, text: string, size: Dim, span: Span, object: Operand): void {
  const { minimum } = dimBounds(size, context.ranges);
  const runtime = constantValue(size) === undefined;
  report(context, 'SORA2106', `${text} is out of range: the axis has size ${dimWithNumber(size)}`, span, {
    labels: originLabels([size], [span, object.span]),
    notes: runtime ? [`\`${size.key}\` may be as small as ${minimum}`] : [],
  });
}

/** The element `index` of an axis of `size`: a start that is known to lie inside. */
function elementStart(context: Context, index: Dim, size: Dim, span: Span, object: Operand): Dim | undefined {
  const start = isNegativeConstant(index) ? safeDim(context, span, () => addDims(size, index)) : index;
  if (start === undefined) return undefined;
  const inside =
    dimBounds(start, context.ranges).minimum >= 0 && dimBounds(subtractDims(size, start), context.ranges).minimum >= 1;
  if (inside) return start;
  reportRange(context, `index ${index.key}`, size, span, object);
  return undefined;
}

function sliceBound(context: Context, bound: Expression, size: Dim, scope: Scope, object: Operand): Dim | undefined {
  const dim = indexDim(context, bound, scope);
  if (dim === undefined) return undefined;
  const place = isNegativeConstant(dim) ? addDims(size, dim) : dim;
  const inside =
    dimBounds(place, context.ranges).minimum >= 0 && dimBounds(subtractDims(size, place), context.ranges).minimum >= 0;
  if (inside) return place;
  reportRange(context, `bound ${dim.key}`, size, bound.span, object);
  return undefined;
}

/** Items with the ellipsis and the missing ones at the end spelt out as full slices. */
function spellOut(context: Context, items: readonly IndexItem[], rank: number, object: Operand, span: Span) {
  const named = items.filter((item) => item.kind === 'at' || item.kind === 'slice').length;
  const ellipses = items.filter((item) => item.kind === 'ellipsis');
  if (named > rank) {
    report(context, 'SORA2102', `${named} indices for a tensor of rank ${rank}`, span, {
      labels: [{ span: object.span, text: `this is ${describe(object.binding)}` }],
    });
    return undefined;
  }
  const [, second] = ellipses;
  if (second) {
    report(context, 'SORA2102', '`...` may stand only once in an index', second.span);
    return undefined;
  }
  const rest: IndexItem[] = Array.from({ length: rank - named }, () => ({
    kind: 'slice' as const,
    start: undefined,
    end: undefined,
    span,
  }));
  return ellipses.length === 0
    ? [...items, ...rest]
    : items.flatMap((item) => (item.kind === 'ellipsis' ? rest : [item]));
}

function indexTensor(context: Context, expression: IndexExpression, object: Operand, scope: Scope): Binding {
  const source = asTensor(context, object);
  if (source === undefined) return poison;
  const items = spellOut(context, expression.items, source.type.shape.length, object, expression.span);
  if (items === undefined) return poison;
  let value: Value | undefined = source;
  let axis = 0;
  let failed = false;
  const shape: Dim[] = [];
  const take = (start: Dim, size: Dim, span: Span): void => {
    if (value !== undefined) value = emitNode(context, 'slice', [value], { axis, start, size }, span);
  };
  for (const item of items) {
    if (item.kind === 'new' || item.kind === 'ellipsis') {
      shape.push(constantDim(1));
      continue;
    }
    const size: Dim = source.type.shape[axis] ?? constantDim(1);
    if (item.kind === 'at') {
      const index = indexDim(context, item.index, scope);
      const start = index && elementStart(context, index, size, item.span, object);
      if (start === undefined) failed = true;
      else take(start, constantDim(1), item.span);
    } else {
      const start = item.start ? sliceBound(context, item.start, size, scope, object) : constantDim(0);
      const end = item.end ? sliceBound(context, item.end, size, scope, object) : size;
      if (start === undefined || end === undefined) failed = true;
      else if (item.start === undefined && item.end === undefined) shape.push(size);
      else {
        const length = subtractDims(end, start);
        if (dimBounds(length, context.ranges).minimum < 1) {
          report(context, 'SORA2106', `this slice may be empty: it has ${length.key} elements`, item.span);
          failed = true;
        } else {
          take(start, length, item.span);
          shape.push(length);
        }
      }
    }
    axis += 1;
  }
  if (failed || value === undefined) return poison;
  const result = reshapeTo(context, value, shape, expression.span);
  return result === undefined ? poison : tensorBinding(result);
}

/** One constant index into a list or a repeated module. */
function indexList(context: Context, expression: IndexExpression, object: Operand, count: number, scope: Scope) {
  const [item] = expression.items;
  if (expression.items.length !== 1 || item?.kind !== 'at') {
    report(context, 'SORA2006', `${describe(object.binding)} takes one index`, expression.span);
    return undefined;
  }
  const dim = indexDim(context, item.index, scope);
  if (dim === undefined) return undefined;
  const index = constantValue(dim);
  if (index === undefined) {
    report(context, 'SORA2203', 'this index must be known when compiling', item.span);
    return undefined;
  }
  const place = index < 0 ? count + index : index;
  if (place >= 0 && place < count) return place;
  report(context, 'SORA2106', `index ${index} is out of range: there are ${count}`, item.span, {
    labels: [{ span: object.span, text: `this is ${describe(object.binding)}` }],
  });
  return undefined;
}

export function indexExpression(context: Context, expression: IndexExpression, scope: Scope): Binding {
  const object: Operand = { binding: evaluate(context, expression.object, scope), span: expression.object.span };
  const { binding } = object;
  if (binding.kind === 'poison') return poison;
  if (binding.kind === 'list') {
    const at = indexList(context, expression, object, binding.items.length, scope);
    return (at === undefined ? undefined : binding.items[at]) ?? poison;
  }
  if (binding.kind === 'repeat') {
    const at = indexList(context, expression, object, binding.instances.length, scope);
    const instance = at === undefined ? undefined : binding.instances[at];
    return instance === undefined ? poison : { kind: 'module', instance };
  }
  if (!isTensor(binding)) {
    report(context, 'SORA2006', `${describe(binding)} cannot be indexed`, expression.span, {
      labels: [],
    });
    return poison;
  }
  return indexTensor(context, expression, object, scope);
}
