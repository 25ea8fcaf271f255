/**
 * `sorac explain SORA1234`: the page of a diagnostic code. Pages are Markdown files of the package (docs/errors).
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { codes } from '../../support/codes.ts';
import { closest } from '../../support/suggest.ts';
import type { Call, Register } from '../command.ts';
import type { CommandResult, Context } from '../context.ts';
import { environmentError, exitCodes, usageError } from '../exit-codes.ts';

/** From src/cli/commands and from dist/cli/commands alike. */
const folder = new URL('../../../docs/errors/', import.meta.url);

export const registerExplain: Register = (program, bind) => {
  program
    .command('explain')
    .description('explain a diagnostic code, with a wrong and a right program')
    .argument('<code>', 'as SORA2101; `list` names all codes')
    .action(bind(explain));
};

async function explain(_context: Context, call: Call): Promise<CommandResult> {
  const [wanted = ''] = call.args;
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

function listCodes(): CommandResult {
  const list = Object.entries(codes).map(([code, { severity, title }]) => ({ code, severity, title }));
  return {
    exitCode: exitCodes.ok,
    document: { ok: true, codes: list },
    text: list.map(({ code, title }) => `${code}  ${title}`).join('\n'),
  };
}
