/**
 * The whole pipeline of passes on a BERT encoder: which kernels come out, and that they compute what the model says.
 */
import { describe, expect, test } from 'vitest';
import { type Entry, type Graph, GraphBuilder, type Node, type Program, type Value } from '../../../src/ir/graph.ts';
import { printGraph } from '../../../src/ir/print.ts';
import { profileNames } from '../../../src/ir/target.ts';
import { verifyGraph } from '../../../src/ir/verify.ts';
import { maxBindings } from '../../../src/passes/fuse/materialize.ts';
import { optimize, toKernels } from '../../../src/passes/index.ts';
import { copyNode } from '../../../src/passes/pass.ts';
import { difference, randomNumbers } from '../../support/equivalence.ts';
import { bertGraph, programOf, smallBert } from '../../support/graphs.ts';

const program = programOf(bertGraph());
const optimized = optimize(program, { verify: true });

function graphOf({ entries }: { readonly entries: readonly { readonly graph: Graph }[] }): Graph {
  const [entry] = entries;
  if (!entry) throw new Error('no entry');
  return entry.graph;
}

function entryOf({ entries }: Program): Entry {
  const [entry] = entries;
  if (!entry) throw new Error('no entry');
  return entry;
}

/** The same graph with its nodes in another topological order. */
function reordered(graph: Graph, seed: number): Graph {
  const next = randomNumbers(seed);
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const waiting = [...graph.nodes];
  const isReady = (node: Node) => node.inputs.every((input) => values.has(input));
  // Parameters keep their order: it is the entry's.
  const copy = (node: Node) => {
    const inputs = node.inputs.map((input) => values.get(input) as Value);
    const made = copyNode(builder, node, inputs);
    node.outputs.forEach((output, at) => {
      values.set(output, made.outputs[at] as Value);
    });
  };
  for (const node of graph.inputs) copy(waiting.splice(waiting.indexOf(node), 1)[0] as Node);
  while (waiting.length > 0) {
    const ready = waiting.filter(isReady);
    const node = ready[Math.floor(next() * ready.length)] as Node;
    waiting.splice(waiting.indexOf(node), 1);
    copy(node);
  }
  const results = graph.results.map(({ name, value }) => ({ name, value: values.get(value) as Value }));
  return builder.finish(graph.name, results);
}

function kernelsOf(graph: Graph): readonly Node[] {
  return graph.nodes.filter((node) => node.op === 'fused');
}

function skeletons(graph: Graph, label?: string): readonly string[] {
  const kernels = kernelsOf(graph).filter((node) => label === undefined || node.label === label);
  return kernels.map((node) => String(node.attributes.skeleton));
}

