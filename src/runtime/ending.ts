/**
 * How a model ends, and waiting for a result or that end, whichever is first.
 */
import { SoraError } from './error.ts';

/** Errors that end everything: loss of the device, or the user's `close`. */
export interface Ending {
  readonly lost: Promise<SoraError>;
  error: SoraError | undefined;
  readonly ended: Promise<never>;
  end(error: SoraError): void;
}

export function makeEnding(deviceLost: Promise<GPUDeviceLostInfo> | undefined): Ending {
  let tellLost: (error: SoraError) => void = () => {};
  let reject: (error: SoraError) => void = () => {};
  const lost = new Promise<SoraError>((resolve) => {
    tellLost = resolve;
  });
  const ended = new Promise<never>((_, fail) => {
    reject = fail;
  });
  ended.catch(() => undefined);
  const ending: Ending = {
    lost,
    ended,
    error: undefined,
    end(error) {
      ending.error ??= error;
      reject(ending.error);
    },
  };
  deviceLost?.then((info) => {
    if (ending.error) return;
    const why = info.message || info.reason;
    const error = new SoraError('SORA6101', `the device was lost: ${why}`, { help: 'load the model again' });
    ending.end(error);
    tellLost(error);
  });
  return ending;
}

/** The result, or the end of the model, or the caller's abort, whichever is first. */
export function firstOf<Value>(
  running: Promise<Value>,
  ended: Promise<never>,
  signal: AbortSignal | undefined,
): Promise<Value> {
  if (!signal) return Promise.race([running, ended]);
  return new Promise<Value>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    Promise.race([running, ended])
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abort));
  });
}
