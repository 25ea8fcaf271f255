/**
 * `sorac check`: names, types and shapes of a model; with `--weights` also those of a checkpoint.
 */
import { checkSource } from '../../compile.ts';
import { type Diagnostic, hasErrors } from '../../support/diagnostic.ts';
import { type Call, optional, type Register, textOption } from '../command.ts';
import { type CommandResult, type Context, diagnosticsDocument, note, say, showDiagnostics } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadConfig, loadSource } from '../source-files.ts';
import { readTensorHeaders } from '../tensor-file.ts';
import { checkWeights } from '../weights.ts';

/** Unexpected tensors named one by one; heads of other tasks make a handful, another model makes hundreds. */
const unexpectedShown = 10;

export const registerCheck: Register = (program, bind) => {
  program
    .command('check')
    .description('check names, types and shapes')
    .argument('<file>', '.sora file')
    .option('--config <config.json>', 'Hugging Face config.json that binds the `config` fields')
    .option('--model <name>', 'model of the file, when there are several')
    .option('--weights <file>', 'compare with the names and shapes of a checkpoint (.safetensors)')
    .action(bind(check));
};

async function check(context: Context, call: Call): Promise<CommandResult> {
  const [path = ''] = call.args;
  const source = loadSource(path);
  const configPath = textOption(call, 'config');
  const weightsPath = textOption(call, 'weights');
  const headers = weightsPath === undefined ? undefined : await readTensorHeaders(weightsPath);
  const stage = checkSource({
    file: source.file,
    host: source.host,
    ...optional('model', textOption(call, 'model')),
    ...optional('config', configPath === undefined ? undefined : loadConfig(configPath)),
  });
  const diagnostics: Diagnostic[] = [...stage.diagnostics];
  let unexpected: readonly string[] = [];
  if (stage.value !== undefined && headers !== undefined && !hasErrors(diagnostics)) {
    const report = checkWeights(stage.value, headers, source.file);
    diagnostics.push(...report.diagnostics);
    unexpected = report.unexpected;
  }
  showDiagnostics(context, diagnostics);
  for (const name of unexpected.slice(0, unexpectedShown)) note(context, `the model does not use \`${name}\``);
  if (unexpected.length > unexpectedShown) note(context, `and ${unexpected.length - unexpectedShown} more tensors`);

  const isOk = !hasErrors(diagnostics) && stage.value !== undefined;
  if (isOk && stage.value !== undefined) {
    const { name, entries, weights } = stage.value;
    say(context, `${name}: ${entries.map((entry) => entry.name).join(', ')}; ${weights.length} weights; no errors`);
  }
  return {
    exitCode: isOk ? exitCodes.ok : exitCodes.model,
    document: { ok: isOk, model: stage.value?.name, unexpected, diagnostics: diagnosticsDocument(diagnostics) },
  };
}
