/**
 * Text from a session, token by token.
 *
 * The prompt goes in by chunks, rows padded on the right. Then a token is chosen for each row, the step that takes it in is
 * sent to the device, and only then the token is given: the device works while the caller does. So at every moment the session
 * holds the prompt and every token that was given, whether the caller goes on, leaves the loop or aborts, and a second
 * `generate` goes on from there. (Where a text ends because the session is full, its last token was given and did not fit.)
 *
 * A row without a prompt goes on with the text that it holds. A session keeps no scores between calls, so the row's last token is
 * taken in once more, at its own position: the same keys and values, and the scores of what follows. With equal options a text in
 * two parts is the text in one: draws depend on the position, and the penalty knows every token that the row holds.
 *
 * A step reads the most probable tokens only; all logits of a row are read when these cannot decide (sampler.ts). Where the most probable
 * token is the next one in any case, the device goes on with it by itself, one step ahead (steps-ahead.ts); the session does not hold it before it is given.
 */
import type { Artifact, GenerationSpec, SessionSpec } from './artifact.ts';
import type { HostTensor } from './cpu.ts';
import { SoraError } from './error.ts';
import { type GenerateOptions, type Settings, settingsOf } from './generate-options.ts';
import type { InputTensor } from './inputs.ts';
import { type Lazies, makeLazies } from './lazies.ts';
import { full, type ModelSession, type Results, type SessionCallOptions, wrongBatch } from './model-session.ts';
import { uniform } from './philox.ts';
import { allCandidates, choose, heatOf } from './sampler.ts';
import { unknownToken } from './session-tokens.ts';

export type { GenerateOptions } from './generate-options.ts';

export type TokenIds = readonly number[] | Int32Array;

/**
 * `stop`: a token or sequence that ends a text. `length`: `maxTokens` are reached. `full`: the session holds as many positions as
 * the model allows. `aborted`: by the signal.
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

export interface GenerateParts {
  readonly session: Pick<ModelSession, 'call' | 'lengths' | 'tokens' | 'settled'>;
  readonly artifact: Artifact;
  readonly spec: SessionSpec;
}

/** What has been found out about the next token of a row. */
interface Next {
  readonly token: number;
  readonly logprob: number;
}

interface Row {
  /** What is taken in first: the caller's tokens, or the last one that the row holds … */
  readonly prompt: TokenIds;
  /** … which is so many positions back. */
  readonly again: 0 | 1;
  readonly given: number[];
  /** All tokens of the row so far, for the penalty. */
  readonly history: Set<number>;
  next: Next | undefined;
  reason: EndReason | undefined;
}

/** Sessions in use: two texts in one session would mix. */
const busy = new WeakSet<object>();

/** @errors SORA6020 when the session is generating. */
export function refuseBusy(session: object): void {
  if (!busy.has(session)) return;
  throw new SoraError('SORA6020', 'this session is generating already', {
    help: 'use a session for each text: `fork`',
  });
}

export function generate(
  parts: GenerateParts,
  ids: TokenIds | readonly TokenIds[],
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken | GeneratedTokens, GenerationEnd | GenerationEnds, undefined> {
  const { artifact } = parts;
  const { generation } = artifact;
  if (generation === undefined) {
    throw new SoraError('SORA6022', `\`${artifact.name}\` does not generate text`, {
      help: 'say by which entry: `generate Model.entry { … }` in the .sora file',
    });
  }
  if (!Array.isArray(ids)) checkPrompt(ids as TokenIds, generation);
  const isBatch = (Array.isArray(ids) && Array.isArray(ids[0])) || (ids as readonly unknown[])[0] instanceof Int32Array;
  const prompts = (isBatch ? ids : [ids]) as readonly TokenIds[];
  for (const prompt of prompts) checkPrompt(prompt, generation);
  const settings = settingsOf(options, generation, artifact.dims[generation.length]?.maximum ?? 1);
  const steps = run({ ...parts, generation, settings }, prompts);
  return isBatch ? steps : single(steps);
}

function checkPrompt(prompt: TokenIds, { vocabulary }: GenerationSpec): void {
  if (!Array.isArray(prompt) && !(prompt instanceof Int32Array))
    throw new SoraError('SORA6021', '`generate` takes tokens as an array or an Int32Array, or a list of these');
  const odd = Array.from(prompt).find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary));
  if (odd === undefined) return;
  throw new SoraError('SORA6021', `tokens are whole numbers of 0 to ${vocabulary - 1}, got ${String(odd)}`);
}

