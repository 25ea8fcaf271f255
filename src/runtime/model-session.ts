/**
 * Sessions: calls that go on where the last one ended. A session owns its states and how many positions each row holds; the
 * model owns weights, pipelines and scratch memory, which all its sessions share.
 *
 * A call counts when its result has arrived: one that fails or is aborted leaves `lengths` as they were, and what it wrote
 * behind them is overwritten by the next.
 */
import type { Artifact, EntrySpec, SessionSpec } from './artifact.ts';
import type { HostTensor } from './cpu.ts';
import { type Ending, firstOf, makeEnding } from './ending.ts';
import { SoraError } from './error.ts';
import type {
  GeneratedToken,
  GeneratedTokens,
  GenerateOptions,
  GenerateParts,
  GenerationEnd,
  GenerationEnds,
  TokenIds,
} from './generate.ts';
import { type BoundInputs, bindInputs, type InputData, type Inputs } from './inputs.ts';
import type { Lazies } from './lazies.ts';
import { checkOptions, type Names } from './options.ts';
import type { KnownTokens, RememberedCall } from './session-tokens.ts';
import { evaluateSize } from './size.ts';
import type { Ahead, BoundFollower, Follower, MakeFeed, SentStep } from './steps-ahead.ts';

/** Room that a session starts with where no other is asked for. */
const FIRST_CAPACITY = 64;

export interface SessionOptions {
  /** Positions to make room for at first. The room grows by itself up to what the model declares. Default: 64. */
  readonly capacity?: number;
}

export interface SessionCallOptions {
  /** Stops waiting for the result; the session stays as it was before the call. */
  readonly signal?: AbortSignal;
  /**
   * How many positions of each row are real, for rows padded on the right; the others leave no trace. Results of a row of 0
   * mean nothing. Default: all.
   */
  readonly lengths?: readonly number[] | Int32Array;
  /** Keeps the results that stay on the device. */
  readonly lazies?: Lazies;
  /** How many of the last positions of each row this call takes in anew. Default: none. */
  readonly again?: readonly number[];
  /** What will most likely be called behind this call, to be sent to the device with it, by how many positions the rows hold then. */
  readonly next?: ((held: readonly number[]) => Follower | undefined) | undefined;
}

const sessionOptions: Names<SessionOptions> = { capacity: 1 };
const callOptions: Names<SessionCallOptions> = {
  signal: 1,
  lengths: 1,
  lazies: 1,
  again: 1,
  next: 1,
};

/** A result. f16 comes as f32, bool as 0 and 1. */
export type Results = Readonly<Record<string, HostTensor>>;

