/**
 * Ops without operands: what a graph starts from.
 */
import type { Attributes } from '../graph.ts';
import type { OpDefinition, Tensor } from '../op.ts';
import { constantValue, evaluateDim } from '../symbolic.ts';
import { elementCount, newTensor, tensorOf, toPrecision } from '../tensor.ts';
import { printShape } from '../types.ts';
import { dimOf, dimsOf, dtypeAttribute, dtypeNamed, fail, numberOf, numbersOf, stringOf, stringsOf } from './shared.ts';

const stated = (name: string) => () => fail(`the type of \`${name}\` is stated by its node`);

export const input: OpDefinition = {
  name: 'input',
  level: 'tensor',
  doc: 'A graph input: an entry parameter, or in a region an operand of the node that has the region.',
  operands: [],
  attributes: { name: { kind: 'string', doc: 'the name of the parameter' } },
  traits: ['leaf', 'stated'],
  skeleton: 'none',
  infer: stated('input'),
};

/** The rows that a part of a weight means. */
function rowsFrom(whole: Tensor, attributes: Attributes, [shape]: readonly (readonly number[])[]): Tensor {
  if (attributes.first === undefined || !shape) return whole;
  const row = elementCount(whole.shape.slice(1));
  const first = numberOf(attributes, 'first');
  return { ...whole, shape, data: whole.data.subarray(first * row, (first + (shape[0] ?? 0)) * row) };
}

export const weight: OpDefinition = {
  name: 'weight',
  level: 'tensor',
  doc: 'A tensor of the checkpoint. Several paths are concatenated along axis 0.',
  operands: [],
  attributes: {
    paths: { kind: 'strings', doc: 'names in the checkpoint, at least one' },
    first: { kind: 'int', optional: true, doc: 'only the rows from this one on, as many as the type has' },
  },
  traits: ['leaf', 'stated'],
  skeleton: 'none',
  infer: stated('weight'),
  interpret(_inputs, attributes, context) {
    const parts = stringsOf(attributes, 'paths').map((path) => context.weight(path));
    const [first] = parts;
    if (!first) return [];
    if (parts.length === 1) return [rowsFrom(toPrecision(first, context.precision), attributes, context.outputShapes)];
    const shape = [parts.reduce((rows, part) => rows + (part.shape[0] ?? 0), 0), ...first.shape.slice(1)];
    const joined = newTensor(first.dtype, shape, context.precision);
    let at = 0;
    for (const part of parts) {
      joined.data.set(part.data, at);
      at += part.data.length;
    }
    return [rowsFrom(joined, attributes, context.outputShapes)];
  },
};

export const state: OpDefinition = {
  name: 'state',
  level: 'tensor',
  doc: 'What a session keeps between calls, [batch, room, width]; the room depends on the session.',
  operands: [],
  attributes: { path: { kind: 'string', doc: 'name of the state in the program' } },
  traits: ['leaf', 'stated'],
  skeleton: 'none',
  infer: stated('state'),
  interpret: (_inputs, attributes, context) => [context.state(stringOf(attributes, 'path'))],
};

export const constant: OpDefinition = {
  name: 'constant',
  level: 'tensor',
  doc: 'Numbers known when compiling.',
  operands: [],
  attributes: {
    values: { kind: 'floats', doc: 'all elements in row-major order; booleans are 0 and 1' },
    dtype: { kind: 'string', doc: 'the element type' },
    shape: { kind: 'dims', doc: 'constant dims; empty for a scalar' },
  },
  traits: ['leaf'],
  skeleton: 'none',
  infer(_inputs, attributes) {
    const dtype = dtypeAttribute(attributes);
    if (typeof dtype !== 'string') return dtype;
    const shape = dimsOf(attributes, 'shape');
    const sizes = shape.map(constantValue);
    if (!sizes.every((size) => size !== undefined)) {
      return fail(`a constant needs a constant shape, not \`${printShape(shape)}\``);
    }
    const wanted = sizes.reduce((product, size) => product * size, 1);
    const given = numbersOf(attributes, 'values').length;
    if (wanted !== given) return fail(`shape \`${printShape(shape)}\` needs ${wanted} values, ${given} given`);
    return [{ dtype, shape }];
  },
  interpret(_inputs, attributes, context) {
    const dtype = dtypeNamed(stringOf(attributes, 'dtype')) ?? 'f32';
    return [tensorOf(dtype, context.outputShapes[0] ?? [], numbersOf(attributes, 'values'), context.precision)];
  },
};

export const iota: OpDefinition = {
  name: 'iota',
  level: 'tensor',
  doc: '0, 1, 2, … up to `length - 1`, as [length].',
  operands: [],
  attributes: {
    length: { kind: 'dim', doc: 'how many' },
    dtype: { kind: 'string', doc: 'the element type, not bool' },
  },
  traits: ['leaf'],
  skeleton: 'map',
  infer(_inputs, attributes) {
    const dtype = dtypeAttribute(attributes);
    if (typeof dtype !== 'string') return dtype;
    if (dtype === 'bool') return fail('`iota` counts numbers, not `bool`');
    return [{ dtype, shape: [dimOf(attributes, 'length')] }];
  },
  interpret(_inputs, attributes, context) {
    const dtype = dtypeNamed(stringOf(attributes, 'dtype')) ?? 'i32';
    const result = newTensor(dtype, context.outputShapes[0] ?? [0], context.precision);
    for (let i = 0; i < result.data.length; i++) result.data[i] = i;
    return [result];
  },
};

export const dimValue: OpDefinition = {
  name: 'dim_value',
  level: 'tensor',
  doc: 'The value of a dim at run time, as an i32 scalar.',
  operands: [],
  attributes: { value: { kind: 'dim', doc: 'a polynomial in the runtime dims' } },
  traits: ['leaf'],
  skeleton: 'map',
  infer() {
    return [{ dtype: 'i32', shape: [] }];
  },
  interpret(_inputs, attributes, context) {
    return [tensorOf('i32', [], [evaluateDim(dimOf(attributes, 'value'), context.dims)], context.precision)];
  },
};

export const leafOps: readonly OpDefinition[] = [input, weight, state, constant, iota, dimValue];
