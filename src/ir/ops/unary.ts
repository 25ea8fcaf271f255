/**
 * Elementwise ops of one operand, as one table. `cast` has its own file.
 */
import type { Value } from '../graph.ts';
import type { Lanes, OpDefinition } from '../op.ts';
import { roundHalfEven } from '../tensor.ts';
import { type DType, isFloat } from '../types.ts';
import { type Calculus, calculus } from './calculus.ts';
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
  /** The derivative times `g`, from the operand and the result; `flat`: none. */
  readonly gradient: ((c: Calculus, g: Value, x: Value, y: Value) => Value) | 'flat';
}

const call = (builtin: string) => (x: string) => `${builtin}(${x})`;

/** A function of helpers.ts, for as many lanes as the operand has. */
const helper = (name: string) => (x: string, _dtype: DType, lanes: Lanes) => `${name}${lanes === 1 ? '' : lanes}(${x})`;

const rows: readonly UnaryRow[] = [
  {
    name: 'neg',
    doc: '`-x`.',
    takes: 'signed',
    apply: (x) => -x,
    wgsl: (x) => (x.startsWith('-') ? `(-(${x}))` : `(-${x})`),
    gradient: (c, g) => c.apply('neg', g),
  },
  {
    name: 'abs',
    doc: 'Absolute value.',
    takes: 'number',
    apply: Math.abs,
    wgsl: call('abs'),
    gradient: (c, g, x) => c.mul(g, c.apply('sign', x)),
  },
  { name: 'sign', doc: '-1, 0 or 1.', takes: 'signed', apply: Math.sign, wgsl: call('sign'), gradient: 'flat' },
  {
    name: 'exp',
    doc: 'e to the power of `x`.',
    takes: 'float',
    apply: Math.exp,
    wgsl: call('exp'),
    gradient: (c, g, _x, y) => c.mul(g, y),
  },
  {
    name: 'log',
    doc: 'Natural logarithm; `x` must be positive.',
    takes: 'float',
    apply: Math.log,
    wgsl: call('log'),
    gradient: (c, g, x) => c.div(g, x),
  },
  {
    name: 'sqrt',
    doc: 'Square root; `x` must not be negative.',
    takes: 'float',
    apply: Math.sqrt,
    wgsl: call('sqrt'),
    gradient: (c, g, _x, y) => c.div(c.scale(g, 0.5), y),
  },
  {
    name: 'rsqrt',
    doc: '`1 / sqrt(x)`; `x` must be positive.',
    takes: 'float',
    apply: (x) => 1 / Math.sqrt(x),
    wgsl: call('inverseSqrt'),
    gradient: (c, g, _x, y) => c.mul(c.scale(g, -0.5), c.mul(y, c.mul(y, y))),
  },
  {
    name: 'reciprocal',
    doc: '`1 / x`.',
    takes: 'float',
    apply: (x) => 1 / x,
    wgsl: (x) => `(1 / ${x})`,
    gradient: (c, g, _x, y) => c.apply('neg', c.mul(g, c.mul(y, y))),
  },
  {
    name: 'sin',
    doc: 'Sine of radians; on devices within 2e-7 absolute for angles up to 1.3e5.',
    takes: 'float',
    apply: Math.sin,
    wgsl: helper('sora_sin'),
    helpers: ['sora_sin'],
    gradient: (c, g, x) => c.mul(g, c.apply('cos', x)),
  },
  {
    name: 'cos',
    doc: 'Cosine of radians; on devices within 2e-7 absolute for angles up to 1.3e5.',
    takes: 'float',
    apply: Math.cos,
    wgsl: helper('sora_cos'),
    helpers: ['sora_cos'],
    gradient: (c, g, x) => c.apply('neg', c.mul(g, c.apply('sin', x))),
  },
  {
    name: 'tanh',
    doc: 'Hyperbolic tangent.',
    takes: 'float',
    apply: Math.tanh,
    // Some drivers compute (e^2x - 1) / (e^2x + 1), which overflows; at 10 the result is 1 in f32 already.
    wgsl: (x, dtype, lanes) =>
      `tanh(clamp(${x}, ${wgslLiteral('-10', dtype, lanes)}, ${wgslLiteral('10', dtype, lanes)}))`,
    gradient: (c, g, _x, y) => c.mul(g, c.sub(c.fill(1, y), c.mul(y, y))),
  },
  {
    name: 'erf',
    doc: 'Error function, `2/sqrt(pi) * integral(exp(-t*t), 0..x)`; on devices within 2e-7 absolute.',
    takes: 'float',
    apply: erf,
    wgsl: helper('sora_erf'),
    helpers: ['sora_erf'],
    gradient: (c, g, x) => c.mul(c.scale(g, 2 / Math.sqrt(Math.PI)), c.apply('exp', c.apply('neg', c.mul(x, x)))),
  },
  {
    name: 'floor',
    doc: 'Greatest integer not above `x`.',
    takes: 'float',
    apply: Math.floor,
    wgsl: call('floor'),
    gradient: 'flat',
  },
  {
    name: 'ceil',
    doc: 'Least integer not below `x`.',
    takes: 'float',
    apply: Math.ceil,
    wgsl: call('ceil'),
    gradient: 'flat',
  },
  {
    name: 'round',
    doc: 'Nearest integer, ties to the even one.',
    takes: 'float',
    apply: roundHalfEven,
    wgsl: call('round'),
    gradient: 'flat',
  },
  {
    name: 'not',
    doc: 'Logical negation.',
    takes: 'bool',
    apply: (x) => (x === 0 ? 1 : 0),
    wgsl: (x) => `(!${x})`,
    gradient: 'flat',
  },
];

function define(row: UnaryRow): OpDefinition {
  const { gradient } = row;
  const functionFor = (dtype: DType) => (isFloat(dtype) ? row.apply : (row.applyInteger ?? row.apply));
  return {
    name: row.name,
    level: 'tensor',
    doc: row.doc,
    operands: ['x'],
    attributes: {},
    traits: row.gradient === 'flat' ? ['elementwise', 'flat'] : ['elementwise'],
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
    ...(gradient === 'flat'
      ? {}
      : {
          gradient: (emitter, { inputs: [x], output, cotangent }) =>
            x ? [gradient(calculus(emitter), cotangent, x, output)] : [],
        }),
  };
}

export const unaryOps: readonly OpDefinition[] = rows.map(define);
