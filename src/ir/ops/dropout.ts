/**
 * A place where training drops elements. Nothing is dropped here: the op is the identity, and what a training step does
 * instead is written by src/passes/training/dropout.ts. Everywhere else canonicalize drops the op.
 */
import type { OpDefinition } from '../op.ts';
import { applyUnary, checkElementwise } from './elementwise.ts';
import { fail, numberOf } from './shared.ts';

/** What is wrong with a probability or a stream; undefined when nothing is. */
export function dropoutProblem(p: number, stream: number): string | undefined {
  if (!(p >= 0 && p < 1)) return `a probability of dropout is at least 0 and below 1, not ${p}`;
  const isWord = Number.isInteger(stream) && stream >= 0 && stream < 2 ** 32;
  return isWord ? undefined : `a stream of random numbers is a u32, not ${stream}`;
}

export const dropout: OpDefinition = {
  name: 'dropout',
  level: 'tensor',
  doc: '`x` itself, a place where a training step drops elements and scales the others.',
  operands: ['x'],
  attributes: {
    p: { kind: 'float', doc: 'probability that an element is dropped, 0 to below 1' },
    stream: { kind: 'int', doc: 'which random numbers decide, a u32: places with one stream drop alike' },
  },
  traits: ['elementwise', 'identity'],
  skeleton: 'map',
  infer(inputs, attributes) {
    const problem = dropoutProblem(numberOf(attributes, 'p'), numberOf(attributes, 'stream'));
    return problem === undefined ? (checkElementwise('dropout', 'float', inputs) ?? inputs.slice(0, 1)) : fail(problem);
  },
  interpret: ([x], _attributes, context) => (x ? [applyUnary((value) => value, x, x.dtype, context)] : []),
  gradient: (_emitter, { cotangent }) => [cotangent],
  scalar: ([x = 0]) => x,
  wgsl: ([x = '']) => `(${x})`,
};
