/**
 * Random small graphs for equivalence tests: every op of the tensor level that fusion treats differently, and the
 * model-level ops, wired at random over shapes with runtime dims. The same seed gives the same graph.
 */
import type { Graph, Value } from '../../src/ir/graph.ts';
import { constantDim, constantValue, type Dim, sameDim, symbolDim } from '../../src/ir/symbolic.ts';
import { sameShape } from '../../src/ir/types.ts';
import { randomNumbers } from './equivalence.ts';
import { B, type Sketch, sketch, T } from './graphs.ts';

/** Ops whose values stay small whatever goes in, so that errors stay comparable. */
const boundedUnary = ['tanh', 'erf', 'neg', 'abs', 'sin'] as const;
const binary = ['add', 'sub', 'mul', 'max', 'min'] as const;

interface Maker {
  readonly s: Sketch;
  readonly values: Value[];
  /** An integer in [0, below). */
  integer(below: number): number;
  /** A value of the pool; floats only, with at least `rank` axes. */
  some(rank?: number): Value;
  path(): string;
}

type Step = (maker: Maker) => Value | undefined;

function lastDim(value: Value): Dim {
  return value.type.shape[value.type.shape.length - 1] ?? constantDim(1);
}

/** `value` under the shape of `like` if a broadcast does it. */
function fitted(s: Sketch, value: Value, like: Value): Value | undefined {
  if (sameShape(value.type.shape, like.type.shape)) return value;
  const result = s.tryEmit('broadcast', [value], { shape: like.type.shape });
  return 'failure' in result ? undefined : result;
}