function rowOf(prompt: TokenIds, held: readonly number[]): Row {
  const history = new Set([...held, ...prompt]);
  history.delete(unknownToken);
  const row = { given: [], history, next: undefined, reason: undefined };
  if (prompt.length > 0) return { ...row, prompt, again: 0 };
  const last = held.at(-1);
  if (last !== undefined && last !== unknownToken) return { ...row, prompt: [last], again: 1 };
  const why = last === undefined ? 'holds none' : 'took something else in last';
  throw new SoraError(
    'SORA6021',
    `without tokens \`generate\` goes on with the last one held, and the session ${why}`,
    {
      help: 'give at least one token per row',
    },
  );
}

async function* single(
  steps: AsyncGenerator<GeneratedTokens, GenerationEnds, undefined>,
): AsyncGenerator<GeneratedToken, GenerationEnd, undefined> {
  try {
    for (;;) {
      const { value, done } = await steps.next();
      if (done) return { reason: value.reasons[0] ?? 'stop' };
      yield { token: value.tokens[0] ?? 0, logprob: value.logprobs[0] ?? 0, step: value.step };
    }
  } finally {
    await steps.return({ reasons: [] });
  }
}

interface Running extends GenerateParts {
  readonly generation: GenerationSpec;
  readonly settings: Settings;
}

async function* run(
  running: Running,
  prompts: readonly TokenIds[],
): AsyncGenerator<GeneratedTokens, GenerationEnds, undefined> {
  const { session, spec, generation, settings } = running;
  refuseBusy(session);
  busy.add(session);
  const lazies = makeLazies();
  let feeding: Promise<Results> | undefined;
  try {
    await session.settled();
    const { lengths } = session;
    const isGoingOn = prompts.some((prompt) => prompt.length === 0);
    if (isGoingOn && lengths.length > 0 && lengths.length !== prompts.length)
      throw wrongBatch(lengths.length, prompts.length, 'to go on with all rows, give an empty list for each');
    const rows = prompts.map((prompt, at) => rowOf(prompt, session.tokens[at] ?? []));
    if (prompts.every((prompt) => prompt.length === 0) && Math.max(...lengths) >= spec.positions)
      return { reasons: rows.map(() => 'full') };
    await prefill(running, rows, lazies);
    for (let step = 0; ; step++) {
      const isAborted = settings.signal?.aborted === true;
      for (const row of rows) row.reason ??= isAborted ? 'aborted' : endBefore(row, settings);
      const active = rows.filter((row) => row.reason === undefined);
      if (active.length === 0) return { reasons: rows.map((row) => row.reason ?? 'stop') };

      const tokens = rows.map((row) => (row.reason === undefined ? (row.next?.token ?? null) : null));
      const logprobs = rows.map((row) => (row.reason === undefined ? (row.next?.logprob ?? null) : null));
      const hasRoom = session.lengths.map((length) => length < spec.positions);
      const lengths = tokens.map((token, at) => (token !== null && hasRoom[at] ? 1 : 0));
      if (lengths.some((length) => length > 0)) {
        const data = Int32Array.from(tokens, (token) => token ?? 0);
        const going = rows.map((row, at) => lengths[at] === 1 && row.given.length + 1 < settings.maxTokens);
        feeding = call(running, generation.step, data, [rows.length, 1], lengths, lazies, { going });
        feeding.catch(() => undefined);
      }
      for (const { given, history, next } of active) {
        if (next === undefined) continue;
        given.push(next.token);
        history.add(next.token);
      }
      yield { tokens, logprobs, step };
      const results = await feeding;
      feeding = undefined;
      for (const row of active)
        row.reason ??= endAfter(row, settings) ?? (hasRoom[rows.indexOf(row)] ? undefined : 'full');
      if (results && settings.signal?.aborted !== true) await chooseNext(running, rows, results, lazies, active);
    }
  } finally {
    // What is under way counts: the caller has its token.
    await feeding?.catch(() => undefined);
    lazies.free();
    busy.delete(session);
  }
}

/** Why a row ends before its next token is given. */
function endBefore({ next, given }: Row, settings: Settings): EndReason | undefined {
  if (given.length >= settings.maxTokens) return 'length';
  return next !== undefined && settings.stop.has(next.token) ? 'stop' : undefined;
}

function endAfter({ given }: Row, settings: Settings): EndReason | undefined {
  const ends = (sequence: readonly number[]) =>
    sequence.length <= given.length && sequence.every((id, at) => given[given.length - sequence.length + at] === id);
  if (settings.stopSequences.some(ends)) return 'stop';
  return given.length >= settings.maxTokens ? 'length' : undefined;
}

