/**
 * `sorac train`: trains the entry that the file's `train` block is about. Data is read as the block says; the run leaves weights under
 * the names of the checkpoint, `train.json` with the curve, and checkpoints that `--resume` goes on with, bit for bit.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../ir/graph.ts';
import { SoraError } from '../../support/error.ts';
import { findCheckpoint, openCheckpoints, openEventFile } from '../../training/index.ts';
import { version } from '../../version.ts';
import { type Call, optional, type Register } from '../command.ts';
import { oneRecipeOption, recipeUses } from '../compress/open-recipes.ts';
import { type CommandResult, type Context, diagnosticsDocument, note, say, showDiagnostics } from '../context.ts';
import { deviceOption } from '../device-choice.ts';
import { type Compiled, compileFile, modelFailure, type OpenModel, openModel } from '../execute.ts';
import { exitCodes, usageError } from '../exit-codes.ts';
import { onInterrupt } from '../interrupt.ts';
import { keptUnits } from '../kept-units.ts';
import { addReporterOptions } from '../reporter-options.ts';
import { chooseConfig } from '../source-files.ts';
import { openData, type TrainData } from '../train/data.ts';
import { firstBadValue } from '../train/diagnose.ts';
import { unread } from '../train/inputs.ts';
import { makeProgress } from '../train/progress.ts';
import {
  type Evaluated,
  firstPosition,
  type Position,
  pathsOf,
  type RunIdentity,
  readPosition,
  removeLeftovers,
  writeRecord,
} from '../train/record.ts';
import { describeEvaluation, type RunEnd, runTraining, totalSteps } from '../train/run.ts';
import { defaultSplit, readSettings, type TrainSettings } from '../train/settings.ts';

export const registerTrain: Register = (program, bind) => {
  addReporterOptions(program.command('train'))
    .description('train a model as its `train` block says')
    .argument('<file>', '.sora file with a `train` block')
    .requiredOption('--data <path>', 'a table, text, or a folder of these, of images or of sounds')
    .option('--val <path>', 'validation data; without it a part of --data')
    .option('--test <path>', 'test data; without --val and --test a part of --data')
    .option('--split <shares>', 'shares of --data for validation and test', defaultSplit)
    .option('--weights <checkpoint>', 'where to begin; what is missing there is drawn')
    .option('--config <config.json>', 'Hugging Face config.json that binds the `config` fields')
    .addOption(oneRecipeOption())
    .option('--tokenizer <path>', 'folder or tokenizer.json; else that beside the weights or the model')
    .option('--epochs <n>', 'how often all of the data is gone through', '5')
    .option('--batch <n>', 'examples of a batch', '16')
    .option('--accumulate <n>', 'batches of a step; else as the block says')
    .option('--optimizer <method>', 'in place of that of the block, as adam or "sgd(lr: 0.1, momentum: 0.9)"')
    .option('--lr <rate>', 'greatest learning rate, in place of that of the block')
    .option('--seed <n>', 'order of the data, fresh weights and dropout; else that of the block')
    .option('--max-steps <n>', 'end after so many steps')
    .option('--save-steps <n>', 'a checkpoint every so many steps, besides those of each epoch')
    .option('--out <folder>', 'where everything goes (default: NAME-trained)')
    .option('--logdir <folder>', 'TensorBoard events')
    .option('--resume', 'go on with the run in --out')
    .option('--model <name>', 'model of the file, when there are several')
    .addOption(deviceOption())
    .action(bind(train));
};

type Trained = Program & { readonly train: NonNullable<Program['train']> };

async function compileFor(context: Context, settings: TrainSettings): Promise<Compiled> {
  const config = chooseConfig(context, settings.config, settings.weights);
  const changes =
    settings.optimizer === undefined
      ? {}
      : { settings: `train Model.entry {\n  optimizer: ${settings.optimizer}\n}\n` };
  const { file, model } = settings;
  return compileFile({
    path: file,
    ...optional('model', model),
    ...optional('configPath', config),
    ...optional('kept', await keptUnits(settings.weights)),
    ...recipeUses(settings.recipe, { file, configPath: config, model }),
    isForInference: false,
    ...changes,
  });
}

/** @errors SORA0001 without a `train` block, SORA7060 when nothing says how an input is read */
function trainedProgram(program: Program, file: string): Trained {
  const { train: block } = program;
  if (!block)
    throw usageError(
      `\`${file}\` has no \`train\` block for \`${program.name}\``,
      `write \`train ${program.name}.ENTRY { loss: …, optimizer: … }\``,
    );
  const parameters = program.entries.find(({ name }) => name === block.entry)?.parameters ?? [];
  const missing = unread(block, parameters).map((name) => `\`${name}\``);
  if (missing.length > 0)
    throw new SoraError(
      'SORA7060',
      `nothing says how ${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} read`,
      {
        help: `write \`read NAME: METHOD(…)\` in the \`train\` block`,
      },
    );
  return { ...program, train: block };
}

