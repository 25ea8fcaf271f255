/**
 * Pull lowering: the WGSL expression of a region's value at an index vector.
 *
 * Movement ops turn the index vector into one of their operand, elementwise ops become expressions, region inputs become
 * loads, and whatever a skeleton has computed already (a row's sum, a tile's accumulator) comes in through `Overrides`.
 * Reductions and contractions that no skeleton has claimed are written as plain loops where they are needed: slow, but
 * right for every region.
 *
 * Four neighbours at once: an index vector may mention the variable `fourth` in `[0, 4)`; a value that depends on it is a
 * vector of its four values. Loads become vector loads when the four lie side by side and aligned, else four loads.
 */
import { type Node, onlyOutput, type Value } from '../../ir/graph.ts';
import { ops } from '../../ir/ops/index.ts';
import { paddingOf } from '../../ir/ops/pad.ts';
import { dimOf, numberOf, numbersOf } from '../../ir/ops/shared.ts';
import {
  addDims,
  constantDim,
  constantValue,
  type Dim,
  type DimRange,
  isDivisible,
  multiplyDims,
  negateDim,
  subtractDims,
} from '../../ir/symbolic.ts';
import type { DType } from '../../ir/types.ts';
import { unreachable } from '../../support/error.ts';
import {
  addIndices,
  constantIndex,
  type Index,
  type IndexAlgebra,
  indexAlgebra,
  mentions,
  scaleIndex,
  splitLinear,
  variableIndex,
} from './index-algebra.ts';
import { gathered, takenAlong } from './lookups.ts';
import { loadPacked, type PackedAccess } from './packed.ts';
import { dequantized, quantizedWord } from './quantized-rows.ts';
import { dotShape, outerToFull, reducedAxes, reducerOf, UnsupportedOp } from './regions.ts';
import { fromMemory, type Lanes, literal, memoryFour, memoryType, unpackFour, wgslType } from './scalars.ts';
import { loadSparse, type SparseAccess } from './sparse.ts';
import { viewIndex } from './views.ts';
import type { Binding, KernelWriter } from './writer.ts';

/** A bound or inline expression; `lanes` 4 means a vec4. */
export interface Expression {
  readonly text: string;
  readonly lanes: Lanes;
  readonly dtype: DType;
}

export type IndexVector = readonly Index[];

/** How a buffer is read or written: by which name, with which element order. */
export interface BufferAccess {
  readonly key: string;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  /** Width of the panels of a weight (see WeightLayout); undefined: row-major. */
  readonly panels: number | undefined;
  /** Whole numbers with scales (PackedLayout), some of neighbouring numbers with their places (NmLayout). */
  readonly packed: PackedAccess | undefined;
  readonly sparse: SparseAccess | undefined;
  /** `w`: the kernel writes it too. */
  readonly access: 'r' | 'w';
}

/** What a skeleton knows: an expression for a value at an index, or another value and index that it equals. */
export type Override = { readonly expression: Expression } | { readonly value: Value; readonly index: IndexVector };

export type Overrides = (value: Value, index: IndexVector) => Override | undefined;

export interface ValueContext {
  readonly writer: KernelWriter;
  readonly ranges: ReadonlyMap<string, DimRange>;
  /** The region's `input` nodes and the buffers behind them, in order. */
  readonly inputNodes: readonly Node[];
  readonly inputs: readonly BufferAccess[];
  /** Keys of buffers that must be bound as scalars, because some kernel part cannot read them by four. */
  readonly scalarBuffers: Set<string>;
  /** How often each value of the region is read: shared ones get a name. */
  readonly uses: ReadonlyMap<Value, number>;
}

/** Name of the variable in `[0, 4)` of a vector of neighbours. Never printed. */
export const FOURTH = 'fourth';
export const fourth: Index = variableIndex(FOURTH, constantDim(4));

/** Expressions longer than this get a name of their own. */
const inlineLimit = 64;

function parenthesized(text: string): string {
  return /^[\w.]+(\[[\w. +*]*\])?$|^[\w]*\([^()]*\)$/.test(text) ? text : `(${text})`;
}

function loaded(dtype: DType, text: string, lanes: Lanes): Expression {
  return { text: fromMemory(dtype, text, lanes), lanes, dtype };
}

