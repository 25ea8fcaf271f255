/**
 * The report of a bug in sorac: one text file in the folder for temporary files. It holds versions, the command line and
 * the stack, and nothing of the model or its weights.
 */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { version } from '../version.ts';

export function writeReport(error: unknown, argv: readonly string[]): string | undefined {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const text = [
    `sorac ${version}`,
    `node ${process.version} ${process.platform} ${process.arch}`,
    `command: sorac ${argv.map((word) => JSON.stringify(word)).join(' ')}`,
    '',
    stack,
    '',
  ].join('\n');
  const path = join(tmpdir(), `sorac-report-${Date.now()}-${process.pid}.txt`);
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 });
    return path;
  } catch {
    return undefined;
  }
}
