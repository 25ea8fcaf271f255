/**
 * Fusion of small graphs: which kernels come out, what is in them, and that they compute the same.
 */
import { describe, expect, test } from 'vitest';
import type { Graph, Node, Value } from '../../../src/ir/graph.ts';
import { constantDim, multiplyDims } from '../../../src/ir/symbolic.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { fuse } from '../../../src/passes/fuse/index.ts';
import { maxBindings } from '../../../src/passes/fuse/materialize.ts';
import { toKernels } from '../../../src/passes/index.ts';
import { difference } from '../../support/equivalence.ts';
import { B, programOf, type Sketch, sketch, T } from '../../support/graphs.ts';
import { bodyOf, graphOf } from './support.ts';

const one = constantDim(1);

/** Kernels of the graph for software drivers, checked to be legal and to compute the same. */
function kernelGraph(before: Graph): Graph {
  const program = programOf(before);
  const stage = toKernels(program, 'software', { verify: true });
  expect(stage.diagnostics).toEqual([]);
  const graph = stage.value.entries[0]?.graph;
  if (!graph) throw new Error('no entry');
  expect(verifyGraph(graph, { ranges: program.dims }, { stage: 'kernels' })).toEqual([]);
  for (const kernel of kernelsOf(graph)) {
    expect(new Set(kernel.inputs).size + kernel.outputs.length).toBeLessThanOrEqual(maxBindings);
  }
  for (const sizes of [
    { B: 1, T: 1, S: 1, N: 1 },
    { B: 3, T: 5, S: 2, N: 7 },
  ]) {
    expect(difference(program, before, graph, sizes, 3)).toBeLessThan(1e-12);
  }
  return graph;
}

function kernelsOf(graph: Graph): readonly Node[] {
  return graph.nodes.filter((node) => node.op === 'fused');
}

/** `row: gather add reduce …`, views and leaves left out. */
function summary(graph: Graph): readonly string[] {
  const quiet = new Set(['input', 'constant', 'broadcast', 'reshape', 'transpose', 'slice', 'iota']);
  return kernelsOf(graph).map((kernel) => {
    const ops = kernel.region?.nodes.map((node) => node.op).filter((op) => !quiet.has(op)) ?? [];
    return `${String(kernel.attributes.skeleton)}: ${ops.join(' ')}`.trimEnd();
  });
}

function kernels(write: (s: Sketch) => Readonly<Record<string, Value>>): readonly string[] {
  return summary(kernelGraph(graphOf(write)));
}

function activations(s: Sketch, name = 'x', width = 6): Value {
  return s.argument(name, 'f32', [B, T, width]);
}

function linear(s: Sketch, x: Value, name: string, outputs: number): Value {
  const width = x.type.shape[x.type.shape.length - 1] ?? one;
  return s.emit('linear', [x, s.parameter(`${name}.weight`, [outputs, width]), s.parameter(`${name}.bias`, [outputs])]);
}

