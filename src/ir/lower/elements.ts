/**
 * The limit on the elements of one tensor. It is judged at the least sizes of the runtime dims: a call with greater ones is
 * judged when it comes, by the limits of the device.
 */
import { limits } from '../../support/limits.ts';
import type { Span } from '../../support/source.ts';
import { dimBounds } from '../symbolic.ts';
import type { Shape } from '../types.ts';
import { type Context, report } from './context.ts';

/** Whether a tensor of this shape has too many elements for any call (reported). */
export function hasTooManyElements(context: Context, shape: Shape, span: Span): boolean {
  const least = shape.reduce((product, dim) => product * Math.max(1, dimBounds(dim, context.ranges).minimum), 1);
  if (least <= limits.elements) return false;
  report(context, 'SORA5002', `a tensor has at most ${limits.elements} elements, this has ${least} or more`, span);
  return true;
}
