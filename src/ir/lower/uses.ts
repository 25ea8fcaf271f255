/**
 * Checks the use blocks of the root file: `train`, `quantize`, `prune`, `adapter`, `generate`, `golden`.
 *
 * Names, globs and values are checked against the model, and what they ask for is handed on. Blocks of imported
 * files are theirs: how a part is used elsewhere says nothing about this model.
 */
import type { ModuleDeclaration, SourceTree, UseBlock, UseRule, UseSetting, UseWord } from '../../parser/ast.ts';
import { joinSpans } from '../../support/source.ts';
import { closest } from '../../support/suggest.ts';
import type { Entry, TrainBlock, Weight } from '../graph.ts';
import type { PruneBlock } from '../pruning.ts';
import { transposedMatrices } from '../summed-axis.ts';
import { describe, type Instance, numberOf } from './binding.ts';
import { type Context, report } from './context.ts';
import { lowerEntry } from './entries.ts';
import { evaluate } from './expressions.ts';
import { makeInstance } from './modules.ts';
import { nearMember, resolveModule } from './names.ts';
import { childScope, lookup, type Scope } from './scope.ts';
import { configArguments } from './uncalled.ts';
import { type Adapters, readAdapterRule, trainedBeside } from './use-adapters.ts';
import { type ChosenFormat, readFormats } from './use-formats.ts';
import { type Generating, readGeneration } from './use-generate.ts';
import { select } from './use-globs.ts';
import {
  checkMethod,
  checkPlain,
  checkValue,
  stateFormats,
  trainingRules,
  type UseSite,
  type ValueKind,
  wrongValue,
} from './use-methods.ts';
import { partsOf } from './use-parts.ts';
import { joined, type PruneRules, readPruneRule } from './use-pruning.ts';
import { quantizationOf, reportIneffective } from './use-quantization.ts';
import { readTraining } from './use-training.ts';

/** The model that the compilation is about. */
export interface UsedModel {
  readonly declaration: ModuleDeclaration;
  readonly instance: Instance;
  readonly entries: readonly Entry[];
}

/** What a block is about, with paths from there. */
interface Subject {
  readonly name: string;
  readonly declaration: ModuleDeclaration;
  readonly scope: Scope;
  /** Undefined when they are not known: the module's parameters have no values, or its fields have mistakes. */
  readonly weights: ReadonlyMap<string, Weight> | undefined;
  readonly states: readonly string[];
  /** The one that the compilation is about. */
  readonly isModel: boolean;
  /** Whether a matrix lies [inputs, outputs]. */
  isTransposed(path: string): boolean;
  entryNamed(name: string): Entry | undefined;
}

type SettingKind =
  | ValueKind
  /** Read by use-training.ts. */
  | { readonly kind: 'loss' }
  | { readonly kind: 'optimizer' }
  /** Read by use-parts.ts. */
  | { readonly kind: 'recompute' }
  | { readonly kind: 'globs' }
  | { readonly kind: 'path' }
  /** Read by use-generate.ts. */
  | { readonly kind: 'generation' };

interface BlockKind {
  readonly needsEntry: boolean;
  readonly settings: Readonly<Record<string, { readonly required: boolean; readonly kind: SettingKind }>>;
  /** Words before a glob; undefined where rules have no place. */
  readonly about: readonly string[] | undefined;
}

const optional = (kind: SettingKind) => ({ required: false, kind });
const required = (kind: SettingKind) => ({ required: true, kind });

