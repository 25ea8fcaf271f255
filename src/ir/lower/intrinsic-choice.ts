/**
 * Built-in functions that choose elements: `argmax`, `top_k`, `take_along`.
 */
import type { Value } from '../graph.ts';
import { poison } from './binding.ts';
import { argument, axisOf, flag, type Intrinsic, integer, wrap } from './intrinsic-call.ts';
import { emitNode } from './nodes.ts';
import { asTensor } from './tensors.ts';

export const argmax: Intrinsic = {
  parameters: ['x', 'axis?', 'keep?'],
  apply(context, call) {
    const x = asTensor(context, argument(call, 0));
    const axis = x === undefined ? undefined : axisOf(context, call, 1, x, -1);
    const keep = flag(context, call.arguments[2]);
    if (x === undefined || axis === undefined || keep === undefined) return poison;
    return wrap(emitNode(context, 'argmax', [x], { axis, keep }, call.span, [argument(call, 0).span]));
  },
};

export const takeAlong: Intrinsic = {
  parameters: ['x', 'indices', 'axis?'],
  apply(context, call) {
    const [from, by] = [argument(call, 0), argument(call, 1)];
    const [x, indices] = [asTensor(context, from), asTensor(context, by)];
    const axis = x === undefined ? undefined : axisOf(context, call, 2, x, -1);
    if (x === undefined || indices === undefined || axis === undefined) return poison;
    return wrap(emitNode(context, 'take_along', [x, indices], { axis }, call.span, [from.span, by.span]));
  },
};

export const topK: Intrinsic = {
  parameters: ['x', 'k'],
  apply(context, call) {
    const from = argument(call, 0);
    const x = asTensor(context, from);
    const k = integer(context, argument(call, 1), '`k`');
    if (x === undefined || k === undefined) return poison;
    const ids: Value | undefined = emitNode(context, 'top_k', [x], { k }, call.span, [from.span]);
    if (ids === undefined) return poison;
    const values = emitNode(context, 'take_along', [x, ids], { axis: -1 }, call.span);
    return values === undefined ? poison : { kind: 'list', items: [wrap(values), wrap(ids)] };
  },
};
