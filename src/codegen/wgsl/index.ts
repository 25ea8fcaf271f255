/**
 * Kernels of a fused node, by the skeleton that the passes chose.
 */
import { appendKernels } from './append.ts';
import { attentionKernels } from './attention.ts';
import { contractionKernels } from './contraction.ts';
import type { Kernel, KernelRequest } from './kernel.ts';
import { mapKernels } from './map.ts';
import { orderingKernels } from './ordering.ts';
import { recurrenceKernels } from './recurrence.ts';
import { rowKernels } from './row.ts';
import { segmentKernels } from './segments.ts';
import { selectionKernels } from './selection.ts';

export function kernelsFor(request: KernelRequest): readonly Kernel[] {
  switch (request.node.attributes.skeleton) {
    case 'append':
      return appendKernels(request);
    case 'row':
      return rowKernels(request);
    case 'contraction':
      return contractionKernels(request);
    case 'attention':
      return attentionKernels(request);
    case 'selection':
      return selectionKernels(request);
    case 'ordering':
      return orderingKernels(request);
    case 'segments':
      return segmentKernels(request);
    case 'recurrence':
      return recurrenceKernels(request);
    default:
      return mapKernels(request);
  }
}