const blocks: Readonly<Record<UseWord, BlockKind>> = {
  train: {
    needsEntry: true,
    settings: {
      loss: required({ kind: 'loss' }),
      optimizer: required({ kind: 'optimizer' }),
      no_decay: optional({ kind: 'globs' }),
      freeze: optional({ kind: 'globs' }),
      clip_norm: optional({ kind: 'number', above: 0 }),
      ema: optional({ kind: 'number', above: 0, below: 1 }),
      recompute: optional({ kind: 'recompute' }),
      precision: optional({ kind: 'word', words: ['f32', 'f16'] }),
      accumulate: optional({ kind: 'int', minimum: 1 }),
      seed: optional({ kind: 'int', minimum: 0 }),
      quantization_aware: optional({ kind: 'bool' }),
    },
    about: [],
  },
  quantize: { needsEntry: false, settings: {}, about: ['state'] },
  prune: { needsEntry: false, settings: {}, about: ['heads', 'neurons', 'layers', 'rows'] },
  adapter: { needsEntry: false, settings: {}, about: ['after'] },
  generate: {
    needsEntry: true,
    settings: { stop: optional({ kind: 'generation' }), top: optional({ kind: 'generation' }) },
    about: undefined,
  },
  golden: {
    needsEntry: true,
    settings: {
      inputs: required({ kind: 'path' }),
      outputs: required({ kind: 'path' }),
      tolerance: optional({ kind: 'number', above: 0 }),
    },
    about: undefined,
  },
};

/** A module that the model does not hold, made apart from it: its weights leave no trace. */
function makeApart(context: Context, declaration: ModuleDeclaration, fileScope: Scope): Instance | undefined {
  const given = configArguments(declaration, fileScope);
  if (given === undefined) return undefined;
  const span = declaration.name.span;
  return makeInstance(context, { declaration, fileScope, given, path: ['', 'use'], field: undefined, span });
}

function relative(prefix: string, path: string): string | undefined {
  if (prefix === '') return path;
  return path.startsWith(`${prefix}.`) ? path.slice(prefix.length + 1) : undefined;
}

function subjectOf(
  context: Context,
  block: UseBlock,
  fileScope: Scope,
  model: UsedModel | undefined,
  areFieldsRight: boolean,
): Subject | undefined {
  const { text, span } = block.model;
  if (model?.entries.some((entry) => entry.name === text) && lookup(fileScope, text) === undefined) {
    const whole = `${model.declaration.name.text}.${text}`;
    report(context, 'SORA2001', `\`${block.use}\` names the model first, \`${text}\` is an entry`, span, {
      help: `did you mean \`${whole}\`?`,
      fixes: [{ title: `replace by \`${whole}\``, edits: [{ span, text: whole }] }],
    });
    return undefined;
  }
  const binding = resolveModule(context, text, span, fileScope);
  if (binding.kind === 'poison') return undefined;
  if (binding.kind !== 'module-type') {
    report(context, 'SORA2006', `\`${block.use}\` is about a model, not ${describe(binding)}`, block.model.span);
    return undefined;
  }
  const { declaration } = binding;
  const isModel = declaration === model?.declaration;
  const known = isModel ? model?.instance : context.firstInstances.get(declaration);
  const [weightsBefore, statesBefore] = [new Set(context.weights.keys()), new Set(context.states.keys())];
  const instance = known ?? makeApart(context, declaration, binding.scope);
  const prefix = instance?.path.join('.') ?? '';
  const under = <Item>(items: ReadonlyMap<string, Item>): ReadonlyMap<string, Item> =>
    new Map(
      [...items].flatMap(([path, item]): (readonly [string, Item])[] => {
        const rest = relative(prefix, path);
        return rest === undefined ? [] : [[rest, item]];
      }),
    );
  const weights = new Map([...under(context.weights)].map(([path, record]) => [path, record.weight]));
  const states = [...under(context.states).keys()];
  if (known === undefined) {
    for (const path of [...context.weights.keys()]) if (!weightsBefore.has(path)) context.weights.delete(path);
    for (const path of [...context.states.keys()]) if (!statesBefore.has(path)) context.states.delete(path);
  }
  let transposed: ReadonlySet<string> | undefined;
  return {
    name: declaration.name.text,
    declaration,
    isTransposed(path) {
      transposed ??= transposedMatrices(isModel && model ? model.entries.map(({ graph }) => graph) : []);
      return transposed.has(path);
    },
    scope: instance?.scope ?? childScope(binding.scope),
    weights: instance === undefined || !areFieldsRight ? undefined : weights,
    states,
    isModel,
    entryNamed(name) {
      if (isModel) return model?.entries.find((entry) => entry.name === name);
      const member = declaration.members.find((candidate) => candidate.name?.text === name);
      return member?.kind === 'entry' && instance ? lowerEntry(context, member, instance) : undefined;
    },
  };
}

