/**
 * The one path from a source file to results, shared by `run`, `golden`, `goldens` and `doctor`:
 * compile -> artifact -> createModel -> entry. A generated module takes the same path from its artifact on.
 */
import { type Compilation, compile } from '../compile.ts';
import type { Artifact, EntrySpec } from '../runtime/artifact.ts';
import { createModel } from '../runtime/index.ts';
import type { TrainerOptions } from '../runtime/trainer-options.ts';
import type { Trainer } from '../runtime/trainer-types.ts';
import { type Diagnostic, hasErrors } from '../support/diagnostic.ts';
import { closest } from '../support/suggest.ts';
import { optional } from './command.ts';
import { type CommandResult, type Context, diagnosticsDocument, showDiagnostics } from './context.ts';
import { deviceChoice } from './device-choice.ts';
import { exitCodes, usageError } from './exit-codes.ts';
import { type LoadedSource, loadConfig, loadSource } from './source-files.ts';
import type { HostTensor } from './tensor-file.ts';

export interface CompileRequest {
  readonly path: string;
  readonly model?: string;
  readonly configPath?: string;
  /** Use blocks that stand for those of the file. */
  readonly uses?: string;
  /** Use blocks whose settings stand for those of the file's blocks. */
  readonly settings?: string;
  /** Nothing is to be trained: `train` blocks are left out. Adapters behind parts belong to the model. */
  readonly isForInference?: boolean;
  /** What `uses` is called in diagnostics. */
  readonly usesPath?: string;
  /** How many heads and neurons stay, by id of their set, in place of what rules say. */
  readonly kept?: ReadonlyMap<string, number>;
}

export interface Compiled {
  readonly source: LoadedSource;
  readonly compilation: Compilation | undefined;
  readonly diagnostics: readonly Diagnostic[];
  /** Milliseconds from source text to artifact. */
  readonly milliseconds: number;
}

export function compileFile(request: CompileRequest): Compiled {
  const source = loadSource(request.path);
  const config = request.configPath === undefined ? undefined : loadConfig(request.configPath);
  const start = performance.now();
  const stage = compile({
    file: source.file,
    host: source.host,
    ...optional('model', request.model),
    ...optional('config', config),
    ...(request.uses === undefined ? {} : { uses: { path: request.usesPath ?? '(options)', text: request.uses } }),
    ...(request.settings === undefined ? {} : { settings: { path: '(options)', text: request.settings } }),
    ...optional('kept', request.kept),
    ...(request.isForInference === true ? { without: ['train'] as const } : {}),
  });
  const compilation = hasErrors(stage.diagnostics) ? undefined : stage.value;
  return { source, compilation, diagnostics: stage.diagnostics, milliseconds: performance.now() - start };
}

/** What every command answers when the model has errors. */
export function modelFailure(context: Context, diagnostics: readonly Diagnostic[]): CommandResult {
  showDiagnostics(context, diagnostics);
  return { exitCode: exitCodes.model, document: { ok: false, diagnostics: diagnosticsDocument(diagnostics) } };
}

/** The entry that was asked for, or the only one. */
export function chooseEntry(artifact: Artifact, name: string | undefined): EntrySpec {
  const entries = artifact.entries.filter((entry) => entry.internal !== true);
  const names = entries.map((entry) => entry.name);
  const list = names.map((known) => `\`${known}\``).join(', ');
  if (name !== undefined) {
    const found = entries.find((entry) => entry.name === name);
    if (found !== undefined) return found;
    const near = closest(name, names);
    throw usageError(
      `model \`${artifact.name}\` has no entry \`${name}\``,
      near === undefined ? `its entries: ${list}` : `did you mean \`${near}\`?`,
    );
  }
  const only = entries[0];
  if (only === undefined) throw usageError(`model \`${artifact.name}\` has no entry to run`);
  if (entries.length > 1) {
    throw usageError(`model \`${artifact.name}\` has ${names.length} entries`, `choose one with --entry: ${list}`);
  }
  return only;
}

/** Calls that go on where the last one ended. */
export interface OpenSession {
  readonly call: OpenModel['call'];
  readonly close: () => Promise<void>;
}

export interface OpenModel {
  /** Name of the adapter and its rung of the device ladder. */
  readonly adapter: string;
  readonly loadMilliseconds: number;
  readonly call: (
    entry: string,
    inputs: Readonly<Record<string, HostTensor>>,
  ) => Promise<ReadonlyMap<string, HostTensor>>;
  readonly session: () => OpenSession;
  readonly trainer: (options?: TrainerOptions) => Promise<Trainer>;
  readonly close: () => Promise<void>;
}

export interface OpenOptions {
  /** Undefined: the model has none. */
  readonly weights: string | Uint8Array | undefined;
  readonly device: string;
  /** Told what is odd; stderr unless given. */
  readonly warn?: (line: string) => void;
}

export async function openModel(artifact: Artifact, options: OpenOptions): Promise<OpenModel> {
  const start = performance.now();
  const choice = deviceChoice(options.device);
  const model = await createModel(artifact, {
    ...optional('weights', options.weights),
    ...optional('warn', options.warn),
    // `auto` is left out: then the environment variable SORAC_DEVICE may choose.
    ...(choice === 'auto' ? {} : { adapter: choice }),
    cpu: () => import('../cpu.ts'),
  });
  return {
    adapter: `${model.device.name} (${model.device.kind})`,
    loadMilliseconds: performance.now() - start,
    async call(name, inputs) {
      const isStateful = artifact.entries.some((entry) => entry.name === name && entry.steps !== undefined);
      if (!isStateful) return new Map(Object.entries(await model.call(name, inputs)));
      // Every call begins anew.
      const session = model.session();
      try {
        return new Map(Object.entries(await session.call(name, inputs)));
      } finally {
        await session.close();
      }
    },
    session() {
      const session = model.session();
      return {
        call: async (name, inputs) => new Map(Object.entries(await session.call(name, inputs))),
        close: () => session.close(),
      };
    },
    trainer: (trainerOptions) => model.trainer(trainerOptions),
    close: () => model.close(),
  };
}