export interface ModelSession {
  /** Calls of one session run one after the other, in the order in which they were made. */
  call(entry: string, inputs: Inputs, options?: SessionCallOptions): Promise<Results>;
  /** Positions that each row holds; empty before the first call. */
  readonly lengths: readonly number[];
  /**
   * Tokens at the positions that each row holds; `unknownToken` where an entry took something else in. Kept for models that
   * generate text, empty for others.
   */
  readonly tokens: readonly (readonly number[])[];
  /** Settles when all calls made so far are done, well or not. */
  settled(): Promise<unknown>;
  /** Positions that fit before the states have to grow. */
  readonly capacity: number;
  /** Forgets all positions, when calls under way are done; the next call may have another batch. */
  reset(): void;
  /** Text that follows these tokens, or what is held where there are none: see generate.ts. Several rows are a batch. */
  generate(ids: TokenIds, options?: GenerateOptions): AsyncGenerator<GeneratedToken, GenerationEnd, undefined>;
  generate(
    ids: readonly TokenIds[],
    options?: GenerateOptions,
  ): AsyncGenerator<GeneratedTokens, GenerationEnds, undefined>;
  /** A session that starts with what this one holds after the calls made so far. Both go on by themselves. */
  fork(): Promise<ModelSession>;
  /** Frees the states. Calls under way and later ones reject with SORA6002. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The states of one session and calls with them; one kind for a device (device-states.ts), one for the interpreter. */
export interface StateRunner {
  /** Whether calls can feed each other, and the device works while the host does. */
  readonly isApart?: boolean;
  run(entry: EntrySpec, inputs: BoundInputs, feed?: MakeFeed): Promise<ReadonlyMap<string, HostTensor>>;
  /** Makes states of so many rows with room for so many positions; the first `held[b]` positions of row `b` stay. */
  reserve(rows: number, room: number, held: readonly number[]): Promise<void>;
  /** Zeros, so that no number of an earlier text can be read. */
  clear(): void;
  copy(): Promise<StateRunner>;
  free(): void;
}

/** What modules of models that generate nothing do not carry. */
export interface TextSupport {
  /** Of generate.ts. */
  generate(
    parts: GenerateParts,
    ids: TokenIds | readonly TokenIds[],
    options?: GenerateOptions,
  ): AsyncGenerator<GeneratedToken | GeneratedTokens, GenerationEnd | GenerationEnds, undefined>;
  /** Throws while the session generates. */
  refuseBusy(session: object): void;
  /** Of steps-ahead.ts. */
  readonly ahead: Ahead;
  /** Of session-tokens.ts. */
  remember(known: KnownTokens, call: RememberedCall): KnownTokens;
}

/** What a session has of its model. */
export interface SessionContext {
  readonly artifact: Artifact;
  readonly spec: SessionSpec;
  readonly ending: Ending;
  /** Counts a call. */
  begin(): void;
  readonly text?: TextSupport | undefined;
  /** An entry that needs no session. */
  callModel(entry: string, inputs: Inputs, options: { readonly signal?: AbortSignal }): Promise<Results>;
}

/** What is held: a fork starts with a copy. */
interface Holding {
  readonly rows: number;
  readonly room: number;
  readonly lengths: readonly number[];
  readonly tokens: KnownTokens;
}

const nothing: Holding = { rows: 0, room: 0, lengths: [], tokens: [] };

export function makeModelSession(
  context: SessionContext,
  states: StateRunner,
  options: SessionOptions = {},
  start: Holding = nothing,
): ModelSession {
  const { artifact, spec, ending } = context;
  checkOptions('SORA6018', 'session', options, sessionOptions);
  const first = options.capacity ?? FIRST_CAPACITY;
  if (!Number.isInteger(first) || first < 1)
    throw new SoraError('SORA6018', `\`capacity\` is a whole number of at least 1, got ${first}`);
  const entries = new Map(artifact.entries.map((entry) => [entry.name, entry] as const));
  let holding = start;
  let pending = 0;
  let tail: Promise<unknown> = Promise.resolve();
  let isClosed = false;
  /** The session ends with its model, or by itself. */
  const own = makeEnding(undefined);
  const leave = ending.listen((error) => own.end(error));

  const ahead = states.isApart ? context.text?.ahead : undefined;
  /** A step that the device has begun already. */
  let sent: SentStep | undefined;

  const throwIfEnded = (): void => {
    if (own.error) throw own.error;
  };
  /** Runs `work` when everything before it is done: at once when nothing is. */
  const inOrder = <Value>(work: () => Promise<Value>): Promise<Value> => {
    const running = pending === 0 ? work() : tail.then(work);
    pending++;
    tail = running
      .catch(() => undefined)
      .then(() => {
        pending--;
      });
    return running;
  };
  /** Room for the call, doubled as often as it takes. */
  const makeRoom = async (rows: number, needed: number): Promise<void> => {
    if (rows === holding.rows && needed <= holding.room) return;
    let room = rows === holding.rows && holding.room > 0 ? holding.room : first;
    while (room < needed) room *= 2;
    room = Math.min(room, spec.positions);
    await states.reserve(rows, room, holding.lengths);
    holding = { ...holding, rows, room };
  };
  /** Runs a call behind `held` positions of the rows, of which each puts in so many of `lengths`. */
  const send = (
    { entry, bound, past }: BoundFollower,
    held: readonly number[],
    lengths: readonly number[],
    feed: MakeFeed | undefined,
  ): Promise<ReadonlyMap<string, HostTensor>> => {
    const slack = holding.room - past - evaluateSize(entry.steps ?? 0, bound.dims);
    const dims = new Map([...bound.dims, [spec.past, past] as const, [spec.slack, slack] as const]);
    return states.run(entry, withHidden(entry, { ...bound, dims }, held, lengths), feed).catch((error: unknown) => {
      throw own.error ?? error;
    });
  };
  const run = async (entry: EntrySpec, bound: BoundInputs, options: SessionCallOptions): Promise<Results> => {
    const { signal, lengths } = options;
    throwIfEnded();
    signal?.throwIfAborted();
    const steps = evaluateSize(entry.steps ?? 0, bound.dims);
    const rows = rowsOf(entry, bound);
    const all = holding.lengths.length === 0 ? Array.from({ length: rows }, () => 0) : holding.lengths;
    if (all.length !== rows) throw wrongBatch(all.length, rows);
    const held = all.map((length, row) => Math.max(0, length - (options.again?.[row] ?? 0)));
    const real = realLengths(lengths, rows, steps);
    // Rows that this call puts nothing into may be longer: nothing of them is read.
    const past = pastOf(held, real);
    if (past + steps > spec.positions) throw full(spec, past, steps);
    await makeRoom(rows, past + steps);
    throwIfEnded();
    signal?.throwIfAborted();
    context.begin();
    const claimed = sent && ahead?.claim(artifact, sent, { entry, bound, real, past, after: holding });
    sent = undefined;
    const longer = held.map((length, row) => length + (real[row] ?? 0));
    const follower = ahead && options.next?.(longer);
    const running = claimed ?? send({ entry, bound, past }, held, real, follower && ahead?.feedOf(artifact, false));
    const next = follower && ahead?.bindFollower(artifact, follower, longer, holding.room);
    const following = next && send(next, longer, follower.lengths, ahead?.feedOf(artifact, true));
    following?.catch(() => undefined);
    const results = await firstOf(running, own, signal);
    const tokens = context.text?.remember(holding.tokens, { artifact, entry, bound, held, real }) ?? [];
    holding = { ...holding, lengths: longer, tokens };
    if (following && follower) sent = { follower, ...next, running: following, after: holding, results };
    return Object.fromEntries(entry.results.map((result) => [result.name, results.get(result.name) as HostTensor]));
  };
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    leave();
    own.end(new SoraError('SORA6002', `a session of \`${artifact.name}\` was used after \`close\``));
    states.free();
  };
  const session: ModelSession = {
    async call(name, inputs, options = {}) {
      throwIfEnded();
      checkOptions('SORA6018', name, options, callOptions);
      options.signal?.throwIfAborted();
      const entry = entries.get(name);
      if (entry?.steps === undefined) return context.callModel(name, inputs, options);
      const bound = bindInputs(artifact, entry, inputs);
      // The caller may fill the same array anew while this call waits for another, or for room.
      const data = bound.data.map((given): InputData | undefined => given?.slice());
      const running = inOrder(() => run(entry, { ...bound, data, lazies: options.lazies }, options));
      return firstOf(running, own, options.signal);
    },
    generate: ((ids: TokenIds | readonly TokenIds[], own?: GenerateOptions) => {
      throwIfEnded();
      if (context.text) return context.text.generate({ session, artifact, spec }, ids, own);
      throw new SoraError('SORA6022', `\`${artifact.name}\` does not generate text`);
    }) as ModelSession['generate'],
    get lengths() {
      return [...holding.lengths];
    },
    get tokens() {
      return holding.tokens;
    },
    settled: () => tail,
    get capacity() {
      return holding.room;
    },
    reset() {
      throwIfEnded();
      context.text?.refuseBusy(session);
      const forget = (): void => {
        if (own.error) return;
        holding = { ...holding, lengths: [], tokens: [] };
        states.clear();
      };
      // Nothing under way: the next line of the caller sees it.
      if (pending === 0) forget();
      else inOrder(async () => forget()).catch(() => undefined);
    },
    fork: async () => {
      throwIfEnded();
      return inOrder(async () => {
        throwIfEnded();
        const copied = { ...holding, tokens: holding.tokens.map((row) => row.slice()) };
        return makeModelSession(context, await states.copy(), options, copied);
      });
    },
    close,
    [Symbol.asyncDispose]: close,
  };
  return session;
}

