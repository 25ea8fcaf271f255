/**
 * What a tokenizer is, whichever file it comes from.
 */

export interface EncodeOptions {
  /** Tokens such as `<s>` that mark the beginning of a text; yes unless said otherwise. Not for chat prompts, which have them. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Leaves out tokens that are no text; yes unless said otherwise. */
  readonly skipSpecialTokens?: boolean;
}

export interface EncodedPair {
  readonly ids: readonly number[];
  /** 0 or 1 for each id: which of the texts it belongs to, as the model learned it. */
  readonly segments: readonly number[];
}

export interface Tokenizer {
  readonly vocabularySize: number;
  /** Ids of the tokens that begin and end a text, where the tokenizer has them. */
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  encode(text: string, options?: EncodeOptions): number[];
  /** Two texts as one, with the special tokens around and between them; tokenizers that know no pairs have none. */
  encodePair?(first: string, second: string): EncodedPair;
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /**
   * Text of ids that come one by one. `after` are the ids before them (a prompt): they are not given again, but say
   * whether the first new token follows a text.
   */
  stream(after?: Iterable<number>): TextStream;
}

/** Holds bytes back until their character is whole, so that what is printed never changes. */
export interface TextStream {
  /** The text that is certain now; often one word, sometimes nothing. */
  push(id: number): string;
  /** What was held back; an unfinished character becomes U+FFFD. */
  end(): string;
}
