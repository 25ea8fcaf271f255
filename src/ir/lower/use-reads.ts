/**
 * `read NAME: method(…)` of a `train` block: where a parameter or target of the entry comes from when a dataset is read. The methods are
 * a table; what each does with a cell is the command line's business (src/cli/train). What goes without saying is added here too.
 */
import type { Expression, UseBlock, UseRead } from '../../parser/ast.ts';
import { closest } from '../../support/suggest.ts';
import type { EntryParameter, ReadMethod, TrainRead } from '../graph.ts';
import { dimBounds } from '../symbolic.ts';
import type { DType } from '../types.ts';
import { describe, numberOf } from './binding.ts';
import { report } from './context.ts';
import { evaluate } from './expressions.ts';
import { nearMember } from './names.ts';
import { writtenType } from './origin.ts';
import { checkValue, type UseSite, type ValueKind, wrongValue } from './use-methods.ts';

interface Method {
  /** Element type and rank of what it gives; how that is written in a message. */
  readonly dtype: DType;
  readonly rank: number;
  readonly written: string;
  /** What stands first in its parentheses. */
  readonly about: 'column' | 'columns' | 'length' | 'input';
  /** For `input`: methods that it can follow. */
  readonly follows?: readonly ReadMethod[];
  readonly options: Readonly<Record<string, ValueKind | { readonly kind: 'numbers' }>>;
  /** Option, or the number in parentheses, that is a length of the second axis. */
  readonly length?: string;
}

const count: ValueKind = { kind: 'int', minimum: 1 };
const id: ValueKind = { kind: 'int', minimum: 0 };
const ids = { dtype: 'i32', rank: 2, written: 'i32[B, T]' } as const;

const methods: Readonly<Record<ReadMethod, Method>> = {
  tokens: { ...ids, about: 'columns', options: { max: count, pad: id }, length: 'max' },
  window: { ...ids, about: 'length', options: {}, length: 'length' },
  next: { ...ids, about: 'input', follows: ['window'], options: {} },
  masked: {
    ...ids,
    about: 'input',
    follows: ['tokens'],
    options: { share: { kind: 'number', above: 0, below: 1 }, mask: id },
  },
  mask: { ...ids, about: 'input', follows: ['tokens', 'labels', 'audio'], options: {} },
  segments: { ...ids, about: 'input', follows: ['tokens'], options: {} },
  label: { dtype: 'i32', rank: 1, written: 'i32[B]', about: 'column', options: {} },
  labels: { ...ids, about: 'column', options: { pad: { kind: 'number' } } },
  number: { dtype: 'f32', rank: 1, written: 'f32[B]', about: 'column', options: {} },
  vector: { dtype: 'f32', rank: 2, written: 'f32[B, N]', about: 'columns', options: {} },
  image: {
    dtype: 'f32',
    rank: 4,
    written: 'f32[B, C, H, W]',
    about: 'column',
    options: { mean: { kind: 'numbers' }, std: { kind: 'numbers' } },
  },
  audio: { dtype: 'f32', rank: 2, written: 'f32[B, T]', about: 'column', options: { max: count }, length: 'max' },
};

function isMethod(name: string): name is ReadMethod {
  return Object.hasOwn(methods, name);
}

type Call = Extract<Expression, { kind: 'call' }>;
type Options = Record<string, number | readonly number[]>;

const listOf = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(', ');

function readNumbers(site: UseSite, expression: Expression, what: string): readonly number[] | undefined {
  const binding = evaluate(site.context, expression, site.scope);
  if (binding.kind === 'poison') return undefined;
  const items = binding.kind === 'list' ? binding.items : [binding];
  const numbers = items.flatMap((item) => numberOf(item) ?? []);
  if (numbers.length === items.length && numbers.length > 0) return numbers;
  wrongValue(site, `${what} is a number or a list of numbers, found ${describe(binding)}`, expression.span);
  return undefined;
}

/** Named arguments; undefined when one is wrong (reported). */
function readOptions(site: UseSite, name: string, method: Method, call: Call): Options | undefined {
  const options: Options = {};
  let areRight = true;
  for (const { name: option, value } of call.arguments) {
    if (option === undefined) continue;
    const kind = Object.hasOwn(method.options, option.text) ? method.options[option.text] : undefined;
    if (kind === undefined || Object.hasOwn(options, option.text)) {
      const isTwice = kind !== undefined;
      const message = isTwice ? `\`${option.text}\` is given twice` : `\`${name}\` has no parameter \`${option.text}\``;
      report(site.context, 'SORA2007', message, option.span, {
        ...(isTwice ? {} : nearMember(option, Object.keys(method.options))),
      });
      areRight = false;
      continue;
    }
    const what = `\`${option.text}\` of \`${name}\``;
    const binding = kind.kind === 'numbers' ? undefined : checkValue(site, kind, value, what);
    const found = kind.kind === 'numbers' ? readNumbers(site, value, what) : binding && numberOf(binding);
    if (found === undefined) areRight = false;
    else options[option.text] = found;
  }
  return areRight ? options : undefined;
}