interface CallExtras {
  readonly again?: readonly number[] | undefined;
  /** Rows that will take in the token that this call finds, unless it ends their text. */
  readonly going?: readonly boolean[];
}

function call(
  { session, spec, generation, settings }: Running,
  entry: string,
  data: Int32Array,
  shape: readonly [number, number],
  lengths: readonly number[],
  lazies: Lazies,
  { again, going = [] }: CallExtras = {},
): Promise<Results> {
  const [rows] = shape;
  const { temperature, repetitionPenalty } = settings.sampling;
  const heat = heatOf(temperature);
  const heats = Float32Array.from({ length: 2 * rows }, (_, at) => (at % 2 === 0 ? 1 : heat));
  const inputsOf = (tokens: InputTensor) => ({
    [generation.tokens]: tokens,
    ':heats': { data: heats, shape: [rows, 2] },
  });
  const callWith = (more: SessionCallOptions) =>
    session.call(entry, inputsOf({ data, shape }), { lengths, ...(again && { again }), ...more });
  // Logits are asked for where something else than the most probable token may be next.
  if (temperature > 0 || repetitionPenalty !== 1) return callWith({ lazies });
  const next = (held: readonly number[]) => {
    const isNext = going.map((goes, row) => (goes && (held[row] ?? 0) < spec.positions ? 1 : 0));
    if (!isNext.some((length) => length === 1)) return undefined;
    const tokens = { data: new Int32Array(rows), shape: [rows, 1] };
    return { entry: generation.step, inputs: inputsOf(tokens), lengths: isNext };
  };
  return callWith({ next });
}

/** Takes the prompts in; every row knows its first token afterwards, unless the signal came. */
async function prefill(running: Running, rows: readonly Row[], lazies: Lazies): Promise<void> {
  const { session, spec, generation, settings } = running;
  const longest = Math.max(...rows.map(({ prompt }) => prompt.length));
  const held = Math.max(0, ...session.lengths);
  if (held + longest > spec.positions) throw full(spec, held, longest);
  for (let start = 0; start < longest && settings.signal?.aborted !== true; start += settings.chunk) {
    const width = Math.min(settings.chunk, longest - start);
    const data = new Int32Array(rows.length * width);
    const lengths = rows.map(({ prompt }, row) => {
      const part = Array.from(prompt).slice(start, start + width);
      data.set(part, row * width);
      return part.length;
    });
    const entry = width === 1 ? generation.step : generation.prefill;
    const again = start === 0 && rows.some((row) => row.again > 0) ? rows.map((row) => row.again) : undefined;
    const ready = rows.filter(({ prompt }) => prompt.length > start && prompt.length <= start + width);
    // A row whose prompt has ended before has found its token in another call.
    const going = ready.length === rows.length ? rows.map(() => settings.maxTokens > 0) : [];
    const results = await call(running, entry, data, [rows.length, width], lengths, lazies, { again, going });
    await chooseNext(running, rows, results, lazies, ready);
  }
}

/** Chooses the next token of `ready` rows from the results of a call about all rows. */
async function chooseNext(
  { session, generation, settings }: Running,
  rows: readonly Row[],
  results: Results,
  lazies: Lazies,
  ready: readonly Row[],
): Promise<void> {
  const { top, vocabulary } = generation;
  const [ids, values, totals] = [results.ids, results.values, results.totals].map((tensor) => tensor?.data ?? []);
  let logits: HostTensor | undefined = results.logits;
  for (const row of ready) {
    if (row.reason !== undefined) continue;
    const at = rows.indexOf(row);
    const part = (data: ArrayLike<number> = [], width = top) => Array.from(data).slice(at * width, (at + 1) * width);
    const [plainTotal = 0, logTotal = 0] = part(totals, 2);
    const told = { ids: part(ids), logits: part(values), isAll: top === vocabulary, logTotal };
    const position = session.lengths[at] ?? 0;
    const draw = settings.sampling.temperature === 0 ? 0 : uniform(settings.seed, position, at);
    let token = choose(told, settings.sampling, row.history, draw);
    let logit = told.logits[told.ids.indexOf(token ?? -1)];
    if (token === undefined || logit === undefined) {
      logits ??= await lazies.fetch('logits');
      const all = part(logits?.data, vocabulary);
      token = choose(allCandidates(all), settings.sampling, row.history, draw) ?? 0;
      logit = all[token] ?? 0;
    }
    row.next = { token, logprob: logit - plainTotal };
  }
}
