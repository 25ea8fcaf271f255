/**
 * Following units through a program: from an axis whose indices belong to units (heads, neurons) to all axes that hang together
 * with it, over every op that says which of its axes run along (`axes` of its definition).
 *
 * Labels only grow: an index without a unit may get one, and an index that would get two is a conflict. So the order of the
 * walk does not matter, and fused projections, of which each slice tells a part, come out whole.
 */
import type { Node } from '../../ir/graph.ts';
import type { AxisRun } from '../../ir/op.ts';
import type { Span } from '../../support/source.ts';
import { definitionOf, hasTrait } from '../pass.ts';
import { type Cell, type Places, sizeOf } from './places.ts';

/** Why units cannot be taken out. */
export interface Obstacle {
  readonly why: string;
  readonly span: Span | undefined;
}

/** Units of the indices along each axis of a cell; -1: none. */
export type Labels = ReadonlyMap<Cell, ReadonlyMap<number, Int32Array>>;

export interface Followed {
  readonly labels: Labels;
  readonly obstacles: readonly Obstacle[];
  /** Nodes that were passed. */
  readonly nodes: ReadonlySet<Node>;
}

function opWord(node: Node): string {
  return `\`${node.op}\``;
}

interface Run {
  readonly from: number;
  readonly length: number;
  readonly each: number;
  readonly keys: number;
}

/** The run with everything that may be left out. */
function whole(run: AxisRun, size: number): Run {
  const from = run.from ?? 0;
  const length = run.length ?? size - from;
  const each = run.each ?? 1;
  return { from, length, each, keys: run.keys ?? Math.ceil(length / each) };
}

function keyAt({ from, each, keys }: Run, index: number): number {
  return Math.floor((index - from) / each) % keys;
}

export class Following {
  readonly #places: Places;
  readonly #labels = new Map<Cell, Map<number, Int32Array>>();
  readonly #queue = new Set<Node>();
  readonly #nodes = new Set<Node>();
  readonly #obstacles: Obstacle[] = [];

  constructor(places: Places) {
    this.#places = places;
  }

  /** `unitOf` gives the unit of an index, -1 for none. */
  start(cell: Cell, axis: number, unitOf: (index: number) => number): void {
    const size = sizeOf(cell, axis);
    const labels = size === undefined ? undefined : this.#labelsOf(cell, axis, undefined);
    if (!labels) return;
    for (let index = 0; index < labels.length; index++) labels[index] = unitOf(index);
  }

  /** @param patience how many obstacles end the walk */
  finish(count: number, patience = 8): Followed {
    for (const node of this.#queue) {
      this.#queue.delete(node);
      this.#nodes.add(node);
      this.#pass(node);
      if (this.#obstacles.length >= patience) break;
    }
    if (this.#obstacles.length === 0) this.#verify(count);
    return { labels: this.#labels, obstacles: this.#obstacles, nodes: this.#nodes };
  }

  #block(why: string, node: Node | undefined): void {
    this.#obstacles.push({ why, span: node?.span });
  }

  #enqueue(cell: Cell): void {
    for (const node of cell.touching) this.#queue.add(node);
  }

  /** Labels of an axis, made when there are none; undefined when it cannot have any. */
  #labelsOf(cell: Cell, axis: number, node: Node | undefined): Int32Array | undefined {
    const axes = this.#labels.get(cell) ?? new Map<number, Int32Array>();
    const known = axes.get(axis);
    if (known) return known;
    const size = sizeOf(cell, axis);
    if (size === undefined) {
      this.#block(`an axis of ${opWord(cell.node)} that holds units has no fixed size`, node);
      return undefined;
    }
    if (cell.fixed !== undefined) this.#block(`${cell.fixed} would change its shape`, node ?? cell.node);
    const labels = new Int32Array(size).fill(-1);
    axes.set(axis, labels);
    this.#labels.set(cell, axes);
    this.#enqueue(cell);
    return labels;
  }

