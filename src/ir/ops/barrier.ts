/**
 * The identity that no pass looks through, so that what is computed from it is not taken for what is computed from `x`
 * elsewhere. Gradients use it to compute cheap values again instead of keeping them from the forward part.
 * JAX: `optimization_barrier`. Dropped right before fusion (src/passes/drop-barriers.ts), with a phase in it (fuse/phases.ts).
 */
import type { OpDefinition } from '../op.ts';
import { fail } from './shared.ts';

export const barrier: OpDefinition = {
  name: 'barrier',
  level: 'tensor',
  doc: '`x` itself; passes do not look through it.',
  operands: ['x'],
  attributes: {
    phase: {
      kind: 'int',
      optional: true,
      doc: 'kernels before it and kernels behind it are not merged; greater ones come later',
    },
  },
  traits: [],
  skeleton: 'none',
  infer: ([x]) => (x ? [x] : fail('`barrier` takes one operand')),
  gradient: (_emitter, { cotangent }) => [cotangent],
  interpret: ([x]) => (x ? [x] : []),
  flops: () => 0,
};
