/**
 * Elementwise ops of one operand, as one table. `cast` has its own file.
 */
import type { Lanes, OpDefinition } from '../op.ts';
import { roundHalfEven } from '../tensor.ts';
import { type DType, isFloat } from '../types.ts';
import { applyUnary, checkElementwise, type OperandClass, type UnaryFunction } from './elementwise.ts';
import { erf } from './erf.ts';
import { wgslLiteral } from './shared.ts';

interface UnaryRow {
  readonly name: string;
  readonly doc: string;
  readonly takes: OperandClass;
  readonly apply: UnaryFunction;
  /** Where integers differ. */
  readonly applyInteger?: UnaryFunction;
  readonly wgsl: (x: string, dtype: DType, lanes: Lanes) => string;
  readonly helpers?: readonly string[];
}

const call = (builtin: string) => (x: string) => `${builtin}(${x})`;
/** A function of codegen's helpers, with its lanes in its name. */
const helper = (name: string) => (x: string, _dtype: DType, lanes: Lanes) => `${name}${lanes === 1 ? '' : lanes}(${x})`;

const rows: readonly UnaryRow[] = [
  {
    name: 'neg',
    doc: '`-x`.',
    takes: 'signed',
    apply: (x) => -x,
    wgsl: (x) => (x.startsWith('-') ? `(-(${x}))` : `(-${x})`),
  },
  { name: 'abs', doc: 'Absolute value.', takes: 'number', apply: Math.abs, wgsl: call('abs') },
  { name: 'sign', doc: '-1, 0 or 1.', takes: 'signed', apply: Math.sign, wgsl: call('sign') },
  { name: 'exp', doc: 'e to the power of `x`.', takes: 'float', apply: Math.exp, wgsl: call('exp') },
  { name: 'log', doc: 'Natural logarithm; `x` must be positive.', takes: 'float', apply: Math.log, wgsl: call('log') },
  { name: 'sqrt', doc: 'Square root; `x` must not be negative.', takes: 'float', apply: Math.sqrt, wgsl: call('sqrt') },
  {
    name: 'rsqrt',
    doc: '`1 / sqrt(x)`; `x` must be positive.',
    takes: 'float',
    apply: (x) => 1 / Math.sqrt(x),
    wgsl: call('inverseSqrt'),
  },
  { name: 'reciprocal', doc: '`1 / x`.', takes: 'float', apply: (x) => 1 / x, wgsl: (x) => `(1 / ${x})` },
  {
    name: 'sin',
    doc: 'Sine of radians.',
    takes: 'float',
    apply: Math.sin,
    wgsl: helper('sora_sin'),
    helpers: ['sora_sin'],
  },
  {
    name: 'cos',
    doc: 'Cosine of radians.',
    takes: 'float',
    apply: Math.cos,
    wgsl: helper('sora_cos'),
    helpers: ['sora_cos'],
  },
  {
    name: 'tanh',
    doc: 'Hyperbolic tangent.',
    takes: 'float',
    apply: Math.tanh,
    // Some drivers compute (e^2x - 1) / (e^2x + 1), which overflows; at 10 the result is 1 in f32 already.
    wgsl: (x, dtype, lanes) =>
      `tanh(clamp(${x}, ${wgslLiteral('-10', dtype, lanes)}, ${wgslLiteral('10', dtype, lanes)}))`,
  },
  {
    name: 'erf',
    doc: 'Error function, `2/sqrt(pi) * integral(exp(-t*t), 0..x)`; on devices within 2e-7 absolute.',
    takes: 'float',
    apply: erf,
    wgsl: helper('sora_erf'),
    helpers: ['sora_erf'],
  },
  { name: 'floor', doc: 'Greatest integer not above `x`.', takes: 'float', apply: Math.floor, wgsl: call('floor') },
  { name: 'ceil', doc: 'Least integer not below `x`.', takes: 'float', apply: Math.ceil, wgsl: call('ceil') },
  {
    name: 'round',
    doc: 'Nearest integer, ties to the even one.',
    takes: 'float',
    apply: roundHalfEven,
    wgsl: call('round'),
  },
  {
    name: 'not',
    doc: 'Logical negation.',
    takes: 'bool',
    apply: (x) => (x === 0 ? 1 : 0),
    wgsl: (x) => `(!${x})`,
  },
];

function define(row: UnaryRow): OpDefinition {
  const functionFor = (dtype: DType) => (isFloat(dtype) ? row.apply : (row.applyInteger ?? row.apply));
  return {
    name: row.name,
    level: 'tensor',
    doc: row.doc,
    operands: ['x'],
    attributes: {},
    traits: ['elementwise'],
    skeleton: 'map',
    infer(inputs) {
      return checkElementwise(row.name, row.takes, inputs) ?? inputs.slice(0, 1);
    },
    interpret([x], _attributes, context) {
      return x ? [applyUnary(functionFor(x.dtype), x, x.dtype, context)] : [];
    },
    scalar: ([x = 0], _attributes, [dtype = 'f32']) => functionFor(dtype)(x),
    wgsl: ([x = ''], _attributes, [dtype = 'f32'], lanes = 1) => row.wgsl(x, dtype, lanes),
    ...(row.helpers ? { wgslHelpers: row.helpers } : {}),
  };
}

export const unaryOps: readonly OpDefinition[] = rows.map(define);