function bindingOf(buffer: BufferAccess, vector: boolean): Binding {
  const element = vector ? memoryFour(buffer.dtype) : memoryType(buffer.dtype);
  return { key: buffer.key, name: buffer.name, element, access: buffer.access, vector };
}

function scalarAttribute(node: Node): number {
  const values = numbersOf(node.attributes, 'values');
  if (values.length === 1 && values[0] !== undefined) return values[0];
  throw new UnsupportedOp(node, 'a constant tensor inside a kernel');
}

export class ValueWalker {
  readonly algebra: IndexAlgebra;
  readonly context: ValueContext;
  #overrides: readonly Overrides[] = [];
  readonly #identities = new Map<Node, number>();

  constructor(context: ValueContext) {
    this.context = context;
    this.algebra = indexAlgebra(context.ranges);
  }

  addOverride(override: Overrides): void {
    this.#overrides = [...this.#overrides, override];
  }

  /** The value at the index; one lane when nothing depends on `fourth`. */
  at(value: Value, index: IndexVector): Expression {
    for (const override of this.#overrides) {
      const found = override(value, index);
      if (found === undefined) continue;
      return 'expression' in found ? found.expression : this.at(found.value, found.index);
    }
    const { writer } = this.context;
    const key = `value ${this.#identity(value.node)}.${value.output} at ${index.map((part) => part.key).join(', ')}`;
    const known = writer.known(key);
    if (known !== undefined) return { ...known, dtype: value.type.dtype };
    const expression = this.#compute(value, index);
    const shared = (this.context.uses.get(value) ?? 0) > 1;
    const atomic = /^[\w.]+$/.test(expression.text);
    if (atomic || (!shared && expression.text.length <= inlineLimit)) return expression;
    const hint = value.node.op === 'input' ? (this.#buffer(value).name ?? 'input') : value.node.op;
    const text = writer.let(`${hint.replace(/\W/g, '_')}_value`, expression.text);
    writer.remember(key, { text, lanes: expression.lanes });
    return { ...expression, text };
  }

  /** Nodes of a region inside of the region have ids of their own, so ids do not tell nodes apart. */
  #identity(node: Node): number {
    const known = this.#identities.get(node) ?? this.#identities.size;
    this.#identities.set(node, known);
    return known;
  }

  /** The value as exactly so many lanes. */
  as(expression: Expression, lanes: Lanes): Expression {
    if (expression.lanes === lanes) return expression;
    return { ...expression, lanes, text: `${wgslType(expression.dtype, lanes)}(${expression.text})` };
  }

  /** The same value under a name. */
  named(expression: Expression, hint: string): Expression {
    if (/^\w+$/.test(expression.text)) return expression;
    return { ...expression, text: this.context.writer.let(hint, expression.text) };
  }

  /** Index vector with `fourth` put to a number. */
  lane(index: IndexVector, lane: number): IndexVector {
    return index.map((part) => this.algebra.substitute(part, FOURTH, constantIndex(lane)));
  }

  /** One load of a buffer at a row-major position, or at the position that its layout gives. */
  load(buffer: BufferAccess, index: IndexVector): Expression {
    if (buffer.packed) return loadPacked(this, buffer, buffer.packed, index);
    if (buffer.sparse) return loadSparse(this, buffer, buffer.sparse, index);
    const position = this.position(buffer, index);
    if (!mentions(position, FOURTH)) return this.#loadOne(buffer, position);
    const { writer, scalarBuffers } = this.context;
    const aligned = this.alignedFour(position);
    if (aligned !== undefined && !scalarBuffers.has(buffer.key)) {
      writer.loads += 1;
      const name = writer.bind(bindingOf(buffer, true));
      const element = `${name}[${writer.index(aligned)}]`;
      if (buffer.dtype !== 'f16') return loaded(buffer.dtype, element, 4);
      return { text: unpackFour(writer.let('words', element)), lanes: 4, dtype: 'f16' };
    }
    const parts = [0, 1, 2, 3].map((lane) => {
      const at = this.algebra.substitute(position, FOURTH, constantIndex(lane));
      return this.#loadOne(buffer, at).text;
    });
    return { text: `${wgslType(buffer.dtype, 4)}(${parts.join(', ')})`, lanes: 4, dtype: buffer.dtype };
  }

