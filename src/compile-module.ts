/**
 * `compileModule`: from source to a model that runs and trains, in memory. What a generated module carries as text is here an
 * artifact that `createModel` takes as it is; no text is evaluated.
 */
import { type CompileHost, type CompileInput, compile } from './compile.ts';
import { bindEntries, type DynamicModel } from './dynamic-model.ts';
import type { Artifact } from './runtime/artifact.ts';
import { createModel, type LoadOptions } from './runtime/index.ts';
import { checkOptions, type Names } from './runtime/options.ts';
import { type Diagnostic, hasErrors } from './support/diagnostic.ts';
import { SoraError } from './support/error.ts';
import { renderDiagnostics } from './support/render.ts';
import type { SourceFile } from './support/source.ts';

export interface CompileModuleOptions {
  /** A parsed Hugging Face `config.json`; without it the defaults of the file's `config` hold. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Which model of the source; needed only when there are several. */
  readonly model?: string;
  /** Texts of the files that a source text imports, by path from the root: `{ 'blocks/norm.sora': '…' }`. */
  readonly imports?: Readonly<Record<string, string>>;
  /** Use blocks (`train Model.entry { … }`) that stand for those of the same kind in the source. */
  readonly uses?: string;
  /** Path of a source text from the root, for its imports and in messages. Default: `model.sora`. */
  readonly path?: string;
  /** What a storage binding of the device holds. Default: 128 MiB, which every device has. */
  readonly bindingBytes?: number;
}

const optionNames: Names<CompileModuleOptions> = {
  config: 1,
  model: 1,
  imports: 1,
  uses: 1,
  path: 1,
  bindingBytes: 1,
};

export interface CompiledModule<Entry extends string = string> {
  /** Finds a device, loads the weights and makes the pipelines, any number of times. */
  load(options?: LoadOptions): Promise<DynamicModel<Entry>>;
  /** Everything that was compiled, as data: `emitModule` prints it, `createModel` of `sorac/runtime` runs it. */
  readonly artifact: Artifact;
  /** Warnings. */
  readonly diagnostics: readonly Diagnostic[];
}

/** What a source with mistakes rejects with: `code` is that of the first one, `message` shows them all. */
export class CompileError extends SoraError {
  readonly diagnostics: readonly Diagnostic[];

  constructor(path: string, diagnostics: readonly Diagnostic[]) {
    const first = diagnostics.find(({ severity }) => severity === 'error');
    const shown = renderDiagnostics(diagnostics, { format: 'pretty', color: false }).trimEnd();
    super(first?.code ?? 'SORA9999', `\`${path}\` does not compile\n\n${shown}`);
    this.diagnostics = diagnostics;
  }
}

/**
 * Compiles a source in memory. Name the entries for their types: `compileModule<'embed' | 'score'>(source)`.
 *
 * @param source text, or in Node the `file:` URL of a `.sora` file, which imports as it does on the command line
 * @errors CompileError for mistakes in the source, SORA0003 for options, SORA7001 for a file that cannot be read
 */
export async function compileModule<Entry extends string = string>(
  source: string | URL,
  options: CompileModuleOptions = {},
): Promise<CompiledModule<Entry>> {
  checkOptions('SORA0003', 'compileModule', options, optionNames);
  const { config, model, uses, bindingBytes } = options;
  const { file, host } = typeof source === 'string' ? sourceOf(source, options) : await openFile(source);
  const input: CompileInput = {
    file,
    host,
    ...(config === undefined ? {} : { config }),
    ...(model === undefined ? {} : { model }),
    ...(uses === undefined ? {} : { uses: { path: '(uses)', text: uses } }),
    ...(bindingBytes === undefined ? {} : { bindingBytes }),
  };
  const { value, diagnostics } = compile(input);
  if (value === undefined || hasErrors(diagnostics)) throw new CompileError(file.path, diagnostics);
  const { artifact } = value;
  return {
    artifact,
    diagnostics,
    async load(given = {}) {
      const cpu = given.cpu ?? (() => import('./cpu.ts'));
      return bindEntries<Entry>(artifact, await createModel(artifact, { ...given, cpu }));
    },
  };
}

interface OpenSource {
  readonly file: SourceFile;
  readonly host: CompileHost;
}

function sourceOf(text: string, { path = 'model.sora', imports = {} }: CompileModuleOptions): OpenSource {
  const readFile = (name: string): string | undefined => (Object.hasOwn(imports, name) ? imports[name] : undefined);
  return { file: { path, text }, host: { readFile } };
}

/** Imported by a name that bundlers leave alone: browsers give texts. */
async function openFile(url: URL): Promise<OpenSource> {
  if (url.protocol !== 'file:')
    throw new SoraError('SORA7001', `\`${url.href}\` is no file`, {
      help: 'fetch its text and those of what it imports, and give `imports`',
    });
  const name: string = './support/node-source-files.ts';
  const { openSourceAt } = (await import(
    /* @vite-ignore */ /* webpackIgnore: true */ name
  )) as typeof import('./support/node-source-files.ts');
  return openSourceAt(url);
}
