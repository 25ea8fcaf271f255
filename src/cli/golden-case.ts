/**
 * Reads one folder of reference outputs: `case.json`, `config.json`, `model.safetensors`, `inputs.safetensors`,
 * `outputs.safetensors`. Keys start with a variant (`a.`, `b.`): one call each, all with the same weights. A folder that
 * is not of this form is told in words; it is never a crash.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { usageError } from './exit-codes.ts';
import { reason } from './source-files.ts';
import { type FileTensor, readTensorFile } from './tensor-file.ts';

export interface GoldenVariant {
  readonly name: string;
  readonly inputs: ReadonlyMap<string, FileTensor>;
  /** Expected results by result name. */
  readonly outputs: ReadonlyMap<string, FileTensor>;
  /** Expected gradients: `grad.NAME` of an input or a weight. */
  readonly gradients: ReadonlyMap<string, FileTensor>;
}

export interface GoldenCase {
  readonly name: string;
  readonly configPath: string;
  /** Undefined: the case has no weights. */
  readonly weightsPath: string | undefined;
  /** How the case is run; one of the table in commands/goldens.ts, or something that is not built yet. */
  readonly runner: string;
  /** Names of models that can run it: those of the config, else the one that is called as the runner. */
  readonly architectures: readonly string[];
  readonly variants: readonly GoldenVariant[];
  /** All of `case.json`. */
  readonly description: Readonly<Record<string, unknown>>;
}

const caseFiles = ['case.json', 'config.json', 'model.safetensors', 'inputs.safetensors', 'outputs.safetensors'];

/** Folders of cases under `folder`, or `folder` itself when it is one. */
export function findCaseFolders(folder: string): readonly string[] {
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (stats === undefined || !stats.isDirectory()) throw usageError(`\`${folder}\` is not a folder`);
  const isCase = (path: string) => caseFiles.some((file) => existsSync(join(path, file)));
  if (isCase(folder)) return [folder];
  const found = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .map((entry) => join(folder, entry.name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true && isCase(path));
  if (found.length === 0)
    throw usageError(`\`${folder}\` has no cases`, `a case is a folder with ${caseFiles.join(', ')}`);
  // Code unit order: the same under every locale.
  return found.sort((left, right) => (left < right ? -1 : 1));
}

export function caseName(folder: string): string {
  return basename(resolve(folder));
}

/** What is wrong with a case folder. */
export interface BrokenCase {
  readonly problem: string;
}

export async function readCase(folder: string, knownRunners: readonly string[]): Promise<GoldenCase | BrokenCase> {
  try {
    const description = readObject(join(folder, 'case.json'));
    const config = readObject(join(folder, 'config.json'));
    const runner = description.runner;
    if (typeof runner !== 'string') return { problem: 'case.json has no `runner`' };
    const named = strings(config.architectures);
    const weightsPath = join(folder, 'model.safetensors');
    const base = {
      name: caseName(folder),
      configPath: join(folder, 'config.json'),
      weightsPath: runner === 'plain' || existsSync(weightsPath) ? weightsPath : undefined,
      runner,
      architectures: named.length === 0 && runner !== 'plain' ? [modelNamedAs(runner)] : named,
      description,
    };
    // Runners that nobody here knows may have other files and keys.
    if (!knownRunners.includes(runner)) return { ...base, variants: [] };
    if (base.architectures.length === 0) return { problem: 'config.json has no `architectures`' };
    const variants = await readVariants(folder, strings(description.fields));
    return 'problem' in variants ? variants : { ...base, variants };
  } catch (error) {
    return { problem: reason(error) };
  }
}

async function readVariants(folder: string, fields: readonly string[]): Promise<readonly GoldenVariant[] | BrokenCase> {
  const inputs = await readTensorFile(join(folder, 'inputs.safetensors'));
  const outputs = await readTensorFile(join(folder, 'outputs.safetensors'));
  const names = [...new Set([...inputs.keys(), ...outputs.keys()].map(variantOf))].sort();
  if (names.length === 0) return { problem: 'inputs.safetensors is empty' };
  const variants: GoldenVariant[] = [];
  for (const name of names) {
    if (name === '') return { problem: 'a tensor without variant: keys start with `a.`, `b.`, …' };
    const wanted = withoutPrefix(outputs, `${name}.`);
    // `act.*` are outputs of inner modules: no result of an entry has such a name.
    const expected = [...wanted].filter(([key]) =>
      fields.length > 0 ? fields.includes(key) : !/^(act|grad)\./.test(key),
    );
    const gradients = new Map([...wanted].filter(([key]) => key.startsWith('grad.')));
    for (const field of fields) {
      if (!wanted.has(field)) return { problem: `outputs.safetensors has no \`${name}.${field}\`` };
    }
    if (expected.length === 0) return { problem: `outputs.safetensors has nothing for variant \`${name}\`` };
    variants.push({ name, inputs: withoutPrefix(inputs, `${name}.`), outputs: new Map(expected), gradients });
  }
  return variants;
}

/** `adaptive` to `Adaptive`. */
function modelNamedAs(runner: string): string {
  return runner.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function variantOf(key: string): string {
  return /^([a-z])\./.exec(key)?.[1] ?? '';
}

function withoutPrefix(tensors: ReadonlyMap<string, FileTensor>, prefix: string): ReadonlyMap<string, FileTensor> {
  const own = [...tensors].filter(([key]) => key.startsWith(prefix));
  return new Map(own.map(([key, tensor]) => [key.slice(prefix.length), tensor]));
}

function readObject(path: string): Readonly<Record<string, unknown>> {
  const file = basename(path);
  if (!existsSync(path)) throw new Error(`${file} is missing`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`${file} is not JSON: ${reason(error)}`);
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed))
    throw new Error(`${file} is not an object`);
  return parsed as Readonly<Record<string, unknown>>;
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