/** What stands in the parentheses without a name. */
function readAbout(
  site: UseSite,
  name: string,
  method: Method,
  call: Call,
): Pick<TrainRead, 'columns' | 'of'> & { readonly length?: number } {
  const nothing = { columns: [], of: undefined };
  const given = call.arguments.flatMap((argument) => (argument.name === undefined ? [argument.value] : []));
  const wants = {
    column: `one column in quotes: \`${name}("…")\``,
    columns: `columns in quotes: \`${name}("…")\``,
    length: `a number of tokens: \`${name}(256)\``,
    input: `an input that is read: \`${name}(…)\``,
  }[method.about];
  const [first, second] = given;
  const refuse = (span = call.span) => wrongValue(site, `\`${name}\` takes ${wants}`, span);
  if (first === undefined || (second !== undefined && method.about !== 'columns')) {
    refuse(second?.span);
    return { ...nothing };
  }
  if (method.about === 'length') {
    const binding = checkValue(site, count, first, `the length of \`${name}\``);
    const length = binding && numberOf(binding);
    return length === undefined ? nothing : { ...nothing, length };
  }
  if (method.about === 'input') {
    if (first.kind === 'name') return { columns: [], of: first.name };
    refuse(first.span);
    return nothing;
  }
  const columns: string[] = [];
  for (const value of given) {
    const binding = value.kind === 'missing' ? undefined : evaluate(site.context, value, site.scope);
    if (binding?.kind === 'string' && binding.value !== '') columns.push(binding.value);
    else if (binding !== undefined && binding.kind !== 'poison') refuse(value.span);
  }
  return { columns: columns.length === given.length ? columns : [], of: undefined };
}

/** Whether the value fits the input (reported otherwise). */
function checkType(site: UseSite, input: EntryParameter, name: string, expression: Expression): boolean {
  const { dtype, rank, written } = methods[name as ReadMethod];
  if (input.type.dtype === dtype && input.type.shape.length === rank) return true;
  const message = `\`${name}\` gives \`${written}\`, \`${input.name}\` is \`${writtenType(input.type)}\``;
  report(site.context, 'SORA2304', message, expression.span, { help: helpFor(input) });
  return false;
}

function helpFor({ type }: EntryParameter): string {
  const fitting = Object.entries(methods).flatMap(([name, { dtype, rank }]) =>
    dtype === type.dtype && rank === type.shape.length ? [name] : [],
  );
  return fitting.length === 0
    ? 'nothing that is read has this type'
    : `of this type ${fitting.length === 1 ? 'is' : 'are'} ${listOf(fitting)}`;
}

/** One item; undefined when something is wrong with it (reported). */
function readItem(site: UseSite, item: UseRead, input: EntryParameter): TrainRead | undefined {
  const { value } = item;
  if (value.kind === 'missing') return undefined;
  const all = Object.keys(methods);
  if (value.kind !== 'call' || value.callee.kind !== 'name') {
    wrongValue(site, 'expected a way to read', value.span, `as \`tokens("text")\`; there is ${listOf(all)}`);
    return undefined;
  }
  const { name } = value.callee;
  if (!isMethod(name)) {
    const guess = closest(name, all);
    report(site.context, 'SORA2303', `unknown way to read \`${name}\``, value.callee.span, {
      help: guess === undefined ? `there is ${listOf(all)}` : `did you mean \`${guess}\`?`,
      ...(guess === undefined
        ? {}
        : { fixes: [{ title: `replace by \`${guess}\``, edits: [{ span: value.callee.span, text: guess }] }] }),
    });
    return undefined;
  }
  const method = methods[name];
  if (!checkType(site, input, name, value)) return undefined;
  const options = readOptions(site, name, method, value);
  const { columns, of, length } = readAbout(site, name, method, value);
  const isSaid = { column: columns.length > 0, columns: columns.length > 0, length: length !== undefined, input: of };
  if (options === undefined || isSaid[method.about] === undefined || isSaid[method.about] === false) return undefined;
  const all_ = length === undefined ? options : { ...options, length };
  const longest = method.length === undefined ? undefined : all_[method.length];
  const axis = input.type.shape[1];
  if (typeof longest === 'number' && axis !== undefined) {
    const { minimum, maximum } = dimBounds(axis, site.context.ranges);
    if (longest > maximum || (name === 'window' && longest < minimum)) {
      const range = minimum === maximum ? `${maximum}` : `${minimum}..${maximum}`;
      wrongValue(site, `\`${input.name}\` is ${range} long, ${longest} is not in it`, value.span);
      return undefined;
    }
  }
  return { name: input.name, type: input.type, method: name, columns, of, options: all_ };
}

