/**
 * `sorac explain SORA1234`: the page of a diagnostic code. Pages are Markdown files of the package (docs/errors).
 * `sorac explain FILE.sora`: what its `quantize` and `prune` blocks, or other recipes, save before anything is run.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { codes } from '../../support/codes.ts';
import { closest } from '../../support/suggest.ts';
import { type Call, type Register, textOption } from '../command.ts';
import { type ExplainedRecipe, explainRecipe, explainText } from '../compress/explain.ts';
import { openRecipes, recipeOption } from '../compress/open-recipes.ts';
import { describeMachine, machines } from '../compress/predict.ts';
import { type CommandResult, type Context, diagnosticsDocument, say, showDiagnostics } from '../context.ts';
import { modelFailure } from '../execute.ts';
import { environmentError, exitCodes, usageError } from '../exit-codes.ts';
import { addReporterOptions } from '../reporter-options.ts';

/** From src/cli/commands and from dist/cli/commands alike. */
const folder = new URL('../../../docs/errors/', import.meta.url);

export const registerExplain: Register = (program, bind) => {
  addReporterOptions(program.command('explain'))
    .description('explain a diagnostic code, or what the `quantize` and `prune` blocks of a file save')
    .argument('<what>', 'as SORA2101, `list` for all codes, or a .sora file')
    .addOption(recipeOption())
    .option('--config <config.json>', 'of a file: Hugging Face config.json that binds the `config` fields')
    .option('--model <name>', 'of a file: model, when there are several')
    .action(bind(explain));
};

async function explain(context: Context, call: Call): Promise<CommandResult> {
  const [wanted = ''] = call.args;
  if (wanted.endsWith('.sora')) return explainFile(context, call, wanted);
  for (const name of ['recipe', 'config', 'model'])
    if (call.options[name] !== undefined) throw usageError(`\`--${name}\` is for a .sora file, not for \`${wanted}\``);
  if (wanted === 'list') return listCodes();
  // Codes are copied from where they stand: `error[SORA2101]`, `sora2101`, `2101`.
  const digits = /^(?:error|warning)?\[?(?:sora)?(\d{4})\]?$/i.exec(wanted)?.[1];
  const code = digits === undefined ? wanted.toUpperCase() : `SORA${digits}`;
  if (!Object.hasOwn(codes, code)) {
    const near = closest(code, Object.keys(codes));
    throw usageError(
      `there is no code \`${wanted}\``,
      near === undefined ? 'sorac explain list' : `did you mean \`${near}\`?`,
    );
  }
  const page = new URL(`${code}.md`, folder);
  if (!existsSync(page)) {
    throw environmentError(`\`${fileURLToPath(page)}\` is missing`, 'install sorac again');
  }
  const text = readFileSync(page, 'utf8');
  return { exitCode: exitCodes.ok, document: { ok: true, code, text }, text };
}

async function explainFile(context: Context, call: Call, file: string): Promise<CommandResult> {
  const opened = openRecipes({
    file,
    recipes: call.options.recipe,
    configPath: textOption(call, 'config'),
    model: textOption(call, 'model'),
  });
  if ('failed' in opened) return modelFailure(context, opened.failed);
  showDiagnostics(context, opened.diagnostics);
  const recipes: readonly ExplainedRecipe[] = opened.recipes.map(({ recipe, text, dense, compilation }) =>
    explainRecipe(recipe.name, text, dense, compilation),
  );
  say(context, `predicted by bytes and operations of one call; ${machines.map(describeMachine).join('; ')}`);
  return {
    exitCode: exitCodes.ok,
    document: { ok: true, model: opened.program.name, recipes, diagnostics: diagnosticsDocument(opened.diagnostics) },
    text: explainText(opened.program.name, recipes),
  };
}

function listCodes(): CommandResult {
  const list = Object.entries(codes).map(([code, { severity, title }]) => ({ code, severity, title }));
  return {
    exitCode: exitCodes.ok,
    document: { ok: true, codes: list },
    text: list.map(({ code, title }) => `${code}  ${title}`).join('\n'),
  };
}