describe('row kernels', () => {
  test('take in a residual sum before a layer norm, and what follows it', () => {
    const result = kernels((s) => {
      const sum = s.emit('add', [activations(s, 'x'), activations(s, 'y')]);
      const gain = s.parameter('gain', [6]);
      return { y: s.emit('tanh', [s.emit('layer_norm', [sum, gain, s.parameter('bias', [6])], { eps: 1e-5 })]) };
    });
    expect(result).toEqual(['row: add reduce div sub mul reduce div add rsqrt mul mul add tanh']);
  });

  test('take in the scaling and masking of scores before a softmax', () => {
    const result = kernels((s) => {
      const scores = s.argument('scores', 'f32', [B, 2, T, T]);
      const mask = s.argument('mask', 'i32', [B, T]);
      const scaled = s.emit('mul', [scores, s.fill(0.25, scores)]);
      const shown = s.emit('reshape', [s.emit('not_equal', [mask, s.fill(0, mask)])], { shape: [B, one, one, T] });
      const masked = s.emit('select', [s.like(shown, scaled), scaled, s.fill(-1e30, scaled)]);
      return { p: s.emit('softmax', [masked], { axis: 3 }) };
    });
    expect(result).toEqual(['row: not_equal mul select reduce sub exp reduce div']);
  });

  test('are one for rms norm', () => {
    const result = kernels((s) => ({
      y: s.emit('rms_norm', [activations(s), s.parameter('gain', [6])], { eps: 1e-6 }),
    }));
    expect(result).toEqual(['row: mul reduce div add rsqrt mul mul']);
  });

  test('are one for a unit vector', () => {
    const result = kernels((s) => {
      const x = activations(s);
      const squares = s.emit('reduce', [s.emit('mul', [x, x])], { kind: 'sum', axes: [2], keep: true });
      return { y: s.emit('div', [x, s.like(s.emit('sqrt', [squares]), x)]) };
    });
    expect(result).toEqual(['row: mul reduce sqrt div']);
  });

  test('are one for reductions of the same rows that do not need each other', () => {
    const result = kernels((s) => {
      const x = activations(s);
      const squares = s.emit('reduce', [s.emit('mul', [x, x])], { kind: 'sum', axes: [2], keep: false });
      const mean = s.emit('reduce', [x], { kind: 'sum', axes: [2], keep: false });
      return { y: s.emit('sub', [squares, s.emit('mul', [mean, mean])]) };
    });
    expect(result).toEqual(['row: mul reduce reduce mul sub']);
  });

  test('take in a reshape at their end, which leaves memory as it is', () => {
    const result = kernels((s) => {
      const p = s.emit('softmax', [activations(s)], { axis: 2 });
      return { y: s.emit('reshape', [p], { shape: [multiplyDims(B, T), constantDim(6)] }) };
    });
    expect(result).toEqual(['row: reduce sub exp reduce div']);
  });

  test('leave a mixed-in mask to the sum that reads it, so that norms stay alike', () => {
    const result = kernels((s) => {
      const norm = s.emit('rms_norm', [activations(s), s.parameter('gain', [6])], { eps: 1e-6 });
      const masked = s.emit('mul', [norm, activations(s, 'mask')]);
      return { y: s.emit('reduce', [masked], { kind: 'sum', axes: [1], keep: false }) };
    });
    expect(result).toEqual(['row: mul reduce div add rsqrt mul mul', 'row: mul reduce']);
  });

  test('do not mix reductions over different axes', () => {
    const result = kernels((s) => {
      const normed = s.emit('softmax', [activations(s)], { axis: 2 });
      return { y: s.emit('softmax', [normed], { axis: 1 }) };
    });
    expect(result).toEqual(['row: reduce sub exp reduce div', 'row: reduce sub exp reduce div']);
  });

  test('are not joined with a reduction of a transposed row', () => {
    const result = kernels((s) => {
      const x = s.argument('x', 'f32', [T, T]);
      const rows = s.emit('reduce', [x], { kind: 'max', axes: [1], keep: true });
      const turned = s.emit('transpose', [s.emit('sub', [x, s.like(rows, x)])], { permutation: [1, 0] });
      return {
        y: s.emit('sub', [turned, s.like(s.emit('reduce', [turned], { kind: 'max', axes: [1], keep: true }), turned)]),
      };
    });
    expect(result.filter((kernel) => kernel.startsWith('row'))).toHaveLength(2);
  });
});

