/**
 * Elementwise ops of two operands of one element type, as one table. Comparisons are in compare.ts.
 *
 * Integers follow WGSL: results wrap around, division truncates toward zero, `x / 0` is `x`.
 */
import type { Value } from '../graph.ts';
import type { Emitter, Lanes, OpDefinition } from '../op.ts';
import { type DType, isFloat } from '../types.ts';
import { type Calculus, calculus } from './calculus.ts';
import { applyBinary, type BinaryFunction, checkElementwise, type OperandClass } from './elementwise.ts';
import { wgslLiteral } from './shared.ts';

interface BinaryRow {
  readonly name: string;
  readonly doc: string;
  readonly takes: OperandClass;
  readonly commutative: boolean;
  readonly apply: BinaryFunction;
  readonly applyInteger?: BinaryFunction;
  readonly wgsl: (a: string, b: string, dtype: DType, lanes: Lanes) => string;
  /** Both derivatives times `g`, from the operands and the result; `flat`: none. */
  readonly gradient:
    | ((c: Calculus, g: Value, a: Value, b: Value, y: Value, emitter: Emitter) => readonly [Value, Value])
    | 'flat';
}

const infix = (operator: string) => (a: string, b: string) => `(${a} ${operator} ${b})`;
const call = (builtin: string) => (a: string, b: string) => `${builtin}(${a}, ${b})`;

/** The remainder with the sign of the divisor, as Python's `%` and `torch.remainder`. */
function floorModulo(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

/** Where both are equal each gets half, as in torch. */
function chosen(c: Calculus, wins: string, g: Value, a: Value, b: Value): readonly [Value, Value] {
  const half = c.where('equal', a, b, c.scale(g, 0.5), c.fill(0, g));
  return [c.where(wins, a, b, g, half), c.where(wins, b, a, g, half)];
}

/** d/da = b a^(b-1); d/db = y log(a), and 0 where the logarithm has no value. */
function powGradient(c: Calculus, g: Value, a: Value, b: Value, y: Value, emitter: Emitter): readonly [Value, Value] {
  const slope = c.mul(b, emitter.emit('pow', [a, c.sub(b, c.fill(1, b))]));
  const zero = c.fill(0, a);
  const log = c.apply('log', c.where('greater', a, zero, a, c.fill(1, a)));
  return [c.mul(g, slope), c.mul(g, c.mul(y, log))];
}

const rows: readonly BinaryRow[] = [
  {
    name: 'add',
    doc: '`a + b`.',
    takes: 'number',
    commutative: true,
    apply: (a, b) => a + b,
    wgsl: infix('+'),
    gradient: (_c, g) => [g, g],
  },
  {
    name: 'sub',
    doc: '`a - b`.',
    takes: 'number',
    commutative: false,
    apply: (a, b) => a - b,
    wgsl: infix('-'),
    gradient: (c, g) => [g, c.apply('neg', g)],
  },
  {
    name: 'mul',
    doc: '`a * b`.',
    takes: 'number',
    commutative: true,
    apply: (a, b) => a * b,
    applyInteger: Math.imul,
    wgsl: infix('*'),
    gradient: (c, g, a, b) => [c.mul(g, b), c.mul(g, a)],
  },
  {
    name: 'div',
    doc: '`a / b`; integers truncate toward zero and `a / 0` is `a`.',
    takes: 'number',
    commutative: false,
    apply: (a, b) => a / b,
    applyInteger: (a, b) => (b === 0 ? a : Math.trunc(a / b)),
    wgsl: infix('/'),
    gradient: (c, g, _a, b, y) => [c.div(g, b), c.apply('neg', c.div(c.mul(g, y), b))],
  },
  {
    name: 'rem',
    doc: 'The remainder of `a / b` with the sign of `b`, as `torch.remainder`; for integers `rem(a, 0)` is 0.',
    takes: 'number',
    commutative: false,
    apply: floorModulo,
    applyInteger: (a, b) => (b === 0 ? 0 : floorModulo(a, b)),
    wgsl: (a, b, dtype) => {
      if (isFloat(dtype)) return `(${a} - ${b} * floor(${a} / ${b}))`;
      return dtype === 'u32' ? `(${a} % ${b})` : `((${a} % ${b} + ${b}) % ${b})`;
    },
    gradient: (c, g, a, b) => [g, c.apply('neg', c.mul(g, c.apply('floor', c.div(a, b))))],
  },
  {
    name: 'pow',
    doc: '`a` to the power of `b`. A negative `a` needs an integral `b`: anything else has no promised result.',
    takes: 'float',
    commutative: false,
    apply: (a, b) => a ** b,
    // WGSL's pow is exp2(b * log2(a)): undefined for a negative base.
    wgsl: (a, b, dtype, lanes) => {
      const size = `pow(abs(${a}), ${b})`;
      const zero = wgslLiteral('0', dtype, lanes);
      return `select(${size}, -${size}, (${a} < ${zero}) & (fract(${b} * 0.5) != ${zero}))`;
    },
    gradient: powGradient,
  },
  {
    name: 'min',
    doc: 'The lesser.',
    takes: 'number',
    commutative: true,
    apply: Math.min,
    wgsl: call('min'),
    gradient: (c, g, a, b) => chosen(c, 'less', g, a, b),
  },
  {
    name: 'max',
    doc: 'The greater.',
    takes: 'number',
    commutative: true,
    apply: Math.max,
    wgsl: call('max'),
    gradient: (c, g, a, b) => chosen(c, 'greater', g, a, b),
  },
  {
    name: 'and',
    doc: 'Both.',
    takes: 'bool',
    commutative: true,
    apply: (a, b) => a & b,
    wgsl: infix('&'),
    gradient: 'flat',
  },
  {
    name: 'or',
    doc: 'At least one.',
    takes: 'bool',
    commutative: true,
    apply: (a, b) => a | b,
    wgsl: infix('|'),
    gradient: 'flat',
  },
];

function define(row: BinaryRow): OpDefinition {
  const { gradient } = row;
  const functionFor = (dtype: DType) => (isFloat(dtype) ? row.apply : (row.applyInteger ?? row.apply));
  return {
    name: row.name,
    level: 'tensor',
    doc: row.doc,
    operands: ['a', 'b'],
    attributes: {},
    traits: [
      'elementwise',
      ...(row.commutative ? (['commutative'] as const) : []),
      ...(row.gradient === 'flat' ? (['flat'] as const) : []),
    ],
    skeleton: 'map',
    infer(inputs) {
      return checkElementwise(row.name, row.takes, inputs) ?? inputs.slice(0, 1);
    },
    interpret([a, b], _attributes, context) {
      return a && b ? [applyBinary(functionFor(a.dtype), a, b, a.dtype, context)] : [];
    },
    scalar: ([a = 0, b = 0], _attributes, [dtype = 'f32']) => {
      const value = functionFor(dtype)(a, b);
      return dtype === 'i32' ? value | 0 : dtype === 'u32' ? value >>> 0 : value;
    },
    wgsl: ([a = '', b = ''], _attributes, [dtype = 'f32'], lanes = 1) => row.wgsl(a, b, dtype, lanes),
    ...(gradient === 'flat'
      ? {}
      : {
          gradient: (emitter, { inputs: [a, b], output, cotangent }) =>
            a && b ? gradient(calculus(emitter), cotangent, a, b, output, emitter) : [],
        }),
  };
}

export const binaryOps: readonly OpDefinition[] = rows.map(define);
