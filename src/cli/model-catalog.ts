/**
 * Which file of a folder declares a model of a given name, found by parsing the files: there is no table to keep.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from '../parser/index.ts';
import { loadSource } from './source-files.ts';

/** Paths by model name; the first file in path order wins. */
export function readModelCatalog(folder: string): ReadonlyMap<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.sora'));
  const catalog = new Map<string, string>();
  for (const relativePath of files.sort()) {
    const path = join(folder, relativePath);
    for (const declaration of parse(loadSource(path).file).value.declarations) {
      if (declaration.kind === 'model' && !catalog.has(declaration.name.text)) catalog.set(declaration.name.text, path);
    }
  }
  return catalog;
}
