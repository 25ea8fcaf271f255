/**
 * `sorac weights convert`: foreign weights to one safetensors file with the names of Hugging Face, and `config.json` beside it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Option } from 'commander';
import { type ByteSource, openSource } from '../../runtime/source.ts';
import { writeFileAtomic } from '../../support/node-atomic-file.ts';
import { type Call, type Register, requiredOption, textOption } from '../command.ts';
import { type CommandResult, type Context, note } from '../context.ts';
import { type Conversion, formatNames, partOf, readForeign, writeConversion } from '../convert/index.ts';
import { tieHead } from '../convert/tied-head.ts';
import { exitCodes, usageError } from '../exit-codes.ts';
import { loadConfig } from '../source-files.ts';
import { checkWritable } from '../tensor-file.ts';

export const registerWeights: Register = (program, bind) => {
  program
    .command('weights')
    .description('weights of other programs')
    .command('convert')
    .description('convert llama2.c or ONNX weights to safetensors with the names of Hugging Face')
    .argument('<file>', 'llama2.c .bin or .onnx')
    .requiredOption('-o, --out <file>', 'where the weights go (.safetensors); config.json goes beside it')
    .addOption(new Option('--format <name>', 'format of the file').choices([...formatNames]).default('auto'))
    .option('--bytes <start:end>', 'read a part of the file only')
    .option('--config <config.json>', 'config of the model (else the one beside the file or in the folder above)')
    .option('--force', 'replace a config.json of another model')
    .action(bind(convert));
};

async function convert(context: Context, call: Call): Promise<CommandResult> {
  const [path = ''] = call.args;
  const out = requiredOption(call, 'out');
  if (!out.endsWith('.safetensors')) throw usageError(`\`${out}\` does not end in .safetensors`);
  checkWritable(out);
  const file = await openSource(resolve(path));
  try {
    const part = choosePart(file, textOption(call, 'bytes'));
    const read = await readForeign(part, part === file ? path : undefined, requiredOption(call, 'format'));
    try {
      return await write(context, call, path, read);
    } finally {
      await read.close();
    }
  } finally {
    await file.close();
  }
}

async function write(context: Context, call: Call, path: string, read: Conversion): Promise<CommandResult> {
  const out = requiredOption(call, 'out');
  const config = configFor(path, read, textOption(call, 'config'));
  const { format, tensors, files, notes } = tieHead(read, config);
  const beside = filesBeside(out, files, config, call.options.force === true);
  for (const text of notes) note(context, text);
  if (config === undefined) {
    note(context, 'no config.json: neither the file nor its folder has one; give it with --config');
  }
  await writeConversion(resolve(out), tensors);
  for (const [target, content] of beside) writeFileAtomic(target, [content]);
  const elements = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const written = [out, ...beside.keys()];
  return {
    exitCode: exitCodes.ok,
    document: { ok: true, format, tensors: tensors.length, elements, files: written },
    text: `${format}: ${tensors.length} tensors, ${elements} elements\n${written.join('\n')}`,
  };
}

function choosePart(file: ByteSource, text: string | undefined): ByteSource {
  if (text === undefined) return file;
  const [, start, end] = /^(\d{1,15}):(\d{1,15})$/.exec(text) ?? [];
  if (start === undefined || end === undefined || Number(start) > Number(end) || Number(end) > file.size) {
    throw usageError(
      `\`--bytes ${text}\` is no part of a file of ${file.size} bytes`,
      'for example --bytes 0:60816028',
    );
  }
  return partOf(file, Number(start), Number(end));
}

type Config = Readonly<Record<string, unknown>>;

/** What was asked for, what the file itself says, or the config that exporters put beside the file or, for `onnx/`, above it. */
function configFor(path: string, conversion: Conversion, asked: string | undefined): Config | undefined {
  if (asked !== undefined) return loadConfig(asked);
  if (conversion.config !== undefined) return conversion.config;
  const folder = dirname(resolve(path));
  const found = [join(folder, 'config.json'), join(folder, '..', 'config.json')].find((each) => existsSync(each));
  return found === undefined ? undefined : loadConfig(found);
}

function filesBeside(
  out: string,
  extra: ReadonlyMap<string, Uint8Array>,
  config: Config | undefined,
  isForced: boolean,
): ReadonlyMap<string, Uint8Array> {
  const folder = dirname(out);
  const files = new Map([...extra].map(([name, content]) => [join(folder, name), content]));
  if (config === undefined) return files;
  const path = join(folder, 'config.json');
  const content = Buffer.from(`${JSON.stringify(config, null, 2)}\n`);
  if (existsSync(path) && !isForced && !readFileSync(path).equals(content)) {
    throw usageError(`\`${path}\` is another config`, 'choose another folder, or replace it with --force');
  }
  files.set(path, content);
  return files;
}