/** The entry behind the dot; reports a missing, unknown or needless one. */
function checkEntry(context: Context, block: UseBlock, subject: Subject): Entry | undefined {
  const entries = subject.declaration.members.flatMap((member) =>
    member.kind === 'entry' || member.kind === 'derived-entry' ? [member.name.text] : [],
  );
  if (!blocks[block.use].needsEntry) {
    if (block.entry) {
      report(context, 'SORA2304', `\`${block.use}\` is about the whole model`, block.entry.span, {
        help: `write \`${block.use} ${block.model.text} { … }\``,
      });
    }
    return undefined;
  }
  if (block.entry === undefined) {
    report(context, 'SORA2305', `\`${block.use}\` needs an entry`, block.model.span, {
      help: `write \`${block.use} ${block.model.text}.${entries[0] ?? 'entry'} { … }\``,
    });
    return undefined;
  }
  if (!entries.includes(block.entry.text)) {
    report(context, 'SORA2004', `\`${subject.name}\` has no entry \`${block.entry.text}\``, block.entry.span, {
      labels: [{ span: subject.declaration.name.span, text: 'declared here' }],
      ...nearMember(block.entry, entries),
    });
    return undefined;
  }
  return subject.entryNamed(block.entry.text);
}

function checkPath(site: UseSite, setting: UseSetting): void {
  for (const { value } of setting.values) {
    const binding = evaluate(site.context, value, site.scope);
    if (binding.kind === 'poison') continue;
    const name = `\`${setting.name.text}\``;
    if (binding.kind !== 'string')
      wrongValue(site, `${name} is a path in quotes, found ${describe(binding)}`, value.span);
    else if (/^[\\/]|^[A-Za-z]:|\\|(?:^|\/)\.\.(?:\/|$)/.test(binding.value) || binding.value.includes('\0')) {
      wrongValue(site, `${name} leaves the folder of this file`, value.span, 'write a path relative to this file');
    } else if (!binding.value.endsWith('.safetensors')) {
      wrongValue(site, `${name} names a \`.safetensors\` file`, value.span);
    }
  }
}

function checkGlobs(site: UseSite, setting: UseSetting, subject: Subject): void {
  for (const { value } of setting.values) {
    if (value.kind === 'missing') continue;
    if (value.kind !== 'string') {
      wrongValue(site, `\`${setting.name.text}\` takes names of weights in quotes`, value.span);
      continue;
    }
    const paths = subject.weights && [...subject.weights.keys()];
    if (paths) select(site.context, { text: value.value, span: value.span }, paths, 'weight', subject.name);
  }
}

function checkSetting(site: UseSite, block: UseBlock, setting: UseSetting, subject: Subject): void {
  const { text, span } = setting.name;
  const { settings } = blocks[block.use];
  const known = Object.hasOwn(settings, text) ? settings[text] : undefined;
  if (known === undefined) {
    const names = Object.keys(settings);
    const guess = closest(text, names);
    const list = names.map((name) => `\`${name}\``).join(', ');
    report(site.context, 'SORA2301', `\`${block.use}\` has no \`${text}\``, span, {
      help:
        names.length === 0
          ? 'it holds rules: `"weights": …`'
          : guess === undefined
            ? `there is ${list}`
            : `did you mean \`${guess}\`?`,
      ...(guess === undefined ? {} : { fixes: [{ title: `replace by \`${guess}\``, edits: [{ span, text: guess }] }] }),
    });
    return;
  }
  if (!setting.values.every((value) => checkPlain(site, value, block.use))) return;
  const { kind } = known;
  if (kind.kind === 'generation' || kind.kind === 'recompute') return;
  if (kind.kind === 'globs') {
    checkGlobs(site, setting, subject);
    return;
  }
  const [first, second] = setting.values;
  if (second) wrongValue(site, `\`${text}\` takes one value`, second.span);
  else if (kind.kind === 'path') checkPath(site, setting);
  else if (kind.kind !== 'loss' && kind.kind !== 'optimizer' && first)
    checkValue(site, kind, first.value, `\`${text}\``);
}

