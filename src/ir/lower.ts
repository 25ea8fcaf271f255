/**
 * Lowering: syntax trees to a `Program`.
 *
 * One walk resolves names, binds the config, expands `repeat`, checks element types and shapes, and writes one graph per
 * entry. Values that the walk meets are bindings (lower/binding.ts); a mistake becomes a diagnostic and a silent
 * `poison`, so that one mistake is told once. The order: files and configs, the model instance, its entries, then what
 * no entry reaches.
 */
import type { ModuleDeclaration, SourceTree } from '../parser/ast.ts';
import { hasErrors, type Stage } from '../support/diagnostic.ts';
import { closest } from '../support/suggest.ts';
import type { Entry, Graph, Program } from './graph.ts';
import { type Context, createContext, isLibraryFile, report } from './lower/context.ts';
import { deriveEntry } from './lower/derived-entries.ts';
import { checkDuplicates } from './lower/duplicates.ts';
import { lowerEntry, symbolsOfGraph } from './lower/entries.ts';
import { programStates } from './lower/entry-session.ts';
import { declareFiles } from './lower/files.ts';
import { makeInstance } from './lower/modules.ts';
import { resolveName } from './lower/names.ts';
import type { Scope } from './lower/scope.ts';
import { checkUncalled, configArguments } from './lower/uncalled.ts';
import { checkUnused } from './lower/unused.ts';
import { checkBottlenecks, chooseBottlenecks } from './lower/use-bottlenecks.ts';
import { chooseStateFormats } from './lower/use-states.ts';
import { checkUses } from './lower/uses.ts';
import { constantValue, type DimRange } from './symbolic.ts';

export interface LowerInput {
  /** In dependency order: imported files before their importers, the root file last. */
  readonly trees: readonly SourceTree[];
  /** Which model of the root file; needed only when there are several. */
  readonly model?: string;
  /** A parsed `config.json`; without it the defaults of the config blocks hold. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** A root file without a model is no mistake: it is checked for those who import it, and gives no program. */
  readonly allowLibrary?: boolean;
}

function modelsOf(tree: SourceTree): readonly ModuleDeclaration[] {
  return tree.declarations.flatMap((declaration) => (declaration.kind === 'model' ? [declaration] : []));
}

/** Names of the models of a file, in order. */
export function modelNames(tree: SourceTree): readonly string[] {
  return modelsOf(tree).map((declaration) => declaration.name.text);
}

function chooseModel(context: Context, root: SourceTree, wanted: string | undefined): ModuleDeclaration | undefined {
  const models = modelsOf(root);
  const start = { file: root.file, start: 0, end: 0 };
  const list = models.map((model) => `\`${model.name.text}\``).join(', ');
  if (wanted !== undefined) {
    const found = models.find((model) => model.name.text === wanted);
    if (found) return found;
    const guess = closest(wanted, modelNames(root));
    report(context, 'SORA2010', `this file has no model \`${wanted}\``, start, {
      help: guess
        ? `did you mean \`${guess}\`?`
        : models.length > 0
          ? `there is ${list}`
          : 'declare one: `model Name { … }`',
    });
    return undefined;
  }
  const [only, second] = models;
  if (only === undefined) {
    report(context, 'SORA2010', 'this file declares no model', start, { help: 'declare one: `model Name { … }`' });
  } else if (second) {
    report(context, 'SORA2010', `this file declares several models: ${list}`, second.name.span, {
      labels: [{ span: only.name.span, text: 'the first one' }],
      help: 'say which one with `--model NAME`',
    });
    return undefined;
  }
  return only;
}

function instantiate(context: Context, declaration: ModuleDeclaration, fileScope: Scope) {
  const given = configArguments(declaration, fileScope);
  if (given) {
    const span = declaration.name.span;
    return makeInstance(context, { declaration, fileScope, given, path: [], field: undefined, span });
  }
  const odd = declaration.parameters.find((parameter) => parameter.initial === undefined);
  if (odd && !['int', 'float', 'bool', 'string'].includes(odd.type.text)) {
    const binding = resolveName(context, odd.type.text, odd.type.span, fileScope);
    if (binding.kind === 'poison') return undefined;
  }
  const span = odd?.span ?? declaration.name.span;
  report(context, 'SORA2007', 'a parameter of a model is a config or has a default', span, {
    labels: [{ span: declaration.name.span, text: 'nobody calls a model' }],
  });
  return undefined;
}

