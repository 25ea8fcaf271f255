/**
 * How far a run is, on stderr: one line that is written over on a terminal, a line now and then elsewhere.
 */
import type { Output } from '../context.ts';

export interface Place {
  /** From 1. */
  readonly epoch: number;
  readonly epochs: number;
  /** Steps of the epoch done, and all of them. */
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
  /** Steps of the whole run that are left. */
  readonly left: number;
}

export interface Progress {
  step(place: Place, examples: number): void;
  /** A line that stays, in place of the bar. */
  line(text: string): void;
  /** Takes the bar away. */
  clear(): void;
}

export interface ProgressOptions {
  /** Milliseconds; the clock of the machine unless given. */
  readonly now?: () => number;
  readonly columns?: number;
}

const barWidth = 24;
/** Milliseconds between two writings to a terminal, and between two lines elsewhere; lines of an epoch at most. */
const barInterval = 100;
const lineInterval = 1000;
const linesPerEpoch = 10;
/** Share of the newest step in the mean rate. */
const newest = 0.1;

/** "1 h 2 min", "3 min 4 s", "5 s" */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

export function makeProgress(output: Output, options: ProgressOptions = {}): Progress {
  const { now = () => performance.now(), columns = 100 } = options;
  const isTerminal = output.isTTY === true;
  let isShown = false;
  let last = now();
  let drawn = isTerminal ? Number.NEGATIVE_INFINITY : last;
  /** Milliseconds of a step and examples per millisecond, smoothed; the first step has kernels to compile and does not count. */
  let [pace, rate] = [0, 0];
  let steps = 0;
  const clear = (): void => {
    if (isShown) output.write('\r\u001b[K');
    isShown = false;
  };
  const describe = ({ epoch, epochs, step, steps: all, loss, left }: Place): string => {
    const speed = rate === 0 ? '' : `  ${(rate * 1000).toFixed(1)} examples/s  ${duration((pace * left) / 1000)} left`;
    const numbers = `${step}/${all}  loss ${loss.toFixed(4)}${speed}`;
    if (!isTerminal) return `epoch ${epoch}/${epochs}  step ${numbers}`;
    const full = Math.round((step / Math.max(1, all)) * barWidth);
    return `epoch ${epoch}/${epochs} [${'#'.repeat(full)}${'.'.repeat(barWidth - full)}] ${numbers}`;
  };
  return {
    step(place, examples) {
      const time = now();
      const took = Math.max(1e-3, time - last);
      last = time;
      steps++;
      if (steps > 1) {
        pace = pace === 0 ? took : pace + newest * (took - pace);
        rate = rate === 0 ? examples / took : rate + newest * (examples / took - rate);
      }
      if (isTerminal) {
        if (time - drawn < barInterval && place.step < place.steps) return;
        drawn = time;
        output.write(`\r${describe(place).slice(0, columns - 1)}\u001b[K`);
        isShown = true;
        return;
      }
      const every = Math.max(1, Math.ceil(place.steps / linesPerEpoch));
      if (place.step % every !== 0 || place.step >= place.steps || time - drawn < lineInterval) return;
      drawn = time;
      output.write(`${describe(place)}\n`);
    },
    line(text) {
      clear();
      output.write(`${text}\n`);
      last = now();
      if (isTerminal) drawn = Number.NEGATIVE_INFINITY;
    },
    clear,
  };
}
