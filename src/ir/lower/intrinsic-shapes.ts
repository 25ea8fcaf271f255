/**
 * Built-in functions that move elements: `iota`, `reshape`, `transpose`, `concat`, `split`.
 */
import { limits } from '../../support/limits.ts';
import type { Value } from '../graph.ts';
import { addDims, constantDim, type Dim, divideDim, productOfDims, sameDim } from '../symbolic.ts';
import { describe, poison } from './binding.ts';
import { type Context, report } from './context.ts';
import { hasTooManyElements } from './elements.ts';
import {
  argument,
  axisOf,
  type Call,
  type Intrinsic,
  integer,
  integerList,
  normalAxis,
  shapeOf,
  wrap,
} from './intrinsic-call.ts';
import { emitNode } from './nodes.ts';
import { dimWithNumber, originLabels, withOrigin, writtenType } from './origin.ts';
import { asTensor } from './tensors.ts';

export const iota: Intrinsic = {
  parameters: ['length'],
  apply(context, call) {
    const { binding, span } = argument(call, 0);
    if (binding.kind === 'poison') return poison;
    if (binding.kind !== 'int') {
      report(context, 'SORA2006', `\`iota\` needs a dim, found ${describe(binding)}`, span);
      return poison;
    }
    const length = withOrigin(binding.dim, binding.origin ?? { text: binding.dim.key, span });
    if (context.site === undefined) {
      report(context, 'SORA2203', '`iota` makes a tensor, which cannot stand here', call.span);
      return poison;
    }
    return wrap(emitNode(context, 'iota', [], { length, dtype: 'i32' }, call.span));
  },
};

export const reshape: Intrinsic = {
  parameters: ['x', 'shape'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const { span } = argument(call, 1);
    const shape = shapeOf(context, argument(call, 1));
    if (x === undefined || shape === undefined) return poison;
    if (hasTooManyElements(context, shape, span)) return poison;
    const [given, wanted] = [productOfDims(x.type.shape), productOfDims(shape)];
    if (!sameDim(given, wanted)) {
      report(context, 'SORA2101', `this shape has ${wanted.key} elements, the tensor has ${given.key}`, span, {
        labels: [{ span: argument(call, 0).span, text: `this is \`${writtenType(x.type)}\`` }],
      });
      return poison;
    }
    return wrap(emitNode(context, 'reshape', [x], { shape }, call.span, [argument(call, 0).span]));
  },
};

export const transpose: Intrinsic = {
  parameters: ['x', 'axes'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const given = integerList(context, argument(call, 1), 'an axis');
    if (x === undefined || given === undefined) return poison;
    const permutation = given.map((axis) => normalAxis(context, axis, x, argument(call, 1).span));
    if (!permutation.every((axis) => axis !== undefined)) return poison;
    return wrap(emitNode(context, 'transpose', [x], { permutation }, call.span, [argument(call, 0).span]));
  },
};

export const concat: Intrinsic = {
  parameters: ['parts', 'axis?'],
  apply(context, call) {
    const { binding, span } = argument(call, 0);
    if (binding.kind === 'poison') return poison;
    if (binding.kind !== 'list' || binding.items.length === 0) {
      report(context, 'SORA2006', `\`concat\` needs a list of tensors, found ${describe(binding)}`, span);
      return poison;
    }
    const parts = binding.items.map((item) => asTensor(context, { binding: item, span }));
    if (!parts.every((part) => part !== undefined)) return poison;
    const axis = axisOf(context, call, 1, parts[0] as Value, -1);
    if (axis === undefined) return poison;
    return wrap(
      emitNode(
        context,
        'concat',
        parts,
        { axis },
        call.span,
        parts.map(() => span),
      ),
    );
  },
};

/** The sizes of the parts of `whole`: so many equal ones, or those of a list; undefined when they do not fit (reported). */
function partSizes(context: Context, call: Call, x: Value, whole: Dim): readonly Dim[] | undefined {
  const [from, by] = [argument(call, 0), argument(call, 1)];
  const labels = [
    { span: from.span, text: `this is \`${writtenType(x.type)}\`` },
    ...originLabels([whole], [from.span, by.span]),
  ];
  if (by.binding.kind === 'list') {
    const sizes = shapeOf(context, by);
    const total = sizes?.reduce(addDims, constantDim(0));
    if (sizes === undefined || total === undefined || sameDim(total, whole)) return sizes;
    report(context, 'SORA2101', `these parts are ${total.key} together, the axis is ${dimWithNumber(whole)}`, by.span, {
      labels,
    });
    return undefined;
  }
  const count = integer(context, by, 'the number of parts');
  if (count === undefined) return undefined;
  if (count > limits.expandedNodes) {
    report(context, 'SORA5002', `${count} parts are more than ${limits.expandedNodes}`, by.span);
    return undefined;
  }
  const size = count >= 1 ? divideDim(whole, constantDim(count)) : undefined;
  if (size !== undefined) return Array.from({ length: count }, () => size);
  report(context, 'SORA2101', `${dimWithNumber(whole)} does not divide into ${count} parts`, by.span, { labels });
  return undefined;
}

export const split: Intrinsic = {
  parameters: ['x', 'count', 'axis?'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const axis = x === undefined ? undefined : axisOf(context, call, 2, x, -1);
    const sizes = x && axis !== undefined ? partSizes(context, call, x, x.type.shape[axis] as Dim) : undefined;
    if (x === undefined || axis === undefined || sizes === undefined) return poison;
    let start = constantDim(0);
    const items = sizes.map((size) => {
      const part = emitNode(context, 'slice', [x], { axis, start, size }, call.span, [argument(call, 0).span]);
      start = addDims(start, size);
      return wrap(part);
    });
    return { kind: 'list', items };
  },
};
