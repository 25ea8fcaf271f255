/**
 * `sorac golden record|check`: keeps the outputs of a model beside its `.sora` file (`NAME.golden.safetensors` and
 * `NAME.golden.json`) and tells when they change. A check refuses other weights or inputs than those recorded, because
 * a comparison with them would say nothing.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { writeFileAtomic } from '../../support/node-atomic-file.ts';
import { version } from '../../version.ts';
import { type Bind, type Call, optional, type Register, requiredOption, textOption } from '../command.ts';
import { compareTensors, maskOf, type TokenMask } from '../compare.ts';
import { type CommandResult, type Context, note, say, showDiagnostics } from '../context.ts';
import { deviceOption } from '../device-choice.ts';
import { chooseEntry, compileFile, modelFailure, openModel } from '../execute.ts';
import { dataError, exitCodes, usageError } from '../exit-codes.ts';
import { matchInputs } from '../match-inputs.ts';
import { reason } from '../source-files.ts';
import { renderTable, scientific } from '../table.ts';
import { checkWritable, type HostTensor, hostTensor, readTensorFile, writeTensorFile } from '../tensor-file.ts';

/** f32 on another device moves results by about 1e-6 to 1e-5 of their largest value; past 1e-3 it is a bug, not rounding. */
const defaultTolerance = 1e-4;

interface GoldenRecord {
  readonly format: 1;
  readonly compiler: string;
  readonly model: string;
  readonly entry: string;
  readonly tolerance: number;
  readonly weights: string;
  readonly inputs: string;
}

export const registerGolden: Register = (program, bind) => {
  const golden = program.command('golden').description('keep and check expected outputs beside a model');
  options(golden.command('record').description('run and keep the outputs'), bind(record)).option(
    '--tolerance <err>',
    'largest max|got - want| / max|want| that passes',
    String(defaultTolerance),
  );
  options(golden.command('check').description('run and compare with the kept outputs'), bind(check));
};

function options(command: Command, action: ReturnType<Bind>): Command {
  return command
    .argument('<file>', '.sora file')
    .requiredOption('--weights <file>', 'checkpoint (.safetensors)')
    .requiredOption('--inputs <file>', 'tensors named as the entry parameters (.safetensors)')
    .option('--entry <name>', 'entry of the model, when there are several')
    .option('--model <name>', 'model of the file, when there are several')
    .option('--config <config.json>', 'Hugging Face config.json that binds the `config` fields')
    .addOption(deviceOption())
    .action(action);
}

interface Execution {
  readonly model: string;
  readonly entry: string;
  readonly adapter: string;
  readonly results: ReadonlyMap<string, HostTensor>;
  readonly mask: TokenMask | undefined;
}

async function execute(
  context: Context,
  call: Call,
  entryName: string | undefined,
): Promise<Execution | CommandResult> {
  const compiled = compileFile({
    path: sourcePath(call),
    ...optional('model', textOption(call, 'model')),
    ...optional('configPath', textOption(call, 'config')),
  });
  if (compiled.compilation === undefined) return modelFailure(context, compiled.diagnostics);
  showDiagnostics(context, compiled.diagnostics);
  const { artifact } = compiled.compilation;
  const entry = chooseEntry(artifact, entryName);
  const tensors = await readTensorFile(requiredOption(call, 'inputs'));
  const { inputs, unused } = matchInputs(entry, tensors);
  for (const name of unused) note(context, `input \`${name}\` is not used`);
  const model = await openModel(artifact, {
    weights: requiredOption(call, 'weights'),
    device: requiredOption(call, 'device'),
  });
  try {
    const results = await model.call(entry.name, inputs);
    const mask = maskOf(tensors);
    return { model: artifact.name, entry: entry.name, adapter: model.adapter, results, mask };
  } finally {
    await model.close();
  }
}

