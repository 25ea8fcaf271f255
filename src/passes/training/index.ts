/**
 * From a `train` block to the hidden entries that train (decision 0007):
 *
 *   E:gradients    parameters and targets of the entry, seed and step when something is dropped, the scale of the loss in f16
 *                  -> loss, gradients in the pieces of arenas, multiplied by that
 *   E:evaluate     parameters and targets -> loss, and the results of the entry; nothing is dropped
 *   E:accumulate   keep f32[] -> sums = keep sums + gradients, and gradients = sums
 *   E:update       rates f32[4], f32[5] with an average -> norm, weights and the optimizer's vectors written
 *
 * Not here: what the host does between steps (src/runtime/trainer.ts).
 */
import { createEmitter, type GraphEmitter } from '../../ir/emit.ts';
import {
  type Entry,
  type EntryParameter,
  type EntryResult,
  type Graph,
  GraphBuilder,
  onlyOutput,
  type Program,
  type TrainBlock,
  type Training,
  type Value,
} from '../../ir/graph.ts';
import type { InferContext } from '../../ir/op.ts';
import { broadcastTo, reshapeTo, sumOf } from '../../ir/ops/build.ts';
import { calculus } from '../../ir/ops/calculus.ts';
import { stringOf } from '../../ir/ops/shared.ts';
import { constantDim } from '../../ir/symbolic.ts';
import { tensorType } from '../../ir/types.ts';
import { type Diagnostic, diagnose, type Stage } from '../../support/diagnostic.ts';
import { unreachable } from '../../support/error.ts';
import { differentiate, NotDifferentiable } from '../autodiff.ts';
import { deadCode } from '../dead-code.ts';
import { segmentsAt } from '../recompute.ts';
import { bytesOfType, maxBindingBytes } from '../split-weights.ts';
import { NoAdapter } from './adapters.ts';
import { type Layout, layoutOf, rowLength } from './arenas.ts';
import { realizeDropout, seedInput } from './dropout.ts';
import { type Forward, forwardOf, gradientPiece, lossResult, weightPiece } from './forward.ts';
import { averageOf, slotsOf, updateOf } from './optimizers.ts';
import { keepingZeros, movedOf, pruningsOf } from './pruning.ts';

/** As in torch's `clip_grad_norm_`. */
const clipSlack = 1e-6;

const scalar = tensorType('f32', []);

/** What decides which elements are dropped. */
const seeds: EntryParameter = {
  name: seedInput,
  type: tensorType('u32', [2]),
  doc: undefined,
  initial: undefined,
  role: 'seed',
};

/** What the loss of a step in f16 is multiplied by. */
const scaling: EntryParameter = { name: ':scale', type: scalar, doc: undefined, initial: undefined, role: 'scale' };

/** Drops what the results do not need; inputs stay, as they are parameters of the entry. */
function live(graph: Graph, context: InferContext): Graph {
  return deadCode.run(graph, context).graph;
}

function hidden(
  name: string,
  parameters: readonly EntryParameter[],
  results: readonly EntryResult[],
  graph: Graph,
): Entry {
  return { name, doc: undefined, parameters, results, graph: { ...graph, name }, span: undefined, isHidden: true };
}

function given(name: string, length?: number): EntryParameter {
  const type = length === undefined ? scalar : tensorType('f32', [length]);
  return { name, type, doc: undefined, initial: undefined };
}

/** The leaf of an arena, and how it is written. */
function arenaLeaf(emitter: GraphEmitter, layout: Layout, at: number): Value {
  const { path, elements } = layout.arenas[at] ?? unreachable(`no arena ${at}`);
  const type = tensorType('f32', [elements]);
  return onlyOutput(emitter.builder.add('state', [], [type], { attributes: { path }, label: path }));
}

/** [N] summed in two stages: rows, then their sums. */
function sumAll(emitter: GraphEmitter, vector: Value): Value {
  const [length] = vector.type.shape;
  const elements = length?.key === undefined ? 0 : Number(length.key);
  const rows = reshapeTo(emitter, vector, [constantDim(elements / rowLength), constantDim(rowLength)]);
  const partial = emitter.emit('reduce', [rows], { kind: 'sum', axes: [1], keep: false });
  return emitter.emit('reduce', [partial], { kind: 'sum', axes: [0], keep: false });
}

