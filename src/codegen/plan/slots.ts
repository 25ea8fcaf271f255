/**
 * Scratch memory: which values share a buffer. A slot is free again after the last step that reads its value; a new value
 * takes a free slot of its own size, else one that is surely big enough, else one that grows, else a new one. A value that lives
 * long takes one of its own size or a new one: in a larger one it would keep the rest from others all the while.
 *
 * Greedy colouring in the order of steps, as in Poletto & Sarkar 1999 (linear scan): lifetimes are intervals.
 */
import { type Dim, type DimRange, dimBounds, subtractDims } from '../../ir/symbolic.ts';
import type { SizeExpression } from '../../runtime/artifact.ts';
import { greatest, sizeOf } from './sizes.ts';

interface Slot {
  sizes: Dim[];
  free: boolean;
}

export class SlotAllocator {
  readonly #slots: Slot[] = [];
  readonly #ranges: ReadonlyMap<string, DimRange>;

  constructor(ranges: ReadonlyMap<string, DimRange>) {
    this.#ranges = ranges;
  }

  /** A slot for so many bytes, taken until it is released; `livesLong`: not soon. */
  take(bytes: Dim, livesLong = false): number {
    const free = this.#slots.filter((slot) => slot.free);
    const covers = (slot: Slot) =>
      slot.sizes.some((size) => dimBounds(subtractDims(size, bytes), this.#ranges).minimum >= 0);
    const same = free.find((slot) => slot.sizes.some((size) => size.key === bytes.key));
    const other = () => this.#smallest(free.filter(covers)) ?? this.#largest(free);
    const chosen = same ?? (livesLong ? undefined : other());
    if (!chosen) {
      this.#slots.push({ sizes: [bytes], free: false });
      return this.#slots.length - 1;
    }
    if (!covers(chosen)) {
      const kept = chosen.sizes.filter((size) => dimBounds(subtractDims(bytes, size), this.#ranges).minimum < 0);
      chosen.sizes = [...kept, bytes];
    }
    chosen.free = false;
    return this.#slots.indexOf(chosen);
  }

  release(slot: number): void {
    const found = this.#slots[slot];
    if (found) found.free = true;
  }

  /** Bytes of every slot: the greatest of what it holds. */
  sizes(): readonly SizeExpression[] {
    return this.#slots.map(({ sizes }) => {
      const [only] = sizes;
      return sizes.length === 1 && only ? sizeOf(only) : ['max', ...sizes.map(sizeOf)];
    });
  }

  #weigh(slot: Slot): number {
    return Math.max(...slot.sizes.map((size) => greatest(size, this.#ranges)));
  }

  #smallest(slots: readonly Slot[]): Slot | undefined {
    return [...slots].sort((a, b) => this.#weigh(a) - this.#weigh(b))[0];
  }

  #largest(slots: readonly Slot[]): Slot | undefined {
    return [...slots].sort((a, b) => this.#weigh(b) - this.#weigh(a))[0];
  }
}
