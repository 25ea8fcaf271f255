/**
 * One thread of a fuzzing run. It tells the case it is in through shared memory, so that scripts/fuzz.mjs sees a hang.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { caseSeed, type Failure, type Kind, newFigures, runCase } from './campaign.ts';

interface Job {
  readonly seed: number;
  readonly kinds: readonly Kind[];
  /** Case numbers first, first + step, … below end. */
  readonly first: number;
  readonly step: number;
  readonly end: number;
  /** Milliseconds since the epoch. */
  readonly until: number;
  /** [case number, kind], rewritten before each case. */
  readonly progress: SharedArrayBuffer;
}

// The parser makes an exception object per syntax error; collecting their stacks is a third of the time. `--replay` shows them.
Error.stackTraceLimit = 0;

const job = workerData as Job;
const progress = new Int32Array(job.progress);
const figures = newFigures();
const failures: Failure[] = [];
let index = job.first;
for (; index < job.end && Date.now() < job.until; index += job.step) {
  const at = Math.floor(index / job.step) % job.kinds.length;
  const kind = job.kinds[at] ?? 'tokens';
  Atomics.store(progress, 1, at);
  Atomics.store(progress, 0, index);
  const failure = runCase(kind, caseSeed(job.seed, index), figures);
  if (failure && failures.length < 20) {
    failures.push(failure);
    parentPort?.postMessage({ failure });
  }
  if (figures.cases % 2000 === 0) parentPort?.postMessage({ figures });
}
parentPort?.postMessage({ figures, done: true, next: index });
