/**
 * The text form: what is printed reads back to the same graph; what is not of the form is refused with its line.
 */
import { describe, expect, test } from 'vitest';
import { createEmitter } from '../../../src/ir/emit.ts';
import { type Graph, GraphBuilder, type Program, type Value } from '../../../src/ir/graph.ts';
import { isFailure } from '../../../src/ir/op.ts';
import { ops } from '../../../src/ir/ops/index.ts';
import { printGraph, printNumber, printProgram } from '../../../src/ir/print.ts';
import { readGraph, readProgram } from '../../../src/ir/read.ts';
import { constantDim } from '../../../src/ir/symbolic.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { SoraError } from '../../../src/support/error.ts';
import { buildGraph, f32, i32, noRanges, randomNumbers, runGraph, tensorsFor } from './support.ts';

/** Everything of a graph but object identity: what the text has to carry. */
function plain(graph: Graph): unknown {
  return {
    name: graph.name,
    inputs: graph.inputs.map((node) => node.id),
    nodes: graph.nodes.map((node) => ({
      id: node.id,
      op: node.op,
      inputs: node.inputs.map((value) => [value.node.id, value.output]),
      attributes: node.attributes,
      types: node.outputs.map((output) => output.type),
      label: node.label,
      region: node.region && plain(node.region),
    })),
    results: graph.results.map((result) => [result.name, result.value.node.id, result.value.output]),
  };
}

const elementwiseNames = [...ops.values()]
  .filter((definition) => definition.traits.includes('elementwise') && Object.keys(definition.attributes).length === 0)
  .map((definition) => definition.name);

/** A legal graph of random elementwise ops, transposes, reductions and fused nodes over [B, 3]. */
function randomGraph(seed: number): Graph {
  const random = randomNumbers(seed);
  const below = (limit: number) => Math.min(limit - 1, Math.floor(((random() + 1) / 2) * limit));
  const emitter = createEmitter(new GraphBuilder(), noRanges);
  const values: Value[] = [emitter.input('a', f32('B', 3)), emitter.input('b "quoted"\n', i32('B', 3))];
  const pick = (): Value => values[below(values.length)] ?? (values[0] as Value);
  values.push(emitter.constant(random() * 1e-9, 'f32'), emitter.constant([0, 1, 1], 'bool', [constantDim(3)]));
  for (let step = 0; step < 12; step++) {
    const choice = below(8);
    const value = pick();
    const place = emitter.at(undefined, choice % 2 === 0 ? `label ${step} "\u2028"` : undefined);
    if (choice === 0 && value.type.shape.length === 2) {
      values.push(place.emit('transpose', [value], { permutation: [1, 0] }));
    } else if (choice === 1 && value.type.shape.length === 2 && value.type.dtype !== 'bool') {
      const kind = ['sum', 'max', 'min'][below(3)] ?? 'sum';
      values.push(place.emit('reduce', [value], { kind, axes: [below(2)], keep: true }));
    } else if (choice === 2) {
      const region = buildGraph((inner) => {
        const x = inner.input('x', value.type);
        return { same: x, wide: inner.emit('cast', [x], { dtype: 'f32' }) };
      });
      values.push(...place.fused('map', [value], region).outputs);
    } else {
      const name = elementwiseNames[below(elementwiseNames.length)] ?? 'add';
      const count = ops.get(name)?.operands.length ?? 1;
      const operands = Array.from({ length: count }, () => (below(3) === 0 ? pick() : value));
      const result = place.tryEmit(name, operands);
      if (!isFailure(result)) values.push(result);
    }
  }
  const results = values.slice(-3).map((value, at) => ({ name: `result ${at}`, value }));
  return emitter.builder.finish(`random ${seed}`, results);
}

test.each(Array.from({ length: 60 }, (_, seed) => seed))('random graph %d survives printing and reading', (seed) => {
  const graph = randomGraph(seed);
  const text = printGraph(graph);
  const again = readGraph(text);
  expect(plain(again)).toEqual(plain(graph));
  expect(printGraph(again)).toBe(text);
  const stages = verifyGraph(graph, noRanges, { stage: 'tensor' });
  expect(stages).toEqual([]);
  const inputs = tensorsFor(graph, { B: 2 }, seed);
  const [before, after] = [graph, again].map((each) => runGraph(each, inputs, 'f32', { B: 2 }));
  expect(after).toEqual(before);
});

test('numbers print in the shortest form that reads back', () => {
  const cases = [
    0,
    -0,
    1,
    -1.5,
    1e-12,
    1e300,
    5e-324,
    0.1 + 0.2,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NaN,
  ];
  for (const value of cases) {
    const graph = buildGraph((emitter) => ({ y: emitter.constant(value, 'f32') }));
    const read = readGraph(printGraph(graph)).nodes[0]?.attributes.values;
    expect(Object.is((read as number[])[0], value), printNumber(value)).toBe(true);
  }
});

