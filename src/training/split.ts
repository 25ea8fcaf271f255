/**
 * One dataset as training, validation and test part.
 */
import { SoraError } from '../support/error.ts';
import { type Dataset, emptyFault, selectRows } from './datasets/dataset.ts';
import { permutation } from './random.ts';

export interface SplitOptions {
  /** Share of the rows, in 0..1; 0 unless given. */
  readonly validation?: number;
  readonly test?: number;
  /** Whole, in 0..2^53; 0 unless given. The same seed gives the same parts. */
  readonly seed?: number;
}

export interface Split<Part> {
  readonly train: Part;
  /** Undefined where the share is 0. */
  readonly validation: Part | undefined;
  readonly test: Part | undefined;
}

/**
 * Rows drawn without regard to their order in the file; each part keeps that order.
 *
 * @errors SORA7042 when the shares leave nothing for training, SORA7038 when a part has no row
 */
export function splitDataset(dataset: Dataset, options: SplitOptions): Split<Dataset> {
  const { validation, test } = counts(dataset.length, options, dataset.name);
  const order = permutation(options.seed ?? 0, 'split', 0, dataset.length);
  const part = (from: number, count: number): Dataset => selectRows(dataset, order.slice(from, from + count).sort());
  return {
    train: part(validation + test, dataset.length - validation - test),
    validation: validation === 0 ? undefined : part(0, validation),
    test: test === 0 ? undefined : part(validation, test),
  };
}

/**
 * A stream of tokens is cut, not drawn from: the end is for validation and test.
 *
 * @errors as `splitDataset`
 */
export function splitTokens(tokens: Int32Array, options: SplitOptions): Split<Int32Array> {
  const { validation, test } = counts(tokens.length, options, 'the text');
  const trained = tokens.length - validation - test;
  return {
    train: tokens.subarray(0, trained),
    validation: validation === 0 ? undefined : tokens.subarray(trained, trained + validation),
    test: test === 0 ? undefined : tokens.subarray(trained + validation),
  };
}

function counts(
  length: number,
  options: SplitOptions,
  name: string,
): { readonly validation: number; readonly test: number } {
  const { validation = 0, test = 0 } = options;
  const areShares = [validation, test].every((share) => share >= 0 && share < 1) && validation + test < 1;
  if (!areShares) {
    throw new SoraError('SORA7042', `${validation} for validation and ${test} for test leave nothing for training`, {
      help: 'shares in 0..1 whose sum is below 1, such as 0.1 and 0.1',
    });
  }
  const count = (share: number, part: string): number => {
    const rows = Math.round(share * length);
    if (share > 0 && rows === 0) throw emptyFault(name, `${share} of ${length} leaves nothing for ${part}`);
    return rows;
  };
  const parts = { validation: count(validation, 'validation'), test: count(test, 'test') };
  if (parts.validation + parts.test >= length) throw emptyFault(name, `${length} rows leave nothing for training`);
  return parts;
}