function accumulateGraph(layout: Layout, context: InferContext): Graph {
  const emitter = createEmitter(new GraphBuilder(), context);
  const keep = emitter.input('keep', scalar);
  for (const group of layout.groups) {
    const sums = arenaLeaf(emitter, layout, group.sums);
    const gradients = arenaLeaf(emitter, layout, group.gradients);
    const c = calculus(emitter);
    const kept = broadcastTo(emitter, keep, sums.type.shape);
    const zeros = c.fill(0, sums);
    const total = c.add(c.where('greater', kept, zeros, sums, zeros), gradients);
    emitter.emit('assign', [gradients, emitter.emit('assign', [sums, total])]);
  }
  return emitter.builder.finish('accumulate', []);
}

/** How many numbers change by step: what the optimizer takes, the factor of the gradients, and the share that an average takes in. */
function rateCount({ ema }: TrainBlock): number {
  return ema === undefined ? 4 : 5;
}

function updateGraph(block: TrainBlock, layout: Layout, context: InferContext): Graph {
  const emitter = createEmitter(new GraphBuilder(), context);
  const rates = emitter.input('rates', tensorType('f32', [rateCount(block)]));
  const rate = (at: number): Value => {
    const one = emitter.emit('slice', [rates], { axis: 0, start: constantDim(at), size: constantDim(1) });
    return reshapeTo(emitter, one, []);
  };
  const c = calculus(emitter);
  const factor = rate(3);
  const gradients = layout.groups.map((group) => arenaLeaf(emitter, layout, group.gradients));
  const squares = gradients.map((vector) => sumAll(emitter, c.mul(vector, vector)));
  const norm = c.mul(c.apply('sqrt', sumOf(emitter, squares) ?? emitter.constant(0, 'f32')), factor);
  const clipped =
    block.clipNorm === undefined
      ? factor
      : c.mul(
          factor,
          emitter.emit('min', [
            emitter.constant(1, 'f32'),
            c.div(emitter.constant(block.clipNorm, 'f32'), c.add(norm, emitter.constant(clipSlack, 'f32'))),
          ]),
        );
  const isSound = emitter.emit('is_finite', [norm]);
  for (const [at, group] of layout.groups.entries()) {
    const vector = gradients[at] ?? unreachable('a group without gradients');
    const shape = vector.type.shape;
    /** Writes a vector unless the gradients are not finite. */
    const write = (place: Value, value: Value): Value => {
      const chosen = emitter.emit('select', [broadcastTo(emitter, isSound, shape), value, place]);
      return emitter.emit('assign', [place, chosen]);
    };
    const weights = arenaLeaf(emitter, layout, group.weights);
    const slots = group.slots.map((slot) => arenaLeaf(emitter, layout, slot));
    const scaled = c.mul(vector, broadcastTo(emitter, clipped, shape));
    const rateSet = { lr: rate(0), first: rate(1), second: rate(2) };
    const keep = (slot: number, value: Value) => write(slots[slot] ?? unreachable(`no slot ${slot}`), value);
    const next = updateOf(
      emitter,
      block.optimizer,
      { weights, gradients: scaled, slots: slots.slice(0, slotsOf(block.optimizer).length) },
      rateSet,
      group.decay,
      group.rate,
      keep,
    );
    if (group.movement !== undefined) {
      const place = slots[group.slots.indexOf(group.movement)] ?? unreachable('a group without its movement');
      write(place, movedOf(emitter, place, weights, scaled));
    }
    const written = write(weights, group.isPruned ? keepingZeros(emitter, weights, next) : next);
    if (group.average === undefined) continue;
    const average = slots.at(-1) ?? unreachable('a group without its average');
    const mixed = averageOf(emitter, average, written, rate(4));
    write(average, group.isPruned ? keepingZeros(emitter, written, mixed) : mixed);
  }
  return emitter.builder.finish('update', [{ name: 'norm', value: norm }]);
}

