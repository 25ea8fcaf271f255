/**
 * Connectionist temporal classification: how probable a sequence of labels is when every frame gives a label or a blank.
 *
 * A path takes one of the L = 2 S + 1 states blank, y_1, blank, y_2, …, y_S, blank per frame. It starts in the first or the
 * second state, ends in the last label or the blank behind it, and from frame to frame it stays, goes to the next state, or
 * skips the blank between two labels that differ. The likelihood is the sum over all paths of the products of probabilities.
 *
 * `ctc_paths` is the recurrence, frame by frame, in logarithms; `ctc` puts states, recurrence and end together. Its gradient
 * needs the sums from the end too: the same recurrence over the sequence turned around.
 *
 * Source: Graves et al. 2006, sections 3 and 4. torch: `ctc_loss(log_probs, targets, …, reduction='none')`.
 */
import type { Value } from '../graph.ts';
import type { Emitter, OpDefinition } from '../op.ts';
import { constantDim, type Dim, dimBounds, productOfDims, sameDim } from '../symbolic.ts';
import { newTensor } from '../tensor.ts';
import { sameShape, type TensorType } from '../types.ts';
import { broadcastTo, dimScalar, fillLike, reshapeTo, scalarConstant } from './build.ts';
import { calculus } from './calculus.ts';
import { fail, numberOf, quoteType } from './shared.ts';

/** The logarithm of no probability: far below every sum of logarithms and still finite. */
export const impossible = -1e30;
/** Above this something was possible. */
const possible = -1e29;
/** The states of a frame lie twice in workgroup memory, 16 KiB of which every device has. */
export const mostStates = 2047;

const one = constantDim(1);

/** log(exp(a) + exp(b) + exp(c)); of impossible things impossible. */
function logSum(a: number, b: number, c: number): number {
  const top = Math.max(a, b, c);
  return top + Math.log(Math.exp(a - top) + Math.exp(b - top) + Math.exp(c - top));
}

export const ctcPaths: OpDefinition = {
  name: 'ctc_paths',
  level: 'tensor',
  doc:
    'For each frame and state the logarithm of the sum over all paths that end there: y[b, t, l] = x[b, t, l] + log(sum of ' +
    'exp(y[b, t - 1, m]) over m = l, l - 1 and, where `skips` [B, L] holds, l - 2). The first frame has the states 0 and 1.',
  operands: ['x', 'skips'],
  attributes: {},
  traits: [],
  skeleton: 'recurrence',
  tileOperands: 0,
  infer([x, skips], _attributes, context) {
    if (x?.dtype !== 'f32' || x.shape.length !== 3) {
      return fail(`\`ctc_paths\` takes f32 [B, T, L]${x ? `, not ${quoteType(x)}` : ''}`, 0);
    }
    const [batch = one, , states = one] = x.shape;
    const wanted: TensorType = { dtype: 'bool', shape: [batch, states] };
    if (skips?.dtype !== 'bool' || !sameShape(skips.shape, wanted.shape)) {
      return fail(`\`skips\` must be ${quoteType(wanted)}${skips ? `, not ${quoteType(skips)}` : ''}`, 1);
    }
    const most = dimBounds(states, context.ranges).maximum;
    return most <= mostStates ? [x] : fail(`there may be ${most} states, more than ${mostStates}`, 0);
  },
  interpret([x, skips], _attributes, context) {
    if (!x || !skips) return [];
    const [batch = 0, frames = 0, states = 0] = x.shape;
    const result = newTensor('f32', x.shape, context.precision);
    const y = result.data;
    for (let row = 0; row < batch; row++) {
      for (let t = 0; t < frames; t++) {
        const start = (row * frames + t) * states;
        const before = (l: number): number => (l < 0 ? impossible : (y[start - states + l] as number));
        for (let l = 0; l < states; l++) {
          const own = x.data[start + l] as number;
          if (t === 0) y[start + l] = l < 2 ? own : impossible;
          else {
            const skipped = skips.data[row * states + l] === 0 ? impossible : before(l - 2);
            y[start + l] = own + logSum(before(l), before(l - 1), skipped);
          }
        }
      }
    }
    return [result];
  },
  // Three exponentials, a logarithm and what goes with them.
  flops: (_inputs, [out = []]) => 12 * out.reduce((product, size) => product * size, 1),
};

/** The states of a batch of targets, and what they give in every frame. */
interface Paths {
  readonly batch: Dim;
  readonly frames: Dim;
  readonly states: Dim;
  /** i32[B]: frames that count, 1 to T, and labels, 0 to S. */
  readonly length: Value;
  readonly labels: Value;
  /** i32[B, L] */
  readonly state: Value;
  /** f32[B, T, L] */
  readonly x: Value;
  /** bool[B, L] */
  readonly skips: Value;
}

function clamped(emitter: Emitter, value: Value, least: number, most: Dim): Value {
  const c = calculus(emitter);
  const upper = broadcastTo(emitter, dimScalar(emitter, most, 'i32'), value.type.shape);
  return emitter.emit('min', [emitter.emit('max', [value, c.fill(least, value)]), upper]);
}