describe('a BERT layer', () => {
  test('gives every pass something to do', () => {
    expect(optimized.stats).toEqual({
      canonicalize: 2 * smallBert.layers,
      'constant-fold': smallBert.layers,
      'common-subexpression': expect.any(Number),
      'dead-code': expect.any(Number),
      // Nothing looks up positions.
      'narrow-rows': 0,
      pack: smallBert.layers,
    });
    expect(optimized.stats['common-subexpression']).toBeGreaterThanOrEqual(2 * smallBert.layers);
    expect(optimized.stats['dead-code']).toBeGreaterThanOrEqual(3 * smallBert.layers);
    const { stats } = toKernels(optimized.value, 'software');
    expect(stats.decompose).toBe(1 + 7 * smallBert.layers);
    expect(stats['align-reductions']).toBe(1);
    expect(stats.fuse).toBeGreaterThan(60 * smallBert.layers);
  });

  test('takes nine kernels on software drivers: projections, scores, softmax, mix, output, norm, up, down, norm', () => {
    const graph = graphOf(toKernels(optimized.value, 'software').value);
    expect(skeletons(graph, 'encoder.layer.0')).toEqual([
      'contraction',
      'contraction',
      'row',
      'contraction',
      'contraction',
      'row',
      'contraction',
      'contraction',
      'row',
    ]);
  });

  test('takes seven kernels on GPUs, where attention is one', () => {
    const graph = graphOf(toKernels(optimized.value, 'gpu').value);
    expect(skeletons(graph, 'encoder.layer.0')).toEqual([
      'contraction',
      'attention',
      'contraction',
      'row',
      'contraction',
      'contraction',
      'row',
    ]);
  });

  test.each(profileNames)('has the same regions in every layer (%s), so layers share their kernels', (profile) => {
    const plain = programOf(bertGraph({ ...smallBert, layers: 3 }, false));
    const graph = graphOf(toKernels(optimize(plain).value, profile).value);
    const texts = ['encoder.layer.0', 'encoder.layer.1', 'encoder.layer.2'].map((label) =>
      kernelsOf(graph)
        .filter((node) => node.label === label)
        .map((node) => node.region && printGraph(node.region)),
    );
    expect(texts[1]).toEqual(texts[0]);
    expect(texts[2]).toEqual(texts[0]);
  });

  test.each(profileNames)('gives the same kernels whatever the order of independent nodes is (%s)', (profile) => {
    const regions = (graph: Graph) => {
      const kernels = graphOf(toKernels({ ...program, entries: [{ ...entryOf(program), graph }] }, profile).value);
      return kernelsOf(kernels)
        .map((node) => node.region && printGraph(node.region))
        .sort();
    };
    const expected = regions(graphOf(optimized.value));
    for (let seed = 1; seed <= 5; seed++) {
      expect(regions(reordered(graphOf(optimized.value), seed))).toEqual(expected);
    }
  });

  test('the mask is read by the softmax only, which needs it twice, and not by the scores before it', () => {
    const graph = graphOf(toKernels(optimized.value, 'software').value);
    const selects = kernelsOf(graph)
      .filter((kernel) => kernel.label === 'encoder.layer.0')
      .map((kernel) => kernel.region?.nodes.filter((node) => node.op === 'select').length);
    expect(selects).toEqual([0, 0, 2, 0, 0, 0, 0, 0, 0]);
  });

  test('masked mean and unit length after it are two kernels', () => {
    const graph = graphOf(toKernels(optimized.value, 'software').value);
    const ops = kernelsOf(graph)
      .slice(-2)
      .map((kernel) => kernel.region?.nodes.filter((node) => node.op === 'reduce').length);
    expect(ops).toEqual([2, 1]);
  });

  test('the sum of three embeddings and its norm are one kernel', () => {
    const graph = graphOf(toKernels(optimized.value, 'software').value);
    const [first] = kernelsOf(graph);
    expect(first?.attributes.skeleton).toBe('row');
    expect(first?.region?.nodes.filter((node) => node.op === 'gather')).toHaveLength(3);
    expect(first?.region?.nodes.filter((node) => node.op === 'reduce')).toHaveLength(2);
  });
});

describe.each(profileNames)('kernels for %s', (profile) => {
  const stage = toKernels(optimized.value, profile, { verify: true });
  const graph = graphOf(stage.value);

  test('hold only leaves and fused nodes, as the verifier wants', () => {
    expect(stage.diagnostics).toEqual([]);
    expect(verifyGraph(graph, { ranges: program.dims }, { stage: 'kernels' })).toEqual([]);
  });

  test('bind no more buffers than every device has', () => {
    for (const kernel of kernelsOf(graph))
      expect(kernel.inputs.length + kernel.outputs.length).toBeLessThanOrEqual(maxBindings);
  });

  test.each([
    { B: 1, T: 1 },
    { B: 2, T: 5 },
    { B: 3, T: 7 },
  ])('compute what the model says at %o', (sizes) => {
    expect(difference(program, graphOf(program), graph, sizes, 11)).toBeLessThan(1e-12);
  });

  test('come out the same on a second run', () => {
    expect(printGraph(graphOf(toKernels(optimize(program).value, profile).value))).toBe(printGraph(graph));
  });
});