test('the form itself', () => {
  const graph = buildGraph((emitter) => {
    const ids = emitter.input('ids', i32('B', 'T'));
    const table = emitter.weight(['word.weight'], f32(30522, 384));
    const hidden = emitter.at(undefined, 'embeddings').emit('gather', [table, ids]);
    const region = buildGraph((inner) => {
      const x = inner.input('x', hidden.type);
      return { y: inner.emit('tanh', [x]), x };
    });
    const node = emitter.fused('map', [hidden], region);
    return Object.fromEntries(node.outputs.map((output, at) => [`h${at}`, output]));
  });
  expect(printGraph(graph)).toMatchInlineSnapshot(`
    "graph "test" {
      %0 = input {name = "ids"} : i32[B, T] "ids"
      %1 = weight {paths = ["word.weight"]} : f32[30522, 384]
      %2 = gather(%1, %0) : f32[B, T, 384] "embeddings"
      %3 = fused(%2) {skeleton = "map"} : (f32[B, T, 384], f32[B, T, 384]) graph "test" {
        %0 = input {name = "x"} : f32[B, T, 384] "x"
        %1 = tanh(%0) : f32[B, T, 384]
        return "y" = %1, "x" = %0
      }
      return "h0" = %3#0, "h1" = %3#1
    }
    "
  `);
});

function program(): Program {
  const graph = buildGraph((emitter) => {
    const x = emitter.input('x', f32('B', 'T'));
    return { y: emitter.emit('tanh', [x]) };
  });
  return {
    name: 'Tiny',
    doc: 'Two lines\nof "doc".',
    config: { 'C.hidden': 384, 'C.act': 'gelu', 'C.tied': false, 'C.eps': 1e-12, __proto__x: 1 },
    dims: new Map([
      ['B', { minimum: 1, maximum: 32, multiple: 1 }],
      ['T', { minimum: 0, maximum: 512, multiple: 4 }],
    ]),
    weights: [
      { path: 'a.b/c "d"', type: f32(3, 5), span: undefined, doc: 'the table' },
      { path: 'scalar', type: f32(), span: undefined, doc: undefined },
      { path: 'rows', type: f32(3, 8), span: undefined, doc: undefined, format: { kind: 'int8' } },
      {
        path: 'groups',
        type: f32(8, 3),
        span: undefined,
        doc: 'packed',
        format: { kind: 'int4', group: 4, asymmetric: true, transposed: true },
      },
    ],
    states: [],
    entries: [
      {
        name: 'run',
        doc: 'runs',
        parameters: [{ name: 'x', type: f32('B', 'T'), doc: 'what comes in', initial: -0.5 }],
        results: [{ name: 'y', type: f32('B', 'T') }],
        graph,
        span: undefined,
      },
    ],
  };
}

test('a program survives printing and reading', () => {
  const before = program();
  const text = printProgram(before);
  const after = readProgram(text);
  expect(printProgram(after)).toBe(text);
  const flat = ({ entries, ...rest }: Program) => ({
    ...rest,
    entries: entries.map(({ graph, ...entry }) => ({ ...entry, graph: plain(graph) })),
  });
  expect(flat(after)).toEqual(flat(before));
});

describe('malformed text is refused with its line', () => {
  const good = printProgram(program());
  const graphText = (line: string) =>
    `graph "g" {\n  %0 = input {name = "x"} : f32[3]\n  ${line}\n  return "y" = %0\n}`;

  test.each([
    ['an unknown op', '%1 = explode(%0) : f32[3]', 'expected an op'],
    ['an unknown attribute', '%1 = tanh(%0) {depth = 3} : f32[3]', 'an attribute of `tanh`'],
    ['an attribute of Object', '%1 = tanh(%0) {constructor = 3} : f32[3]', 'an attribute of `tanh`'],
    ['a value before its definition', '%1 = tanh(%2) : f32[3]', 'a value defined above'],
    ['an output that is not there', '%1 = tanh(%0#1) : f32[3]', 'an output of %0'],
    ['a name twice', '%0 = tanh(%0) : f32[3]', 'a new node name'],
    ['an unknown element type', '%1 = tanh(%0) : f8[3]', 'an element type'],
    ['a dim that is none', '%1 = tanh(%0) : f32[3 / 2]', 'unexpected character'],
    ['an empty dim', '%1 = tanh(%0) : f32[3, ]', 'a dim'],
    ['an attribute of another kind', '%1 = softmax(%0) {axis = "x"} : f32[3]', 'expected a number'],
    ['a string without end', '%1 = tanh(%0) : f32[3] "label', 'unexpected character'],
    ['a bad escape', '%1 = tanh(%0) : f32[3] "\\x"', 'JSON escapes'],
    ['no types', '%1 = tanh(%0)', 'expected `:`'],
  ])('%s', (_what, line, message) => {
    expect(() => readGraph(graphText(line))).toThrow(message);
    expect(() => readGraph(graphText(line))).toThrow(/line [345]\b/);
    expect(() => readGraph(graphText(line))).toThrow(SoraError);
  });

  test('every prefix of a program', () => {
    for (let length = 0; length < good.trimEnd().length; length += 7) {
      expect(() => readProgram(good.slice(0, length))).toThrow(SoraError);
    }
  });

  test('text after the end', () => {
    expect(() => readProgram(`${good}}`)).toThrow(/the end/);
  });

  test('regions that nest without end', () => {
    const head = 'graph "g" { %0 = fused {skeleton = "map"} : f32 ';
    expect(() => readGraph(head.repeat(10_000))).toThrow(/nest too deep/);
  });

  test('names that mean something to JavaScript are only names', () => {
    const text = good.replace('"C.act" = "gelu"', '"__proto__" = "gelu"');
    const { config } = readProgram(text);
    expect(Object.getPrototypeOf(config)).toBe(Object.prototype);
    expect(Object.entries(config)).toContainEqual(['__proto__', 'gelu']);
  });
});
