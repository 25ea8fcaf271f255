/**
 * Gives a small reduction the rows of a bigger one that it meets, so that one row kernel can do both.
 *
 *   sum(x * w[:, :, new], axis 1) / sum(w, axis 1)[:, new]        x [B, T, D], w [B, T]: a masked mean
 *
 * The divisor is a reduction over [B, T], the dividend one over [B, T, D]: two kernels. Reducing `w` broadcast to
 * [B, T, D] gives the same divisor in the loop that runs anyway, where `w` has been read already. It is done only where
 * the small reduction has no other reader; the sums themselves are the same, element by element.
 */
import { type Node, usersOf, type Value } from '../ir/graph.ts';
import { boolOf } from '../ir/ops/shared.ts';
import { constantDim } from '../ir/symbolic.ts';
import { type Shape, sameShape } from '../ir/types.ts';
import { unreachable } from '../support/error.ts';
import { isBijectiveView, outputOf, roleOf } from './fuse/roles.ts';
import { domainOf, type Index, operandIndex, origin, type RowDomain } from './fuse/row-domain.ts';
import { type Pass, type RewriteContext, rewriteGraph } from './pass.ts';

/** A value that is spread over more elements than it has. */
interface Spread {
  /** What is spread: a reduction, or elementwise ops of one. */
  readonly source: Value;
  /** Views from the source to the operand, the nearest to the source first. */
  readonly views: readonly Node[];
}

type IsPrivate = (value: Value) => boolean;

function spreadOf(operand: Value, isPrivate: IsPrivate): Spread | undefined {
  const views: Node[] = [];
  let value = operand;
  while (roleOf(value.node) === 'view' && isPrivate(value)) {
    views.unshift(value.node);
    value = value.node.inputs[0] ?? unreachable('a view has an operand');
  }
  return views.some((view) => !isBijectiveView(view)) ? { source: value, views } : undefined;
}

/** Private reductions that the value is made of by elementwise ops at its own index. */
function reductionsOf(value: Value, isPrivate: IsPrivate): readonly Node[] {
  if (!isPrivate(value)) return [];
  const role = roleOf(value.node);
  if (role === 'reduction') return [value.node];
  return role === 'elementwise' ? value.node.inputs.flatMap((input) => reductionsOf(input, isPrivate)) : [];
}

/** Any reduction whose results are of the shape of the value and reach it by elementwise ops only. */
function wideReduction(value: Value): Node | undefined {
  const role = roleOf(value.node);
  if (role === 'reduction') return value.node;
  if (role !== 'elementwise') return undefined;
  for (const input of value.node.inputs) {
    const found = wideReduction(input);
    if (found) return found;
  }
  return undefined;
}

function rowName(axis: number): string {
  return `row${axis}`;
}

/** The index of a reduction's result by the axes of what it reduces. */
function resultIndex(reduction: Node, domain: RowDomain): Index {
  const keep = reduction.attributes.keep !== false;
  return domain.shape.flatMap((_, axis) => {
    if (!domain.axes.includes(axis)) return [{ name: rowName(axis), moves: false }];
    return keep ? [origin] : [];
  });
}

/**
 * The shape under which the operand of the small reduction broadcasts to the domain of the big one: its own axes in
 * place, 1 elsewhere. Undefined when it is no part of that domain.
 */
function alignedShape(small: Node, views: readonly Node[], wide: Node): Shape | undefined {
  // What else a reduction reads belongs to its own rows.
  if (small.inputs.length !== 1) return undefined;
  const domain = domainOf(wide);
  const own = domainOf(small);
  const extents = (of: RowDomain) => of.axes.map((axis) => of.shape[axis] ?? constantDim(1));
  if (!sameShape(extents(own), extents(domain))) return undefined;
  const index = [...views].reverse().reduce((at, view) => operandIndex(view, 0, at), resultIndex(wide, domain));
  const outer = [...index];
  const keep = boolOf(small.attributes, 'keep');
  const shape = domain.shape.map(() => constantDim(1));
  let last = -1;
  for (const [axis, dim] of own.shape.entries()) {
    const place = own.axes.indexOf(axis);
    if (place >= 0 && keep) outer.shift();
    const name = place >= 0 ? rowName(domain.axes[place] ?? -1) : (outer.shift()?.name ?? origin.name);
    if (name === origin.name) continue;
    const target = domain.shape.findIndex((_, at) => rowName(at) === name);
    if (target <= last) return undefined;
    shape[target] = dim;
    last = target;
  }
  return shape;
}

/** `source` under the views, with the views taken through the ops to the operands of the reductions. */
function emitAligned(source: Value, views: readonly Node[], wide: Node, context: RewriteContext): Value {
  const { emit, mapped } = context;
  const { node } = source;
  if (roleOf(node) === 'reduction') {
    const [operand] = node.inputs;
    const shape = alignedShape(node, views, wide);
    if (!operand || !shape) return unreachable('alignment was checked');
    const inPlace = emit('reshape', [mapped(operand)], { shape });
    const everywhere = emit('broadcast', [inPlace], { shape: domainOf(wide).shape });
    return emit(node.op, [everywhere], {
      ...node.attributes,
      axes: domainOf(wide).axes,
      keep: wide.attributes.keep === true,
    });
  }
  if (roleOf(node) === 'elementwise') {
    const operands = node.inputs.map((input) => emitAligned(input, views, wide, context));
    return emit(node.op, operands, node.attributes);
  }
  return views.reduce((value, view) => emit(view.op, [value], view.attributes), mapped(source));
}

export const alignReductions: Pass = {
  name: 'align-reductions',
  summary: 'lets reductions that meet share their rows',
  run(graph, context) {
    const users = usersOf(graph);
    const results = new Set(graph.results.map((result) => result.value));
    const isPrivate = (value: Value) => users.get(value)?.length === 1 && !results.has(value);
    return rewriteGraph(graph, context, (node, inputs, rewriter) => {
      if (roleOf(node) !== 'elementwise' || inputs.length < 2) return undefined;
      let changed = false;
      const operands = node.inputs.map((operand, at) => {
        const kept = inputs[at] ?? unreachable('as many as before');
        const spread = spreadOf(operand, isPrivate);
        if (!spread) return kept;
        const small = reductionsOf(spread.source, isPrivate);
        const others = node.inputs.filter((other) => other !== operand);
        const wide = others
          .map(wideReduction)
          .find((found) => found && sameShape(outputOf(found).type.shape, operand.type.shape));
        if (!wide || small.length === 0) return kept;
        if (!small.every((reduction) => alignedShape(reduction, spread.views, wide))) return kept;
        changed = true;
        return emitAligned(spread.source, spread.views, wide, rewriter);
      });
      return changed ? [rewriter.emit(node.op, operands, node.attributes)] : undefined;
    });
  },
};
