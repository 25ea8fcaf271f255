/**
 * The options of `generate`, checked, with the defaults put in.
 */
import type { GenerationSpec } from './artifact.ts';
import { SoraError } from './error.ts';
import { checkOptions, type Names } from './options.ts';
import type { Sampling } from './sampler.ts';

export interface GenerateOptions {
  /** The most tokens of a row. Default: as many as fit. */
  readonly maxTokens?: number;
  /**
   * 0: always the most probable token; `topK`, `topP`, `minP` and `seed` then change nothing. Above: probabilities are those of
   * logits divided by it, so 1 draws as the model says. Default: 0. `topK`, `topP` and `minP` ask for it.
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
  /** Ends the text with reason `aborted` when the step under way is done. */
  readonly signal?: AbortSignal;
  /** Tokens of the prompt that one call takes. Default: 256, or what the model allows. */
  readonly chunk?: number;
}

const names: Names<GenerateOptions> = {
  maxTokens: 1,
  temperature: 1,
  topK: 1,
  topP: 1,
  minP: 1,
  repetitionPenalty: 1,
  seed: 1,
  stop: 1,
  stopSequences: 1,
  signal: 1,
  chunk: 1,
};

/** Those that mean nothing while the most probable token is taken. */
const ofDrawing = ['topK', 'topP', 'minP'] as const;

export interface Settings {
  readonly sampling: Sampling;
  readonly maxTokens: number;
  readonly seed: number;
  readonly stop: ReadonlySet<number>;
  readonly stopSequences: readonly (readonly number[])[];
  readonly signal: AbortSignal | undefined;
  readonly chunk: number;
}

const usualChunk = 256;
/** Between these, 1 / temperature is exact enough in f32; 0 is apart. */
const temperatures = [1e-3, 1e3] as const;

function wrong(name: string, wanted: string, found: unknown): SoraError {
  return new SoraError('SORA6020', `\`${name}\` is ${wanted}, got ${String(found)}`);
}

function numberIn(name: string, value: number | undefined, usual: number, least: number, most: number): number {
  if (value === undefined) return usual;
  if (typeof value === 'number' && value >= least && value <= most) return value;
  throw wrong(name, most === Number.POSITIVE_INFINITY ? `at least ${least}` : `${least} to ${most}`, value);
}

function integer<Usual>(name: string, value: number | undefined, usual: Usual, least: number): number | Usual {
  if (value === undefined) return usual;
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw wrong(name, `a whole number of at least ${least}`, value);
}

function tokenList(name: string, value: readonly number[], vocabulary: number): readonly number[] {
  const odd = Array.isArray(value)
    ? value.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary))
    : (value as unknown);
  if (odd === undefined) return value;
  throw wrong(name, `a list of tokens of 0 to ${vocabulary - 1}`, odd);
}

export function settingsOf(options: GenerateOptions, spec: GenerationSpec, longestCall: number): Settings {
  checkOptions('SORA6020', 'generate', options, names);
  const drawing = ofDrawing.find((name) => options[name] !== undefined);
  if (drawing !== undefined && options.temperature === undefined) {
    throw new SoraError('SORA6020', `\`${drawing}\` says how to draw, and without \`temperature\` nothing is drawn`, {
      help: 'add `temperature: 1`, or `temperature: 0` to take the most probable token all the same',
    });
  }
  const temperature = numberIn('temperature', options.temperature, 0, 0, temperatures[1]);
  if (temperature > 0 && temperature < temperatures[0])
    throw wrong('temperature', `0, or ${temperatures[0]} to 1000`, temperature);
  const topP = numberIn('topP', options.topP, 1, 0, 1);
  const repetitionPenalty = numberIn('repetitionPenalty', options.repetitionPenalty, 1, 0, 1e3);
  if (topP === 0) throw wrong('topP', 'above 0', topP);
  if (repetitionPenalty === 0) throw wrong('repetitionPenalty', 'above 0', repetitionPenalty);
  const sequences = options.stopSequences ?? [];
  if (!Array.isArray(sequences) || sequences.some((sequence) => !Array.isArray(sequence) || sequence.length === 0)) {
    throw wrong('stopSequences', 'a list of lists of tokens', sequences);
  }
  return {
    sampling: {
      temperature,
      topK: integer('topK', options.topK, undefined, 1),
      topP,
      minP: numberIn('minP', options.minP, 0, 0, 1),
      repetitionPenalty,
    },
    maxTokens: integer('maxTokens', options.maxTokens, Number.POSITIVE_INFINITY, 0),
    seed: integer('seed', options.seed, Math.floor(Math.random() * 2 ** 52), 0),
    stop: new Set(tokenList('stop', options.stop ?? spec.stop, spec.vocabulary)),
    stopSequences: sequences.map((sequence) => tokenList('stopSequences', sequence, spec.vocabulary)),
    signal: options.signal,
    chunk: Math.min(integer('chunk', options.chunk, usualChunk, 1), longestCall),
  };
}
