/**
 * Columns of text as token ids: one text or a pair, with a mask and segments, and with tokens hidden for masked language models.
 */
import type { SoraError } from '../support/error.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { faultAt, type Row, type TensorValue } from './datasets/dataset.ts';
import {
  type BatchContext,
  type Field,
  ignoredLabel,
  type NamedInputs,
  type PaddingOptions,
  padded,
  unfit,
  vector,
} from './fields.ts';
import { draws } from './random.ts';

export interface TextFieldOptions extends PaddingOptions {
  readonly column: string;
  /** Column of the second text of a pair. */
  readonly pair?: string;
  /** May be left out for columns with lists of ids, which are taken as they are. */
  readonly tokenizer?: Tokenizer;
  /** Tokens, special ones included; longer texts are cut at their end, of a pair the longer one first. */
  readonly maxLength: number;
  /** Of the padding; 0 unless said otherwise. */
  readonly padId?: number;
  /** Name of the ids, `input_ids` unless said otherwise. */
  readonly ids?: string;
  /** Name of the mask (1 for tokens, 0 for padding), `attention_mask` unless said otherwise; null for none. */
  readonly mask?: string | null;
  /** Name of the segments (0 for the first text of a pair, 1 for the second); none unless given. */
  readonly segments?: string;
}

/** A sample is [L, 2]: ids and segments by turns. */
function column(sample: TensorValue, at: 0 | 1): Int32Array {
  const length = sample.shape[0] ?? 0;
  return Int32Array.from({ length }, (_, place) => sample.data[place * 2 + at] ?? 0);
}

/** Ids [B, T], their mask and their segments of a column of text, or of two. */
export function textField(options: TextFieldOptions): Field {
  const { column: name, pair, ids = 'input_ids', mask = 'attention_mask', padId = 0, segments } = options;
  const columns = pair === undefined ? [name] : [name, pair];
  const encode = encoder(options);
  return {
    inputs: [ids, ...(mask === null ? [] : [mask]), ...(segments === undefined ? [] : [segments])],
    columns,
    isPadded: options.length === undefined,
    read(row, where) {
      const encoded = encode(row, where);
      const data = new Int32Array(encoded.ids.length * 2);
      encoded.ids.forEach((id, at) => {
        data[at * 2] = id;
        data[at * 2 + 1] = encoded.segments[at] ?? 0;
      });
      return { shape: [encoded.ids.length, 2], data };
    },
    collate(samples): NamedInputs {
      const texts = samples.map((sample) => vector(column(sample, 0)));
      const made = padded(texts, { ids, mask, padValue: padId, padding: options });
      if (segments === undefined) return made;
      const parts = samples.map((sample) => vector(column(sample, 1)));
      return [...made, ...padded(parts, { ids: segments, mask: null, padValue: 0, padding: options })];
    },
  };
}

export interface MaskedTextFieldOptions extends TextFieldOptions {
  /** Id of the token that hides others. */
  readonly maskId: number;
  /** How many ids there are to replace by; the tokenizer's unless said otherwise. */
  readonly vocabularySize?: number;
  /** Share of the tokens that are asked for; 0.15 unless said otherwise. */
  readonly probability?: number;
  /** Name of what is asked for, `labels` unless said otherwise: -100 wherever nothing is. */
  readonly labels?: string;
}

/**
 * A text with some tokens hidden, and what they were. Of the tokens asked for, 80 % become `maskId`, 10 % any token and 10 %
 * stay (Devlin et al. 2019). Which ones depends on the seed, the epoch, the row and the position alone; special tokens are
 * never asked for.
 */
export function maskedTextField(options: MaskedTextFieldOptions): Field {
  const inner = textField(options);
  const { labels = 'labels', probability = 0.15, maskId, tokenizer } = options;
  const vocabularySize = options.vocabularySize ?? tokenizer?.vocabularySize ?? maskId + 1;
  const special = specialIds(tokenizer);
  const hide = (sample: TensorValue, context: BatchContext, at: number): { shown: TensorValue; asked: Int32Array } => {
    const data = Int32Array.from(sample.data);
    const asked = new Int32Array(sample.shape[0] ?? 0).fill(ignoredLabel);
    for (let place = 0; place < asked.length; place++) {
      const id = data[place * 2] ?? 0;
      if (special.has(id)) continue;
      const [choice, kind, other] = draws(context.seed, 'mask', [context.epoch, context.rows[at] ?? 0, place]);
      if (choice >= probability) continue;
      asked[place] = id;
      if (kind < 0.8) data[place * 2] = maskId;
      else if (kind < 0.9) data[place * 2] = Math.floor(other * vocabularySize);
    }
    return { shown: { shape: sample.shape, data }, asked };
  };
  return {
    ...inner,
    inputs: [...inner.inputs, labels],
    collate(samples, context) {
      const hidden = samples.map((sample, at) => hide(sample, context, at));
      const shown = inner.collate(
        hidden.map((each) => each.shown),
        context,
      );
      const asked = hidden.map((each) => vector(each.asked));
      return [...shown, ...padded(asked, { ids: labels, mask: null, padValue: ignoredLabel, padding: options })];
    },
  };
}

