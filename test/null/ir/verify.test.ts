/**
 * The verifier: it accepts what is legal at each stage and names what is broken.
 */
import { describe, expect, test } from 'vitest';
import { createEmitter } from '../../../src/ir/emit.ts';
import {
  type Attributes,
  type Graph,
  GraphBuilder,
  type Node,
  type Program,
  type Value,
} from '../../../src/ir/graph.ts';
import { opNamed } from '../../../src/ir/ops/index.ts';
import type { TensorType } from '../../../src/ir/types.ts';
import { assertVerified, type GraphStage, verifyGraph, verifyProgram } from '../../../src/ir/verify.ts';
import { bool, buildGraph, f32, i32, noRanges } from './support.ts';

const check = (graph: Graph, stage: GraphStage = 'model') => verifyGraph(graph, noRanges, { stage });

function layer(): Graph {
  return buildGraph((emitter) => {
    const x = emitter.input('x', f32('T', 4));
    const y = emitter.emit('linear', [x, emitter.weight(['w'], f32(4, 4))]);
    return { y: emitter.emit('softmax', [y], { axis: -1 }) };
  });
}

function fusedLayer(): Graph {
  return buildGraph((emitter) => {
    const x = emitter.input('x', f32('T', 4));
    const w = emitter.weight(['w'], f32(4, 4));
    const region = buildGraph((inner) => ({
      y: inner.emit('linear', [inner.input('x', x.type), inner.input('w', w.type)]),
    }));
    const [y] = emitter.fused('contraction', [x, w], region).outputs;
    return y ? { y } : {};
  });
}

/** A graph of raw nodes: what a wrong pass could make. */
function raw(write: (add: GraphBuilder['add'], x: Value) => Value | undefined): Graph {
  const builder = new GraphBuilder();
  const x = builder.input('x', f32('T', 4));
  const value = write((...node) => builder.add(...node), x) ?? x;
  return builder.finish('broken', [{ name: 'y', value }]);
}

const first = (node: Node) => node.outputs[0];

function node(op: string, types: readonly TensorType[], attributes: Attributes = {}, operands = 1): Graph {
  return raw((add, x) =>
    first(
      add(
        op,
        Array.from({ length: operands }, () => x),
        types,
        { attributes },
      ),
    ),
  );
}

test('legal graphs pass', () => {
  expect(check(layer(), 'model')).toEqual([]);
  expect(check(fusedLayer(), 'kernels')).toEqual([]);
  expect(check(fusedLayer(), 'tensor')).toEqual([]);
});

describe('what is legal depends on the stage', () => {
  test.each([
    ['model ops at tensor level', layer(), 'tensor', '`linear` should be decomposed'],
    ['fused nodes before fusion', fusedLayer(), 'model', '`fused` is not allowed before fusion'],
    ['loose ops beside kernels', layer(), 'kernels', '`softmax` stands outside of a kernel'],
    [
      'a region in a region',
      buildGraph((emitter) => {
        const x = emitter.input('x', f32(2));
        const inner = buildGraph((deep) => ({ y: deep.input('x', x.type) }));
        const outer = buildGraph((middle) => {
          const [y] = middle.fused('map', [middle.input('x', x.type)], inner).outputs;
          return y ? { y } : {};
        });
        const [y] = emitter.fused('map', [x], outer).outputs;
        return y ? { y } : {};
      }),
      'kernels',
      '`fused` inside a region',
    ],
  ] as const)('%s', (_what, graph, stage, message) => {
    expect(check(graph, stage).join('\n')).toContain(message);
  });
});

