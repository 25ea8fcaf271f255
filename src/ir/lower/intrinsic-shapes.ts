/**
 * Built-in functions that move elements: `iota`, `reshape`, `transpose`, `concat`, `split`.
 */
import type { Value } from '../graph.ts';
import { constantDim, type Dim, divideDim, multiplyDims, productOfDims, sameDim } from '../symbolic.ts';
import { describe, poison } from './binding.ts';
import { report } from './context.ts';
import { hasTooManyElements } from './elements.ts';
import { argument, axisOf, type Intrinsic, integer, integerList, normalAxis, shapeOf, wrap } from './intrinsic-call.ts';
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

export const split: Intrinsic = {
  parameters: ['x', 'count', 'axis?'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const count = integer(context, argument(call, 1), 'the number of parts');
    const axis = x === undefined ? undefined : axisOf(context, call, 2, x, -1);
    if (x === undefined || count === undefined || axis === undefined) return poison;
    const whole = x.type.shape[axis] as Dim;
    const size = count >= 1 ? divideDim(whole, constantDim(count)) : undefined;
    if (size === undefined) {
      report(
        context,
        'SORA2101',
        `${dimWithNumber(whole)} does not divide into ${count} parts`,
        argument(call, 1).span,
        {
          labels: [
            { span: argument(call, 0).span, text: `this is \`${writtenType(x.type)}\`` },
            ...originLabels([whole], [argument(call, 0).span]),
          ],
        },
      );
      return poison;
    }
    const items = Array.from({ length: count }, (_, at) => {
      const start = multiplyDims(size, constantDim(at));
      return wrap(emitNode(context, 'slice', [x], { axis, start, size }, call.span, [argument(call, 0).span]));
    });
    return { kind: 'list', items };
  },
};