describe('contraction kernels', () => {
  test('take in bias, gelu and residual', () => {
    const result = kernels((s) => {
      const x = activations(s);
      const y = linear(s, x, 'up', 6);
      const bent = s.emit('erf', [s.emit('mul', [y, s.fill(Math.SQRT1_2, y)])]);
      const gelu = s.emit('mul', [s.emit('mul', [y, s.fill(0.5, y)]), s.emit('add', [bent, s.fill(1, y)])]);
      return { y: s.emit('add', [gelu, x]) };
    });
    expect(result).toEqual(['contraction: dot_general add mul mul erf add mul add']);
  });

  test('store heads where the next product reads rows', () => {
    const s = sketch();
    const p = s.argument('p', 'f32', [B, 2, T, T]);
    const v = s.argument('v', 'f32', [B, T, 6]);
    const heads = s.emit('reshape', [v], { shape: [B, T, constantDim(2), constantDim(3)] });
    const sides = { lhs_batch: [0, 1], rhs_batch: [0, 2], lhs_contract: [3], rhs_contract: [1] };
    const mixed = s.emit('dot_general', [p, heads], sides);
    const turned = s.emit('transpose', [mixed], { permutation: [0, 2, 1, 3] });
    const rows = s.emit('reshape', [turned], { shape: [B, T, constantDim(6)] });
    const graph = kernelGraph(s.finish({ y: linear(s, rows, 'out', 6) }));
    expect(summary(graph)).toEqual(['contraction: dot_general', 'contraction: dot_general add']);
    const [first, second] = kernelsOf(graph).map((kernel) => kernel.region?.nodes.map((node) => node.op) ?? []);
    expect(first?.slice(-2)).toEqual(['transpose', 'reshape']);
    expect(second).not.toContain('reshape');
  });

  test('compute what follows of one product together, and store the product only when somebody else needs it', () => {
    const result = kernels((s) => {
      const x = activations(s);
      const y = linear(s, x, 'w', 6);
      return { y: s.emit('tanh', [y]), z: s.emit('exp', [y]) };
    });
    expect(result).toEqual(['contraction: dot_general add tanh exp']);
  });

  test('do not take in an operand that must be computed: it is stored first', () => {
    const result = kernels((s) => ({ y: linear(s, s.emit('tanh', [activations(s)]), 'w', 4) }));
    expect(result).toEqual(['map: tanh', 'contraction: dot_general add']);
  });

  test('read what is joined or looked up, and still take in what follows them', () => {
    const result = kernels((s) => {
      const past = s.argument('past', 'f32', [B, T, 6]);
      const x = s.emit('gather', [s.parameter('table', [9, 6]), s.argument('ids', 'i32', [B, one])]);
      const keys = s.emit('concat', [past, linear(s, x, 'key', 6)], { axis: 1 });
      const dot = { lhs_batch: [0], rhs_batch: [0], lhs_contract: [2], rhs_contract: [2] };
      const scores = s.emit('dot_general', [x, keys], dot);
      const weights = s.emit('softmax', [s.emit('mul', [scores, s.fill(0.25, scores)])], { axis: 2 });
      const mixed = s.emit('dot_general', [weights, keys], { ...dot, rhs_contract: [1] });
      return { y: s.emit('add', [x, linear(s, mixed, 'out', 6)]), keys };
    });
    expect(result).toEqual([
      'map: gather',
      'contraction: dot_general add',
      'map: concat',
      'contraction: dot_general mul',
      'row: reduce sub exp reduce div',
      'contraction: dot_general',
      'contraction: dot_general add add',
    ]);
  });

  test('keep their scale, though the next layer has the same number', () => {
    const result = kernels((s) => {
      const dot = { lhs_batch: [0], rhs_batch: [0], lhs_contract: [2], rhs_contract: [2] };
      const layer = (x: Value) => {
        const scores = s.emit('dot_general', [x, x], dot);
        const weights = s.emit('softmax', [s.emit('mul', [scores, s.fill(0.25, scores)])], { axis: 2 });
        return s.emit('dot_general', [weights, x], { ...dot, rhs_contract: [1] });
      };
      return { y: layer(layer(activations(s))) };
    });
    const kernelsOfLayer = [
      'contraction: dot_general mul',
      'row: reduce sub exp reduce div',
      'contraction: dot_general',
    ];
    expect(result).toEqual([...kernelsOfLayer, ...kernelsOfLayer]);
  });

  test('make no cycle with a reduction of their own result', () => {
    const result = kernels((s) => {
      const y = linear(s, activations(s), 'w', 6);
      const sum = s.emit('reduce', [y], { kind: 'sum', axes: [2], keep: true });
      return { z: s.emit('mul', [y, s.like(sum, y)]) };
    });
    expect(result).toEqual(['contraction: dot_general add', 'row: reduce mul']);
  });

  test('are two when one product is added to another', () => {
    const result = kernels((s) => {
      const x = activations(s);
      const y = activations(s, 'y');
      return { z: s.emit('tanh', [s.emit('add', [linear(s, x, 'a', 6), linear(s, y, 'b', 6)])]) };
    });
    expect([...result].sort()).toEqual(['contraction: dot_general add', 'contraction: dot_general add add tanh']);
  });
});

