/**
 * Texts for language models: one stream of tokens, cut into windows whose targets are the tokens that follow.
 */
import type { InputTensor } from '../runtime/inputs.ts';
import { SoraError } from '../support/error.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { type Batches, type BatchOptions, checkOptions, Latest, numbered } from './batches.ts';
import { type Dataset, faultAt } from './datasets/dataset.ts';
import { requireColumns } from './labels.ts';
import { drawBelow, permutation } from './random.ts';

/**
 * All rows of a column of text, one after the other.
 *
 * @param options `column` is `text` unless given; `separator` is an id that stands between rows
 * @errors SORA7040 without such a column, SORA7039 for a row without text
 */
export async function tokenStream(
  dataset: Dataset,
  tokenizer: Tokenizer,
  options: { readonly column?: string; readonly separator?: number } = {},
): Promise<Int32Array> {
  const { column = 'text', separator } = options;
  requireColumns(dataset, [column]);
  const parts: Int32Array[] = [];
  const only = new Set([column]);
  for (let index = 0; index < dataset.length; index++) {
    const text = (await dataset.row(index, only)).get(column);
    if (typeof text !== 'string') throw faultAt('SORA7039', dataset.where(index), `\`${column}\` is no text`);
    if (index > 0 && separator !== undefined) parts.push(Int32Array.of(separator));
    parts.push(Int32Array.from(tokenizer.encode(text, { addSpecialTokens: false })));
  }
  const tokens = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    tokens.set(part, at);
    at += part.length;
  }
  return tokens;
}

export interface WindowOptions extends Omit<BatchOptions, 'bucketing'> {
  /** Tokens of a window (T). */
  readonly length: number;
  /**
   * `each`, the default: windows side by side, every token is a target once an epoch. `random`: as many windows, each drawn from
   * anywhere.
   */
  readonly windows?: 'each' | 'random';
  /** Names of the inputs, `input_ids` and `labels` unless given. */
  readonly ids?: string;
  readonly labels?: string;
}

/**
 * Batches of ids i32[B, T] and of the ids that follow, i32[B, T].
 *
 * @errors SORA7042 when the stream is shorter than a window and its last target, or an option is impossible
 */
export function windowBatches(tokens: Int32Array, options: WindowOptions): Batches {
  const {
    length,
    batchSize,
    seed = 0,
    shuffle = false,
    windows = 'each',
    ids = 'input_ids',
    labels = 'labels',
  } = options;
  checkOptions(options);
  if (!(Number.isSafeInteger(length) && length >= 1 && length < tokens.length)) {
    throw new SoraError('SORA7042', `windows of ${length} tokens and one more, of a text of ${tokens.length}`, {
      help: 'take shorter windows, or a longer text',
    });
  }
  const count = Math.floor((tokens.length - 1) / length);
  const orders = new Latest((epoch) => (shuffle ? permutation(seed, 'shuffle', epoch, count) : undefined));
  const startOf = (epoch: number, place: number): number => {
    if (windows === 'random') return drawBelow(seed, 'window', epoch, place, tokens.length - length);
    return (orders.get(epoch)?.[place] ?? place) * length;
  };
  return numbered(count, options, async (epoch, index) => {
    const size = Math.min(batchSize, count - index * batchSize);
    const starts = Array.from({ length: size }, (_, at) => startOf(epoch, index * batchSize + at));
    const rows = (shift: number): InputTensor => {
      const data = new Int32Array(size * length);
      starts.forEach((start, at) => {
        data.set(tokens.subarray(start + shift, start + shift + length), at * length);
      });
      return { shape: [size, length], data };
    };
    return { inputs: Object.fromEntries([[ids, rows(0)] as const, [labels, rows(1)] as const]), size, epoch, index };
  });
}
