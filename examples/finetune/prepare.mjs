// Writes the tables of the example: the first mails of the corpus in the order of `readMails`, cut into three parts.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readMails } from './mails.mjs';

export const parts = { train: 1000, validation: 160, test: 400 };

/** @returns mails and unwanted ones among them, by part */
export function writeTables(corpus, folder) {
  const mails = readMails(corpus);
  mkdirSync(folder, { recursive: true });
  const counts = {};
  let start = 0;
  for (const [part, count] of Object.entries(parts)) {
    const rows = mails.slice(start, start + count);
    start += count;
    writeFileSync(join(folder, `${part}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    counts[part] = { mails: rows.length, unwanted: rows.filter(({ label }) => label === 'spam').length };
  }
  return counts;
}