/** Integers [L], counted from 0, as [B, …, L]. */
function counted(emitter: Emitter, length: Dim, shape: readonly Dim[], axis: number): Value {
  const along = shape.map((_, at) => (at === axis ? length : one));
  const numbers = emitter.emit('iota', [], { length, dtype: 'i32' });
  return broadcastTo(emitter, reshapeTo(emitter, numbers, along), shape);
}

/** i32[B] as [B, 1, …] under a shape. */
function perRow(emitter: Emitter, value: Value, shape: readonly Dim[]): Value {
  const [batch = one] = shape;
  return broadcastTo(emitter, reshapeTo(emitter, value, [batch, ...shape.slice(1).map(() => one)]), shape);
}

/** Elements along an axis at indices of the result's shape; the other axes are equal. */
function along(emitter: Emitter, table: Value, indices: Value, axis: number): Value {
  return emitter.emit('take_along', [table, indices], { axis });
}

function pathsOf(emitter: Emitter, [logs, targets, frames, labels]: readonly Value[], blank: number): Paths {
  if (!logs || !targets || !frames || !labels) throw new RangeError('`ctc` without operands');
  const c = calculus(emitter);
  const [batch = one, time = one] = logs.type.shape;
  const [, most = one] = targets.type.shape;
  const blanks = (shape: readonly Dim[]) => broadcastTo(emitter, scalarConstant(emitter, blank, 'i32'), shape);
  // blank y_1 blank y_2 … y_S, and a last blank.
  const column = [batch, most, one];
  const pairs = emitter.emit('concat', [blanks(column), reshapeTo(emitter, targets, column)], { axis: 2 });
  const [, , two = one] = pairs.type.shape;
  const flat = emitter.emit('reshape', [pairs], { shape: [batch, productOfDims([most, two])] });
  const state = emitter.emit('concat', [flat, blanks([batch, one])], { axis: 1 });
  const [, states = one] = state.type.shape;
  const x = along(
    emitter,
    logs,
    broadcastTo(emitter, reshapeTo(emitter, state, [batch, one, states]), [batch, time, states]),
    2,
  );
  // Two states before: nothing there may be skipped to.
  const back = emitter.emit('sub', [counted(emitter, states, [batch, states], 1), fillLike(emitter, 2, state)]);
  const earlier = along(emitter, state, back, 1);
  const differs = emitter.emit('not_equal', [state, earlier]);
  const isLabel = emitter.emit('not_equal', [state, c.fill(blank, state)]);
  const isInside = emitter.emit('greater_equal', [back, c.fill(0, back)]);
  const skips = emitter.emit('and', [isInside, emitter.emit('and', [isLabel, differs])]);
  return {
    batch,
    frames: time,
    states,
    length: clamped(emitter, frames, 1, time),
    labels: clamped(emitter, labels, 0, most),
    state,
    x,
    skips,
  };
}

/** The logarithm of the likelihood, f32[B], from the sums over paths. */
function likelihood(emitter: Emitter, { batch, length, labels, states }: Paths, sums: Value): Value {
  const c = calculus(emitter);
  const last = c.sub(length, c.fill(1, length));
  const row = along(emitter, sums, perRow(emitter, last, [batch, one, states]), 1);
  const ends = reshapeTo(emitter, row, [batch, states]);
  const at = (offset: number): Value => {
    const place = c.sub(emitter.emit('mul', [labels, c.fill(2, labels)]), c.fill(offset, labels));
    const value = along(emitter, ends, reshapeTo(emitter, place, [batch, one]), 1);
    const there = emitter.emit('greater_equal', [place, c.fill(0, place)]);
    return emitter.emit('select', [
      there,
      reshapeTo(emitter, value, [batch]),
      broadcastTo(emitter, scalarConstant(emitter, impossible, 'f32'), [batch]),
    ]);
  };
  const [blank, label] = [at(0), at(1)];
  const top = emitter.emit('max', [blank, label]);
  const sum = c.add(c.apply('exp', c.sub(blank, top)), c.apply('exp', c.sub(label, top)));
  return c.add(top, c.apply('log', sum));
}

/** 0 where no path has the labels. */
function whereSome(emitter: Emitter, logs: Value, value: Value): Value {
  const c = calculus(emitter);
  return c.where('greater', logs, c.fill(possible, logs), value, c.fill(0, value));
}

