/**
 * What holds for every op in the registry.
 */
import { describe, expect, test } from 'vitest';
import { decomposeNode } from '../../../src/ir/emit.ts';
import type { Node } from '../../../src/ir/graph.ts';
import { isFailure, type OpDefinition, type Tensor } from '../../../src/ir/op.ts';
import { inferOp, operandRange, ops } from '../../../src/ir/ops/index.ts';
import { printGraph, printNode } from '../../../src/ir/print.ts';
import { readGraph } from '../../../src/ir/read.ts';
import { constantValue } from '../../../src/ir/symbolic.ts';
import { roundToHalf, toPrecision } from '../../../src/ir/tensor.ts';
import { isFloat, type TensorType } from '../../../src/ir/types.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { decompose } from '../../../src/passes/decompose.ts';
import { type Sample, sampledOps, samplesOf } from './samples.ts';
import { buildGraph, difference, f32, noRanges, randomTensor, runGraph, typed } from './support.ts';

const every = [...ops.values()];

function sizes(type: TensorType): number[] {
  return type.shape.map((dim) => constantValue(dim) ?? 0);
}

function graphOf(sample: Sample) {
  return buildGraph((emitter) => {
    const inputs = sample.inputs.map((type, at) => emitter.input(`x${at}`, type));
    return { y: emitter.emit(sample.op, inputs, sample.attributes) };
  });
}

function last(nodes: readonly Node[]): Node {
  const node = nodes.at(-1);
  if (!node) throw new Error('no node');
  return node;
}

/** Logarithms and roots want positive numbers, indices want to be in range most of the time. */
function operandsOf(sample: Sample): Tensor[] {
  const isPartial = ['log', 'sqrt', 'rsqrt', 'pow', 'reciprocal', 'div'].includes(sample.op);
  return sample.inputs.map((type, at) => {
    const tensor = randomTensor(type.dtype, sizes(type), 17 + at);
    const data = isPartial && isFloat(type.dtype) ? tensor.data.map((value) => Math.abs(value) + 0.25) : tensor.data;
    const whole = { ...tensor, data: data as Tensor['data'] };
    return type.dtype === 'f16' ? roundToHalf(toPrecision(whole, 'f32')) : whole;
  });
}

function run(sample: Sample, precision: 'f32' | 'f64'): Tensor {
  const inputs = Object.fromEntries(operandsOf(sample).map((tensor, at) => [`x${at}`, tensor]));
  const result = runGraph(graphOf(sample), inputs, precision).get('y');
  if (!result) throw new Error('no result');
  return result;
}

test('the registry has an op of every family', () => {
  expect(every.length).toBeGreaterThan(45);
  expect(new Set(every.map((definition) => definition.name)).size).toBe(every.length);
});

describe.each(every.map((definition) => [definition.name, definition] as const))('%s', (name, definition) => {
  test('is documented', () => {
    expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
    expect(definition.doc).toMatch(/\.$/);
    for (const spec of Object.values(definition.attributes)) expect(spec.doc.length).toBeGreaterThan(5);
  });

  test('keeps the promises of its level and traits', () => {
    const traits = new Set(definition.traits);
    expect(definition.decompose !== undefined).toBe(definition.level === 'model');
    expect(definition.scalar !== undefined).toBe(traits.has('elementwise'));
    expect(definition.wgsl !== undefined).toBe(traits.has('elementwise'));
    const isRunnable = definition.interpret ?? definition.decompose;
    expect(isRunnable !== undefined || traits.has('stated')).toBe(true);
    if (traits.has('commutative')) expect(definition.operands).toHaveLength(2);
    if (traits.has('view')) expect(definition.operands).toHaveLength(1);
  });
});

test('ops with inferred types are nearly all', () => {
  expect(every.length - sampledOps.length).toBe(4);
});

