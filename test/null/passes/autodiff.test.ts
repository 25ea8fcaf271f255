/**
 * Gradients against central differences in f64: for every op on the shapes of samples.ts, and for whole graphs.
 */
import { expect, test } from 'vitest';
import { createEmitter } from '../../../src/ir/emit.ts';
import { type Graph, GraphBuilder } from '../../../src/ir/graph.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { opNamed, ops } from '../../../src/ir/ops/index.ts';
import { isFloat } from '../../../src/ir/types.ts';
import { type Sample, samplesOf } from '../ir/samples.ts';
import { noRanges, randomNumbers, randomTensor } from '../ir/support.ts';
import { worstGap } from './gradients.ts';

/** Both errors of central differences are near 1e-10 relative for values of about 1; functions as steep as `1 / x` near 0.2 lose a thousand. */
const tolerance = 2e-6;

/** Positive and away from 0, where the derivative of the op needs it. */
const positive = new Set(['log', 'sqrt', 'rsqrt', 'reciprocal', 'div', 'pow', 'rem']);

/** sum(op(x…) * c) with fixed numbers c, so that every element of the result has a weight of its own. */
function lossOf({ op, inputs, attributes }: Sample): {
  readonly graph: Graph;
  readonly constants: Record<string, Tensor>;
} {
  const emitter = createEmitter(new GraphBuilder(), noRanges);
  const operands = inputs.map((type, at) => emitter.input(`x${at}`, type));
  const y = emitter.emit(op, operands, attributes);
  const weights = emitter.input('c', { ...y.type, dtype: 'f32' });
  const float = y.type.dtype === 'f32' ? y : emitter.emit('cast', [y], { dtype: 'f32' });
  const product = emitter.emit('mul', [float, weights]);
  const axes = y.type.shape.map((_, axis) => axis);
  const loss = axes.length === 0 ? product : emitter.emit('reduce', [product], { kind: 'sum', axes, keep: false });
  const sizes = y.type.shape.map((dim) => Number(dim.key));
  return {
    graph: emitter.builder.finish('loss', [{ name: 'loss', value: loss }]),
    constants: { c: randomTensor('f32', sizes, 99) },
  };
}

function sampleInputs(sample: Sample): Record<string, Tensor> {
  const random = randomNumbers(7);
  return Object.fromEntries(
    sample.inputs.map((type, at) => {
      const sizes = type.shape.map((dim) => Number(dim.key));
      const tensor = randomTensor(type.dtype, sizes, at + 1);
      if (isFloat(type.dtype)) {
        tensor.data.forEach((value, place) => {
          // Far from each other and from whole numbers, where some derivatives jump.
          const apart = value + 0.013 * random() + 0.003 * place;
          tensor.data[place] = positive.has(sample.op) ? Math.abs(apart) + 0.3 : apart;
          // alpha lies between softmax and sparsemax.
          if (sample.op === 'entmax' && at === 1) tensor.data[place] = 1.5 + 0.2 * Math.sin(apart);
        });
      } else if (['gather', 'scatter_add', 'take_along'].includes(sample.op)) {
        tensor.data.forEach((value, place) => {
          tensor.data[place] = Math.abs(value) % 4;
        });
      }
      return [`x${at}`, tensor];
    }),
  );
}

/** Its gradient goes straight through, which is no derivative: quantization-aware.test.ts. */
const straightThrough = 'fake_quantize';

const differentiable = [...ops.values()].filter(
  (op) =>
    op.name !== straightThrough &&
    !op.traits.includes('stated') &&
    !op.traits.includes('flat') &&
    (op.gradient || op.decompose),
);

/**
 * `append` and `assign` end in a state, through which nothing is trained; the
 * threshold is inside of `entmax`, the sum inside of `scatter_add` and the paths inside of `ctc`, which have rules of their own.
 */
const inside = ['append', 'assign', 'ctc_paths', 'entmax_threshold', 'segment_sum'];

test('every op that makes floats has a gradient, a decomposition or is flat', () => {
  const without = [...ops.values()].filter(
    (op) =>
      !op.gradient && !op.decompose && !['flat', 'stated', 'leaf'].some((trait) => op.traits.includes(trait as never)),
  );
  expect(without.map((op) => op.name).filter((name) => !inside.includes(name))).toEqual([]);
  expect(differentiable.length).toBeGreaterThan(35);
});

test.each(differentiable.map((op) => op.name))('%s', (name) => {
  let checked = 0;
  for (const sample of samplesOf(opNamed(name))) {
    if (!sample.inputs.some((type) => type.dtype === 'f32') || sample.inputs.some((type) => type.dtype === 'f16'))
      continue;
    const { graph, constants } = lossOf(sample);
    if (graph.results[0] === undefined || sample.attributes.dtype === 'f16' || sample.attributes.dtype === 'i32')
      continue;
    if (sample.attributes.dtype === 'bool') continue;
    const inputs = { ...sampleInputs(sample), ...constants };
    const elements = Object.values(inputs).reduce((sum, tensor) => sum + tensor.data.length, 0);
    if (elements > 600) continue;
    expect(worstGap(graph, inputs, ['c']), JSON.stringify(sample.attributes)).toBeLessThan(tolerance);
    checked++;
  }
  if (name !== 'cast') expect(checked).toBeGreaterThan(0);
});
