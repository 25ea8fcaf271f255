/**
 * Declarations of generated text: only in modules of models that generate.
 */

/** Names that the declarations take, `AsyncGenerator` of the standard library among them. */
export const generationNames = [
  ...[
    'EndReason',
    'GenerateOptions',
    'GeneratedToken',
    'GeneratedTokens',
    'GenerationEnd',
    'GenerationEnds',
    'TokenIds',
  ],
  'AsyncGenerator',
];

export const generationTypes = `export type TokenIds = readonly number[] | Int32Array;

export interface GenerateOptions {
  /** The most tokens of a row. Default: as many as fit. */
  readonly maxTokens?: number;
  /**
   * 0: always the most probable token; \`topK\`, \`topP\`, \`minP\` and \`seed\` then change nothing. Above: probabilities are those of
   * logits divided by it, so 1 draws as the model says. Default: 0. \`topK\`, \`topP\` and \`minP\` ask for it.
   */
  readonly temperature?: number;
  /** Only so many of the most probable tokens. Default: all. */
  readonly topK?: number;
  /** The least set of most probable tokens whose probability together is at least this. Default: 1, all. */
  readonly topP?: number;
  /** Only tokens at least this times as probable as the best. Default: 0, all. */
  readonly minP?: number;
  /** Logits of tokens that the row holds are divided by this where positive, multiplied where negative. Default: 1. */
  readonly repetitionPenalty?: number;
  /** Equal seeds draw equally at equal positions of a text. Default: another one each time. */
  readonly seed?: number;
  /** Tokens that end the text and are not given. Default: those of the model. */
  readonly stop?: readonly number[];
  /** Rows of tokens that end the text when they have been given. */
  readonly stopSequences?: readonly (readonly number[])[];
  /** Ends the text with reason \`aborted\` when the step under way is done. */
  readonly signal?: SignalLike;
  /** Tokens of the prompt that one call takes. Default: 256, or what the model allows. */
  readonly chunk?: number;
}

/**
 * \`stop\`: a token or sequence that ends a text. \`length\`: \`maxTokens\` are reached. \`full\`: the session holds as many
 * positions as the model allows. \`aborted\`: by the signal.
 */
export type EndReason = 'stop' | 'length' | 'full' | 'aborted';

export interface GeneratedToken {
  readonly token: number;
  /** Log of the probability that the model gives it, before penalty, temperature and filters. */
  readonly logprob: number;
  /** From 0. */
  readonly step: number;
}

/** One step of a batch; null for rows that have ended. */
export interface GeneratedTokens {
  readonly tokens: readonly (number | null)[];
  readonly logprobs: readonly (number | null)[];
  readonly step: number;
}

export interface GenerationEnd {
  readonly reason: EndReason;
}

export interface GenerationEnds {
  readonly reasons: readonly EndReason[];
}
`;

export const generationMethod: readonly string[] = [
  '  /**',
  '   * Text that follows these tokens. The session then holds them and every token that was given, so the next text goes on; an',
  '   * empty list goes on with what is held, and equal options then give what one longer text would have given.',
  '   */',
  '  generate(ids: TokenIds, options?: GenerateOptions): AsyncGenerator<GeneratedToken, GenerationEnd, undefined>;',
  '  /** The same for a batch, a list of tokens for each row. */',
  '  generate(',
  '    ids: readonly TokenIds[],',
  '    options?: GenerateOptions,',
  '  ): AsyncGenerator<GeneratedTokens, GenerationEnds, undefined>;',
];
