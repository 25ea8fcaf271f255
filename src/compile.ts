/**
 * The pipeline on one screen: source text in, artifact out.
 *
 *   parse -> resolve imports -> lower -> prune -> train -> optimize -> toKernels (per profile) -> generate
 *
 * Each stage is one function of an immutable value that returns `{ value, diagnostics }`; a stage runs only when the ones
 * before it made no error. Printing the module is `emitModule` (src/codegen/module); files are the command line's business.
 */
import { generate } from './codegen/generate.ts';
import type { Program } from './ir/graph.ts';
import { lowerModel } from './ir/lower.ts';
import type { ProfileName } from './ir/target.ts';
import type { SourceTree, UseBlock, UseWord } from './parser/ast.ts';
import { overrideUses, parse, resolveImports } from './parser/index.ts';
import { library } from './parser/library.generated.ts';
import { addTraining, chooseSparseFormats, optimize, prune, toKernels } from './passes/index.ts';
import type { Artifact } from './runtime/artifact.ts';
import { type Diagnostic, hasErrors, type Stage } from './support/diagnostic.ts';
import type { SourceFile } from './support/source.ts';
import { sourceHash } from './support/source-hash.ts';
import { version } from './version.ts';

/** What the compiler needs of the outside: text of an imported file, by path relative to the project root. */
export interface CompileHost {
  readFile(path: string): string | undefined;
}

export interface CompileInput {
  readonly file: SourceFile;
  readonly host?: CompileHost;
  /** Which model of the file; needed only when there are several. */
  readonly model?: string;
  /** A parsed Hugging Face `config.json`; without it the defaults of the file's `config` hold. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Use blocks (`train Model.entry { … }`) that stand for those of the same kind in `file`. */
  readonly uses?: SourceFile;
  /** Use blocks whose settings stand for those of the same name in the blocks of `file`. */
  readonly settings?: SourceFile;
  /** Kinds of use blocks that are left out, as `train` where nothing is to be trained. */
  readonly without?: readonly UseWord[];
  /** What a storage binding of the device holds; 128 MiB, which every device has, when left out. */
  readonly bindingBytes?: number;
  /** The program before its rules about heads and neurons take effect: what a checkpoint that is not sliced fits. */
  readonly isDense?: boolean;
  /** How many units stay, by id of the set (src/ir/pruning.ts), where a compressed file says so. */
  readonly kept?: ReadonlyMap<string, number>;
}

/** Every value of the pipeline, for `--emit` and for tests. */
export interface Compilation {
  readonly program: Program;
  readonly optimized: Program;
  readonly kernels: Readonly<Record<ProfileName, Program>>;
  readonly artifact: Artifact;
}

const noFiles: CompileHost = { readFile: () => undefined };

function parseAll(input: CompileInput): Stage<readonly SourceTree[]> {
  const trees = resolveImports(input.file, { library, readFile: (path) => (input.host ?? noFiles).readFile(path) });
  const root = trees.value.at(-1);
  if (root === undefined) return trees;
  const diagnostics = [...trees.diagnostics];
  let changed = root;
  if (input.uses !== undefined) {
    const own = parse(input.uses);
    const isReplaced = (block: UseBlock) => own.value.uses.some((other) => other.use === block.use);
    changed = { ...root, uses: [...root.uses.filter((block) => !isReplaced(block)), ...own.value.uses] };
    diagnostics.push(...own.diagnostics);
  }
  if (input.settings !== undefined) {
    const own = parse(input.settings);
    changed = overrideUses(changed, own.value);
    diagnostics.push(...own.diagnostics);
  }
  const { without = [] } = input;
  const uses = changed.uses.filter(({ use }) => !without.includes(use));
  return { value: [...trees.value.slice(0, -1), { ...changed, uses }], diagnostics };
}

