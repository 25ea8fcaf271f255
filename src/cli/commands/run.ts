/**
 * `sorac run`: one call of one entry, safetensors in and out. The contract that tests and later tools rely on: inputs are
 * matched to parameters by name, dims are inferred from them, results are written under their result names.
 */
import { type Call, optional, type Register, requiredOption, textOption } from '../command.ts';
import { oneRecipeOption, recipeUses } from '../compress/open-recipes.ts';
import { type CommandResult, type Context, diagnosticsDocument, note, say, showDiagnostics } from '../context.ts';
import { deviceOption } from '../device-choice.ts';
import { chooseEntry, compileFile, modelFailure, openModel } from '../execute.ts';
import { exitCodes } from '../exit-codes.ts';
import { keptUnits } from '../kept-units.ts';
import { matchInputs } from '../match-inputs.ts';
import { addReporterOptions } from '../reporter-options.ts';
import { chooseConfig } from '../source-files.ts';
import { checkWritable, describeElements, dtypeOf, readTensorFile, writeTensorFile } from '../tensor-file.ts';

export const registerRun: Register = (program, bind) => {
  addReporterOptions(program.command('run'))
    .description('run an entry once, safetensors in and out')
    .argument('<file>', '.sora file')
    .requiredOption('--weights <checkpoint>', 'a .safetensors file, an index of shards or a folder')
    .requiredOption('--inputs <file>', 'tensors named as the entry parameters (.safetensors)')
    .requiredOption('--out <file>', 'where the results go (.safetensors)')
    .option('--entry <name>', 'entry of the model, when there are several')
    .option('--model <name>', 'model of the file, when there are several')
    .option('--config <config.json>', 'Hugging Face config.json that binds the `config` fields')
    .addOption(oneRecipeOption())
    .addOption(deviceOption())
    .action(bind(run));
};

async function run(context: Context, call: Call): Promise<CommandResult> {
  const [path = ''] = call.args;
  const out = requiredOption(call, 'out');
  checkWritable(out);
  const configPath = chooseConfig(context, textOption(call, 'config'), requiredOption(call, 'weights'));
  const model = textOption(call, 'model');
  const compiled = compileFile({
    path,
    ...optional('kept', await keptUnits(requiredOption(call, 'weights'))),
    ...optional('model', model),
    ...optional('configPath', configPath),
    ...recipeUses(textOption(call, 'recipe'), { file: path, configPath, model }),
  });
  if (compiled.compilation === undefined) return modelFailure(context, compiled.diagnostics);
  showDiagnostics(context, compiled.diagnostics);

  const { artifact } = compiled.compilation;
  const entry = chooseEntry(artifact, textOption(call, 'entry'));
  const tensors = await readTensorFile(requiredOption(call, 'inputs'));
  const { inputs, unused } = matchInputs(entry, tensors);
  for (const name of unused)
    note(context, `input \`${name}\` is not used: entry \`${entry.name}\` has no such parameter`);

  const loaded = await openModel(artifact, {
    weights: requiredOption(call, 'weights'),
    device: requiredOption(call, 'device'),
  });
  try {
    const start = performance.now();
    const results = await loaded.call(entry.name, inputs);
    const milliseconds = performance.now() - start;
    writeTensorFile(out, results);
    const shapes = [...results].map(([name, tensor]) => `${name} ${describeElements(tensor)}`);
    say(context, `${entry.name} on ${loaded.adapter}: ${milliseconds.toFixed(1)} ms`);
    return {
      exitCode: exitCodes.ok,
      document: {
        ok: true,
        model: artifact.name,
        entry: entry.name,
        adapter: loaded.adapter,
        out,
        results: [...results].map(([name, tensor]) => ({ name, dtype: dtypeOf(tensor), shape: tensor.shape })),
        unusedInputs: unused,
        milliseconds: { compile: compiled.milliseconds, load: loaded.loadMilliseconds, call: milliseconds },
        diagnostics: diagnosticsDocument(compiled.diagnostics),
      },
      text: `${shapes.join('\n')}\nwritten to ${out}`,
    };
  } finally {
    await loaded.close();
  }
}
