/**
 * The options of every command that tells diagnostics of a model.
 */
import { type Command, Option } from 'commander';
import { limits } from '../support/limits.ts';
import { reporters } from '../support/render.ts';

export function addReporterOptions(command: Command): Command {
  return command
    .addOption(new Option('--reporter <how>', 'how diagnostics are written').choices(reporters).default('pretty'))
    .option('--max-errors <count>', `diagnostics shown, 0 for all (default: ${limits.diagnosticsShown})`);
}
