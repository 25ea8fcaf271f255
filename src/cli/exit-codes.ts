/**
 * Exit codes and how an error finds its own. The table is printed by `sorac --help` and repeated in the README.
 */
import { SoraError } from '../support/error.ts';

export const exitCodes = {
  ok: 0,
  model: 1,
  usage: 2,
  environment: 3,
  data: 4,
  internal: 70,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodeHelp = `Exit codes:
  0    ok
  1    errors in the model, or results that differ from the expected ones
  2    wrong command line
  3    environment: no device, missing package, unwritable folder
  4    bad weights, inputs or config
  70   a bug in sorac
  130  interrupted`;

/** A command line that cannot be followed: exit 2. */
export function usageError(message: string, help?: string): SoraError {
  return new SoraError('SORA0001', message, help === undefined ? {} : { help });
}

/** A machine that lacks something: exit 3. */
export function environmentError(message: string, help?: string, cause?: unknown): SoraError {
  return new SoraError('SORA0002', message, { ...(help === undefined ? {} : { help }), cause });
}

/** Weights, inputs or a config that cannot be used: exit 4. */
export function dataError(message: string, help?: string, cause?: unknown): SoraError {
  return new SoraError('SORA7001', message, { ...(help === undefined ? {} : { help }), cause });
}

/** What a person is told about an error, or undefined when the error is a bug of ours. */
export interface ErrorSummary {
  readonly code: string;
  readonly message: string;
  readonly help?: string;
  readonly exitCode: ExitCode;
}

/** Errors of the operating system that are about the machine and not about us. */
const systemErrors = new Set([
  'EACCES',
  'EPERM',
  'ENOSPC',
  'EROFS',
  'EMFILE',
  'ENFILE',
  'EDQUOT',
  'ENOENT',
  'EISDIR',
  'ENOTDIR',
  'EEXIST',
  'ELOOP',
  'ENAMETOOLONG',
  'EIO',
  'EBUSY',
]);

/**
 * Errors of the runtime are of its own class (it imports nothing of the compiler), so the code string decides:
 * SORA0001 usage, SORA601x (inputs of a call) and SORA7xxx data, SORA6033 (a loss that is not finite) the model, other SORA0xxx and
 * SORA6xxx environment, the rest the model.
 */
export function summarizeError(error: unknown): ErrorSummary | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code === undefined) return undefined;
  const help = 'help' in error && typeof error.help === 'string' ? error.help : undefined;
  const summary = { code, message: error.message, ...(help === undefined ? {} : { help }) };
  if (/^SORA\d{4}$/.test(code)) return { ...summary, exitCode: exitCodeOf(code) };
  if (systemErrors.has(code)) return { ...summary, code: 'SORA0002', exitCode: exitCodes.environment };
  return undefined;
}

function exitCodeOf(code: string): ExitCode {
  if (code === 'SORA0001') return exitCodes.usage;
  if (code.startsWith('SORA601') || code.startsWith('SORA7')) return exitCodes.data;
  if (code === 'SORA6033') return exitCodes.model;
  if (code.startsWith('SORA0') || code.startsWith('SORA6')) return exitCodes.environment;
  return exitCodes.model;
}
