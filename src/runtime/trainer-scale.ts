/**
 * The scale of the loss of a run in f16: small gradients would be 0 there, so all are multiplied by it on their way and divided by
 * it in the update. It is halved while gradients are too large for an f16, and doubled after many steps that were not: torch's
 * GradScaler, but a step is taken again instead of left out.
 */

/** Where a scale is; `steps` were good since it changed. */
export interface ScaleState {
  readonly value: number;
  readonly steps: number;
}

export interface LossScale {
  readonly state: ScaleState;
  /** A step was good. */
  grow(): void;
  /** Gradients were too large; false when it is not the scale that made them so. */
  shrink(): boolean;
  restore(state: ScaleState): void;
}

/** As torch.cuda.amp.GradScaler begins and goes on. */
const first = 2 ** 16;
const interval = 2000;
/** On devices gradients overflow long before; on the interpreter, which keeps f32, sums of squares would. */
const most = 2 ** 24;
/** Where gradients are too large even so, something else is wrong with them. */
export const leastScale = 2 ** -16;

export function makeLossScale(): LossScale {
  let state: ScaleState = { value: first, steps: 0 };
  return {
    get state() {
      return state;
    },
    grow() {
      const steps = state.steps + 1;
      const isDue = steps >= interval && state.value < most;
      state = isDue ? { value: state.value * 2, steps: 0 } : { value: state.value, steps };
    },
    shrink() {
      if (state.value <= leastScale) return false;
      state = { value: state.value / 2, steps: 0 };
      return true;
    },
    restore(before) {
      state = before;
    },
  };
}

export function isScale(state: unknown): state is ScaleState {
  const { value, steps } = (typeof state === 'object' && state !== null ? state : {}) as Partial<ScaleState>;
  const isPower =
    typeof value === 'number' && value >= leastScale && value <= most && Number.isInteger(Math.log2(value));
  return isPower && Number.isSafeInteger(steps) && Number(steps) >= 0;
}