  /** The position divided by four, when `fourth` counts neighbours from a multiple of four. */
  alignedFour(position: Index): Index | undefined {
    const parts = splitLinear(position, FOURTH);
    if (!parts || constantValue(parts.coefficient) !== 1) return undefined;
    const divisible = (dim: Dim) => isDivisible(dim, 4, this.context.ranges);
    if (!divisible(parts.rest.constant) || !parts.rest.terms.every((term) => divisible(term.coefficient))) {
      return undefined;
    }
    return this.algebra.quotient(parts.rest, constantDim(4));
  }

  /** Where an element lies in its buffer. */
  position(buffer: BufferAccess, index: IndexVector): Index {
    if (buffer.panels === undefined) return this.algebra.linearize(index, buffer.shape);
    // [N, K] lies as [ceil(N / width)][K][width].
    const [row, column] = index;
    const [, columns] = buffer.shape;
    if (!row || !column || !columns) throw new Error('a weight in panels has two dimensions');
    const width = constantDim(buffer.panels);
    return addIndices(
      scaleIndex(this.algebra.quotient(row, width), multiplyDims(columns, width)),
      scaleIndex(column, width),
      this.algebra.remainder(row, width),
    );
  }

  #loadOne(buffer: BufferAccess, position: Index): Expression {
    const { writer, scalarBuffers } = this.context;
    scalarBuffers.add(buffer.key);
    writer.loads += 1;
    const name = writer.bind(bindingOf(buffer, false));
    if (buffer.dtype !== 'f16') return loaded(buffer.dtype, `${name}[${writer.index(position)}]`, 1);
    const two = constantDim(2);
    const word = `${name}[${writer.index(this.algebra.quotient(position, two))}]`;
    const lane = this.algebra.remainder(position, two);
    const pair = writer.let('pair', `unpack2x16float(${word})`);
    const known = lane.terms.length === 0 ? constantValue(lane.constant) : undefined;
    const text =
      known === undefined ? `select(${pair}.x, ${pair}.y, ${writer.index(lane)} == 1u)` : `${pair}[${known}]`;
    return { text, lanes: 1, dtype: 'f16' };
  }

  #buffer(value: Value): BufferAccess {
    const buffer = this.context.inputs[this.context.inputNodes.indexOf(value.node)];
    return buffer ?? unreachable('a region input without a buffer');
  }

  #operands(node: Node, index: IndexVector): readonly Expression[] {
    return node.inputs.map((operand) => this.at(operand, index));
  }

  #compute(value: Value, index: IndexVector): Expression {
    const { node } = value;
    const { dtype } = value.type;
    const moved = viewIndex(this.algebra, node, index);
    if (moved !== undefined && node.inputs[0]) return this.at(node.inputs[0], moved);
    switch (node.op) {
      case 'input':
        return this.load(this.#buffer(value), index);
      case 'constant':
        return { text: literal(dtype, scalarAttribute(node)), lanes: 1, dtype };
      case 'dim_value':
        return {
          text: `${wgslType(dtype, 1)}(${this.context.writer.dim(dimOf(node.attributes, 'value'))})`,
          lanes: 1,
          dtype,
        };
      case 'iota':
        return this.#iota(node, index);
      case 'concat':
        return this.#concat(value, index);
      case 'gather':
        return gathered(this, value, index);
      case 'take_along':
        return takenAlong(this, value, index);
      case 'quantize_rows':
        return quantizedWord(this, value, index);
      case 'dequantize_rows':
        return dequantized(this, value, index);
      case 'pad':
        return this.#pad(value, index);
      case 'reduce':
        return this.perLane(value, index, (at) => this.#reduce(node, at));
      case 'dot_general':
        return this.perLane(value, index, (at) => this.#dot(node, at));
      default:
        return this.#elementwise(node, index);
    }
  }

  #elementwise(node: Node, index: IndexVector): Expression {
    const definition = ops.get(node.op);
    if (definition?.wgsl === undefined) throw new UnsupportedOp(node);
    const operands = this.#operands(node, index);
    const lanes: Lanes = operands.some((operand) => operand.lanes === 4) ? 4 : 1;
    const texts = operands.map((operand) => parenthesized(this.as(operand, lanes).text));
    const text = definition.wgsl(
      texts,
      node.attributes,
      node.inputs.map((operand) => operand.type.dtype),
      lanes,
    );
    this.context.writer.use((definition.wgslHelpers ?? []).map((helper) => `${helper}${lanes === 4 ? '4' : ''}`));
    return { text, lanes, dtype: onlyOutput(node).type.dtype };
  }

  #iota(node: Node, index: IndexVector): Expression {
    const { dtype } = onlyOutput(node).type;
    const part = index[0] ?? constantIndex(0);
    const scalar = (at: Index) => `${wgslType(dtype, 1)}(${this.context.writer.index(at)})`;
    if (!mentions(part, FOURTH)) return { text: scalar(part), lanes: 1, dtype };
    const parts = [0, 1, 2, 3].map((lane) => scalar(this.algebra.substitute(part, FOURTH, constantIndex(lane))));
    return { text: `${wgslType(dtype, 4)}(${parts.join(', ')})`, lanes: 4, dtype };
  }

  /** A condition per piece: only the one that holds the element is evaluated. */
  #concat(value: Value, index: IndexVector): Expression {
    const { node } = value;
    const axis = numberOf(node.attributes, 'axis');
    const part = index[axis] ?? constantIndex(0);
    // Neighbours along the joined axis may come from different pieces; along other axes they move together.
    if (mentions(part, FOURTH)) return this.perLane(value, index, (at) => this.#concat(value, at));
    const known = this.#pieceAt(node, axis, part);
    if (known) {
      return this.at(
        known.piece,
        index.map((other, otherAxis) => (otherAxis === axis ? known.place : other)),
      );
    }
    const { writer } = this.context;
    const { dtype } = value.type;
    const lanes: Lanes = index.some((other) => mentions(other, FOURTH)) ? 4 : 1;
    const name = writer.fresh('joined');
    writer.line(`var ${name}: ${wgslType(dtype, lanes)};`);
    let start = constantDim(0);
    node.inputs.forEach((piece, at) => {
      const extent = piece.type.shape[axis] ?? constantDim(1);
      const end = addDims(start, extent);
      const first = at === 0;
      const last = at === node.inputs.length - 1;
      // No `else`: what the pieces share is bound between the blocks.
      const place = writer.operand(part);
      const bounds = [
        ...(first ? [] : [`${place} >= ${writer.dim(start)}`]),
        ...(last ? [] : [`${place} < ${writer.dim(end)}`]),
      ];
      writer.open(bounds.length === 0 ? '' : `if (${bounds.join(' && ')})`);
      const shifted = addIndices(part, constantIndex(negateDim(start)));
      const inPiece = writer.variable(writer.fresh('piece'), extent, undefined);
      const bound = this.#bindVariable(inPiece, shifted);
      const inner = this.at(
        piece,
        index.map((other, otherAxis) => (otherAxis === axis ? bound : other)),
      );
      writer.line(`${name} = ${this.as(inner, lanes).text};`);
      writer.close();
      start = end;
    });
    return { text: name, lanes, dtype };
  }

  /** The piece of a concat that holds a place known when compiling. */
  #pieceAt(node: Node, axis: number, part: Index): { readonly piece: Value; readonly place: Index } | undefined {
    let left = part.terms.length === 0 ? constantValue(part.constant) : undefined;
    for (const piece of node.inputs) {
      const extent = constantValue(piece.type.shape[axis] ?? constantDim(1));
      if (left === undefined || extent === undefined) return undefined;
      if (left < extent) return { piece, place: constantIndex(left) };
      left -= extent;
    }
    return undefined;
  }

  /** An index as a variable of its own, with a known extent. */
  #bindVariable(variable: Index, value: Index): Index {
    const [term] = variable.terms;
    if (term?.atom.kind === 'variable') {
      this.context.writer.line(`let ${term.atom.name} = ${this.context.writer.index(value)};`);
    }
    return variable;
  }

  /** The operand's element where there is one, else the filling; the load stays inside of the operand either way. */
  #pad(value: Value, index: IndexVector): Expression {
    const { node } = value;
    const [operand] = node.inputs;
    if (!operand) return unreachable('a padding without an operand');
    const { low, high, interior } = paddingOf(node.attributes);
    const isPadded = (axis: number) => (low[axis] ?? 0) + (high[axis] ?? 0) + (interior[axis] ?? 0) > 0;
    // Neighbours along a padded axis may lie on both sides of the edge.
    if (index.some((part, axis) => isPadded(axis) && mentions(part, FOURTH))) {
      return this.perLane(value, index, (at) => this.#pad(value, at));
    }
    const { writer } = this.context;
    const conditions: string[] = [];
    const inner = index.map((part, axis) => {
      if (!isPadded(axis)) return part;
      const extent = operand.type.shape[axis] ?? constantDim(1);
      // What lies before the first element wraps around to a very large number.
      const shifted = writer.let('shifted', writer.index(addIndices(part, constantIndex(-(low[axis] ?? 0)))));
      const step = 1 + (interior[axis] ?? 0);
      if (step > 1) conditions.push(`${shifted} % ${step}u == 0u`);
      const place = step > 1 ? writer.let('whole', `${shifted} / ${step}u`) : shifted;
      conditions.push(`${place} < ${writer.dim(extent)}`);
      const last = writer.dim(subtractDims(extent, constantDim(1)));
      return writer.variable('place', extent, `min(${place}, ${last})`);
    });
    const found = this.at(operand, inner);
    if (conditions.length === 0) return found;
    const inside = writer.let('inside', conditions.join(' && '));
    const { dtype } = value.type;
    const filling = this.as({ text: literal(dtype, numberOf(node.attributes, 'value')), lanes: 1, dtype }, found.lanes);
    return { text: `select(${filling.text}, ${found.text}, ${inside})`, lanes: found.lanes, dtype };
  }

  #reduce(node: Node, index: IndexVector): Expression {
    const [operand] = node.inputs;
    if (!operand) return unreachable('a reduction without an operand');
    const { writer } = this.context;
    const { dtype } = onlyOutput(node).type;
    const reducer = reducerOf(node);
    const total = writer.fresh('total');
    writer.line(`var ${total} = ${reducer.start(dtype)};`);
    const axes = reducedAxes(node);
    const full = outerToFull(node, index);
    for (const axis of axes) {
      const extent = operand.type.shape[axis] ?? constantDim(1);
      full[axis] = this.loop('k', extent);
    }
    const value = this.at(operand, full);
    writer.line(`${total} = ${reducer.combine(total, value.text)};`);
    for (const _ of axes) writer.close();
    return { text: total, lanes: 1, dtype };
  }

  /** Opens a loop over `[0, extent)`; close it with `writer.close()`. */
  loop(name: string, extent: Dim, staysLoop = false): Index {
    const { writer } = this.context;
    const variable = writer.fresh(name);
    const end = staysLoop ? writer.unrolledNever(extent) : writer.dim(extent);
    writer.open(`for (var ${variable} = 0u; ${variable} < ${end}; ${variable}++)`);
    return writer.variable(variable, extent);
  }

  #dot(node: Node, index: IndexVector): Expression {
    const { writer } = this.context;
    const { dtype } = onlyOutput(node).type;
    const shape = dotShape(node);
    const total = writer.fresh('total');
    writer.line(`var ${total} = ${literal(dtype, 0)};`);
    const contracted = shape.contracted.map((extent) => this.loop('k', extent));
    const left = this.at(shape.left, shape.leftIndex(index, contracted));
    const right = this.at(shape.right, shape.rightIndex(index, contracted));
    writer.line(`${total} += ${parenthesized(left.text)} * ${parenthesized(right.text)};`);
    for (const _ of contracted) writer.close();
    return { text: total, lanes: 1, dtype };
  }

  /** For ops written for one element only: four times, one for each neighbour. */
  perLane(value: Value, index: IndexVector, write: (index: IndexVector) => Expression): Expression {
    if (!index.some((part) => mentions(part, FOURTH))) return write(index);
    const parts = [0, 1, 2, 3].map((lane) => this.at(value, this.lane(index, lane)).text);
    const { dtype } = value.type;
    return { text: `${wgslType(dtype, 4)}(${parts.join(', ')})`, lanes: 4, dtype };
  }
}
