/**
 * How a model or a session ends, and waiting for a result or that end, whichever is first.
 *
 * Nothing waits by a promise that lives long: it would keep every call that ever raced against it. Listeners are taken out again.
 */
import { SoraError } from './error.ts';

/** Errors that end everything: loss of the device, or the user's `close`. */
export interface Ending {
  readonly lost: Promise<SoraError>;
  error: SoraError | undefined;
  end(error: SoraError): void;
  /** Tells of the end, at once where it is past; the function that comes back stops listening. */
  listen(listener: (error: SoraError) => void): () => void;
}

export function makeEnding(device: GPUDevice | undefined): Ending {
  const listeners = new Set<(error: SoraError) => void>();
  let tellLost: (error: SoraError) => void = () => {};
  const lost = new Promise<SoraError>((resolve) => {
    tellLost = resolve;
  });
  const onLost = (info: GPUDeviceLostInfo): void => {
    if (ending.error) return;
    const why = info.message || info.reason;
    const error = new SoraError('SORA6101', `the device was lost: ${why}`, { help: 'load the model again' });
    ending.end(error);
    tellLost(error);
  };
  const ending: Ending = {
    lost,
    error: undefined,
    end(error) {
      ending.error ??= error;
      for (const listener of listeners) listener(ending.error);
      listeners.clear();
      if (device) lossListeners.get(device)?.delete(onLost);
    },
    listen(listener) {
      if (ending.error) listener(ending.error);
      else listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  if (device) listenForLoss(device, onLost);
  return ending;
}

/** A device may outlive many models, and what waits for its `lost` is kept as long as it: so only one thing waits. */
const lossListeners = new WeakMap<GPUDevice, Set<(info: GPUDeviceLostInfo) => void>>();

function listenForLoss(device: GPUDevice, listener: (info: GPUDeviceLostInfo) => void): void {
  const known = lossListeners.get(device);
  if (known) {
    known.add(listener);
    return;
  }
  const listeners = new Set([listener]);
  lossListeners.set(device, listeners);
  void device.lost.then((info) => {
    for (const each of [...listeners]) each(info);
  });
}

/** The result, or the end, or the caller's abort, whichever is first. */
export function firstOf<Value>(running: Promise<Value>, ending: Ending, signal?: AbortSignal): Promise<Value> {
  return new Promise<Value>((resolve, reject) => {
    const abort = (): void => reject(signal?.reason);
    const stop = ending.listen(reject);
    signal?.addEventListener('abort', abort, { once: true });
    const forget = (): void => {
      stop();
      signal?.removeEventListener('abort', abort);
    };
    running.finally(forget).then(resolve, reject);
  });
}
