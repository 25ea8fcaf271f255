/**
 * `q_norm` and `k_norm`: a module or function that is applied to every head, [batch…, T, heads, D], before positions come in.
 */
import type { RecordField } from '../../../parser/ast.ts';
import { constantDim, divideDim } from '../../symbolic.ts';
import { sameType } from '../../types.ts';
import { tensorBinding } from '../binding.ts';
import { applyBinding } from '../calls.ts';
import { report } from '../context.ts';
import { evaluate } from '../expressions.ts';
import { writtenType } from '../origin.ts';
import { asTensor, reshapeTo } from '../tensors.ts';
import type { Building } from './building.ts';

export const applyHeadNorm =
  (side: 'query' | 'key') =>
  (building: Building, field: RecordField): boolean => {
    const { context } = building;
    const { span } = field.value;
    const whole = building[side];
    const heads = constantDim(side === 'query' ? building.heads : building.kvHeads);
    const last = whole.type.shape.at(-1);
    const width = last && divideDim(last, heads);
    if (width === undefined) return false;
    const split = reshapeTo(context, whole, [...whole.type.shape.slice(0, -1), heads, width], span);
    const callee = evaluate(context, field.value, building.scope);
    if (split === undefined) return false;
    const given = [{ name: undefined, binding: tensorBinding(split), span }];
    const binding = applyBinding(context, callee, given, span, span);
    if (binding.kind === 'poison') return false;
    const normed = asTensor(context, { binding, span });
    if (normed === undefined) return false;
    if (!sameType(normed.type, split.type)) {
      const message = `\`${field.name.text}\` must keep \`${writtenType(split.type)}\`, but gives \`${writtenType(normed.type)}\``;
      report(context, 'SORA2115', message, span);
      return false;
    }
    const joined = reshapeTo(context, normed, whole.type.shape, span);
    if (joined) building[side] = joined;
    return joined !== undefined;
  };