describe.each(sampledOps.map((definition) => [definition.name, definition] as const))('%s', (_name, definition) => {
  const samples = samplesOf(definition);

  test('has samples', () => {
    expect(samples.length).toBeGreaterThan(0);
  });

  test('refuses a wrong number of operands', () => {
    const [sample] = samples;
    if (!sample) return;
    const { minimum, maximum } = operandRange(definition);
    const infer = (count: number) =>
      inferOp(
        definition,
        Array.from({ length: count }, () => f32(2, 2)),
        sample.attributes,
        noRanges,
      );
    if (minimum > 0) expect(isFailure(infer(minimum - 1))).toBe(true);
    if (Number.isFinite(maximum)) expect(isFailure(infer(maximum + 1))).toBe(true);
  });

  test('refuses missing and unknown attributes', () => {
    const [sample] = samples;
    if (!sample) return;
    const more = inferOp(definition, sample.inputs, { ...sample.attributes, colour: 'red' }, noRanges);
    expect(isFailure(more) && more.failure).toMatch(/`colour`/);
    for (const [name, spec] of Object.entries(definition.attributes)) {
      if (spec.optional) continue;
      const { [name]: _, ...rest } = sample.attributes;
      const less = inferOp(definition, sample.inputs, rest, noRanges);
      expect(isFailure(less) && less.failure).toContain(`\`${name}\``);
    }
  });

  test('infers the shape that it computes, in f32 as in f64', () => {
    for (const sample of samples) {
      const graph = graphOf(sample);
      const wanted = last(graph.nodes).outputs[0]?.type;
      const [single, double] = [run(sample, 'f32'), run(sample, 'f64')];
      const text = printNode(last(graph.nodes));
      expect(single.shape, text).toEqual(wanted && sizes(wanted));
      expect(single.dtype, text).toBe(wanted?.dtype);
      // 2^-24 per rounding and some roundings in a row; f16 results are rounded to 11 bits.
      const tolerance = wanted?.dtype === 'f16' ? 2e-3 : isFloat(wanted?.dtype ?? 'f32') ? 4e-6 : 0;
      expect(difference(single.data, double.data), text).toBeLessThanOrEqual(tolerance);
    }
  });

  test('survives printing and reading, and the verifier', () => {
    for (const sample of samples) {
      const graph = graphOf(sample);
      const text = printGraph(graph);
      expect(printGraph(readGraph(text))).toBe(text);
      expect(verifyGraph(readGraph(text), noRanges, { stage: 'model' })).toEqual([]);
    }
  });

  if (definition.traits.includes('elementwise')) elementwiseTests(definition, samples);
  if (definition.level === 'model') modelLevelTests(samples);
});

function elementwiseTests(definition: OpDefinition, samples: readonly Sample[]): void {
  test('computes by element what `scalar` says', () => {
    for (const sample of samples) {
      const operands = operandsOf(sample);
      const dtypes = sample.inputs.map((type) => type.dtype);
      const result = run(sample, 'f64');
      const expected = Array.from(result.data, (_, at) =>
        definition.scalar?.(
          operands.map((operand) => operand.data[at] ?? 0),
          sample.attributes,
          dtypes,
        ),
      );
      const isHalfCast = sample.attributes.dtype === 'f16';
      expect(difference(result.data, expected.map(Number))).toBeLessThanOrEqual(isHalfCast ? 1e-3 : 0);
    }
  });

  test('refuses operands of different shapes', () => {
    const [sample] = samples;
    if (!sample || sample.inputs.length < 2) return;
    const [first, ...rest] = sample.inputs;
    if (!first) return;
    const inputs = [typed(first.dtype, [3, 1]), ...rest.map((type) => typed(type.dtype, [3, 5]))];
    const result = inferOp(definition, inputs, sample.attributes, noRanges);
    expect(isFailure(result) && result.failure).toMatch(/different shapes/);
    expect(isFailure(result) && result.operand).toBe(1);
  });

  test('gives WGSL with every operand, for scalars and for vectors', () => {
    for (const sample of samples) {
      const names = sample.inputs.map((_, at) => `operand${at}`);
      const dtypes = sample.inputs.map((type) => type.dtype);
      for (const lanes of [1, 2, 4] as const) {
        const text = definition.wgsl?.(names, sample.attributes, dtypes, lanes) ?? '';
        // What is overwritten is not looked at.
        for (const [at, name] of names.entries()) if (at !== definition.updates) expect(text).toContain(name);
        // What is not a call is parenthesised, so that it can be an operand.
        expect(text).toMatch(/\)$/);
        for (const helper of definition.wgslHelpers ?? []) expect(text).toContain(helper);
      }
    }
  });
}

function modelLevelTests(samples: readonly Sample[]): void {
  test('decomposes to legal tensor-level ops of the same type', () => {
    for (const sample of samples) {
      const node = last(graphOf(sample).nodes);
      const lower = decomposeNode(node, noRanges);
      if (!lower) throw new Error('no decomposition');
      // A decomposition may use ops that have one themselves.
      expect(verifyGraph(lower, noRanges, { stage: 'model' })).toEqual([]);
      const whole = decompose('software').run(lower, noRanges).graph;
      expect(verifyGraph(whole, noRanges, { stage: 'tensor' })).toEqual([]);
      expect(lower.results.map((result) => result.value.type)).toEqual(node.outputs.map((output) => output.type));
    }
  });
}
