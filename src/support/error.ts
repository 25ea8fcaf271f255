/**
 * The two thrown errors of the compiler. A mistake in a model is neither: it is a `Diagnostic` (diagnostic.ts).
 */

/** A wrong environment, file or command line. `code` is `SORA` and four digits; `help` names the exact next step. */
export class SoraError extends Error {
  readonly code: string;
  readonly help: string | undefined;

  constructor(code: string, message: string, options: { readonly help?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SoraError';
    this.code = code;
    this.help = options.help;
  }
}

/**
 * Errors of the runtime, which modules carry too, are of a class of their own that looks the same: `instanceof SoraError` counts
 * them. Classes derived from this one keep to themselves.
 */
function isInstance(this: unknown, value: unknown): boolean {
  const isOwn: boolean = Function.prototype[Symbol.hasInstance].call(this, value);
  if (isOwn || this !== SoraError) return isOwn;
  return value instanceof Error && value.name === 'SoraError' && 'code' in value && typeof value.code === 'string';
}

Object.defineProperty(SoraError, Symbol.hasInstance, { value: isInstance });

/** A broken promise inside the compiler: ends as exit code 70 with a report. */
export class InternalError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InternalError';
  }
}

export function unreachable(why: string): never {
  throw new InternalError(why);
}