describe('kernels that store several values', () => {
  const sumOfRows = (s: Sketch, x: Value) => s.emit('reduce', [x], { kind: 'sum', axes: [0, 1], keep: false });

  test('a product and what follows of it', () => {
    const result = kernels((s) => {
      const y = linear(s, activations(s), 'w', 6);
      return { y, z: s.emit('tanh', [y]) };
    });
    expect(result).toEqual(['contraction: dot_general add tanh']);
  });

  test('sums of the same rows', () => {
    const result = kernels((s) => {
      const x = activations(s);
      return { y: sumOfRows(s, x), z: sumOfRows(s, s.emit('mul', [x, activations(s, 'g')])) };
    });
    expect(result).toEqual(['row: reduce mul reduce']);
  });

  test('not when one of them waits for the other by way of a third', () => {
    const result = kernels((s) => {
      const x = s.emit('softmax', [activations(s)], { axis: 2 });
      const y = linear(s, x, 'w', 6);
      return { x, z: s.emit('softmax', [s.emit('mul', [x, y])], { axis: 2 }) };
    });
    expect(result).toEqual([
      'row: reduce sub exp reduce div',
      'contraction: dot_general add mul',
      'row: reduce sub exp reduce div',
    ]);
  });
});

describe('what is computed where', () => {
  test('cheap expressions of inputs are repeated in each reader, dear ones are stored once', () => {
    const masked = (dear: boolean) =>
      kernels((s) => {
        const mask = s.argument('mask', 'f32', [B, T]);
        let weight = s.emit('sub', [s.fill(1, mask), mask]);
        if (dear) for (let step = 0; step < 8; step++) weight = s.emit('tanh', [weight]);
        const column = s.emit('reshape', [weight], { shape: [B, T, one] });
        // Rows of two widths, or one kernel would walk over both.
        const parts = ['x', 'y'].map((name, at) => {
          const x = activations(s, name, 6 + at);
          return s.emit('softmax', [s.emit('mul', [x, s.like(column, x)])], { axis: 2 });
        });
        return { p: parts[0] as Value, q: parts[1] as Value };
      });
    expect(masked(false)).toEqual(Array(2).fill('row: sub mul reduce sub exp reduce div'));
    expect(masked(true)).toEqual([
      `map: sub${' tanh'.repeat(8)}`,
      ...Array(2).fill('row: mul reduce sub exp reduce div'),
    ]);
  });

  test('a table of a lookup lies in a buffer', () => {
    const result = kernels((s) => {
      const table = s.emit('tanh', [s.parameter('table', [3, 4])]);
      return { y: s.emit('exp', [s.emit('gather', [table, s.argument('ids', 'i32', [B, T])])]) };
    });
    expect(result).toEqual(['map: tanh', 'map: gather exp']);
  });

  test('views, inputs and weights that are results are copied by a kernel', () => {
    const graph = kernelGraph(
      graphOf((s) => {
        const x = activations(s);
        const turned = s.emit('transpose', [x], { permutation: [1, 0, 2] });
        return { turned, again: turned, x, w: s.parameter('w', [3]) };
      }),
    );
    expect(summary(graph)).toEqual(['map:', 'map:', 'map:']);
    expect(graph.results.map((result) => result.value.node.op)).toEqual(Array(4).fill('fused'));
  });

  test('a sum of many tensors is split by bindings', () => {
    const result = kernels((s) => {
      const parts = Array.from({ length: 20 }, (_, at) => activations(s, `x${at}`));
      return { y: parts.reduce((sum, part) => s.emit('add', [sum, part])) };
    });
    expect(result).toHaveLength(4);
  });

  test('so is a concatenation of many', () => {
    const result = kernels((s) => {
      const parts = Array.from({ length: 19 }, (_, at) => activations(s, `x${at}`));
      return { y: s.emit('concat', parts, { axis: 1 }) };
    });
    expect(result.length).toBeGreaterThan(2);
  });

  test('a stored value that a product reads through a view is stored as the view shows it', () => {
    const graph = kernelGraph(
      graphOf((s) => {
        const x = s.argument('x', 'f32', [B, T, 2, 3]);
        const joined = s.emit('reshape', [s.emit('tanh', [x])], { shape: [multiplyDims(B, T), constantDim(6)] });
        return { y: linear(s, joined, 'w', 4) };
      }),
    );
    expect(kernelsOf(graph).map((kernel) => kernel.region?.nodes.map((node) => node.op))).toEqual([
      ['input', 'tanh', 'reshape'],
      ['input', 'input', 'dot_general', 'input', 'broadcast', 'add'],
    ]);
  });
});

