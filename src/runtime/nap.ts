/**
 * Waiting for a software driver in Node.
 *
 * Dawn's Node binding polls in a busy loop (`setImmediate`) while a promise of the device is open. Where the CPU's cores are
 * the device, that takes one of them from the driver: MiniLM with 128 tokens on lavapipe with 2 cores took 611 ms per call,
 * 432 ms with naps of 1 ms between polls (medians of one interleaved run).
 *
 * A wait of a kind seldom ends much before the last one did, so up to there naps are long: the twenty polls of a decode step of 4 ms were a
 * twentieth of it. The event loop turns between naps, so other work of the program goes on, at most a nap later.
 */
import { isNode } from './dynamic-import.ts';

/** Longest nap: what other work of the program may be held up by. */
const MAXIMUM_MILLISECONDS = 1;
/** Of the last wait, before polls come close together. */
const SHARE_OF_LAST = 0.7;
/** Naps grow with the wait behind that, so that a call of a tenth of a millisecond is not held up. */
const SHARE_OF_WAIT = 0.05;

/** Waits that take about as long, and how long the last one took behind the one before it, in milliseconds. */
export interface WaitKind {
  last: number;
}

let waits = 0;
let isNapping = false;
/** When the first of the open waits began, or the one before it ended. */
let since = 0;
/** How long naps may be from then on. */
let calm = 0;

/**
 * Passes the promise through; while it is open, the main thread sleeps between turns of the event loop. Waits end in the order in which they began.
 *
 * @param kind of one that is like others; written when it ends
 */
export function napWhile<Value>(waiting: Promise<Value>, kind: WaitKind = { last: 0 }): Promise<Value> {
  if (!isNode()) return waiting;
  if (waits++ === 0) since = performance.now();
  calm = SHARE_OF_LAST * kind.last;
  const wake = (): void => {
    waits--;
    const now = performance.now();
    kind.last = now - since;
    since = now;
  };
  waiting.then(wake, wake);
  if (!isNapping) startNaps();
  return waiting;
}

function startNaps(): void {
  isNapping = true;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const nap = (): void => {
    if (waits === 0) {
      isNapping = false;
      return;
    }
    const left = since + calm - performance.now();
    Atomics.wait(cell, 0, 0, Math.min(MAXIMUM_MILLISECONDS, Math.max(left, -left * SHARE_OF_WAIT)));
    setImmediate(nap);
  };
  setImmediate(nap);
}
