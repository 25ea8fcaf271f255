/**
 * `sorac fmt`: rewrites files in the one format. A file with syntax errors is left as it is.
 */
import { readFileSync } from 'node:fs';
import { formatSource } from '../../parser/index.ts';
import { type Diagnostic, hasErrors } from '../../support/diagnostic.ts';
import { writeFileAtomic } from '../../support/node-atomic-file.ts';
import type { SourceFile } from '../../support/source.ts';
import type { Call, Register } from '../command.ts';
import {
  type CommandResult,
  type Context,
  diagnosticsDocument,
  isForPrograms,
  say,
  showDiagnostics,
} from '../context.ts';
import { exitCodes, usageError } from '../exit-codes.ts';
import { addReporterOptions } from '../reporter-options.ts';
import { loadSource } from '../source-files.ts';

export const registerFormat: Register = (program, bind) => {
  addReporterOptions(program.command('fmt'))
    .description('format .sora files in place')
    .argument('[files...]', '.sora files')
    .option('--check', 'change nothing; exit 1 when a file is not formatted')
    .option('--stdin', 'format standard input to standard output')
    .action(bind(format));
};

async function format(context: Context, call: Call): Promise<CommandResult> {
  const files = call.args;
  const onlyCheck = call.options.check === true;
  if (call.options.stdin === true) {
    if (files.length > 0) throw usageError('`--stdin` takes no files');
    if (!onlyCheck && isForPrograms(context)) {
      throw usageError(`\`--reporter ${context.reporter}\` and the formatted text both want stdout`, 'add --check');
    }
    return formatStandardInput(context, onlyCheck);
  }
  if (files.length === 0) throw usageError('no files to format', 'name .sora files, or use --stdin');

  const diagnostics: Diagnostic[] = [];
  const changed: string[] = [];
  // All files are read before one is written: a wrong name on the line leaves everything as it was.
  const sources = files.map((file) => ({ file, source: loadSource(file) }));
  for (const { file, source } of sources) {
    const stage = formatSource(source.file);
    diagnostics.push(...stage.diagnostics);
    if (hasErrors(stage.diagnostics) || stage.value === source.file.text) continue;
    changed.push(file);
    if (!onlyCheck) writeFileAtomic(source.path, [stage.value]);
  }
  showDiagnostics(context, diagnostics);
  const broken = hasErrors(diagnostics);
  for (const file of changed) say(context, `${onlyCheck ? 'not formatted' : 'formatted'}: ${file}`);
  if (!broken && changed.length === 0) say(context, `${files.length === 1 ? 'file' : 'files'} already formatted`);
  return {
    exitCode: broken || (onlyCheck && changed.length > 0) ? exitCodes.model : exitCodes.ok,
    document: { ok: !broken, checked: files, changed, diagnostics: diagnosticsDocument(diagnostics) },
  };
}

function formatStandardInput(context: Context, onlyCheck: boolean): CommandResult {
  const file: SourceFile = { path: '<stdin>', text: readFileSync(0, 'utf8') };
  const stage = formatSource(file);
  const diagnostics = diagnosticsDocument(stage.diagnostics);
  showDiagnostics(context, stage.diagnostics);
  if (hasErrors(stage.diagnostics)) return { exitCode: exitCodes.model, document: { ok: false, diagnostics } };
  const isChanged = stage.value !== file.text;
  if (onlyCheck) {
    if (isChanged) say(context, 'not formatted: <stdin>');
    return {
      exitCode: isChanged ? exitCodes.model : exitCodes.ok,
      document: { ok: true, changed: isChanged ? ['<stdin>'] : [], diagnostics },
    };
  }
  return { exitCode: exitCodes.ok, document: { ok: true, text: stage.value, diagnostics }, text: stage.value };
}