function lowerAll(trees: readonly SourceTree[], input: CompileInput, allowLibrary = false): Stage<Program | undefined> {
  return lowerModel({
    trees,
    allowLibrary,
    ...(input.model === undefined ? {} : { model: input.model }),
    ...(input.config === undefined ? {} : { config: input.config }),
  });
}

/**
 * Names, types and shapes only: what `sorac check` and an editor want. A file without a model is checked as a library and
 * gives no program.
 */
export function checkSource(input: CompileInput): Stage<Program | undefined> {
  return lowerSource(input, true);
}

/** The program that passes and the interpreter work on, with the hidden entries of training. */
export function lowerSource(input: CompileInput, allowLibrary = false): Stage<Program | undefined> {
  const parsed = parseAll(input);
  if (hasErrors(parsed.diagnostics)) return { value: undefined, diagnostics: parsed.diagnostics };
  const lowered = lowerAll(parsed.value, input, allowLibrary);
  const before = [...parsed.diagnostics, ...lowered.diagnostics];
  if (lowered.value === undefined) return { value: undefined, diagnostics: before };
  const pruned = pruneProgram(lowered.value, input);
  if (hasErrors(pruned.diagnostics)) return { value: undefined, diagnostics: [...before, ...pruned.diagnostics] };
  const trained = addTraining(pruned.value, input.bindingBytes);
  return { value: trained.value, diagnostics: [...before, ...pruned.diagnostics, ...trained.diagnostics] };
}

function pruneProgram(program: Program, { isDense, kept }: CompileInput): Stage<Program> {
  if (isDense === true) return { value: program, diagnostics: [] };
  const pruned = prune(program, kept === undefined ? {} : { kept });
  return hasErrors(pruned.diagnostics) ? pruned : chooseSparseFormats(pruned.value);
}

/** Collects what stages say and gives what they make. */
function collector(diagnostics: Diagnostic[]) {
  return <Value>(stage: Stage<Value>): Value => {
    diagnostics.push(...stage.diagnostics);
    return stage.value;
  };
}

export function compile(input: CompileInput): Stage<Compilation | undefined> {
  const diagnostics: Diagnostic[] = [];
  const keep = collector(diagnostics);
  const failed = { value: undefined, diagnostics };

  const trees = keep(parseAll(input));
  if (hasErrors(diagnostics)) return failed;
  const lowered = keep(lowerAll(trees, input));
  if (lowered === undefined || hasErrors(diagnostics)) return failed;
  const pruned = keep(pruneProgram(lowered, input));
  if (hasErrors(diagnostics)) return failed;
  const program = keep(addTraining(pruned, input.bindingBytes));
  if (hasErrors(diagnostics)) return failed;
  const given = [input.uses, input.settings].flatMap((file) => (file === undefined ? [] : [file.text]));
  const texts = [...trees.map((tree) => tree.file.text), ...given];
  const compiled = keep(compileProgram(program, sourceHash(texts, input.config), input.bindingBytes));
  return compiled ? { value: compiled, diagnostics } : failed;
}

/** What lowering made, through passes and code generation; `source` is the hash of where it came from. */
export function compileProgram(
  program: Program,
  source: string,
  bindingBytes?: number,
): Stage<Compilation | undefined> {
  const diagnostics: Diagnostic[] = [];
  const keep = collector(diagnostics);
  const failed = { value: undefined, diagnostics };
  const optimized = keep(optimize(program));
  if (hasErrors(diagnostics)) return failed;
  const limit = bindingBytes === undefined ? {} : { bindingBytes };
  const forProfile = (profile: ProfileName) => keep(toKernels(optimized, profile, limit));
  const kernels = { software: forProfile('software'), gpu: forProfile('gpu') };
  if (hasErrors(diagnostics)) return failed;
  const artifact = keep(
    generate({
      program,
      perProfile: kernels,
      ...limit,
      compiler: `sorac ${version}`,
      source,
    }),
  );
  if (hasErrors(diagnostics)) return failed;
  return { value: { program, optimized, kernels, artifact }, diagnostics };
}
