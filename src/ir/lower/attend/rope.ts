/**
 * `rope: rotary(theta: …, pairs: "half", width: …, scaling: …)`: turns pairs of every head of query and key by an angle that
 * grows with the position.
 *
 *   y0 = x0 cos - x1 sin,  y1 = x1 cos + x0 sin       pairs "half": (d, d + width/2); "neighbours": (2d, 2d + 1)
 *
 * Angles are taken in turns: position times frequency, minus whole turns. The frequency is a short number, whose product
 * with a position is exact in f32, plus a small rest, so that angles are right to 1e-6 at position 32,768 too and sine and
 * cosine see arguments within one turn. The tables are the same nodes in every layer, so one of them is left.
 * Source: Su et al. 2021 (RoFormer).
 */
import type { RecordField } from '../../../parser/ast.ts';
import type { Span } from '../../../support/source.ts';
import type { Value } from '../../graph.ts';
import { addDims, constantDim, constantValue, type Dim, divideDim, negateDim } from '../../symbolic.ts';
import type { Shape } from '../../types.ts';
import { evaluateArguments, matchArguments } from '../arguments.ts';
import { describe, numberOf } from '../binding.ts';
import { report } from '../context.ts';
import { emitNode } from '../nodes.ts';
import { convert, emitTogether, reshapeTo } from '../tensors.ts';
import type { Building } from './building.ts';
import { type Rotation, scalings } from './rope-frequencies.ts';
import { readWord, type Word } from './words.ts';

interface Rotary extends Rotation {
  readonly pairs: 'half' | 'neighbours';
  /** How many elements of each head are turned, an even number. */
  readonly width: number;
}

const one = constantDim(1);

/** Bits of a frequency whose product with a position below 2^15 is exact in f32. */
const shortBits = 9;

function shortened(value: number): number {
  if (value === 0) return 0;
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(value))) - (shortBits - 1));
  return Math.round(value / unit) * unit;
}

export function applyRope(building: Building, field: RecordField): boolean {
  const { context, scope } = building;
  const word = readWord(context, field.value, scope, 'rope', ['rotary', 'none']);
  if (word === undefined) return false;
  if (word.name === 'none') return true;
  const rotary = readRotary(building, word);
  if (rotary === undefined) return false;
  for (const side of ['query', 'key'] as const) {
    const turned = rotate(building, building[side], side, rotary, word.span);
    if (turned === undefined) return false;
    building[side] = turned;
  }
  return true;
}

function readRotary(building: Building, word: Word): Rotary | undefined {
  const { context } = building;
  const scaling = word.arguments.find((argument) => argument.name?.text === 'scaling');
  const names = ['theta', 'pairs', 'width'];
  const parameters = names.map((name) => ({ name, required: false }));
  const others = word.arguments.filter((argument) => argument !== scaling);
  const given = evaluateArguments(context, others, word.scope);
  if (given.some(({ binding }) => binding.kind === 'poison')) return undefined;
  const matched = matchArguments(context, { name: 'rotary', parameters, span: undefined }, given, word.span);
  if (matched === undefined) return undefined;
  const [theta, pairs, width] = matched;
  const base = theta === undefined ? 10000 : numberOf(theta.binding);
  if (base === undefined || !(base > 1)) {
    report(context, 'SORA2204', `\`theta\` is a known number above 1`, theta?.span ?? word.span);
    return undefined;
  }
  const kind = pairs === undefined ? 'half' : pairs.binding.kind === 'string' ? pairs.binding.value : undefined;
  if (kind !== 'half' && kind !== 'neighbours') {
    const found = pairs ? `, found ${describe(pairs.binding)}` : '';
    report(context, 'SORA2115', `\`pairs\` is "half" or "neighbours"${found}`, pairs?.span ?? word.span);
    return undefined;
  }
  const whole = constantValue(building.width);
  const turned = width === undefined ? whole : numberOf(width.binding);
  if (whole === undefined || turned === undefined || !isEvenUpTo(turned, whole)) {
    const found = turned === undefined ? '' : `, found ${turned}`;
    const message = `the rotary width is an even number up to the width of a head, ${building.width.key}${found}`;
    report(context, 'SORA2115', message, width?.span ?? word.span);
    return undefined;
  }
  const rotation = readScaling(building, scaling && { value: scaling.value, word }, base, turned);
  return rotation && { ...rotation, pairs: kind, width: turned };
}

