/**
 * The order of kernels: after what they read, and before what they read is overwritten.
 *
 * Dataflow says which value of a state a reader means: the leaf is what it held before, the result of an update what it
 * holds then. On a device both lie in one buffer, so readers of the leaf run before the update. Where that cannot be,
 * because a reader of the old value also needs something that comes of the new one, it reads a copy.
 */
import type { Node, Value } from '../../ir/graph.ts';
import { unreachable } from '../../support/error.ts';
import { overwritten, roleOf } from './roles.ts';

/** A kernel: what it stores and what it reads. */
export interface Unit {
  readonly roots: readonly Node[];
  readonly reads: readonly Value[];
}

export interface Order<Kernel extends Unit> {
  readonly units: readonly Kernel[];
  /** Leaves to copy before everything else. */
  readonly copies: ReadonlySet<Node>;
  /** Whether the kernel reads the copy of a leaf. */
  readsCopy(unit: Kernel, leaf: Node): boolean;
  isOverwritten(leaf: Node): boolean;
}

/** @param units in any order that suits the eye: it is kept where nothing speaks against it */
export function orderOf<Kernel extends Unit>(units: readonly Kernel[]): Order<Kernel> {
  const writers = new Map<Node, Kernel>();
  const overwriters = new Map<Node, Kernel>();
  for (const unit of units) {
    for (const root of unit.roots) {
      writers.set(root, unit);
      if (roleOf(root) === 'update') overwriters.set(overwritten(root), unit);
    }
  }
  const copied = new Map<Kernel, Set<Node>>();
  const readsCopy = (unit: Kernel, leaf: Node) => copied.get(unit)?.has(leaf) ?? false;

  /** Who must run before the unit; `leaf` when only because the unit overwrites it. */
  const before = (unit: Kernel): readonly { readonly unit: Kernel; readonly leaf?: Node }[] => [
    ...unit.reads.flatMap((read) => {
      const writer = writers.get(read.node);
      return writer && writer !== unit ? [{ unit: writer }] : [];
    }),
    ...[...overwriters].flatMap(([leaf, writer]) => {
      if (writer !== unit) return [];
      const readers = units.filter((other) => other !== unit && other.reads.some((read) => read.node === leaf));
      return readers.filter((reader) => !readsCopy(reader, leaf)).map((reader) => ({ unit: reader, leaf }));
    }),
  ];

  for (;;) {
    const done = new Set<Kernel>();
    /** From the unit that asked first to the one in hand, with the reason why each was asked for. */
    const path: { readonly unit: Kernel; readonly leaf?: Node }[] = [];
    const visit = (unit: Kernel, leaf?: Node): boolean => {
      if (done.has(unit)) return true;
      const start = path.findIndex((step) => step.unit === unit);
      const step = leaf === undefined ? { unit } : { unit, leaf };
      if (start >= 0) {
        const found = [...path.slice(start + 1), step].find((link) => link.leaf !== undefined);
        if (!found?.leaf) return unreachable('kernels that need each other');
        copied.set(found.unit, (copied.get(found.unit) ?? new Set()).add(found.leaf));
        return false;
      }
      path.push(step);
      const isDone = before(unit).every((link) => visit(link.unit, link.leaf));
      path.pop();
      if (isDone) done.add(unit);
      return isDone;
    };
    if (units.every((unit) => visit(unit))) {
      const copies = new Set([...copied.values()].flatMap((leaves) => [...leaves]));
      return { units: [...done], copies, readsCopy, isOverwritten: (leaf) => overwriters.has(leaf) };
    }
  }
}
