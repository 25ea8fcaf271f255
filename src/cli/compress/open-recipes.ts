/**
 * A file and its recipes, compiled: without any blocks, and once for each recipe. Mistakes of any recipe are told before anything
 * is read or run.
 */
import { Option } from 'commander';
import { checkSource } from '../../compile.ts';
import type { Program } from '../../ir/graph.ts';
import { parse } from '../../parser/index.ts';
import { type Diagnostic, hasErrors } from '../../support/diagnostic.ts';
import type { SourceFile } from '../../support/source.ts';
import { optional } from '../command.ts';
import { type Compiled, type CompileRequest, compileFile } from '../execute.ts';
import { usageError } from '../exit-codes.ts';
import { loadConfig, loadSource } from '../source-files.ts';
import { denseBlocks, type Recipe, readRecipe } from './recipes.ts';

export type Compilation = NonNullable<Compiled['compilation']>;

export interface OpenedRecipe {
  readonly recipe: Recipe;
  /** Where its blocks stand. */
  readonly text: SourceFile;
  /** What it is compared with: without its blocks, except those that the checkpoint has been pruned by. */
  readonly dense: Compilation;
  readonly compilation: Compilation;
  /** With other numbers of heads and neurons, by id of their set. */
  compile(kept: ReadonlyMap<string, number>): Compiled;
}

export interface OpenedRecipes {
  /** File name without `.sora`. */
  readonly name: string;
  /** As the file says, with its `train` block. */
  readonly program: Program;
  /** The dense model with its `train` block. */
  compileTrained(): Compiled;
  readonly recipes: readonly OpenedRecipe[];
  readonly diagnostics: readonly Diagnostic[];
}

export interface RecipesRequest {
  readonly file: string;
  /** What commander collected; nothing: the blocks of the file. */
  readonly recipes: unknown;
  readonly configPath: string | undefined;
  readonly model: string | undefined;
  /** What the checkpoint says about heads and neurons that were taken out of it. */
  readonly kept?: ReadonlyMap<string, number> | undefined;
}

export function recipeOption(): Option {
  return new Option(
    '--recipe <recipe>',
    'a .sora file with `quantize` and `prune` blocks, or words as int8, int4:64:gptq, nm24, heads50+int8; else the blocks of the file',
  ).argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value]);
}

/** What was given with `--recipe`, in order. */
export function givenRecipes(option: unknown): readonly string[] {
  return Array.isArray(option) ? option.filter((each): each is string => typeof each === 'string') : [];
}

/** One recipe, for commands that take a model as it says. */
export function oneRecipeOption(): Option {
  return new Option(
    '--recipe <recipe>',
    'as for `sorac compress`: stands for the `quantize` and `prune` blocks of the file',
  );
}

/**
 * The blocks of a recipe for a compilation of the file; nothing where none is asked for. What a recipe makes is for inference, as what
 * `sorac compress` makes, whatever `train` blocks there are; only a training asks for something else.
 *
 * @errors SORA0001 for what is no recipe
 */
export function recipeUses(
  given: string | undefined,
  { file, configPath, model }: Omit<RecipesRequest, 'recipes'>,
): Pick<CompileRequest, 'uses' | 'usesPath' | 'isForInference'> {
  if (given === undefined) return {};
  const source = loadSource(file);
  const { value } = checkSource({
    file: source.file,
    host: source.host,
    isDense: true,
    ...optional('model', model),
    ...(configPath === undefined ? {} : { config: loadConfig(configPath) }),
  });
  // Mistakes of the file are told by the command itself.
  if (value === undefined) return {};
  const recipe = readRecipe(given, value);
  return { ...optional('uses', recipe.text), usesPath: usesPath(recipe), isForInference: true };
}

