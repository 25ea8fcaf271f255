/**
 * Any program as one that gives gradients: the loss is the sum of its float results times given noise, differentiated with
 * respect to every float input and weight.
 */
import { createEmitter } from '../../src/ir/emit.ts';
import {
  type Entry,
  type Graph,
  GraphBuilder,
  type Node,
  type Program,
  type Training,
  type Value,
} from '../../src/ir/graph.ts';
import { isFloat } from '../../src/ir/types.ts';
import { differentiate } from '../../src/passes/autodiff.ts';
import { deadCode } from '../../src/passes/dead-code.ts';
import { copyNode } from '../../src/passes/pass.ts';

export const lossName = 'loss';

interface WithLoss {
  readonly graph: Graph;
  /** Float leaves of the given graph. */
  readonly leaves: readonly Node[];
}

function withLoss(graph: Graph, program: Program): WithLoss {
  const builder = new GraphBuilder();
  const emitter = createEmitter(builder, { ranges: program.dims });
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value => {
    const found = values.get(value);
    if (!found) throw new Error(`\`${value.node.op}\` is not mapped`);
    return found;
  };
  const leaves: Node[] = [];
  for (const node of graph.nodes) {
    const copy = copyNode(builder, node, node.inputs.map(mapped));
    node.outputs.forEach((output, at) => {
      const own = copy.outputs[at];
      if (own) values.set(output, own);
      if (own && (node.op === 'input' || node.op === 'weight') && isFloat(own.type.dtype)) leaves.push(copy);
    });
  }
  let loss = emitter.constant(0, 'f32');
  for (const [at, result] of graph.results.entries()) {
    const value = mapped(result.value);
    if (!isFloat(value.type.dtype)) continue;
    const noisy = emitter.emit('mul', [value, emitter.input(`noise_${at}`, value.type)]);
    const axes = value.type.shape.map((_, axis) => axis);
    const sum = axes.length === 0 ? noisy : emitter.emit('reduce', [noisy], { kind: 'sum', axes, keep: false });
    loss = emitter.emit('add', [loss, emitter.emit('cast', [sum], { dtype: 'f32' })]);
  }
  return { graph: builder.finish(graph.name, [{ name: lossName, value: loss }]), leaves };
}

/** What makes code generation take the entry for a training step, whose kernels share dispatches; nothing lies in arenas. */
function trainingOf(entry: Entry): Training {
  const schedule = { kind: 'constant', peak: 0, warmup: 0, final: 0 } as const;
  const block = {
    entry: entry.name,
    targets: [],
    reads: [],
    scored: [],
    formats: new Map(),
    rates: new Map<string, number>(),
    decays: new Map<string, number>(),
    loss: entry.graph,
    optimizer: { name: 'sgd', momentum: 0, nesterov: false, weightDecay: 0, schedule } as const,
    noDecay: new Set<string>(),
    frozen: new Set<string>(),
    clipNorm: undefined,
    precision: 'f32' as const,
    ema: undefined,
    recomputed: [],
    microBatches: 1,
    seed: 0,
    adapters: [],
    alone: undefined,
    span: { file: { path: '', text: '' }, start: 0, end: 0 },
  };
  const names = { gradients: entry.name, evaluate: '', accumulate: '', update: '' };
  return { block, ...names, arenas: [], pieces: [], groups: [], adapters: [] };
}

/** The program whose only entry gives the loss and the gradients of the first entry's float leaves. */
export function gradientProgram(program: Program): Program {
  const [entry] = program.entries;
  if (!entry) throw new Error('no entry');
  const { graph, leaves } = withLoss(entry.graph, program);
  const context = { ranges: program.dims };
  const wrt = new Map(leaves.map((leaf, at) => [leaf, `gradient_${at}`]));
  const gradients = deadCode.run(differentiate(graph, context, { loss: lossName, wrt }).graph, context).graph;
  const noise = gradients.inputs.slice(entry.parameters.length).map((node) => {
    const type = node.outputs[0]?.type;
    if (!type) throw new Error('an input without a type');
    return { name: String(node.attributes.name), type, doc: undefined, initial: undefined };
  });
  const own: Entry = {
    ...entry,
    parameters: [...entry.parameters, ...noise],
    results: gradients.results.map(({ name, value }) => ({ name, type: value.type })),
    graph: gradients,
  };
  return { ...program, entries: [own], training: trainingOf(own) };
}