/** What the rules of a block choose for weights. */
interface Chosen {
  readonly adapters: Adapters;
  /** Factors of the learning rate; a later rule overrides an earlier one. */
  readonly rates: Map<string, number>;
  /** Weight decay; the same. */
  readonly decays: Map<string, number>;
  /** Undefined stands for plain numbers. */
  readonly formats: Map<string, ChosenFormat | undefined>;
  readonly pruning: PruneRules;
}

function checkRule(site: UseSite, block: UseBlock, rule: UseRule, subject: Subject, chosen: Chosen): void {
  const { about } = rule;
  const { context } = site;
  const words = blocks[block.use].about;
  if (words === undefined) {
    const names = Object.keys(blocks[block.use].settings);
    const list = names.map((name) => `\`${name}\``).join(', ');
    report(context, 'SORA2301', `\`${block.use}\` holds no rules for weights`, rule.span, { help: `there is ${list}` });
    return;
  }
  if (about && !words.includes(about.text)) {
    const guess = closest(about.text, words);
    report(context, 'SORA2301', `\`${block.use}\` has no \`${about.text}\``, about.span, {
      help:
        guess !== undefined
          ? `did you mean \`${guess}\`?`
          : words.length === 0
            ? 'a rule starts with the names of weights in quotes'
            : `there is ${words.map((word) => `\`${word}\``).join(', ')}`,
    });
    return;
  }
  const { weights, states } = subject;
  const paths = weights && [...weights.keys()];
  const named = rule.globs.flatMap((glob): readonly string[] => {
    if (paths === undefined) return [];
    if (about?.text === 'state') return select(context, glob, states, 'state', subject.name);
    return about
      ? select(context, glob, partsOf(paths), 'part', subject.name)
      : select(context, glob, paths, 'weight', subject.name);
  });
  const selected = named.flatMap((path) => weights?.get(path) ?? []);
  if (block.use === 'prune') {
    readPruneRule(site, rule, named, selected, subject.isTransposed, chosen.pruning);
    return;
  }
  if (!checkPlain(site, rule.value, block.use)) return;
  if (block.use === 'train') {
    const found = checkMethod(site, trainingRules, rule.value.value, 'rule of training');
    const [given] = [...(found?.values.values() ?? [])].map(numberOf);
    const numbers = found?.name === 'decay' ? chosen.decays : chosen.rates;
    if (given !== undefined) for (const { path } of selected) numbers.set(path, given);
    return;
  }
  if (block.use === 'adapter') {
    readAdapterRule(site, rule, selected, subject.isModel, chosen.adapters);
    return;
  }
  if (about) checkMethod(site, stateFormats, rule.value.value, 'number format');
  else readFormats(site, rule, selected, subject.isTransposed, chosen.formats);
}

/** What blocks about the model ask for. */
export interface Used {
  readonly generating?: Generating | undefined;
  readonly training?: TrainBlock | undefined;
  readonly adapters?: Adapters;
  /** Number formats by weight. */
  readonly formats?: ReadonlyMap<string, ChosenFormat | undefined>;
  readonly pruning?: PruneBlock;
}

function checkBlock(context: Context, block: UseBlock, subject: Subject): Used {
  const site: UseSite = { context, scope: subject.scope };
  const entry = checkEntry(context, block, subject);
  const seen = new Map<string, UseSetting>();
  const chosen: Chosen = {
    adapters: new Map(),
    rates: new Map(),
    decays: new Map(),
    formats: new Map(),
    pruning: { layers: [], units: [], rows: [], weights: [] },
  };
  for (const item of block.items) {
    if (item.kind === 'rule') checkRule(site, block, item, subject, chosen);
    else if (item.kind === 'setting') {
      const earlier = seen.get(item.name.text);
      if (earlier) {
        report(context, 'SORA2002', `\`${item.name.text}\` is given twice`, item.name.span, {
          labels: [{ span: earlier.name.span, text: 'first here' }],
        });
      } else checkSetting(site, block, item, subject);
      seen.set(item.name.text, item);
    } else if (block.use !== 'train') {
      const what = item.kind === 'target' ? 'has no targets' : 'reads no data';
      report(context, 'SORA2301', `\`${block.use}\` ${what}`, item.name.span);
    }
  }
  const training =
    block.use === 'train' ? readTraining(site, block, entry, [...(subject.weights?.keys() ?? [])], chosen) : undefined;
  const { settings } = blocks[block.use];
  const absent = Object.keys(settings).filter((name) => settings[name]?.required === true && !seen.has(name));
  // A mistyped word is told once, as that.
  const isMistyped = [...seen.keys()].some((name) => !Object.hasOwn(settings, name));
  if (absent.length > 0 && !isMistyped) {
    const names = absent.map((name) => `\`${name}\``).join(' and ');
    report(context, 'SORA2305', `\`${block.use}\` needs ${names}`, joinSpans(block.useSpan, block.model.span));
  }
  return {
    training,
    adapters: chosen.adapters,
    formats: chosen.formats,
    pruning: chosen.pruning,
    generating: block.use === 'generate' && entry ? readGeneration(site, block, entry) : undefined,
  };
}