export const ctc: OpDefinition = {
  name: 'ctc',
  level: 'model',
  doc:
    'Minus the logarithm of the likelihood of `targets` [B, S], given logarithms of probabilities `logs` f32 [B, T, V]: f32 [B]. ' +
    '`frames` and `labels` i32 [B] say how many of each count (clamped to 1..T and 0..S). 0 where no path has the labels, so that ' +
    'such a row moves nothing.',
  operands: ['logs', 'targets', 'frames', 'labels'],
  attributes: { blank: { kind: 'int', doc: 'the class that stands for no label' } },
  traits: [],
  skeleton: 'none',
  infer([logs, targets, frames, labels], _attributes, context) {
    if (logs?.dtype !== 'f32' || logs.shape.length !== 3) {
      return fail(`\`ctc\` takes f32 [B, T, V]${logs ? `, not ${quoteType(logs)}` : ''}`, 0);
    }
    const [batch = one] = logs.shape;
    const [rows] = targets?.shape ?? [];
    if (targets?.dtype !== 'i32' || targets.shape.length !== 2 || !rows || !sameDim(rows, batch)) {
      return fail(`the targets must be i32 [${batch.key}, S]${targets ? `, not ${quoteType(targets)}` : ''}`, 1);
    }
    const most = dimBounds(targets.shape[1] ?? one, context.ranges).maximum;
    if (2 * most + 1 > mostStates) return fail(`there may be ${most} labels, more than ${(mostStates - 1) / 2}`, 1);
    const wrong = [frames, labels].findIndex((type) => type?.dtype !== 'i32' || !sameShape(type.shape, [batch]));
    const type = [frames, labels][wrong];
    if (wrong >= 0)
      return fail(`lengths must be i32 [${batch.key}]${type ? `, not ${quoteType(type)}` : ''}`, 2 + wrong);
    return [{ dtype: 'f32', shape: [batch] }];
  },
  decompose(emitter, inputs, attributes) {
    const paths = pathsOf(emitter, inputs, numberOf(attributes, 'blank'));
    const sums = emitter.emit('ctc_paths', [paths.x, paths.skips]);
    const logs = likelihood(emitter, paths, sums);
    return whereSome(emitter, logs, emitter.emit('neg', [logs]));
  },
  /**
   * d/d logs[b, t, v] = -(share of the paths that have v in frame t). Paths through state l at t: those that end there, times
   * those that start there, which are those of the sequence turned around.
   */
  gradient(emitter, { inputs, attributes, cotangent }) {
    const [logs] = inputs;
    if (!logs) return [];
    const c = calculus(emitter);
    const paths = pathsOf(emitter, inputs, numberOf(attributes, 'blank'));
    const { batch, frames, states, length, labels, state, x, skips } = paths;
    const whole = [batch, frames, states];
    const sums = emitter.emit('ctc_paths', [x, skips]);
    const total = likelihood(emitter, paths, sums);
    const doubled = emitter.emit('mul', [labels, c.fill(2, labels)]);
    /** Place of each state, and of each frame, in the sequence turned around. */
    const turnedState = (shape: readonly Dim[]) =>
      c.sub(perRow(emitter, doubled, shape), counted(emitter, states, shape, shape.length - 1));
    const lastFrame = c.sub(length, c.fill(1, length));
    const turnedFrame = c.sub(perRow(emitter, lastFrame, whole), counted(emitter, frames, whole, 1));
    const turned = (value: Value) => along(emitter, along(emitter, value, turnedFrame, 1), turnedState(whole), 2);
    // From l - 2 to l there is what was from l to l - 2: the skip into the state two further on.
    const from = c.add(turnedState([batch, states]), fillLike(emitter, 2, state));
    const asNumbers = emitter.emit('cast', [skips], { dtype: 'i32' });
    const turnedSkips = emitter.emit('cast', [along(emitter, asNumbers, from, 1)], { dtype: 'bool' });
    const isSkip = emitter.emit('and', [
      turnedSkips,
      emitter.emit('greater_equal', [counted(emitter, states, [batch, states], 1), fillLike(emitter, 2, state)]),
    ]);
    const onward = turned(emitter.emit('ctc_paths', [turned(x), isSkip]));
    const through = c.sub(c.add(sums, onward), x);
    const all = perRow(emitter, total, whole);
    const isFrame = emitter.emit('greater_equal', [turnedFrame, c.fill(0, turnedFrame)]);
    const place = turnedState(whole);
    const isState = emitter.emit('greater_equal', [place, c.fill(0, place)]);
    const isPossible = emitter.emit('greater', [all, c.fill(possible, all)]);
    const counts = emitter.emit('and', [emitter.emit('and', [isFrame, isState]), isPossible]);
    const nothing = c.fill(0, through);
    // At most 0 where it counts; what does not count may be anything, and is not raised.
    const share = c.apply(
      'exp',
      emitter.emit('select', [counts, emitter.emit('min', [c.sub(through, all), nothing]), nothing]),
    );
    const weighted = emitter.emit('select', [
      counts,
      c.mul(share, perRow(emitter, c.apply('neg', cotangent), whole)),
      nothing,
    ]);
    // The states of one class together.
    const [, , classes = one] = logs.type.shape;
    const byClass = [batch, states, classes];
    const wanted = broadcastTo(emitter, reshapeTo(emitter, state, [batch, states, one]), byClass);
    const isClass = emitter.emit('equal', [wanted, counted(emitter, classes, byClass, 2)]);
    const spread = emitter.emit('cast', [isClass], { dtype: 'f32' });
    const sides = { lhs_batch: [0], rhs_batch: [0], lhs_contract: [2], rhs_contract: [1] };
    return [emitter.emit('dot_general', [weighted, spread], sides)];
  },
};
