/**
 * Folders of files for tests of datasets, and errors by their code.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect } from 'vitest';
import type { Dataset, Value } from '../../../src/training/datasets/dataset.ts';

/** A folder with the files given, gone when the test file ends; returns the path of the folder. */
export function folderWith(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'sorac-data-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  return folder;
}

/** The path of one file. */
export function fileWith(name: string, content: string | Uint8Array): string {
  return join(folderWith({ [name]: content }), name);
}

/** The step ends in a coded error whose message has the text; temporary folders are left out of what is compared. */
export async function fails(step: () => unknown, code: string, text: string): Promise<void> {
  const error: unknown = await Promise.resolve()
    .then(step)
    .then(
      (result) => new Error(`no error: ${JSON.stringify(result)}`),
      (reason: unknown) => reason,
    );
  const { code: found, message } = error as { readonly code?: unknown; readonly message: string };
  const plain = message.replaceAll(/[^\s`']*sorac-data-\w+\/?/g, '');
  expect({ code: found, message: plain }).toEqual({ code, message: expect.stringContaining(text) });
}

export async function rowsOf(dataset: Dataset): Promise<readonly Readonly<Record<string, Value>>[]> {
  const rows: Readonly<Record<string, Value>>[] = [];
  for (let index = 0; index < dataset.length; index++) rows.push(Object.fromEntries(await dataset.row(index)));
  return rows;
}