function isEvenUpTo(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 2 && value % 2 === 0 && value <= most;
}

interface Scaled {
  readonly value: Word['arguments'][number]['value'];
  readonly word: Word;
}

function readScaling(
  building: Building,
  scaled: Scaled | undefined,
  theta: number,
  width: number,
): Rotation | undefined {
  const { context } = building;
  if (scaled === undefined) return scalings.none?.rotation(theta, width, () => undefined);
  const word = readWord(context, scaled.value, scaled.word.scope, 'scaling', Object.keys(scalings));
  const scaling = word && scalings[word.name];
  if (!word || !scaling) return undefined;
  const parameters = scaling.parameters.map((name) => ({ name: name.replace('?', ''), required: !name.endsWith('?') }));
  const given = evaluateArguments(context, word.arguments, word.scope);
  if (given.some(({ binding }) => binding.kind === 'poison')) return undefined;
  const matched = matchArguments(context, { name: word.name, parameters, span: undefined }, given, word.span);
  if (matched === undefined) return undefined;
  const numbers = new Map<string, number>();
  for (const [at, { name, required }] of parameters.entries()) {
    const argument = matched[at];
    if (argument === undefined) continue;
    const value = numberOf(argument.binding);
    // What may be left out may be 0: a config whose key is missing.
    if (value === 0 && !required) continue;
    if (value === undefined || !(value > 0)) {
      const message = `\`${name}\` is a known number above 0, found ${describe(argument.binding)}`;
      report(context, 'SORA2204', message, argument.span);
      return undefined;
    }
    numbers.set(name, value);
  }
  return scaling.rotation(theta, width, (name) => numbers.get(name));
}

/** Emits nodes at one place; undefined passes through. */
class Writer {
  readonly #building: Building;
  readonly #span: Span;

  constructor(building: Building, span: Span) {
    this.#building = building;
    this.#span = span;
  }