/** Config values for the header of the generated module. */
function boundConfig(context: Context): Required<Pick<Program, 'config' | 'configSources'>> {
  const values: Record<string, number | boolean | string> = {};
  const sources: Record<string, 'given' | 'default'> = {};
  for (const tree of context.trees) {
    for (const declaration of tree.declarations) {
      const binding = context.fileScopes.get(tree.file)?.names.get(declaration.name.text)?.binding;
      // A config that nothing read says nothing about the program.
      if (binding?.kind !== 'config' || !binding.declaration.fields.some((field) => context.used.has(field))) continue;
      for (const [name, value] of binding.values) {
        const plain =
          value.kind === 'int'
            ? constantValue(value.dim)
            : value.kind === 'float' || value.kind === 'bool' || value.kind === 'string'
              ? value.value
              : undefined;
        if (plain === undefined) continue;
        const path = `${declaration.name.text}.${name}`;
        values[path] = plain;
        const field = binding.declaration.fields.find((each) => each.name.text === name);
        if (field && field.from.length > 0) sources[path] = context.given.has(field) ? 'given' : 'default';
      }
    }
  }
  return { config: values, configSources: sources };
}

function usedDims(context: Context, graphs: readonly Graph[]): ReadonlyMap<string, DimRange> {
  const used = new Set(graphs.flatMap((graph) => [...symbolsOfGraph(graph)]));
  return new Map([...context.ranges].filter(([name]) => used.has(name)));
}

/** Checks every file and gives the program of one model; undefined when there is a mistake. */
export function lowerModel(input: LowerInput): Stage<Program | undefined> {
  const context = createContext(input.trees, input.config);
  const root = input.trees.at(-1);
  if (root === undefined) return { value: undefined, diagnostics: [] };
  for (const tree of input.trees) if (!isLibraryFile(tree.file)) checkDuplicates(context, tree);
  declareFiles(context);

  const isLibrary = input.allowLibrary === true && input.model === undefined && modelsOf(root).length === 0;
  const declaration = isLibrary ? undefined : chooseModel(context, root, input.model);
  const fileScope = context.fileScopes.get(root.file);
  const model = declaration && fileScope ? instantiate(context, declaration, fileScope) : undefined;
  if (declaration) chooseStateFormats(context, root, declaration);
  if (declaration && model) chooseBottlenecks(context, root, declaration, model);
  const areFieldsRight = !hasErrors(context.diagnostics);
  const entries: Entry[] = [];
  if (declaration && model) {
    for (const member of declaration.members) {
      if (member.kind !== 'entry') continue;
      const entry = lowerEntry(context, member, model);
      if (entry) entries.push(entry);
    }
    // Those made from others come after all that have a body.
    const written = [...entries];
    for (const member of declaration.members) {
      if (member.kind !== 'derived-entry') continue;
      const entry = deriveEntry(context, member, written, model);
      if (entry) entries.push(entry);
    }
    entries.sort((left, right) => (left.span?.start ?? 0) - (right.span?.start ?? 0));
    if (!declaration.members.some((member) => member.kind === 'entry')) {
      report(
        context,
        'SORA2011',
        `model \`${declaration.name.text}\` has no entry, so nothing can be called`,
        declaration.name.span,
        {
          help: 'add one: `entry name(x: f32[B, T]) -> y: f32[B, T] { … }`',
        },
      );
    }
  }
  if (!hasErrors(context.diagnostics)) checkBottlenecks(context);
  const weights = [...context.weights.values()].map((record) => record.weight);
  const { states, session } = programStates(context);
  const { config, configSources } = boundConfig(context);
  const reached = new Set(context.used);
  const { generating, training, formats, pruning } = checkUses(
    context,
    root,
    declaration && model && { declaration, instance: model, entries },
    areFieldsRight,
  );
  checkUncalled(context);
  // What a library declares is there for others.
  if (isLibrary) for (const each of root.declarations) for (const set of [reached, context.used]) set.add(each);
  if (!hasErrors(context.diagnostics)) checkUnused(context, root, reached);

  const { diagnostics } = context;
  const dims = usedDims(context, [...entries.map(({ graph }) => graph), ...(training ? [training.loss] : [])]);
  if (declaration === undefined || hasErrors(diagnostics)) return { value: undefined, diagnostics };
  const program: Program = {
    name: declaration.name.text,
    doc: declaration.doc,
    config,
    configSources,
    dims,
    weights: weights.map((weight) => {
      // What trains is f32, and so is what lies beside it.
      const chosen = training ? undefined : formats?.get(weight.path);
      return chosen === undefined ? weight : { ...weight, ...chosen };
    }),
    states,
    ...(session ? { session } : {}),
    entries: [...entries, ...(generating?.entries ?? [])],
    ...(generating ? { generation: generating.generation } : {}),
    ...(training ? { train: training } : {}),
    ...(pruning ? { prune: pruning } : {}),
  };
  return { value: program, diagnostics };
}
