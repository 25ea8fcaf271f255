/**
 * The state of one elaboration: where diagnostics go, what is bound once per program, and which graph is being built.
 *
 * A mistake is reported once however often its module is instantiated (same code, same place). A mistake that surfaces
 * inside the library is shown at the call in the person's own file, with a label at the library line.
 */
import type { ConfigField, ModuleDeclaration, SourceTree } from '../../parser/ast.ts';
import type { Code } from '../../support/codes.ts';
import { type Diagnostic, type DiagnosticDetails, diagnose, type Label } from '../../support/diagnostic.ts';
import type { SourceFile, Span } from '../../support/source.ts';
import type { GraphBuilder, SessionDims, Value, Weight } from '../graph.ts';
import { type Dim, type DimRange, symbolsOfDim } from '../symbolic.ts';
import type { Instance, StateBinding } from './binding.ts';
import type { Bottleneck } from './bottlenecks.ts';
import type { EntrySession } from './entry-session.ts';
import type { Scope } from './scope.ts';

/** The graph under construction: one per entry. */
export interface GraphSite {
  readonly builder: GraphBuilder;
  /** One `weight` node per path. */
  readonly weights: Map<string, Value>;
  /** Nodes made so far, for the limit. */
  nodes: number;
  /** What the entry has to do with states; undefined where it surely has nothing. */
  session?: EntrySession;
}

export interface Frame {
  /** The call. */
  readonly span: Span;
  /** The function or module being elaborated, to find recursion. */
  readonly declaration: object;
  /** The module instance whose function runs: the same function of another instance is no recursion. */
  readonly owner: object | undefined;
  /** Label for the nodes made inside: the path of the module instance. */
  readonly label: string | undefined;
}

export interface WeightRecord {
  readonly weight: Weight;
  /** The field to show when two weights have one name. */
  readonly field: Span;
}

export interface Context {
  readonly trees: readonly SourceTree[];
  readonly json: Readonly<Record<string, unknown>> | undefined;
  /** Config fields that a config file has given. */
  readonly given: Set<ConfigField>;
  readonly diagnostics: Diagnostic[];
  readonly reported: Set<string>;
  /** Declarations that something referred to. */
  readonly used: Set<object>;
  /** Functions whose bodies were elaborated. */
  readonly elaborated: Set<object>;
  readonly ranges: Map<string, DimRange>;
  /** Where each runtime dim is declared. */
  readonly dimPlaces: Map<string, Span>;
  /** Dims whose declared range is a mistake: index ranges are not judged then. */
  readonly badDims: Set<string>;
  /** The diagnostic of each unknown name, which collects the other places of the same name. */
  readonly unknown: Map<string, Diagnostic>;
  readonly fileScopes: Map<SourceFile, Scope>;
  readonly weights: Map<string, WeightRecord>;
  /** Declared states by path: `model.layers.0.kv`. */
  readonly states: Map<string, StateBinding>;
  /** What stands behind the output of a part, by its path. */
  readonly bottlenecks: Map<string, Bottleneck>;
  /** The hidden dims of states, once they are needed. */
  session: SessionDims | undefined;
  readonly frames: Frame[];
  /** The first instance of each module, to check the functions that nothing calls. */
  readonly firstInstances: Map<ModuleDeclaration, Instance>;
  /** Module instances and calls made so far and expressions that are open, for the limits. */
  instances: number;
  calls: number;
  depth: number;
  /** Places so far where training drops elements. */
  drops: number;
  site: GraphSite | undefined;
}

export function createContext(trees: readonly SourceTree[], json: Context['json']): Context {
  return {
    trees,
    json,
    given: new Set(),
    diagnostics: [],
    reported: new Set(),
    used: new Set(),
    elaborated: new Set(),
    ranges: new Map(),
    dimPlaces: new Map(),
    badDims: new Set(),
    unknown: new Map(),
    fileScopes: new Map(),
    weights: new Map(),
    states: new Map(),
    bottlenecks: new Map(),
    session: undefined,
    frames: [],
    firstInstances: new Map(),
    instances: 0,
    calls: 0,
    depth: 0,
    drops: 0,
    site: undefined,
  };
}

/** True for the standard library (`sora:nn`). */
export function isLibraryFile(file: SourceFile): boolean {
  return file.path.startsWith('sora:');
}

export function report(
  context: Context,
  code: Code,
  message: string,
  span: Span,
  details: DiagnosticDetails = {},
): void {
  if (code === 'SORA2106' && context.badDims.size > 0) return;
  let place = span;
  let shown = details;
  if (isLibraryFile(span.file)) {
    const caller = context.frames.findLast((frame) => !isLibraryFile(frame.span.file));
    if (caller) {
      place = caller.span;
      shown = { ...details, labels: [...(details.labels ?? []), { span, text: 'asked for here' }] };
    }
  }
  // One crossed limit is crossed again and again on the way out: it is told once.
  const key = code === 'SORA5002' ? code : `${code} ${place.file.path} ${place.start} ${place.end}`;
  if (context.reported.has(key)) return;
  context.reported.add(key);
  context.diagnostics.push(diagnose(code, message, place, shown));
}

/** Other places of one unknown name that are shown. */
const placesShown = 5;

/**
 * Reports a name that is not there, once per file however often it stands: the other places become labels. `identity` tells
 * names apart that are spelt alike (members of two configs).
 */
export function reportOnce(
  context: Context,
  identity: string,
  code: Code,
  message: string,
  span: Span,
  details: DiagnosticDetails = {},
): void {
  const key = `${code} ${span.file.path} ${identity}`;
  const first = context.unknown.get(key);
  const at = first === undefined ? -1 : context.diagnostics.indexOf(first);
  if (first === undefined || at < 0) {
    const before = context.diagnostics.length;
    report(context, code, message, span, details);
    const made = context.diagnostics[before];
    if (made) context.unknown.set(key, made);
    return;
  }
  const taken = [first.span, ...first.labels.map((label) => label.span)];
  const isKnown = taken.some((other) => other.file === span.file && other.start === span.start);
  const also = first.labels.filter((label) => label.text === 'also here').length;
  if (isKnown || first.span.file !== span.file || also >= placesShown) return;
  const joined: Diagnostic = { ...first, labels: [...first.labels, { span, text: 'also here' }] };
  context.diagnostics[at] = joined;
  context.unknown.set(key, joined);
}

/** Labels at the declarations of the runtime dims in `dim`. */
export function rangeLabels(context: Context, dim: Dim): readonly Label[] {
  return symbolsOfDim(dim).flatMap((name) => {
    const span = context.dimPlaces.get(name);
    const range = context.ranges.get(name);
    return span && range ? [{ span, text: `\`${name}\` is ${range.minimum} to ${range.maximum}` }] : [];
  });
}

/** Path of the module instance being elaborated: `encoder.layer.0`. */
export function currentLabel(context: Context): string | undefined {
  return context.frames.findLast((frame) => frame.label !== undefined)?.label;
}

/** Runs `body` inside a call; the frame is gone afterwards. */
export function inFrame<Result>(context: Context, frame: Frame, body: () => Result): Result {
  context.frames.push(frame);
  try {
    return body();
  } finally {
    context.frames.pop();
  }
}