/** @errors SORA0001 for recipes that are none, or that change nothing */
export function openRecipes(request: RecipesRequest): OpenedRecipes | { readonly failed: readonly Diagnostic[] } {
  const { file, configPath, model } = request;
  const source = loadSource(file);
  const checked = checkSource({
    file: source.file,
    host: source.host,
    ...optional('model', model),
    ...(configPath === undefined ? {} : { config: loadConfig(configPath) }),
  });
  const program = checked.value;
  if (hasErrors(checked.diagnostics) || program === undefined) return { failed: checked.diagnostics };
  const compiled = (recipe: Recipe, others: Pick<CompileRequest, 'kept' | 'isForInference'> = {}): Compiled =>
    compileFile({
      path: file,
      isForInference: true,
      ...optional('kept', request.kept),
      ...others,
      ...optional('model', model),
      ...optional('configPath', configPath),
      ...(recipe.text === undefined ? {} : { uses: recipe.text, usesPath: usesPath(recipe) }),
    });
  const none: Recipe = { name: 'dense', text: denseBlocks(program.name) };
  const dense = compiled(none);
  if (!dense.compilation) return { failed: dense.diagnostics };
  const plain = dense.compilation.program;
  const given = givenRecipes(request.recipes);
  const wanted: readonly Recipe[] =
    given.length === 0 ? [{ name: source.name, text: undefined }] : given.map((recipe) => readRecipe(recipe, plain));
  const recipes: OpenedRecipe[] = [];
  const diagnostics: Diagnostic[] = [];
  for (const recipe of wanted) {
    const { compilation, diagnostics: found } = compiled(recipe);
    if (!compilation) return { failed: found };
    const unquantized = { ...recipe, text: withoutQuantize(recipe, program.name) };
    const own = request.kept === undefined ? dense : compiled(unquantized);
    if (!own.compilation) return { failed: own.diagnostics };
    checkEffect(file, recipe, own.compilation, compilation, request.kept !== undefined);
    diagnostics.push(...found.filter((one) => !diagnostics.some((other) => isSame(one, other))));
    const { text } = recipe;
    recipes.push({
      recipe,
      text: text === undefined ? source.file : { path: usesPath(recipe), text },
      dense: own.compilation,
      compilation,
      compile: (kept) => compiled(recipe, { kept }),
    });
  }
  const compileTrained = () => compiled(none, { isForInference: false });
  return { name: source.name, program, compileTrained, recipes, diagnostics };
}

/** The recipe as far as a checkpoint that is pruned by it knows it. */
function withoutQuantize({ text }: Recipe, model: string): string {
  const none = `quantize ${model} {\n}\n`;
  if (text === undefined) return none;
  const blocks = parse({ path: '', text }).value.uses.filter(({ use }) => use === 'prune');
  return [...blocks.map(({ span }) => text.slice(span.start, span.end)), none].join('\n');
}

const usesPath = ({ name, path }: Recipe): string => path ?? `(recipe ${name})`;

function isSame(a: Diagnostic, b: Diagnostic): boolean {
  return a.code === b.code && a.span.start === b.span.start && a.span.file.path === b.span.file.path;
}

/** A recipe that changes nothing is a mistake. */
function checkEffect(
  file: string,
  recipe: Recipe,
  dense: Compilation,
  compressed: Compilation,
  isPruned: boolean,
): void {
  const shapes = ({ program }: Compilation) =>
    JSON.stringify([
      program.weights.map(({ path, type, format }) => [path, type.shape.map(({ key }) => key), format]),
      program.states.map(({ path, dtype, width }) => [path, dtype, width]),
    ]);
  if ((compressed.program.prune?.weights.length ?? 0) > 0) return;
  if (shapes(dense) !== shapes(compressed)) return;
  if (isPruned)
    throw usageError(
      `the weights are pruned already, and \`${recipe.name}\` quantizes nothing`,
      'add a format, as +int8',
    );
  throw recipe.text === undefined
    ? usageError(
        `\`${file}\` has no \`quantize\` or \`prune\` block that changes weights or states`,
        'say what to do with --recipe, as --recipe int8',
      )
    : usageError(`the recipe \`${recipe.name}\` changes no weight and no state`);
}
