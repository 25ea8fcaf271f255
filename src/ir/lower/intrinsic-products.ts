/**
 * Built-in functions that multiply or look up: `linear`, `matmul`, `gather`.
 */
import type { Value } from '../graph.ts';
import { constantDim, constantValue, type Dim, dimBounds, subtractDims } from '../symbolic.ts';
import { isFloat } from '../types.ts';
import { describe, poison } from './binding.ts';
import { type Context, rangeLabels, report } from './context.ts';
import { argument, type Call, type Intrinsic, wrap } from './intrinsic-call.ts';
import { emitNode } from './nodes.ts';
import { dimWithNumber, originLabels, writtenType } from './origin.ts';
import { asTensor, broadcastTo, reshapeTo } from './tensors.ts';

export const linear: Intrinsic = {
  parameters: ['x', 'weight', 'bias?'],
  apply(context, call) {
    const given = call.arguments.flatMap((operand) => operand ?? []);
    const [x, weight, bias] = given.map((operand) => asTensor(context, operand));
    if (x === undefined || weight === undefined || (given.length === 3 && bias === undefined)) return poison;
    const inner = x.type.shape.at(-1);
    const expected = weight.type.shape[1];
    if (inner && expected && weight.type.shape.length === 2 && inner.key !== expected.key) {
      report(
        context,
        'SORA2101',
        `\`linear\` sums over the last axis of \`x\`, ${dimWithNumber(inner)}, but the weight has ${dimWithNumber(expected)} there`,
        given[1]?.span ?? call.span,
        {
          labels: [
            ...given.slice(0, 1).map((operand) => ({ span: operand.span, text: `this is \`${writtenType(x.type)}\`` })),
            ...originLabels(
              [expected, inner],
              given.map((operand) => operand.span),
            ),
          ],
          help: 'a weight is [outputs, inputs], as in PyTorch',
        },
      );
      return poison;
    }
    const inputs = bias === undefined ? [x, weight] : [x, weight, bias];
    return wrap(
      emitNode(
        context,
        'linear',
        inputs,
        {},
        call.span,
        given.map((operand) => operand.span),
      ),
    );
  },
};

/** `matmul(a, b)`: last two axes multiplied, leading axes broadcast. */
export const matmul: Intrinsic = {
  parameters: ['a', 'b'],
  apply(context, call) {
    const [left, right] = [argument(call, 0), argument(call, 1)];
    const [a, b] = [asTensor(context, left), asTensor(context, right)];
    if (a === undefined || b === undefined) return poison;
    const odd = a.type.shape.length < 2 ? left : b.type.shape.length < 2 ? right : undefined;
    if (odd) {
      report(context, 'SORA2102', `\`matmul\` needs at least two axes, found ${describe(odd.binding)}`, odd.span);
      return poison;
    }
    const [rows, inner] = a.type.shape.slice(-2) as [Dim, Dim];
    const [other, columns] = b.type.shape.slice(-2) as [Dim, Dim];
    if (inner.key !== other.key) {
      report(
        context,
        'SORA2101',
        `\`matmul\` multiplies rows of ${dimWithNumber(inner)} with columns of ${dimWithNumber(other)}`,
        call.span,
        {
          labels: [
            { span: left.span, text: `this is \`${writtenType(a.type)}\`` },
            { span: right.span, text: `this is \`${writtenType(b.type)}\`` },
            ...originLabels([inner, other], [left.span, right.span]),
          ],
        },
      );
      return poison;
    }
    // The matrices themselves must not broadcast, so the leading axes are joined on stand-ins of size 1.
    const leadingOf = (value: Value) => value.type.shape.slice(0, -2);
    const joined = joinLeading(context, call, leadingOf(a), leadingOf(b));
    if (joined === undefined) return poison;
    const x = broadcastTo(context, a, [...joined, rows, inner], left.span);
    const y = broadcastTo(context, b, [...joined, other, columns], right.span);
    if (x === undefined || y === undefined) return poison;
    const batch = joined.map((_, axis) => axis);
    const attributes = {
      lhs_batch: batch,
      rhs_batch: batch,
      lhs_contract: [batch.length + 1],
      rhs_contract: [batch.length],
    };
    return wrap(emitNode(context, 'dot_general', [x, y], attributes, call.span, [left.span, right.span]));
  },
};

function joinLeading(
  context: Context,
  call: Call,
  left: readonly Dim[],
  right: readonly Dim[],
): readonly Dim[] | undefined {
  const shape: Dim[] = [];
  for (let fromEnd = 1; fromEnd <= Math.max(left.length, right.length); fromEnd++) {
    const a = left[left.length - fromEnd];
    const b = right[right.length - fromEnd];
    if (a === undefined || b === undefined || a.key === b.key) shape.unshift((a ?? b) as Dim);
    else if (constantValue(a) === 1) shape.unshift(b);
    else if (constantValue(b) === 1) shape.unshift(a);
    else {
      report(
        context,
        'SORA2105',
        `the leading axes ${dimWithNumber(a)} and ${dimWithNumber(b)} do not broadcast`,
        call.span,
        {
          labels: originLabels([a, b], [call.span]),
        },
      );
      return undefined;
    }
  }
  return shape;
}

export const gather: Intrinsic = {
  parameters: ['table', 'indices'],
  apply(context, call) {
    const [tableAt, indicesAt] = [argument(call, 0), argument(call, 1)];
    const [table, indices] = [asTensor(context, tableAt), asTensor(context, indicesAt)];
    if (table === undefined || indices === undefined) return poison;
    const rows = table.type.shape[0];
    const last = rows && greatestIndex(indices);
    if (rows && last && dimBounds(subtractDims(rows, last), context.ranges).minimum < 1) {
      const most = dimBounds(last, context.ranges).maximum;
      report(
        context,
        'SORA2106',
        `the index may be ${most}, but the table has ${dimWithNumber(rows)} rows`,
        call.span,
        {
          labels: [...originLabels([rows], [call.span]), ...rangeLabels(context, last)],
          help: 'declare a smaller range for the runtime dim',
        },
      );
      return poison;
    }
    // One known row is a view of the table: no lookup at run time.
    const row = indices.type.shape.length === 0 && indices.node.op === 'constant' ? last : undefined;
    if (row) {
      const taken = emitNode(context, 'slice', [table], { axis: 0, start: row, size: constantDim(1) }, call.span);
      return wrap(taken && reshapeTo(context, taken, table.type.shape.slice(1), call.span));
    }
    return wrap(emitNode(context, 'gather', [table, indices], {}, call.span, [tableAt.span, indicesAt.span]));
  },
};

/** The greatest index where it is known when compiling: positions counted by `iota`, a constant. */
function greatestIndex(indices: Value): Dim | undefined {
  const { op, attributes } = indices.node;
  // Numbers that are no indices are refused with the operands' types.
  if (isFloat(indices.type.dtype)) return undefined;
  if (op === 'iota') {
    const [length] = indices.type.shape;
    return length && subtractDims(length, constantDim(1));
  }
  const values = op === 'constant' && Array.isArray(attributes.values) ? attributes.values : [];
  const numbers = values.filter((value): value is number => typeof value === 'number');
  return numbers.length === 0 ? undefined : constantDim(Math.max(...numbers));
}
