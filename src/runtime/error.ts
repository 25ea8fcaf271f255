/**
 * The runtime's error. It looks like the compiler's (src/support/error.ts) but is its own class: generated modules carry it.
 *
 * 6001 no device · 6002 used after close · 6003 options of `load` · 6004 beyond a device limit · 6005 out of memory · 6006 kernel refused ·
 * 6011 inputs · 6012 element type · 6013 shape · 6014 value out of range · 6101 device lost · 6102 call failed ·
 * 6031 no train block · 6032 options of a trainer · 6033 step not finite · 6034 checkpoint of another training ·
 * 7001 cannot read · 7002 header length · 7003 header text · 7004 name twice · 7005 tensor entry · 7006 offsets ·
 * 7007 file cut short · 7008 beyond a limit · 7009 metadata · 7010 index of shards · 7201 weights missing · 7202 weight of the wrong shape ·
 * 7021 cannot write · 7203 element type not convertible · 7204 value not representable · 7206 another number format
 */
export class SoraError extends Error {
  /** `SORA` and four digits, stable between versions. */
  readonly code: string;
  /** The exact next step, where there is one. */
  readonly help: string | undefined;

  constructor(code: string, message: string, options: { readonly help?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SoraError';
    this.code = code;
    this.help = options.help;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The module's data contradict themselves: somebody has changed them. */
export function damaged(lacking: string): SoraError {
  return new SoraError('SORA6006', `the module is damaged: it lacks ${lacking}`);
}
