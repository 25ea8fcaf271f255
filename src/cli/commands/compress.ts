/**
 * `sorac compress`: makes a model smaller as `quantize` and `prune` blocks say, and says what that does to its answers. Writes
 * weights, module, config and a report; with `--sweep` compares recipes.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry, Program } from '../../ir/graph.ts';
import type { Diagnostic } from '../../support/diagnostic.ts';
import { version } from '../../version.ts';
import type { Call, Register } from '../command.ts';
import { sweepChart } from '../compress/chart.ts';
import { type OpenedRecipe, openRecipes, recipeOption } from '../compress/open-recipes.ts';
import { type OutFolder, openOutFolder } from '../compress/out-folder.ts';
import { paretoFront } from '../compress/pareto.ts';
import { lossOf, megabytes, type Report, reportText, sweepTable, sweepText } from '../compress/report.ts';
import { runRecipe } from '../compress/run.ts';
import { openSample, sampleEntry } from '../compress/sample.ts';
import { type CompressSettings, readSettings } from '../compress/settings.ts';
import { type CommandResult, type Context, diagnosticsDocument, say, showDiagnostics } from '../context.ts';
import { deviceOption } from '../device-choice.ts';
import { type Compiled, modelFailure } from '../execute.ts';
import { exitCodes } from '../exit-codes.ts';
import { onInterrupt } from '../interrupt.ts';
import { keptUnits } from '../kept-units.ts';
import { addReporterOptions } from '../reporter-options.ts';
import { chooseConfig } from '../source-files.ts';

export const registerCompress: Register = (program, bind) => {
  addReporterOptions(program.command('compress'))
    .description('make a model smaller by `quantize` and `prune` blocks, and measure what that changes')
    .argument('<file>', '.sora file')
    .requiredOption('--weights <checkpoint>', 'a .safetensors file, an index of shards or a folder')
    .requiredOption(
      '--data <sample>',
      'inputs of the entry (.safetensors, or a folder of them), or data as for `sorac train`',
    )
    .addOption(recipeOption())
    .option('--sweep', 'compare several recipes in place of writing a model')
    .option('--out <folder>', 'where everything goes (default: NAME-compressed)')
    .option('--force', 'replace files that sorac did not write')
    .option('--val <path>', 'data that is held back; without it a part of --data')
    .option('--held-back <share>', 'share of --data that is held back to measure', '0.5')
    .option('--calibrate <n>', 'examples that calibrate, at most', '128')
    .option('--evaluate <n>', 'examples that measure, at most', '256')
    .option('--batch <n>', 'examples of a call', '4')
    .option('--seed <n>', 'which examples are held back', '0')
    .option('--tokenizer <path>', 'folder or tokenizer.json; else that beside the weights or the model')
    .option('--config <config.json>', 'Hugging Face config.json that binds the `config` fields')
    .option('--entry <name>', 'entry that is compared, when there are several')
    .option('--model <name>', 'model of the file, when there are several')
    .addOption(deviceOption())
    .action(bind(compress));
};

interface Job {
  readonly context: Context;
  readonly settings: CompressSettings;
  readonly configPath: string | undefined;
  readonly program: Program;
  readonly diagnostics: readonly Diagnostic[];
  readonly compileTrained: () => Compiled;
}

async function compress(context: Context, call: Call): Promise<CommandResult> {
  const settings = readSettings(call);
  const configPath = chooseConfig(context, settings.config, settings.weights);
  const opened = openRecipes({
    ...settings,
    configPath,
    model: settings.model,
    kept: await keptUnits(settings.weights),
  });
  if ('failed' in opened) return modelFailure(context, opened.failed);
  showDiagnostics(context, opened.diagnostics);
  const { name } = opened;
  const job: Job = { ...opened, context, settings, configPath };
  const entry = sampleEntry(opened.program, settings.entry);
  const [first] = opened.recipes;
  if (settings.isSweep || first === undefined) return sweep(job, entry, opened.recipes);
  return single(job, entry, first, name);
}

async function withSample<Result>(
  { settings, program }: Job,
  entry: Entry,
  out: OutFolder,
  work: (sample: Awaited<ReturnType<typeof openSample>>) => Promise<Result>,
): Promise<Result> {
  const forget = onInterrupt(() => {
    out.discard();
    process.exit(exitCodes.interrupted);
  });
  try {
    const sample = await openSample(program, entry, settings);
    try {
      return await work(sample);
    } finally {
      await sample.close();
    }
  } catch (error) {
    out.discard();
    throw error;
  } finally {
    forget();
  }
}

/** Files that nothing may replace. */
function readBy({ settings, configPath }: Job): readonly string[] {
  const { weights, data, file, validation } = settings;
  return [weights, join(weights, 'model.safetensors'), data, file, validation ?? data, configPath ?? file];
}