test('the text of a small fused graph', () => {
  const graph = kernelGraph(
    graphOf((s) => {
      const x = activations(s);
      return { y: s.emit('tanh', [linear(s, x, 'w', 4)]) };
    }),
  );
  expect(bodyOf(graph)).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T, 6] "x"
    %1 = weight {paths = ["w.weight"]} : f32[4, 6]
    %2 = weight {paths = ["w.bias"]} : f32[4]
    %3 = fused(%0, %1, %2) {skeleton = "contraction"} : f32[B, T, 4] graph "region" {
      %0 = input {name = "i0"} : f32[B, T, 6] "i0"
      %1 = input {name = "i1"} : f32[4, 6] "i1"
      %2 = dot_general(%0, %1) {lhs_batch = [], rhs_batch = [], lhs_contract = [2], rhs_contract = [1]} : f32[B, T, 4]
      %3 = input {name = "i2"} : f32[4] "i2"
      %4 = broadcast(%3) {shape = [B, T, 4]} : f32[B, T, 4]
      %5 = add(%2, %4) : f32[B, T, 4]
      %6 = tanh(%5) : f32[B, T, 4]
      return "o0" = %6
    }
    return "y" = %3"
  `);
});

test('an op that no kernel family takes is a diagnostic', () => {
  const graph = graphOf((s) => ({ y: s.emit('softmax', [activations(s)], { axis: 2 }) }));
  const { diagnostics } = fuse(graph);
  expect(diagnostics.map(({ code, message }) => [code, message])).toEqual([
    ['SORA4001', 'no kernel computes `softmax` yet'],
  ]);
});

test('an op of more tensors than a kernel binds is a diagnostic; the passes before fusion leave none', () => {
  const graph = graphOf((s) => ({
    y: s.emit(
      'concat',
      Array.from({ length: maxBindings }, (_, at) => s.argument(`x${at}`, 'f32', [B, T])),
      { axis: 1 },
    ),
  }));
  expect(fuse(graph).diagnostics.map(({ code, message }) => [code, message])).toEqual([
    ['SORA4002', 'one kernel of `concat` reads too many buffers'],
  ]);
  kernelGraph(graph);
});

describe('updates', () => {
  /** Rows of some widths, appended to a state each; `between` gives the rows of the second from the first state. */
  function appends(widths: readonly [number, number], between?: (s: Sketch, first: Value) => Value) {
    return kernels((s) => {
      const offsets = s.argument('offsets', 'i32', [B]);
      const state = (name: string, width: number) => s.argument(name, 'f32', [B, 9, width]);
      const rows = s.emit('tanh', [activations(s, 'key', widths[0])]);
      const first = s.emit('append', [state('keys', widths[0]), rows, offsets]);
      const others = between?.(s, first) ?? s.emit('exp', [activations(s, 'value', widths[1])]);
      const second = s.emit('append', [state('values', widths[1]), others, offsets]);
      const sum = (value: Value) => s.emit('reduce', [value], { kind: 'sum', axes: [2], keep: false });
      return { first: sum(first), second: sum(second) };
    });
  }

  test('of rows of one type share a kernel', () => {
    expect(appends([6, 6])).toEqual(['append: tanh append exp append', 'row: reduce', 'row: reduce']);
  });

  test('of rows of different widths do not', () => {
    expect(appends([6, 4])).toEqual(['append: tanh append', 'append: exp append', 'row: reduce', 'row: reduce']);
  });

  test('do not when one has to do with what the other wrote', () => {
    const shown = (s: Sketch, first: Value) =>
      s.emit('mul', [
        activations(s, 'value'),
        s.like(s.emit('slice', [first], { axis: 1, start: constantDim(2), size: one }), activations(s, 'like')),
      ]);
    expect(appends([6, 6], shown).filter((kernel) => kernel.startsWith('append'))).toHaveLength(2);
  });
});
