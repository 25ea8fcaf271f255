/**
 * `sorac check`: names, types and shapes of a model; with `--weights` also those of a checkpoint.
 */
import { checkSource } from '../../compile.ts';
import { type Diagnostic, hasErrors, type Stage } from '../../support/diagnostic.ts';
import { writeFileAtomic } from '../../support/node-atomic-file.ts';
import type { SourceFile } from '../../support/source.ts';
import { type Call, optional, type Register, textOption } from '../command.ts';
import { oneRecipeOption, recipeUses } from '../compress/open-recipes.ts';
import { type CommandResult, type Context, diagnosticsDocument, note, say, showDiagnostics } from '../context.ts';
import { exitCodes, usageError } from '../exit-codes.ts';
import { fixSource } from '../fix.ts';
import { keptUnits } from '../kept-units.ts';
import { addReporterOptions } from '../reporter-options.ts';
import { chooseConfig, type LoadedSource, loadConfig, loadSource } from '../source-files.ts';
import { readTensorHeaders } from '../tensor-file.ts';
import { checkWeights, type WeightOptions } from '../weights.ts';

/** Unexpected tensors named one by one; heads of other tasks make a handful, another model makes hundreds. */
const unexpectedShown = 10;

export const registerCheck: Register = (program, bind) => {
  addReporterOptions(program.command('check'))
    .description('check names, types and shapes')
    .argument('<file>', '.sora file')
    .option('--config <config.json>', 'Hugging Face config.json that binds the `config` fields')
    .option('--model <name>', 'model of the file, when there are several')
    .option('--weights <checkpoint>', 'compare with a checkpoint: a .safetensors file, an index of shards or a folder')
    .addOption(oneRecipeOption())
    .option('--fix', 'make the edits that diagnostics propose, in the named file')
    .option('--strict', 'tensors that the model does not use are errors')
    .option('--ignore <glob>', 'tensors that may be unused, as "**.position_ids"; may be repeated', collect)
    .action(bind(check));
};

function collect(glob: string, before: readonly string[] = []): readonly string[] {
  return [...before, glob];
}

function weightOptions(call: Call): WeightOptions {
  const { strict, ignore } = call.options;
  const globs = Array.isArray(ignore) ? ignore.filter((glob) => typeof glob === 'string') : [];
  return { strict: strict === true, ignore: globs };
}

function applyFixes(
  context: Context,
  source: LoadedSource,
  checkFile: (file: SourceFile) => Stage<unknown>,
): SourceFile {
  const { text, titles } = fixSource(source.file, (file) => checkFile(file).diagnostics);
  if (titles.length === 0) return source.file;
  writeFileAtomic(source.path, [text]);
  for (const title of titles) say(context, `fixed: ${title}`);
  return { ...source.file, text };
}

async function check(context: Context, call: Call): Promise<CommandResult> {
  const [path = ''] = call.args;
  const source = loadSource(path);
  const weightsPath = textOption(call, 'weights');
  const configPath = chooseConfig(context, textOption(call, 'config'), weightsPath);
  const headers = weightsPath === undefined ? undefined : await readTensorHeaders(weightsPath);
  const config = configPath === undefined ? undefined : loadConfig(configPath);
  const kept = await keptUnits(weightsPath);
  const model = textOption(call, 'model');
  const recipe = recipeUses(textOption(call, 'recipe'), { file: path, configPath, model });
  const checkFile = (file: SourceFile) =>
    checkSource({
      file,
      host: source.host,
      ...optional('model', model),
      ...optional('config', config),
      ...optional('kept', kept),
      ...(recipe.uses === undefined ? {} : { uses: { path: recipe.usesPath ?? '', text: recipe.uses } }),
      ...(recipe.isForInference === true ? { without: ['train'] as const } : {}),
    });
  const file = call.options.fix === true ? applyFixes(context, source, checkFile) : source.file;
  const stage = checkFile(file);
  const diagnostics: Diagnostic[] = [...stage.diagnostics];
  const program = hasErrors(diagnostics) ? undefined : stage.value;
  let unexpected: readonly string[] = [];
  if (headers !== undefined && program !== undefined) {
    const report = checkWeights(program, headers, file, weightOptions(call));
    diagnostics.push(...report.diagnostics);
    unexpected = report.unexpected;
  }
  showDiagnostics(context, diagnostics);
  const shown = call.options.strict === true ? [] : unexpected.slice(0, unexpectedShown);
  for (const name of shown) note(context, `the model does not use \`${name}\``);
  if (shown.length === unexpectedShown && unexpected.length > unexpectedShown) {
    note(context, `and ${unexpected.length - unexpectedShown} more tensors`);
  }

  const isOk = !hasErrors(diagnostics);
  if (isOk && program !== undefined) {
    const { name, entries, weights } = program;
    const names = entries.filter((entry) => entry.isHidden !== true).map((entry) => entry.name);
    say(context, `${name}: ${names.join(', ')}; ${weights.length} weights; no errors`);
  } else if (isOk) {
    if (weightsPath !== undefined) throw usageError(`\`${path}\` has no model to compare with \`${weightsPath}\``);
    say(context, `${source.file.path}: no model, checked as a library; no errors`);
  }
  return {
    exitCode: isOk ? exitCodes.ok : exitCodes.model,
    document: { ok: isOk, model: stage.value?.name, unexpected, diagnostics: diagnosticsDocument(diagnostics) },
  };
}
