/**
 * What an entry has to do with the states of its model: its hidden parameters, what it appends to, and what can only be
 * judged when all of it is known.
 *
 * Whether an entry uses states shows at its end, but `positions` may stand at its beginning. So an entry of a model with
 * states is lowered as if it used them; when it turns out not to, entries.ts lowers it again without.
 */
import type { Span } from '../../support/source.ts';
import type { EntryParameter, ParameterRole, Program, SessionDims, State, Value } from '../graph.ts';
import { storedWords } from '../ops/quantize-rows.ts';
import { addDims, type Dim, sameDim, symbolDim } from '../symbolic.ts';
import { tensorType } from '../types.ts';
import type { StateBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { dimWithNumber } from './origin.ts';

/** A size that must be that of the entry's states, judged when these are known. */
interface Expectation {
  readonly dim: Dim;
  readonly of: 'batch' | 'steps';
  readonly message: string;
  readonly span: Span;
}

export interface EntrySession {
  /** Names of the entry's parameters. */
  readonly taken: Set<string>;
  readonly hidden: Map<ParameterRole, { readonly value: Value; readonly parameter: EntryParameter }>;
  /** Where each state was appended to. */
  readonly appended: Map<string, Span>;
  readonly expectations: Expectation[];
  batch: Dim | undefined;
  /** Positions that a call appends. */
  steps: Dim | undefined;
}

export function makeEntrySession(taken: readonly string[]): EntrySession {
  return {
    taken: new Set(taken),
    hidden: new Map(),
    appended: new Map(),
    expectations: [],
    batch: undefined,
    steps: undefined,
  };
}

function freshName(wanted: string, isTaken: (name: string) => boolean): string {
  let name = wanted;
  for (let count = 2; isTaken(name); count++) name = `${wanted}_${count}`;
  return name;
}

/** The hidden dims, under names that no dim of the files has; made when first asked for. */
export function sessionDims(context: Context): SessionDims {
  if (context.session) return context.session;
  const states = [...context.states.values()];
  const positions = Math.min(...states.map((state) => state.positions));
  const isTaken = (name: string) => context.ranges.has(name) || context.dimPlaces.has(name);
  const past = freshName('past', isTaken);
  const slack = freshName('slack', isTaken);
  for (const name of [past, slack]) context.ranges.set(name, { minimum: 0, maximum: positions, multiple: 1 });
  context.session = { past, slack, positions };
  return context.session;
}

/** `past + steps + slack`: rows of a state during a call. */
export function roomOf(session: SessionDims, steps: Dim): Dim {
  return addDims(addDims(symbolDim(session.past), steps), symbolDim(session.slack));
}

/** Hidden dims are nobody's to name. */
export function isHiddenDim(context: Context, name: string): boolean {
  return name === context.session?.past || name === context.session?.slack;
}

/** The hidden parameter i32[batch] of the entry at hand, made when first asked for. */
export function hiddenInput(context: Context, role: ParameterRole, batch: Dim): Value | undefined {
  const { site } = context;
  const session = site?.session;
  if (site === undefined || session === undefined) return undefined;
  const known = session.hidden.get(role);
  if (known) return known.value;
  const name = freshName(role, (other) => session.taken.has(other));
  session.taken.add(name);
  const type = tensorType('i32', [batch]);
  const value = site.builder.input(name, type);
  session.hidden.set(role, { value, parameter: { name, type, doc: undefined, initial: undefined, role } });
  return value;
}

/** What was expected of the states and does not hold; reports it. */
export function checkExpectations(context: Context, session: EntrySession): boolean {
  const wrong = session.expectations.filter(({ dim, of }) => {
    const actual = session[of];
    return actual !== undefined && !sameDim(dim, actual);
  });
  for (const { dim, of, message, span } of wrong) {
    const actual = session[of] as Dim;
    report(context, 'SORA2123', `${message}, ${dimWithNumber(actual)}, not ${dimWithNumber(dim)}`, span);
  }
  return wrong.length === 0;
}

/** The tensors behind a declared state. */
export function tensorsOf(state: StateBinding): readonly State[] {
  const { batch, heads, positions, width, valueWidth, dtype, field } = state;
  const part = (name: string, each: number): State => ({
    path: `${state.path}.${name}`,
    dtype: dtype === 'int8' ? 'i32' : dtype,
    batch,
    positions,
    width: dtype === 'int8' ? storedWords(heads * each, each).whole : heads * each,
    span: field.span,
  });
  return [part('key', width), part('value', valueWidth)];
}

/** The states of the program and the dims that they share. */
export function programStates(context: Context): Pick<Program, 'states' | 'session'> {
  const states = [...context.states.values()].flatMap(tensorsOf);
  return states.length === 0 ? { states } : { states, session: sessionDims(context) };
}