interface Encoded {
  readonly ids: ArrayLike<number> & Iterable<number> & { forEach(each: (id: number, at: number) => void): void };
  readonly segments: ArrayLike<number>;
}

/** What stands in cells of text, or of lists of ids, as ids. */
function encoder({ column: name, pair, tokenizer, maxLength }: TextFieldOptions): (row: Row, where: string) => Encoded {
  const frame = tokenizer && frameOf(tokenizer, pair !== undefined);
  return (row, where) => {
    const first = row.get(name);
    if (typeof first === 'object' && pair === undefined) {
      if (first.shape.length !== 1 || !(first.data instanceof Int32Array)) throw unfit(where, name, 'text');
      return { ids: first.data.subarray(0, maxLength), segments: [] };
    }
    const texts = (pair === undefined ? [name] : [name, pair]).map((each) => textOf(row, each, where));
    if (tokenizer === undefined || frame === undefined) throw withoutTokenizer(where, name);
    return framed(
      frame,
      texts.map((text) => tokenizer.encode(text, { addSpecialTokens: false })),
      maxLength,
    );
  };
}

function withoutTokenizer(where: string, name: string): SoraError {
  return faultAt('SORA7039', where, `\`${name}\` is text, and there is no tokenizer`, {
    help: 'name a tokenizer, or give lists of ids',
  });
}

function textOf(row: Row, name: string, where: string): string {
  const cell = row.get(name);
  // A column of numbers is text too, for a field that asks for text.
  if (typeof cell === 'string' || typeof cell === 'number') return String(cell);
  throw unfit(where, name, 'text');
}

/** Special tokens that a tokenizer puts around and between texts; segments of all of it. */
interface Frame {
  /** Before the first text, behind it, and behind the second. */
  readonly tokens: readonly (readonly number[])[];
  readonly tokenSegments: readonly (readonly number[])[];
  readonly textSegments: readonly number[];
}

/** Found by looking at what becomes of a short text. */
function frameOf(tokenizer: Tokenizer, isPair: boolean): Frame {
  const probe = 'a';
  const bare = tokenizer.encode(probe, { addSpecialTokens: false });
  const pair = isPair ? tokenizer.encodePair?.(probe, probe) : undefined;
  const ids = pair?.ids ?? tokenizer.encode(probe);
  const segments = pair?.segments ?? [];
  const find = (from: number): number =>
    ids.findIndex((_, at) => at >= from && bare.every((id, offset) => ids[at + offset] === id));
  const starts = [find(0)];
  if (pair) starts.push(find((starts[0] ?? 0) + bare.length));
  if (bare.length === 0 || starts.includes(-1)) {
    const nothing = starts.map(() => []);
    return { tokens: [[], ...nothing], tokenSegments: [[], ...nothing], textSegments: isPair ? [0, 1] : [0] };
  }
  const cuts = [0, ...starts.flatMap((start) => [start, start + bare.length]), ids.length];
  const between = <Item>(list: readonly Item[]): Item[][] =>
    Array.from({ length: starts.length + 1 }, (_, at) => list.slice(cuts[at * 2], cuts[at * 2 + 1]));
  // A tokenizer without pairs puts the second text behind the first.
  const tokens = between(ids);
  const missing = isPair && !pair ? [[]] : [];
  return {
    tokens: [...tokens.slice(0, 1), ...missing, ...tokens.slice(1)],
    tokenSegments: [...between(segments).slice(0, 1), ...missing, ...between(segments).slice(1)],
    textSegments: pair ? starts.map((start) => segments[start] ?? 0) : [0, 1],
  };
}

/** Cuts the texts, not the special tokens around them. */
function framed(frame: Frame, texts: readonly (readonly number[])[], maxLength: number): Encoded {
  const room = Math.max(0, maxLength - frame.tokens.reduce((sum, tokens) => sum + tokens.length, 0));
  const lengths = texts.map((text) => text.length);
  let excess = lengths.reduce((sum, length) => sum + length, 0) - room;
  while (excess > 0) {
    const longest = lengths.indexOf(Math.max(...lengths));
    const others = Math.max(0, ...lengths.filter((_, at) => at !== longest));
    const cut = Math.max(1, Math.min(excess, (lengths[longest] ?? 0) - others));
    lengths[longest] = (lengths[longest] ?? 0) - cut;
    excess -= cut;
  }
  const ids: number[] = [];
  const segments: number[] = [];
  const add = (tokens: readonly number[], segment: (at: number) => number): void => {
    tokens.forEach((id, at) => {
      ids.push(id);
      segments.push(segment(at));
    });
  };
  const special = (at: number): void => add(frame.tokens[at] ?? [], (place) => frame.tokenSegments[at]?.[place] ?? 0);
  special(0);
  texts.forEach((text, at) => {
    add(text.slice(0, lengths[at]), () => frame.textSegments[at] ?? 0);
    special(at + 1);
  });
  return { ids: ids.slice(0, maxLength), segments };
}

/** Tokens that stand around texts. */
function specialIds(tokenizer: Tokenizer | undefined): ReadonlySet<number> {
  if (!tokenizer) return new Set();
  const { tokens } = frameOf(tokenizer, tokenizer.encodePair !== undefined);
  return new Set(tokens.flat());
}
