/**
 * Waiting for a software driver in Node.
 *
 * Dawn's Node binding polls in a busy loop (`setImmediate`) while a promise of the device is open. Where the CPU's cores are
 * the device, that takes one of them from the driver: MiniLM with 128 tokens on lavapipe with 2 cores took 611 ms per call,
 * 432 ms with naps of 1 ms between polls (medians of one interleaved run).
 *
 * The event loop turns between naps, so other work of the program goes on, at most a nap later.
 */
import { isNode } from './dynamic-import.ts';

/** Longest nap: what other work of the program may be held up by. */
const MAXIMUM_MILLISECONDS = 1;
/** Naps grow with the wait, so that a call of a tenth of a millisecond is not held up. */
const SHARE_OF_WAIT = 0.05;

let waits = 0;
let isNapping = false;

/** Passes the promise through; while it is open, the main thread sleeps between turns of the event loop. */
export function napWhile<Value>(waiting: Promise<Value>): Promise<Value> {
  if (!isNode()) return waiting;
  waits++;
  const wake = (): void => {
    waits--;
  };
  waiting.then(wake, wake);
  if (!isNapping) startNaps();
  return waiting;
}

function startNaps(): void {
  isNapping = true;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const start = performance.now();
  const nap = (): void => {
    if (waits === 0) {
      isNapping = false;
      return;
    }
    const length = Math.min(MAXIMUM_MILLISECONDS, (performance.now() - start) * SHARE_OF_WAIT);
    Atomics.wait(cell, 0, 0, length);
    setImmediate(nap);
  };
  setImmediate(nap);
}