async function single(job: Job, entry: Entry, opened: OpenedRecipe, name: string): Promise<CommandResult> {
  const { context, settings, configPath, diagnostics } = job;
  const { recipe } = opened;
  const weights = 'model.safetensors';
  const own = recipe.text === undefined ? [] : ['recipe.sora'];
  const files = [weights, `${name}.js`, `${name}.d.ts`, 'report.md', 'report.json', ...own];
  const names = new Map<string, string | undefined>(files.map((file) => [file, undefined]));
  if (configPath !== undefined) names.set('config.json', configPath);
  const out = openOutFolder(settings.out, names, readBy(job), settings.isForced);
  const report = await withSample(job, entry, out, async (sample) => {
    const { report: made, compilation } = await runRecipe({
      ...job,
      opened,
      entry,
      sample,
      out,
      file: weights,
      say: (line) => say(context, line),
    });
    const { emitModule } = await import('../../codegen/module/index.ts');
    const { js, dts } = emitModule(compilation.artifact, { fileName: `${name}.sora` });
    await out.write(`${name}.js`, js);
    await out.write(`${name}.d.ts`, dts);
    if (configPath !== undefined) await out.write('config.json', readFileSync(configPath, 'utf8'));
    if (recipe.text !== undefined)
      await out.write('recipe.sora', `// Generated by sorac ${version}\n${recipe.text.trimEnd()}\n`);
    await out.write('report.md', reportText(made));
    await out.write('report.json', `${JSON.stringify(made, null, 2)}\n`);
    return made;
  });
  const written = out.keep();
  return {
    exitCode: exitCodes.ok,
    document: { ok: true, out: settings.out, files: written, report, diagnostics: diagnosticsDocument(diagnostics) },
    text: `${describe(report)}\n${written.join('\n')}`,
  };
}

function describe(report: Report): string {
  const { size, measured } = report;
  const loss = lossOf(measured);
  return (
    `${report.model}, ${report.recipe}: ${megabytes(size.f32)} to ${megabytes(size.after)} ` +
    `(${(size.after / size.f32).toFixed(3)}x of f32), ${loss.name} ${loss.value.toPrecision(3)}`
  );
}

async function sweep(job: Job, entry: Entry, recipes: readonly OpenedRecipe[]): Promise<CommandResult> {
  const { context, settings, program, diagnostics } = job;
  const compiler = `sorac ${version}`;
  const names = new Map(['sweep.md', 'sweep.svg', 'sweep.json'].map((file) => [file, undefined]));
  const out = openOutFolder(settings.out, names, readBy(job), settings.isForced);
  const rows = await withSample(job, entry, out, async (sample) => {
    const reports: Report[] = [];
    for (const opened of recipes) {
      const file = 'candidate.safetensors';
      const options = { ...job, opened, entry, sample, out, file };
      const { report } = await runRecipe({ ...options, say: (line) => say(context, line) });
      say(context, describe(report));
      reports.push(report);
      out.drop(file);
    }
    const losses = reports.map((report) => ({ bytes: report.size.after, loss: lossOf(report.measured).value }));
    const front = paretoFront(losses);
    const found = reports.map((report, at) => ({ report, isFront: front[at] === true }));
    const points = found.map(({ report, isFront }, at) => ({
      name: report.recipe,
      bytes: report.size.after,
      loss: losses[at]?.loss ?? Number.NaN,
      isFront,
    }));
    const lossName = reports[0] ? lossOf(reports[0].measured).name : '';
    await out.write('sweep.md', sweepText(program.name, compiler, found));
    await out.write('sweep.svg', sweepChart(program.name, lossName, points));
    const all = found.map(({ report, isFront }) => ({ front: isFront, ...report }));
    await out.write('sweep.json', `${JSON.stringify({ compiler, model: program.name, recipes: all }, null, 2)}\n`);
    return found;
  });
  const files = out.keep();
  const [first] = rows;
  return {
    exitCode: exitCodes.ok,
    document: { ok: true, out: settings.out, files, recipes: rows, diagnostics: diagnosticsDocument(diagnostics) },
    text: `${sweepTable(rows, first ? lossOf(first.report.measured).name : '')}\n${files.join('\n')}`,
  };
}