async function record(context: Context, call: Call): Promise<CommandResult> {
  const tolerance = Number(requiredOption(call, 'tolerance'));
  if (!(tolerance > 0 && tolerance < 1)) throw usageError('`--tolerance` must be a number between 0 and 1');
  const paths = goldenPaths(sourcePath(call));
  checkWritable(paths.tensors);
  const execution = await execute(context, call, textOption(call, 'entry'));
  if ('exitCode' in execution) return execution;
  const document: GoldenRecord = {
    format: 1,
    compiler: `sorac ${version}`,
    model: execution.model,
    entry: execution.entry,
    tolerance,
    weights: hashFile(requiredOption(call, 'weights')),
    inputs: hashFile(requiredOption(call, 'inputs')),
  };
  writeTensorFile(paths.tensors, execution.results);
  writeFileAtomic(paths.record, [`${JSON.stringify(document, null, 2)}\n`]);
  return {
    exitCode: exitCodes.ok,
    document: { ok: true, adapter: execution.adapter, files: [paths.tensors, paths.record], ...document },
    text: `recorded ${execution.results.size} results of ${execution.entry} on ${execution.adapter} in ${paths.tensors}`,
  };
}

async function check(context: Context, call: Call): Promise<CommandResult> {
  const paths = goldenPaths(sourcePath(call));
  const kept = readRecord(paths.record);
  const want = await readTensorFile(paths.tensors);
  for (const which of ['weights', 'inputs'] as const) {
    if (hashFile(requiredOption(call, which)) !== kept[which]) {
      throw dataError(
        `the ${which} are not those that the expected outputs were recorded with`,
        `use the same file, or record again: sorac golden record ${sourcePath(call)} …`,
      );
    }
  }
  const execution = await execute(context, call, textOption(call, 'entry') ?? kept.entry);
  if ('exitCode' in execution) return execution;

  const names = [...new Set([...want.keys(), ...execution.results.keys()])];
  const rows = names.map((name) => {
    const expected = want.get(name);
    const got = execution.results.get(name);
    if (expected === undefined || got === undefined) {
      return { name, isEqual: false, problem: got === undefined ? 'no such result any more' : 'not recorded' };
    }
    return { name, ...compareTensors(got, hostTensor(expected), kept.tolerance, execution.mask) };
  });
  const isEqual = rows.every((row) => row.isEqual);
  const table = renderTable(
    [
      { title: 'result' },
      { title: 'max abs', align: 'right' },
      { title: 'max rel', align: 'right' },
      { title: 'outcome' },
    ],
    rows.map((row) => [
      row.name,
      'maxAbsolute' in row && row.problem === undefined ? scientific(row.maxAbsolute) : '',
      'maxRelative' in row && row.problem === undefined ? scientific(row.maxRelative) : '',
      row.isEqual ? 'pass' : `fail${row.problem === undefined ? '' : `: ${row.problem}`}`,
    ]),
  );
  if (!isEqual)
    say(context, `the outputs differ from those that ${kept.compiler} recorded (tolerance ${kept.tolerance})`);
  return {
    exitCode: isEqual ? exitCodes.ok : exitCodes.model,
    document: {
      ok: isEqual,
      adapter: execution.adapter,
      entry: execution.entry,
      tolerance: kept.tolerance,
      results: rows,
    },
    text: table,
  };
}

function sourcePath(call: Call): string {
  return call.args[0] ?? '';
}

function goldenPaths(path: string): { readonly tensors: string; readonly record: string } {
  const base = path.replace(/\.sora$/, '');
  const folder = dirname(path);
  if (!existsSync(folder)) throw usageError(`\`${folder}\` does not exist`);
  return { tensors: `${base}.golden.safetensors`, record: `${base}.golden.json` };
}

function hashFile(path: string): string {
  try {
    return `sha256-${createHash('sha256').update(readFileSync(path)).digest('base64')}`;
  } catch (cause) {
    throw dataError(`\`${path}\` cannot be read: ${reason(cause)}`, undefined, cause);
  }
}

function readRecord(path: string): GoldenRecord {
  if (!existsSync(path)) {
    throw usageError(`\`${join(path)}\` does not exist`, 'record the expected outputs first: sorac golden record …');
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw dataError(`\`${path}\` is not JSON: ${reason(cause)}`, 'record again', cause);
  }
  if (!isRecord(parsed)) throw dataError(`\`${path}\` is not a record of \`sorac golden\``, 'record again');
  return parsed;
}

function isRecord(value: unknown): value is GoldenRecord {
  if (value === null || typeof value !== 'object') return false;
  const fields = value as { readonly [key: string]: unknown };
  const texts = [fields.compiler, fields.model, fields.entry, fields.weights, fields.inputs];
  return fields.format === 1 && typeof fields.tolerance === 'number' && texts.every((text) => typeof text === 'string');
}
