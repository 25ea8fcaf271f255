/**
 * Plain text: one row per file, pieces of one stream for a language model.
 */
import { type Dataset, emptyFault, place, type Row } from './dataset.ts';
import { readText } from './files.ts';

/**
 * The column `text` of one or more files, in the order given.
 *
 * @errors SORA7037 not text, SORA7038 empty, SORA7001 unreadable
 */
export async function openText(name: string, paths: readonly string[]): Promise<Dataset> {
  const texts = paths.map(readText);
  if (texts.every((text) => text.trim() === '')) throw emptyFault(name, 'the file is empty');
  return {
    name,
    length: texts.length,
    columns: new Map([['text', 'text']]),
    isStream: true,
    where: (index) => place(paths[index] ?? name),
    async row(index): Promise<Row> {
      const text = texts[index];
      if (text === undefined) throw new RangeError(`row ${index} of ${texts.length}`);
      return new Map([['text', text]]);
    },
    async close() {},
  };
}