const steps: readonly Step[] = [
  ({ s, some, integer }) => s.emit(boundedUnary[integer(boundedUnary.length)] ?? 'neg', [some()]),
  ({ s, some, integer }) => {
    const left = some();
    const right = fitted(s, some(), left);
    return right && s.emit(binary[integer(binary.length)] ?? 'add', [left, right]);
  },
  ({ s, some, integer }) => {
    const left = some();
    const number = s.fill([0, 1, -0.5, 2][integer(4)] ?? 1, left);
    return s.emit(binary[integer(3)] ?? 'add', integer(2) === 0 ? [left, number] : [number, left]);
  },
  ({ s, some }) => {
    const left = some();
    const right = fitted(s, some(), left);
    return right && s.emit('select', [s.emit('less', [left, right]), left, s.emit('neg', [right])]);
  },
  ({ s, some, integer }) => {
    const x = some(2);
    const rank = x.type.shape.length;
    const shift = 1 + integer(rank - 1);
    return s.emit('transpose', [x], { permutation: x.type.shape.map((_, axis) => (axis + shift) % rank) });
  },
  ({ s, some }) => {
    const x = some(2);
    const [first, second, ...rest] = x.type.shape;
    if (!first || !second) return undefined;
    const joined = s.emit('reshape', [x], { shape: [constantDim(1), first, second, ...rest] });
    return s.emit('tanh', [s.emit('reshape', [joined], { shape: x.type.shape })]);
  },
  ({ s, some, integer }) => {
    const x = some(1);
    const axis = integer(x.type.shape.length);
    const size = constantValue(x.type.shape[axis] ?? constantDim(0));
    if (size === undefined || size < 2) return undefined;
    return s.emit('slice', [x], { axis, start: constantDim(1), size: constantDim(size - 1) });
  },
  ({ s, some, integer }) => {
    const x = some(1);
    return s.emit('concat', [x, s.emit('neg', [x]), x].slice(0, 2 + integer(2)), {
      axis: integer(x.type.shape.length),
    });
  },
  ({ s, some, integer }) => {
    const x = some(1);
    const axis = integer(x.type.shape.length);
    const kind = ['sum', 'max', 'min'][integer(3)] ?? 'sum';
    const reduced = s.emit('reduce', [s.emit('tanh', [x])], { kind, axes: [axis], keep: true });
    return integer(2) === 0 ? s.emit('sub', [x, s.like(reduced, x)]) : reduced;
  },
  ({ s, some }) => {
    // A weighted mean over axis 0: two reductions that meet.
    const x = some(2);
    const [rows, ...rest] = x.type.shape;
    if (!rows) return undefined;
    const weight = s.emit('reduce', [x], { kind: 'max', axes: rest.map((_, at) => at + 1), keep: true });
    const count = s.emit('reduce', [s.emit('exp', [s.emit('tanh', [weight])])], {
      kind: 'sum',
      axes: [0],
      keep: false,
    });
    const sum = s.emit('reduce', [s.emit('tanh', [x])], { kind: 'sum', axes: [0], keep: false });
    return s.emit('div', [sum, s.like(count, sum)]);
  },
  ({ s, some, integer }) => s.emit('reduce', [some(2)], { kind: 'max', axes: [integer(2)], keep: false }),
  ({ s, some, integer }) => {
    const x = some(1);
    return s.emit('softmax', [x], { axis: integer(x.type.shape.length) });
  },
  ({ s, some, path }) => {
    const x = some(1);
    const width = lastDim(x);
    if (constantValue(width) === undefined) return undefined;
    return s.emit('layer_norm', [x, s.parameter(path(), [width]), s.parameter(path(), [width])], { eps: 1e-3 });
  },
  ({ s, some, integer, path }) => {
    const x = some(1);
    const width = lastDim(x);
    if (constantValue(width) === undefined) return undefined;
    const project = () =>
      s.emit('linear', [x, s.parameter(path(), [3 + integer(3), width]), s.parameter(path(), [3])].slice(0, 2));
    const parts = [project(), ...(integer(2) === 0 ? [project()] : [])];
    return s.emit('concat', parts, { axis: x.type.shape.length - 1 });
  },
  ({ s, some, path }) => {
    const x = some(1);
    const width = lastDim(x);
    if (constantValue(width) === undefined) return undefined;
    const y = s.emit('linear', [x, s.parameter(path(), [width, width]), s.parameter(path(), [width])]);
    return s.emit('tanh', [s.emit('add', [y, x])]);
  },
  ({ s, some }) => {
    const x = some(2);
    const rank = x.type.shape.length;
    const batch = x.type.shape.slice(0, -2).map((_, axis) => axis);
    const sides = { lhs_batch: batch, rhs_batch: batch, lhs_contract: [rank - 1], rhs_contract: [rank - 1] };
    return s.emit('tanh', [s.emit('dot_general', [x, x], sides)]);
  },
  ({ s, some, path, values }) => {
    const indices = values.find((value) => value.type.dtype === 'i32');
    const width = lastDim(some(1));
    if (!indices || constantValue(width) === undefined) return undefined;
    return s.emit('gather', [s.parameter(path(), [3, width]), indices]);
  },
  ({ s, values, integer }) => {
    const rows = values.filter(
      ({ type: { shape } }) =>
        shape.length === 3 && shape[0] && sameDim(shape[0], B) && shape[1] && sameDim(shape[1], T),
    );
    const x = rows[integer(rows.length)];
    const width = x && constantValue(lastDim(x));
    if (!x || width === undefined || width % 2 !== 0) return undefined;
    const flags = values.find((value) => value.type.dtype === 'i32');
    const shown = flags && s.emit('equal', [flags, s.fill(1, flags)]);
    const one = constantDim(1);
    const mask = shown ? [s.emit('reshape', [shown], { shape: [B, one, one, T] })] : [];
    const kvHeads = 1 + integer(2);
    const keys = { axis: 2, start: constantDim(0), size: constantDim((width / 2) * kvHeads) };
    const key = s.emit('slice', [s.emit('neg', [x])], keys);
    const operands = [x, key, s.emit('slice', [x], keys), ...mask];
    return s.emit('attention', operands, { heads: 2, kv_heads: kvHeads, scale: 0.7, extras: mask.map(() => 'mask') });
  },
];

/** A graph of about `size` random steps with up to three results. */
export function randomGraph(seed: number, size = 12): Graph {
  const next = randomNumbers(seed);
  const integer = (below: number) => Math.floor(next() * below);
  const s = sketch();
  const values: Value[] = [
    s.argument('x', 'f32', [B, T, 4]),
    s.argument('y', 'f32', [T, 4]),
    s.argument('z', 'f32', [B, symbolDim('S'), 5]),
    s.argument('flags', 'i32', [B, T]),
    s.parameter('w', [4]),
  ];
  let paths = 0;
  const maker: Maker = {
    s,
    values,
    integer,
    some(rank = 0) {
      const fitting = values.filter(
        ({ type }) => type.dtype === 'f32' && type.shape.length >= rank && type.shape.length < 5,
      );
      // Later values are likelier, so that graphs get deep as well as wide.
      const at = Math.max(integer(fitting.length), integer(fitting.length));
      return fitting[at] ?? (values[0] as Value);
    },
    path: () => `weights.${paths++}`,
  };
  for (let step = 0; step < size; step++) {
    const value = steps[integer(steps.length)]?.(maker);
    if (value) values.push(value);
  }
  const results = [values[values.length - 1], maker.some(), maker.some()];
  return s.finish(Object.fromEntries(results.map((value, at) => [`r${at}`, value as Value])));
}
