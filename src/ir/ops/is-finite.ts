/**
 * Whether a float is neither infinite nor NaN, asked of its bits: drivers may take comparisons with NaN to be impossible.
 */
import type { Lanes, OpDefinition } from '../op.ts';
import { applyUnary } from './elementwise.ts';
import { fail, quoteType } from './shared.ts';

const exponent = '0x7f800000u';

function wgsl(x: string, lanes: Lanes): string {
  if (lanes === 1) return `((bitcast<u32>(${x}) & ${exponent}) != ${exponent})`;
  const mask = `vec${lanes}u(${exponent})`;
  return `((bitcast<vec${lanes}u>(${x}) & ${mask}) != ${mask})`;
}

export const isFiniteOp: OpDefinition = {
  name: 'is_finite',
  level: 'tensor',
  doc: 'Whether an f32 is neither infinite nor NaN, as bool.',
  operands: ['x'],
  attributes: {},
  traits: ['elementwise', 'flat'],
  skeleton: 'map',
  infer([x]) {
    if (x?.dtype !== 'f32') return fail(`\`is_finite\` takes \`f32\`${x ? `, not ${quoteType(x)}` : ''}`, 0);
    return [{ dtype: 'bool', shape: x.shape }];
  },
  interpret: ([x], _attributes, context) =>
    x ? [applyUnary((value) => Number(Number.isFinite(value)), x, 'bool', context)] : [],
  scalar: ([x = 0]) => Number(Number.isFinite(x)),
  wgsl: ([x = ''], _attributes, _dtypes, lanes = 1) => wgsl(x, lanes),
};