describe('broken graphs', () => {
  const stranger = layer().nodes[0]?.outputs[0];
  const later = raw((add, x) => {
    const a = add('tanh', [x], [f32('T', 4)]);
    const b = add('tanh', [x], [f32('T', 4)]);
    Object.assign(a, { inputs: [...b.outputs] });
    return first(b);
  });
  const renumbered = layer();
  Object.assign(renumbered.nodes[1] ?? {}, { id: 7 });
  const unlisted: Graph = { ...layer(), inputs: [] };
  const region = fusedLayer().nodes[2]?.region;

  test.each([
    ['an op that is not there', node('explode', [f32('T', 4)]), 'there is no op `explode`'],
    ['a wrong type', node('tanh', [f32('T', 5)]), 'stated f32[T, 5], should be f32[T, 4]'],
    ['a wrong element type', node('tanh', [i32('T', 4)]), 'stated i32[T, 4]'],
    ['too many outputs', node('tanh', [f32('T', 4), f32('T', 4)]), 'has 2 outputs, should have 1'],
    ['no output', raw((add, x) => first(add('tanh', [x], []))), 'has 0 outputs'],
    ['too few operands', node('add', [f32('T', 4)]), '`add` takes 2 operands (a, b), not 1'],
    ['operands of a leaf', node('input', [f32(1)], { name: 'z' }), 'wrong number of operands'],
    ['a missing attribute', node('softmax', [f32('T', 4)]), '`softmax` needs the attribute `axis`'],
    ['an unknown attribute', node('tanh', [f32('T', 4)], { axis: 1 }), '`tanh` has no attribute `axis`'],
    ['an attribute of another kind', node('softmax', [f32('T', 4)], { axis: 0.5 }), 'must be of kind int'],
    ['a list of another kind', node('reduce', [f32('T')], { kind: 'sum', axes: ['1'], keep: false }), 'of kind ints'],
    ['operands that do not fit', node('select', [f32('T', 4)], {}, 3), 'the condition must be `bool`'],
    ['a weight with a runtime dim', node('weight', [f32('T')], { paths: ['w'] }, 0), 'a weight needs constant dims'],
    ['a weight without a path', node('weight', [f32(3)], { paths: [] }, 0), 'a weight needs a path'],
    ['an input without a name', node('input', [f32(3)], {}, 0), '`input` needs the attribute `name`'],
    ['two inputs with one name', node('input', [f32(3)], { name: 'x' }, 0), 'two inputs have one name'],
    ['a fused node without region', node('fused', [f32('T', 4)], { skeleton: 'map' }), 'needs a region'],
    [
      'a region on another op',
      raw((add, x) => first(add('tanh', [x], [x.type], region ? { region } : {}))),
      '`tanh` has no region',
    ],
    [
      'a region with other inputs',
      raw((add, x) =>
        first(add('fused', [x], [x.type], { attributes: { skeleton: 'map' }, ...(region ? { region } : {}) })),
      ),
      'has 2 region inputs, should have 1',
    ],
    [
      'a value of another graph',
      raw((add, x) => first(add('tanh', [stranger ?? x], [f32('T', 4)]))),
      'operand 0 is not a value of this graph',
    ],
    ['a result of another graph', raw(() => stranger), 'result `y` is not a value of this graph'],
    ['a value used before it is defined', later, 'operand 0 is defined later'],
    ['ids out of order', renumbered, 'has id 7 at position 1'],
    ['inputs that are not listed', unlisted, 'the inputs of the graph are not its `input` nodes'],
    [
      'two results with one name',
      { ...layer(), results: [...layer().results, ...layer().results] },
      'two results have one name',
    ],
  ])('%s', (_what, graph, message) => {
    expect(check(graph).join('\n')).toContain(message);
    expect(() => assertVerified(graph, noRanges, { stage: 'model' })).toThrow(/is broken at stage model/);
  });

  test('a wrong node inside a region is found', () => {
    const builder = new GraphBuilder();
    const inside = builder.input('x', f32(2));
    const value = first(builder.add('tanh', [inside], [f32(3)]));
    const bad = builder.finish('bad', value ? [{ name: 'y', value }] : []);
    const graph = buildGraph((emitter) => {
      const [y] = emitter.fused('map', [emitter.input('x', f32(2))], bad).outputs;
      return y ? { y } : {};
    });
    expect(check(graph, 'kernels').join('\n')).toMatch(/region: outputs 0: stated f32\[3\], should be f32\[2\]/);
  });
});

describe('programs', () => {
  const good: Program = {
    name: 'P',
    doc: undefined,
    config: {},
    dims: new Map([['T', { minimum: 1, maximum: 4, multiple: 1 }]]),
    weights: [{ path: 'w', type: f32(4, 4), span: undefined, doc: undefined }],
    states: [],
    entries: [
      {
        name: 'run',
        doc: undefined,
        parameters: [{ name: 'x', type: f32('T', 4), doc: undefined, initial: undefined }],
        results: [{ name: 'y', type: f32('T', 4) }],
        graph: layer(),
        span: undefined,
      },
    ],
  };
  const entry = (change: Partial<Program['entries'][number]>): Program => ({
    ...good,
    entries: good.entries.map((each) => ({ ...each, ...change })),
  });

  test('a legal program passes', () => {
    expect(verifyProgram(good, { stage: 'model' })).toEqual([]);
  });

  test.each([
    ['an undeclared dim', { ...good, dims: new Map() }, 'dim `T` is not declared'],
    ['an undeclared weight', { ...good, weights: [] }, 'weight `w` is not declared'],
    ['parameters of another name', entry({ parameters: [] }), 'inputs and parameters have different names'],
    ['results of another type', entry({ results: [{ name: 'y', type: bool('T', 4) }] }), 'should be bool[T, 4]'],
    ['a broken graph', entry({ graph: node('tanh', [f32('T', 5)]) }), 'entry `run`: outputs 0: stated f32[T, 5]'],
  ])('%s', (_what, program, message) => {
    expect(verifyProgram(program, { stage: 'model' }).join('\n')).toContain(message);
  });
});

test('emitting what does not fit is a bug of the compiler, trying it is not', () => {
  const emitter = createEmitter(new GraphBuilder(), noRanges);
  const x = emitter.input('x', f32(2, 3));
  expect(() => emitter.emit('linear', [x, emitter.weight(['w'], f32(5, 4))])).toThrow(
    /cannot emit `linear`: last dim of `x` is `3`, `weight` expects `4`/,
  );
  expect(emitter.tryEmit('linear', [x, emitter.weight(['w'], f32(5, 4))])).toMatchObject({ operand: 0 });
  expect(() => opNamed('explode')).toThrow(/there is no op `explode`/);
});
