/**
 * Steps of a text that the device begins before the host knows which token they take in: where the most probable token is always the next one,
 * a call leaves it in a buffer of the session, the step behind it reads it from there, and reading, choosing and encoding go on meanwhile.
 *
 * A step that was sent ahead counts for nothing by itself. It becomes a call when the next one that is asked for is the same: these tokens, as many
 * positions, and nothing in between. Otherwise it is forgotten: what it wrote lies behind what the rows hold, where the next call writes.
 *
 * Only where the device's work takes no core of the host (`isApart`). Otherwise what the host does meanwhile is taken from a driver thread that
 * others wait for: stories15M on lavapipe with a thread for each of two cores takes 7 % more time for a token in f32, 5 % less in int4; without
 * threads 12 and 21 % less.
 */
import type { Artifact, EntrySpec } from './artifact.ts';
import type { HostTensor } from './cpu.ts';
import { type BoundInputs, bindInputs, type Inputs } from './inputs.ts';
import { pastOf } from './model-session.ts';

/** What will be called next, but for its tokens: those of `inputs` are read by no one. */
export interface Follower {
  readonly entry: string;
  readonly inputs: Inputs;
  /** 1 for rows that take a token in, else 0. */
  readonly lengths: readonly number[];
}

/** How a call brings what the one before it has left, and leaves something for the one behind it. */
export interface Feed {
  /** Input that comes from the call before; undefined: from the host. */
  readonly into: string | undefined;
  /** Before the call. */
  bring(encoder: GPUCommandEncoder, input: GPUBuffer): void;
  /** Behind it, for every result. */
  keep(encoder: GPUCommandEncoder, name: string, result: GPUBuffer): void;
}

/** @param buffer of the session: [rows] of i32 */
export type MakeFeed = (buffer: GPUBuffer, rows: number) => Feed;

/** A call of `follower`, ready to be sent behind one after which the rows hold `held` positions. */
export interface BoundFollower {
  readonly entry: EntrySpec;
  readonly bound: BoundInputs;
  readonly past: number;
}

type Results = ReadonlyMap<string, HostTensor>;

/** A step that was sent. */
export interface SentStep extends BoundFollower {
  readonly follower: Follower;
  readonly running: Promise<Results>;
  /** What the session holds behind the call before it; an object that every change replaces. */
  readonly after: object;
  /** Results of that call. */
  readonly results: Results;
}

/** A call that is asked for. */
export interface AskedCall extends BoundFollower {
  /** How many positions each row puts in. */
  readonly real: readonly number[];
  /** What the session holds before it. */
  readonly after: object;
}

/** What a session has of this file; modules that generate no text do not carry it. */
export interface Ahead {
  feedOf(artifact: Artifact, isFed: boolean): MakeFeed;
  bindFollower(
    artifact: Artifact,
    follower: Follower,
    held: readonly number[],
    room: number,
  ): BoundFollower | undefined;
  claim(artifact: Artifact, sent: SentStep, asked: AskedCall): Promise<Results> | undefined;
}

/** The most probable token of each row, which a step gives first, is what the next one takes in. */
const feedOf: Ahead['feedOf'] =
  ({ generation }, isFed) =>
  (buffer, rows) => ({
    into: isFed ? generation?.tokens : undefined,
    bring: (encoder, input) => encoder.copyBufferToBuffer(buffer, 0, input, 0, rows * 4),
    keep(encoder, name, result) {
      if (name !== 'ids') return;
      const width = generation?.top ?? 1;
      for (let row = 0; row < rows; row++) encoder.copyBufferToBuffer(result, row * width * 4, buffer, row * 4, 4);
    },
  });

/** Undefined where the step does not fit into the room that the states have. */
const bindFollower: Ahead['bindFollower'] = (artifact, follower, held, room) => {
  const entry = artifact.entries.find(({ name }) => name === follower.entry);
  const past = pastOf(held, follower.lengths);
  if (!entry || past + 1 > room) return undefined;
  return { entry, bound: bindInputs(artifact, entry, follower.inputs), past };
};

/** The results of the step, where it is the call that is asked for now. */
const claim: Ahead['claim'] = ({ generation }, sent, { entry, bound, past, real, after }) => {
  if (sent.after !== after || sent.entry !== entry || sent.past !== past) return undefined;
  const { data: found = [] } = sent.results.get('ids') ?? {};
  const width = generation?.top ?? 1;
  const isSame = entry.inputs.every(({ name }, at) => {
    const [own, asked] = [sent.bound.data[at] ?? [], bound.data[at] ?? []];
    if (name !== generation?.tokens)
      return own.length === asked.length && own.every((value, place) => value === asked[place]);
    return real.every(
      (length, row) => length === 0 || (length === sent.follower.lengths[row] && found[row * width] === asked[row]),
    );
  });
  return isSame ? sent.running : undefined;
};

export const ahead: Ahead = { feedOf, bindFollower, claim };