/** What the reads of one block are about: parameters that callers fill, and targets. */
export interface ReadableInputs {
  readonly parameters: readonly EntryParameter[];
  readonly targets: readonly EntryParameter[];
}

/** Names of inputs that are a mask or segments of the only text. */
const conventions: Readonly<Record<string, 'mask' | 'segments'>> = {
  attention_mask: 'mask',
  mask: 'mask',
  token_type_ids: 'segments',
};

const isOf =
  (method: ReadMethod) =>
  ({ type }: EntryParameter): boolean =>
    type.dtype === methods[method].dtype && type.shape.length === methods[method].rank;

/** The one input of its kind that nothing is said about. */
function only(inputs: readonly EntryParameter[], method: ReadMethod, said: ReadonlySet<string>): EntryParameter[] {
  const of = inputs.filter(isOf(method));
  return of.length === 1 ? of.filter(({ name }) => !said.has(name)) : [];
}

/** Reads that go without saying: one text, its mask and segments, one label, one image. */
export function impliedReads(
  { parameters, targets }: ReadableInputs,
  said: readonly TrainRead[],
): readonly TrainRead[] {
  const names = new Set(said.map(({ name }) => name));
  const isConventional = ({ name }: EntryParameter) => Object.hasOwn(conventions, name);
  const needed = parameters.filter(({ initial }) => initial === undefined);
  const of = ({ name, type }: EntryParameter, method: ReadMethod, columns: readonly string[]): TrainRead => {
    return { name, type, method, columns, of: undefined, options: {} };
  };
  const own = [
    ...only(
      needed.filter((input) => !isConventional(input)),
      'tokens',
      names,
    ).map((input) => of(input, 'tokens', ['text'])),
    ...only(needed, 'image', names).map((input) => of(input, 'image', ['image'])),
    ...only(targets, 'label', names).map((input) => of(input, 'label', ['label'])),
  ];
  const [text, ...others] = [...said, ...own].filter(({ method }) => method === 'tokens');
  if (text === undefined || others.length > 0) return own;
  const followers = parameters.filter(
    (input) => isConventional(input) && !names.has(input.name) && isOf('mask')(input) && input.name !== text.name,
  );
  return [
    ...own,
    ...followers.map((input) => ({ ...of(input, conventions[input.name] ?? 'mask', []), of: text.name })),
  ];
}

/** All `read` items of a block, checked, and what goes without saying; undefined when one is wrong (reported). */
export function readReads(site: UseSite, block: UseBlock, inputs: ReadableInputs): readonly TrainRead[] | undefined {
  const { context } = site;
  const known = [...inputs.parameters, ...inputs.targets];
  const said: { readonly item: UseRead; readonly read: TrainRead }[] = [];
  const seen = new Map<string, UseRead>();
  let areRight = true;
  for (const item of block.items) {
    if (item.kind !== 'read') continue;
    const { text, span } = item.name;
    const input = known.find(({ name }) => name === text);
    const earlier = seen.get(text);
    seen.set(text, item);
    if (earlier) {
      const labels = [{ span: earlier.name.span, text: 'first here' }];
      report(context, 'SORA2002', `\`${text}\` is read twice`, span, { labels });
    } else if (input === undefined) {
      const names = known.map(({ name }) => name);
      report(context, 'SORA2001', `\`${text}\` is neither a parameter of the entry nor a target`, span, {
        ...nearMember(item.name, names),
      });
    }
    const read = earlier || input === undefined ? undefined : readItem(site, item, input);
    if (read) said.push({ item, read });
    else areRight = false;
  }
  if (!areRight) return undefined;
  const reads = said.map(({ read }) => read);
  const all = [...reads, ...impliedReads(inputs, reads)];
  for (const { item, read } of said) {
    const { follows = [] } = methods[read.method];
    if (read.of === undefined || item.value.kind !== 'call') continue;
    const source = all.find(({ name }) => name === read.of);
    if (source !== undefined && follows.includes(source.method)) continue;
    const span = item.value.arguments.find(({ name }) => name === undefined)?.value.span ?? item.value.span;
    const possible = all.flatMap(({ name, method }) => (follows.includes(method) ? [name] : []));
    wrongValue(
      site,
      `\`${read.method}\` follows an input that is read as ${listOf(follows)}, \`${read.of}\` is ${source === undefined ? 'not read' : `read as \`${source.method}\``}`,
      span,
      possible.length === 0 ? undefined : `there is ${listOf(possible)}`,
    );
    areRight = false;
  }
  return areRight ? all : undefined;
}