async function train(context: Context, call: Call): Promise<CommandResult> {
  const settings = readSettings(call);
  const compiled = await compileFor(context, settings);
  if (compiled.compilation === undefined) return modelFailure(context, compiled.diagnostics);
  showDiagnostics(context, compiled.diagnostics);
  const program = trainedProgram(compiled.compilation.program, settings.file);
  const paths = pathsOf(settings.out);
  if (!settings.resume && existsSync(join(paths.checkpoints, 'last.safetensors')))
    throw usageError(
      `\`${settings.out}\` holds a run already`,
      'go on with it by --resume, or name another folder with --out',
    );
  const seed = settings.seed ?? program.train.seed;
  const data = await openData({ settings, block: program.train, ranges: program.dims, seed });
  try {
    checkClasses(program, data);
    const warn = (line: string): void => note(context, line.replace(/^sorac: /, ''));
    const model = await openModel(compiled.compilation.artifact, {
      weights: settings.weights,
      device: settings.device,
      warn,
    });
    try {
      return await runWith({ context, settings, compiled, program, data, model, seed, warn });
    } finally {
      await model.close();
    }
  } finally {
    await data.close();
  }
}

/** More classes in the data than scores in the model. */
function checkClasses({ train: block, entries }: Trained, { labels }: TrainData): void {
  for (const { scores, target, kind } of block.scored) {
    const read = block.reads.find(({ name, method }) => name === target && method === 'label');
    const names = labels.get(read?.columns[0] ?? '')?.names ?? [];
    const result = entries.find(({ name }) => name === block.entry)?.results.find(({ name }) => name === scores);
    const classes = Number(result?.type.shape.at(-1)?.key);
    if (kind !== 'classes' || !(names.length > classes)) continue;
    throw new SoraError(
      'SORA7063',
      `\`${read?.columns[0]}\` has ${names.length} classes, \`${scores}\` ${classes} scores`,
      {
        help: `the classes: ${names
          .slice(0, 8)
          .map((name) => `\`${name}\``)
          .join(', ')}${names.length > 8 ? ' …' : ''}`,
      },
    );
  }
}

interface Prepared {
  readonly context: Context;
  readonly settings: TrainSettings;
  readonly compiled: Compiled;
  readonly program: Trained;
  readonly data: TrainData;
  readonly model: OpenModel;
  readonly seed: number;
  readonly warn: (line: string) => void;
}

/** What must be the same when the run is resumed. */
function identityOf({ settings, program, data, seed }: Prepared, accumulate: number): RunIdentity {
  const { optimizer } = program.train;
  return {
    model: program.name,
    entry: program.train.entry,
    optimizer: optimizer.name,
    'learning rate': settings.lr ?? optimizer.schedule.peak,
    'moving average': program.train.ema ?? null,
    epochs: settings.epochs,
    'batch size': settings.batch,
    'accumulated batches': accumulate,
    seed,
    'greatest number of steps': settings.maxSteps ?? null,
    'training batches': data.train.perEpoch,
    'training examples': data.train.examples,
    'validation examples': data.validation?.examples ?? 0,
    classes: [...data.labels.values()].map(({ names }) => JSON.stringify(names)).join(),
    characters: data.characters ?? null,
  };
}

async function resume(
  prepared: Prepared,
  identity: RunIdentity,
): Promise<{ readonly path: string; readonly step: number; readonly position: Position } | undefined> {
  const { settings, context } = prepared;
  if (!settings.resume) return undefined;
  const { path, state, skipped } = await findCheckpoint(pathsOf(settings.out).checkpoints);
  for (const { path: broken, why } of skipped) note(context, `\`${broken}\` is skipped: ${why}`);
  return { path, step: state.step, position: readPosition(path, state, identity) };
}