  /** The unit of each key as far as it is known; undefined when indices of one key are of different units. */
  #unitsByKey(node: Node, run: AxisRun): Int32Array | undefined {
    const cell = this.#places.at(node, run);
    const labels = cell && this.#labels.get(cell)?.get(run.axis);
    if (!labels) return undefined;
    const part = whole(run, labels.length);
    const units = new Int32Array(part.keys).fill(-1);
    for (let index = part.from; index < part.from + part.length; index++) {
      const unit = labels[index] ?? -1;
      if (unit < 0) continue;
      const key = keyAt(part, index);
      if (units[key] !== -1 && units[key] !== unit) return undefined;
      units[key] = unit;
    }
    return units;
  }

  #pass(node: Node): void {
    if (hasTrait(node, 'leaf')) return;
    const sets = this.#places.runs(node);
    for (const set of sets) {
      const known = new Map<number, number>();
      for (const run of set) {
        this.#unitsByKey(node, run)?.forEach((unit, key) => {
          if (unit < 0) return;
          const other = known.get(key);
          if (other !== undefined && other !== unit) this.#block(`${opWord(node)} mixes different units`, node);
          known.set(key, unit);
        });
      }
      if (known.size === 0) continue;
      for (const run of set) if (!this.#apply(node, run, known)) return;
    }
    for (const [cell, axis] of this.#labelled(node)) {
      const hasRun = sets.some((set) => set.some((run) => run.axis === axis && this.#places.at(node, run) === cell));
      if (hasRun) continue;
      this.#block(`${opWord(node)} needs all of them at once`, node);
      return;
    }
  }

  #apply(node: Node, run: AxisRun, known: ReadonlyMap<number, number>): boolean {
    const cell = this.#places.at(node, run);
    if (!cell) return true;
    const labels = this.#labelsOf(cell, run.axis, node);
    if (!labels) return false;
    const part = whole(run, labels.length);
    let isChanged = false;
    for (let index = part.from; index < part.from + part.length; index++) {
      const unit = known.get(keyAt(part, index));
      if (unit === undefined || labels[index] === unit) continue;
      if (labels[index] !== -1) {
        this.#block(`${opWord(node)} mixes different units`, node);
        return false;
      }
      labels[index] = unit;
      isChanged = true;
    }
    if (isChanged) this.#enqueue(cell);
    return true;
  }

  /** Axes of values around a node that hold units. */
  *#labelled(node: Node): Iterable<readonly [Cell, number]> {
    const { region } = node;
    const inner = region
      ? [...region.inputs.flatMap(({ outputs }) => outputs), ...region.results.map((one) => one.value)]
      : [];
    for (const value of [...node.inputs, ...node.outputs, ...inner]) {
      const cell = this.#places.of(value);
      for (const axis of this.#labels.get(cell)?.keys() ?? []) yield [cell, axis];
    }
  }

  /** What can be said only when all labels are known: units lie whole, and each has as many indices as any other. */
  #verify(count: number): void {
    for (const node of this.#nodes) {
      if (hasTrait(node, 'leaf')) continue;
      const runs = this.#places.runs(node).flat();
      for (const [cell, axis] of this.#labelled(node)) {
        const own = runs.filter((run) => run.axis === axis && this.#places.at(node, run) === cell);
        if (!own.some((run) => this.#unitsByKey(node, run) !== undefined)) {
          const what = definitionOf(node).skeleton === 'attention' ? 'takes heads as a whole' : 'cuts through units';
          this.#block(`${opWord(node)} ${what}`, node);
          return;
        }
        const labels = this.#labels.get(cell)?.get(axis);
        if (labels && !own.every((run) => isEven(labels, whole(run, labels.length), count))) {
          this.#block(`${opWord(node)} takes parts with different units`, node);
          return;
        }
      }
    }
  }
}

/** Whether each unit has as many indices in a run as any other. */
function isEven(labels: Int32Array, { from, length }: Run, count: number): boolean {
  const counts = new Int32Array(count);
  for (const unit of labels.subarray(from, from + length)) if (unit >= 0) counts[unit] = (counts[unit] ?? 0) + 1;
  return counts.every((each) => each === counts[0]);
}