  emit(op: string, inputs: readonly (Value | undefined)[], attributes = {}): Value | undefined {
    if (!inputs.every((input) => input !== undefined)) return undefined;
    return emitNode(this.#building.context, op, inputs, attributes, this.#span);
  }

  /** An elementwise op on values that broadcast. */
  together(op: string, ...inputs: readonly (Value | undefined)[]): Value | undefined {
    if (!inputs.every((input) => input !== undefined)) return undefined;
    return emitTogether(this.#building.context, op, inputs, this.#span);
  }

  reshape(value: Value | undefined, shape: Shape): Value | undefined {
    return value && reshapeTo(this.#building.context, value, shape, this.#span);
  }

  constant(values: readonly number[], shape: Shape): Value | undefined {
    return emitNode(this.#building.context, 'constant', [], { values, dtype: 'f32', shape }, this.#span);
  }

  convert(value: Value | undefined, dtype: Value['type']['dtype']): Value | undefined {
    return value && convert(this.#building.context, value, dtype, this.#span);
  }
}

/** Positions of the rows of query or key, f32 [T] or [batch…, T]. */
function positionsOf(building: Building, write: Writer, length: Dim): Value | undefined {
  const index = write.emit('iota', [], { length, dtype: 'i32' });
  const { offsets } = building;
  if (offsets === undefined) return write.convert(index, 'f32');
  const starts = write.reshape(offsets, [...offsets.type.shape, one]);
  return write.convert(write.together('add', starts, index), 'f32');
}

interface Tables {
  readonly cosine: Value;
  readonly sine: Value;
}

/** Cosine and sine of every position and pair: [T, pairs] or [batch…, T, pairs]. */
function tablesOf(building: Building, write: Writer, rotary: Rotary, length: Dim): Tables | undefined {
  const count = constantDim(rotary.frequencies.length);
  const positions = positionsOf(building, write, length);
  const column = write.reshape(positions, [...(positions?.type.shape ?? []), one]);
  const turns = rotary.frequencies.map((frequency) => frequency / (2 * Math.PI));
  const short = write.constant(turns.map(shortened), [count]);
  const rest = write.constant(
    turns.map((value) => value - shortened(value)),
    [count],
  );
  const fraction = (value: Value | undefined) => write.emit('sub', [value, write.emit('round', [value])]);
  const most = fraction(write.together('mul', column, short));
  const turn = fraction(write.together('add', most, write.together('mul', column, rest)));
  const angle = write.together('mul', turn, write.constant([2 * Math.PI], []));
  const scaled = (value: Value | undefined) =>
    rotary.amplitude === 1 ? value : write.together('mul', value, write.constant([rotary.amplitude], []));
  const cosine = scaled(write.emit('cos', [angle]));
  const sine = scaled(write.emit('sin', [angle]));
  return cosine && sine && { cosine, sine };
}

function rotate(
  building: Building,
  value: Value,
  side: 'query' | 'key',
  rotary: Rotary,
  span: Span,
): Value | undefined {
  const write = new Writer(building, span);
  const heads = constantDim(side === 'query' ? building.heads : building.kvHeads);
  const { shape, dtype } = value.type;
  const outer = shape.slice(0, -1);
  const width = divideDim(shape.at(-1) ?? one, heads);
  const length = outer.at(-1);
  if (width === undefined || length === undefined) return undefined;
  const split = write.reshape(write.convert(value, 'f32'), [...outer, heads, width]);
  const isWhole = constantValue(width) === rotary.width;
  const axis = outer.length + 1;
  const turnedWidth = constantDim(rotary.width);
  const part = isWhole ? split : write.emit('slice', [split], { axis, start: constantDim(0), size: turnedWidth });
  const turned = write.reshape(turn(building, write, part, rotary, { outer, heads, length }), [
    ...outer,
    heads,
    turnedWidth,
  ]);
  const rest = addDims(width, negateDim(turnedWidth));
  const joined = isWhole
    ? turned
    : write.emit('concat', [turned, write.emit('slice', [split], { axis, start: turnedWidth, size: rest })], { axis });
  return write.convert(write.reshape(joined, shape), dtype);
}

interface Around {
  readonly outer: Shape;
  readonly heads: Dim;
  readonly length: Dim;
}

/** Turns [outer…, heads, width]; gives it with the pairs as an axis of their own. */
function turn(
  building: Building,
  write: Writer,
  part: Value | undefined,
  rotary: Rotary,
  { outer, heads, length }: Around,
): Value | undefined {
  const isHalf = rotary.pairs === 'half';
  const count = constantDim(rotary.width / 2);
  const two = constantDim(2);
  const inPairs = (all: Dim): Shape => (isHalf ? [all, count] : [count, all]);
  const pairs = write.reshape(part, [...outer, heads, ...inPairs(two)]);
  const pairAxis = outer.length + (isHalf ? 1 : 2);
  const tables = tablesOf(building, write, rotary, length);
  const placed = (table: Value | undefined) =>
    write.reshape(table, [...(table?.type.shape ?? []).slice(0, -1), one, ...inPairs(one)]);
  const index = write.convert(write.emit('iota', [], { length: two, dtype: 'i32' }), 'f32');
  const doubled = write.together('mul', index, write.constant([2], []));
  const sign = write.together('sub', doubled, write.constant([1], []));
  const signs = write.reshape(sign, isHalf ? [two, one] : [one, two]);
  const signed = write.together('mul', placed(tables?.sine), signs);
  const swapped = write.emit('reverse', [pairs], { axes: [pairAxis] });
  return write.together(
    'add',
    write.together('mul', pairs, placed(tables?.cosine)),
    write.together('mul', swapped, signed),
  );
}