/** Blocks of which a model has one. */
const single: Readonly<Partial<Record<UseWord, string>>> = { generate: 'generates by', train: 'is trained on' };

/** Checks all blocks; what those about the model ask for. */
export function checkUses(
  context: Context,
  root: SourceTree,
  model: UsedModel | undefined,
  areFieldsRight: boolean,
): Used {
  const fileScope = context.fileScopes.get(root.file);
  let used: Used = {};
  if (fileScope === undefined) return used;
  const first = new Map<UseWord, UseBlock>();
  for (const block of root.uses) {
    const subject = subjectOf(context, block, fileScope, model, areFieldsRight);
    const found = subject && checkBlock(context, block, subject);
    const verb = single[block.use];
    if (subject?.declaration !== model?.declaration) continue;
    used = {
      ...used,
      adapters: new Map([...(used.adapters ?? []), ...(found?.adapters ?? [])]),
      formats: new Map([...(used.formats ?? []), ...(found?.formats ?? [])]),
    };
    used = { ...used, ...joined(used.pruning, found?.pruning) };
    if (verb === undefined) continue;
    const earlier = first.get(block.use);
    if (earlier) {
      report(context, 'SORA2002', `\`${block.model.text}\` ${verb} one entry only`, block.useSpan, {
        labels: [{ span: earlier.useSpan, text: 'first here' }],
      });
      continue;
    }
    first.set(block.use, block);
    if (block.use === 'train') used = { ...used, training: found?.training };
    else used = { ...used, generating: found?.generating };
  }
  const { training, adapters: all = new Map() } = used;
  if (training === undefined) return used;
  const formats = quantizationOf(context, root, first.get('train'), model?.instance.scope ?? fileScope, used.formats);
  if (formats.size === 0) reportIneffective(context, root, first.get('train'), used.formats);
  return { ...used, training: { ...training, ...trainedBeside(context, all), formats } };
}
