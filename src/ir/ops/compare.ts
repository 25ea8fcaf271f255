/**
 * Comparisons of two tensors of one element type; the result is `bool`.
 */
import type { OpDefinition } from '../op.ts';
import { applyBinary, type BinaryFunction, checkElementwise, type OperandClass } from './elementwise.ts';

interface CompareRow {
  readonly name: string;
  readonly operator: string;
  readonly takes: OperandClass;
  readonly commutative: boolean;
  readonly apply: BinaryFunction;
}

const rows: readonly CompareRow[] = [
  { name: 'equal', operator: '==', takes: 'any', commutative: true, apply: (a, b) => Number(a === b) },
  { name: 'not_equal', operator: '!=', takes: 'any', commutative: true, apply: (a, b) => Number(a !== b) },
  { name: 'less', operator: '<', takes: 'number', commutative: false, apply: (a, b) => Number(a < b) },
  { name: 'less_equal', operator: '<=', takes: 'number', commutative: false, apply: (a, b) => Number(a <= b) },
  { name: 'greater', operator: '>', takes: 'number', commutative: false, apply: (a, b) => Number(a > b) },
  { name: 'greater_equal', operator: '>=', takes: 'number', commutative: false, apply: (a, b) => Number(a >= b) },
];

export const compareOps: readonly OpDefinition[] = rows.map((row) => ({
  name: row.name,
  level: 'tensor',
  doc: `\`a ${row.operator} b\`, as bool. NaN has no promised result on devices.`,
  operands: ['a', 'b'],
  attributes: {},
  traits: row.commutative ? ['elementwise', 'commutative', 'flat'] : ['elementwise', 'flat'],
  skeleton: 'map',
  infer(inputs) {
    return checkElementwise(row.name, row.takes, inputs) ?? [{ dtype: 'bool', shape: inputs[0]?.shape ?? [] }];
  },
  interpret([a, b], _attributes, context) {
    return a && b ? [applyBinary(row.apply, a, b, 'bool', context)] : [];
  },
  scalar: ([a = 0, b = 0]) => row.apply(a, b),
  wgsl: ([a = '', b = '']) => `(${a} ${row.operator} ${b})`,
}));
