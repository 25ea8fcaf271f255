/**
 * A kernel to be: its region says what it computes. Made by `toKernels` in src/passes, read by src/codegen.
 */
import type { OpDefinition } from '../op.ts';
import { fail } from './shared.ts';

export const fused: OpDefinition = {
  name: 'fused',
  level: 'tensor',
  doc: 'Computes its region in one kernel: region inputs stand for the operands, region results are the outputs.',
  operands: ['operand...'],
  attributes: { skeleton: { kind: 'string', doc: 'the kernel family that computes it: map, row, contraction, …' } },
  traits: ['stated', 'region'],
  skeleton: 'none',
  infer: () => fail('the types of `fused` are those of its region'),
};