/** A program with the hidden entries of its `train` block; the program itself when it has none. */
export function addTraining(program: Program, bindingBytes = maxBindingBytes): Stage<Program> {
  const block = program.train;
  if (block === undefined) return { value: program, diagnostics: [] };
  const context: InferContext = { ranges: program.dims };
  const refuse = (message: string, notes: readonly string[] = [], span = block.span): Stage<Program> => {
    const diagnostics: Diagnostic[] = [diagnose('SORA2310', message, span, notes.length === 0 ? {} : { notes })];
    return { value: program, diagnostics };
  };
  let forward: Forward;
  try {
    forward = forwardOf(program, block, context);
  } catch (error) {
    if (!(error instanceof NoAdapter)) throw error;
    return refuse(`an adapter has no place: ${error.message}`, [], error.adapter.span);
  }
  const parameters = [...forward.parameters.keys()];
  if (parameters.length === 0)
    return refuse(`nothing of \`${program.name}\` trains: no weight that is not frozen reaches the loss`);
  const large = parameters.find(({ type }) => bytesOfType(type) > bindingBytes);
  if (large) {
    const note = `a weight that trains has to fit a binding, ${Math.floor(bindingBytes / 2 ** 20)} MiB`;
    return refuse(`\`${large.path}\` is too large to be trained`, [note]);
  }
  const layout = layoutOf(parameters, block, pruningsOf(program), bindingBytes);
  const step = realizeDropout(forward.graph, context);
  const leaves = new Map(
    step.graph.nodes.flatMap((node) =>
      node.op === 'state' ? [[stringOf(node.attributes, 'path'), node] as const] : [],
    ),
  );
  const leafOf = (path: string) => leaves.get(weightPiece(path)) ?? unreachable(`no leaf of \`${path}\``);
  const wrt = new Map(parameters.map(({ path }) => [leafOf(path), gradientPiece(path)]));
  let gradients: Graph;
  try {
    gradients = differentiate(step.graph, context, {
      loss: lossResult,
      wrt,
      segmentOf: segmentsAt(block.recomputed),
      ...(block.precision === 'f16' ? { scale: scaling.name } : {}),
    }).graph;
  } catch (error) {
    if (!(error instanceof NotDifferentiable)) throw error;
    return refuse(`\`${error.node.op}\` cannot be differentiated`);
  }
  const entry = program.entries.find(({ name }) => name === block.entry) ?? unreachable(`no entry \`${block.entry}\``);
  const inputs = [...entry.parameters.filter(({ role }) => role === undefined), ...block.targets];
  const pieces = [...wrt.values()];
  const backward: Graph = {
    ...gradients,
    results: gradients.results.filter(({ name }) => name === lossResult || pieces.includes(name)),
  };
  const loss: EntryResult = { name: lossResult, type: scalar };
  const typeOf = (name: string) => layout.pieces.find(({ path }) => path === name)?.type ?? scalar;
  const name = (what: string) => `${block.entry}:${what}`;
  const training: Training = {
    block,
    gradients: name('gradients'),
    evaluate: name('evaluate'),
    accumulate: name('accumulate'),
    update: name('update'),
    arenas: layout.arenas,
    pieces: layout.pieces,
    groups: layout.groups,
    adapters: forward.adapters,
  };
  const entries = [
    hidden(
      training.gradients,
      [...inputs, ...(step.fired > 0 ? [seeds] : []), ...(block.precision === 'f16' ? [scaling] : [])],
      [loss, ...pieces.map((piece) => ({ name: piece, type: typeOf(piece), piece }))],
      live(backward, context),
    ),
    hidden(training.evaluate, inputs, [loss, ...entry.results], live(forward.graph, context)),
    hidden(training.accumulate, [given('keep')], [], accumulateGraph(layout, context)),
    hidden(
      training.update,
      [given('rates', rateCount(block))],
      [{ name: 'norm', type: scalar }],
      updateGraph(block, layout, context),
    ),
  ];
  return { value: { ...program, entries: [...program.entries, ...entries], training }, diagnostics: [] };
}