/** Positions before those that a call puts in: of the longest row that it puts anything into. */
export function pastOf(held: readonly number[], real: readonly number[]): number {
  return Math.max(0, ...held.filter((_, row) => (real[row] ?? 0) > 0));
}

function rowsOf(entry: EntrySpec, bound: BoundInputs): number {
  const [rows = 1] = entry.hidden?.[0]?.shape ?? [];
  return evaluateSize(rows, bound.dims);
}

function withHidden(
  entry: EntrySpec,
  bound: BoundInputs,
  past: readonly number[],
  lengths: readonly number[],
): BoundInputs {
  const hidden = (entry.hidden ?? []).map(({ role }) => Int32Array.from(role === 'past' ? past : lengths));
  return {
    ...bound,
    data: [...bound.data, ...hidden],
    shapes: [...bound.shapes, ...hidden.map((data) => [data.length])],
  };
}

export function wrongBatch(
  held: number,
  given: number,
  help = 'call `reset` first, or use another session',
): SoraError {
  return new SoraError('SORA6017', `the session holds a batch of ${held}, this call has ${given}`, { help });
}

export function full(spec: SessionSpec, past: number, steps: number): SoraError {
  const message = `the session holds ${past} of ${spec.positions} positions; ${steps} more do not fit`;
  const room = spec.positions - past;
  const help =
    steps > spec.positions
      ? `no session holds more than ${spec.positions}: shorten the text`
      : `at most ${room} fit; \`reset\` makes room`;
  return new SoraError('SORA6016', message, { help });
}

function realLengths(given: SessionCallOptions['lengths'], rows: number, steps: number): readonly number[] {
  if (given === undefined) return Array.from({ length: rows }, () => steps);
  const lengths = Array.from(given);
  const fits = lengths.length === rows && lengths.every((n) => Number.isInteger(n) && n >= 0 && n <= steps);
  if (fits) return lengths;
  throw new SoraError(
    'SORA6018',
    `\`lengths\` takes ${rows} whole numbers of 0 to ${steps}, got [${lengths.join(', ')}]`,
  );
}
