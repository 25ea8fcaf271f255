/**
 * The options of `sorac train`, checked before anything is read.
 */
import { type Call, optional, requiredOption, textOption } from '../command.ts';
import { usageError } from '../exit-codes.ts';

export interface TrainSettings {
  readonly file: string;
  readonly data: string;
  readonly validation?: string;
  readonly test?: string;
  /** Shares of the rows of `data` where a part has no dataset of its own. */
  readonly split: { readonly validation: number; readonly test: number };
  readonly epochs: number;
  readonly batch: number;
  readonly accumulate?: number;
  readonly lr?: number;
  readonly optimizer?: string;
  readonly seed?: number;
  readonly maxSteps?: number;
  /** Steps between two checkpoints inside of an epoch; undefined: only at its end. */
  readonly saveSteps?: number;
  readonly out: string;
  readonly logdir?: string;
  readonly resume: boolean;
  readonly weights?: string;
  readonly tokenizer?: string;
  readonly config?: string;
  /** A file with `prune` and `quantize` blocks, or words for them. */
  readonly recipe?: string;
  readonly model?: string;
  readonly device: string;
}

/** Shares of validation and test unless `--split` says otherwise. */
export const defaultSplit = '0.1,0.1';

function whole(call: Call, name: string, flag: string, least: number, greatest: number): number | undefined {
  const text = textOption(call, name);
  if (text === undefined) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= greatest) return value;
  throw usageError(`\`${flag} ${text}\` is no whole number from ${least} to ${greatest}`);
}

function rate(call: Call): number | undefined {
  const text = textOption(call, 'lr');
  if (text === undefined) return undefined;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw usageError(`\`--lr ${text}\` is no learning rate`, 'a number above 0, as 2e-5');
}

function shares(text: string): TrainSettings['split'] {
  const parts = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  const [validation = Number.NaN, test = 0] = parts;
  const areShares = [validation, test].every((share) => share >= 0 && share < 1) && validation + test < 1;
  if (parts.length <= 2 && areShares) return { validation, test };
  throw usageError(`\`--split ${text}\` leaves nothing for training`, 'shares of validation and test, as 0.1,0.1');
}

const most = Number.MAX_SAFE_INTEGER;

/** @errors SORA0001 for options that make no run */
export function readSettings(call: Call): TrainSettings {
  const [file = ''] = call.args;
  const name = (file.split(/[\\/]/).at(-1) ?? '').replace(/\.sora$/, '');
  return {
    file,
    data: requiredOption(call, 'data'),
    ...optional('validation', textOption(call, 'val')),
    ...optional('test', textOption(call, 'test')),
    split: shares(requiredOption(call, 'split')),
    epochs: whole(call, 'epochs', '--epochs', 1, 1_000_000) ?? 1,
    batch: whole(call, 'batch', '--batch', 1, 1_000_000) ?? 1,
    ...optional('accumulate', whole(call, 'accumulate', '--accumulate', 1, 1_000_000)),
    ...optional('lr', rate(call)),
    ...optional('optimizer', textOption(call, 'optimizer')),
    ...optional('seed', whole(call, 'seed', '--seed', 0, 2 ** 32 - 1)),
    ...optional('maxSteps', whole(call, 'maxSteps', '--max-steps', 1, most)),
    ...optional('saveSteps', whole(call, 'saveSteps', '--save-steps', 1, most)),
    out: textOption(call, 'out') ?? `${name === '' ? 'model' : name}-trained`,
    ...optional('logdir', textOption(call, 'logdir')),
    resume: call.options.resume === true,
    ...optional('weights', textOption(call, 'weights')),
    ...optional('tokenizer', textOption(call, 'tokenizer')),
    ...optional('config', textOption(call, 'config')),
    ...optional('recipe', textOption(call, 'recipe')),
    ...optional('model', textOption(call, 'model')),
    device: requiredOption(call, 'device'),
  };
}