async function runWith(prepared: Prepared): Promise<CommandResult> {
  const { context, settings, compiled, program, data, model, seed } = prepared;
  const accumulate = settings.accumulate ?? program.train.microBatches;
  const identity = identityOf(prepared, accumulate);
  const before = await resume(prepared, identity);
  const position = before?.position ?? firstPosition();
  const checkpoints = openCheckpoints(pathsOf(settings.out).checkpoints);
  removeLeftovers(settings.out);
  const counts = { epochs: settings.epochs, accumulate, maxSteps: settings.maxSteps };
  const steps = totalSteps({ ...counts, train: data.train });
  const trainer = await model.trainer({
    seed,
    totalSteps: steps,
    ...optional('lr', settings.lr),
    onWarning: prepared.warn,
  });
  let [isInterrupted, interruptions] = [false, 0];
  const forget = onInterrupt(() => {
    isInterrupted = true;
    if (++interruptions > 1) process.exit(exitCodes.interrupted);
    say(context, '\nfinishing the step and saving; once more ends at once');
  });
  const events =
    settings.logdir === undefined
      ? undefined
      : openEventFile(settings.logdir, before === undefined ? {} : { resumedAt: before.step + 1 });
  const record = (test?: Evaluated): Readonly<Record<string, unknown>> => ({
    compiler: `sorac ${version}`,
    model: program.name,
    entry: program.train.entry,
    adapter: model.adapter,
    settings: identity,
    examples: {
      train: data.train.examples,
      validation: data.validation?.examples ?? 0,
      test: data.test?.examples ?? 0,
    },
    classes: Object.fromEntries([...data.labels].map(([column, { names }]) => [column, names])),
    characters: data.characters,
    steps: trainer.steps,
    epochs: position.epochs,
    best: position.best,
    test,
    points: position.points,
  });
  try {
    if (before) {
      await trainer.load(before.path);
      say(context, `resumed at step ${trainer.steps} of ${steps}`);
    }
    const parts = [`${data.train.examples} for training`];
    if (data.validation) parts.push(`${data.validation.examples} for validation`);
    if (data.test) parts.push(`${data.test.examples} for the test`);
    say(context, `${program.name}.${program.train.entry} on ${model.adapter}: ${parts.join(', ')}; ${steps} steps`);
    const end = await runTraining(
      {
        ...counts,
        trainer,
        train: data.train,
        validation: data.validation,
        test: data.test,
        scored: program.train.scored,
        ema: program.train.ema !== undefined,
        saveSteps: settings.saveSteps,
        out: settings.out,
        checkpoints,
        identity,
        events,
        progress: makeProgress(context.stderr, optional('columns', process.stderr.columns)),
        diagnose: (batches) => firstBadValue(program, trainer, batches),
        isInterrupted: () => isInterrupted,
        onRecord: (test) => writeRecord(pathsOf(settings.out).record, record(test)),
      },
      position,
    );
    return resultOf(settings, compiled, end, record(end.test));
  } finally {
    forget();
    events?.close();
    await trainer.close();
  }
}

function resultOf(
  settings: TrainSettings,
  compiled: Compiled,
  end: RunEnd,
  record: Readonly<Record<string, unknown>>,
): CommandResult {
  const { isInterrupted, test } = end;
  const lines = [
    ...(test ? [describeEvaluation('test', test)] : []),
    isInterrupted
      ? `interrupted; saved in ${settings.out}, --resume goes on`
      : `weights, checkpoints and train.json in ${settings.out}`,
  ];
  return {
    exitCode: isInterrupted ? exitCodes.interrupted : exitCodes.ok,
    document: {
      ok: !isInterrupted,
      out: settings.out,
      ...record,
      diagnostics: diagnosticsDocument(compiled.diagnostics),
    },
    text: lines.join('\n'),
  };
}
