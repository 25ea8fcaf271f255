/**
 * A model that was compiled at run time, in the form of a generated module's class: entries are methods.
 */
import type { Artifact } from './runtime/artifact.ts';
import type {
  CallOptions,
  Inputs,
  Model,
  ModelSession,
  Results,
  SessionCallOptions,
  SessionOptions,
  TrainableModel,
} from './runtime/index.ts';
import { scriptNames } from './support/names.ts';

export type EntryMethod<Options> = (inputs: Inputs, options?: Options) => Promise<Results>;

/** What a model has beside its entries. */
export interface DynamicModelMembers<Entry extends string> extends Omit<TrainableModel, 'session'> {
  /** A text, or a batch of texts, to go on with; its entries are methods too. @errors SORA6019 without states */
  session(options?: SessionOptions): DynamicSession<Entry>;
}

/** What a session has beside the entries. */
export interface DynamicSessionMembers<Entry extends string> extends Omit<ModelSession, 'fork' | 'settled' | 'tokens'> {
  /** A session that starts with what this one holds after the calls made so far. Both go on by themselves. */
  fork(): Promise<DynamicSession<Entry>>;
}

/**
 * A loaded model. Every entry is a method under its name; one whose name a member has is numbered, and a word of JavaScript gets a `_`,
 * as in generated modules, and `call` takes all by their own names. Entries with states are for sessions: SORA6015 otherwise.
 */
export type DynamicModel<Entry extends string = string> = DynamicModelMembers<Entry> & {
  readonly [Name in Exclude<Entry, keyof DynamicModelMembers<Entry>>]: EntryMethod<CallOptions>;
};

export type DynamicSession<Entry extends string = string> = DynamicSessionMembers<Entry> & {
  readonly [Name in Exclude<Entry, keyof DynamicSessionMembers<Entry>>]: EntryMethod<SessionCallOptions>;
};

/** Names of members that no entry may hide. A `then` would make `await` call it. */
const objectMembers = [
  ...['constructor', 'hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', 'then', 'toJSON', 'toLocaleString'],
  ...['toString', 'valueOf'],
];

/** Adds a method for each entry to an object that can call entries by name. */
function withMethods<Target extends object>(
  target: Target,
  artifact: Artifact,
  call: (entry: string, inputs: Inputs, options?: object) => Promise<Results>,
): Target {
  const names = scriptNames([...objectMembers, ...Object.keys(target)]);
  for (const { name, internal } of artifact.entries) {
    if (internal === true) continue;
    const value: EntryMethod<object> = (inputs, options) => call(name, inputs, options);
    Object.defineProperty(target, names.take(name), { value, enumerable: true });
  }
  return target;
}

function bindSession<Entry extends string>(artifact: Artifact, session: ModelSession): DynamicSession<Entry> {
  const members: DynamicSessionMembers<Entry> = {
    call: (entry, inputs, options) => session.call(entry, inputs, options),
    get lengths() {
      return session.lengths;
    },
    get capacity() {
      return session.capacity;
    },
    reset: () => session.reset(),
    generate: session.generate,
    fork: async () => bindSession<Entry>(artifact, await session.fork()),
    close: () => session.close(),
    [Symbol.asyncDispose]: () => session.close(),
  };
  return withMethods(members, artifact, members.call) as DynamicSession<Entry>;
}

export function bindEntries<Entry extends string>(
  artifact: Artifact,
  model: Model & TrainableModel,
): DynamicModel<Entry> {
  const members: DynamicModelMembers<Entry> = {
    device: model.device,
    lost: model.lost,
    call: (entry, inputs, options) => model.call(entry, inputs, options),
    session: (options) => bindSession<Entry>(artifact, model.session(options)),
    trainer: (options) => model.trainer(options),
    stats: () => model.stats(),
    close: () => model.close(),
    [Symbol.asyncDispose]: () => model.close(),
  };
  return withMethods(members, artifact, members.call) as DynamicModel<Entry>;
}
