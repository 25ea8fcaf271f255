/**
 * `openDataset`: which format a path has, by its name, else by its first bytes.
 */

import { statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SoraError } from '../../support/error.ts';
import { closest } from '../../support/suggest.ts';
import { type CsvOptions, openCsv } from './csv.ts';
import { concatenate, type Dataset, dataFault } from './dataset.ts';
import { openRandomFile } from './files.ts';
import {
  entriesOf,
  imageName,
  mediaFiles,
  openDocumentFolder,
  openImageFolder,
  openSoundFolder,
  type SoundOptions,
  soundName,
  textName,
} from './folders.ts';
import { idxName, openIdx } from './idx.ts';
import type { ImageOptions } from './images.ts';
import { openJsonLines } from './jsonl.ts';
import { openParquet } from './parquet.ts';
import { openTensors } from './tensors.ts';
import { openText } from './text.ts';

export const datasetParts = ['train', 'validation', 'test'] as const;
export type DatasetPart = (typeof datasetParts)[number];

export interface DatasetOptions {
  /** In place of what the name says. */
  readonly format?: DatasetFormat;
  /** Of a folder with several parts (`train/`, `test.csv`, `t10k-images-idx3-ubyte`); `train` unless said otherwise. */
  readonly part?: DatasetPart;
  readonly csv?: CsvOptions;
  readonly images?: ImageOptions;
  readonly sounds?: SoundOptions;
}

interface Format {
  /** Of file names; formats of folders have none. */
  readonly names?: RegExp;
  /** The first bytes, for files whose name says nothing. */
  readonly begins?: (bytes: Uint8Array) => boolean;
  /** Whether a folder is of this format. */
  readonly holds?: (folder: string) => boolean;
  open(path: string, options: DatasetOptions): Promise<Dataset>;
}

const ascii = (text: string) => (bytes: Uint8Array) =>
  [...text].every((letter, at) => bytes[at] === letter.charCodeAt(0));

const formats = {
  csv: { names: /\.csv$/i, open: (path, options) => openCsv(path, options.csv) },
  tsv: { names: /\.(?:tsv|tab)$/i, open: (path, options) => openCsv(path, { delimiter: '\t', ...options.csv }) },
  jsonl: { names: /\.(?:jsonl|ndjson)$/i, open: (path) => openJsonLines(path) },
  parquet: { names: /\.parquet$/i, begins: ascii('PAR1'), open: (path, options) => openParquet(path, options.images) },
  idx: {
    names: idxName,
    begins: ([a, b, type = 0, rank = 0]) => a === 0 && b === 0 && type >= 8 && type <= 14 && rank >= 1 && rank <= 8,
    open: (path, options) => openIdx(path, options.images),
  },
  safetensors: { names: /\.safetensors$/i, open: (path) => openTensors(path) },
  text: { names: textName, open: (path) => openText(path, [path]) },
  images: {
    holds: (folder) => mediaFiles(folder, imageName).length > 0,
    open: (path, options) => openImageFolder(path, options.images),
  },
  sounds: {
    holds: (folder) => mediaFiles(folder, soundName).length > 0,
    open: (path, options) => openSoundFolder(path, options.sounds),
  },
  documents: {
    holds: (folder) => mediaFiles(folder, textName).some(({ label }) => label !== undefined),
    open: (path) => openDocumentFolder(path),
  },
} as const satisfies Readonly<Record<string, Format>>;

export type DatasetFormat = keyof typeof formats;

export const datasetFormats = Object.keys(formats) as readonly DatasetFormat[];

const entries: readonly (readonly [string, Format])[] = Object.entries(formats);

/** Words that begin the names of parts. */
const partNames: readonly (readonly [DatasetPart, RegExp])[] = [
  ['train', /^train(?:ing)?(?![a-z])/i],
  ['validation', /^(?:validation|valid|val|dev)(?![a-z])/i],
  ['test', /^(?:test|t10k)(?![a-z])/i],
];

function partOf(name: string): DatasetPart | undefined {
  return partNames.find(([, pattern]) => pattern.test(name))?.[0];
}

/**
 * Opens a table, a text, or a folder of either, of images, sounds or documents. Folders of the last three have a subfolder per
 * class.
 *
 * @errors SORA7030 when the format cannot be told, SORA7031 to SORA7038 and SORA7041 for what is wrong in the file,
 *   SORA7001 when it cannot be read
 */
export async function openDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  const info = statSync(path, { throwIfNoEntry: false });
  if (!info) throw new SoraError('SORA7001', `cannot read \`${path}\`: there is no such file or folder`);
  if (info.isDirectory()) return openFolder(path, options);
  const name = options.format ?? formatOfFile(path);
  return formatNamed(name, path).open(path, options);
}

/** The parts that a folder has; none for a file, or a folder that is one dataset. */
export function partsOf(path: string): readonly DatasetPart[] {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return [];
  return datasetParts.filter((part) => partEntries(path, part).length > 0);
}

function formatNamed(name: string, path: string): Format {
  const format = entries.find(([known]) => known === name)?.[1];
  if (format) return format;
  const near = closest(name, datasetFormats);
  const help = near === undefined ? `formats: ${datasetFormats.join(', ')}` : `did you mean \`${near}\`?`;
  throw dataFault('SORA7030', path, `there is no format \`${name}\``, { help });
}

function formatOfFile(path: string): string {
  const byName = entries.find(([, format]) => format.names?.test(basename(path)) === true);
  if (byName) return byName[0];
  const file = openRandomFile(path);
  try {
    const first = file.read(0, Math.min(file.size, 16));
    const byBytes = entries.find(([, format]) => format.begins?.(first) === true);
    if (byBytes) return byBytes[0];
  } finally {
    file.close();
  }
  throw dataFault('SORA7030', path, 'its name does not say which format it has', {
    help: `say which: ${datasetFormats.join(', ')}`,
  });
}

/** Names of the folders and files of one part, when the names of a folder are those of parts. */
function partEntries(folder: string, part: DatasetPart): readonly string[] {
  const { folders, files } = entriesOf(folder);
  const isTrain = (name: string): boolean => partOf(name) === 'train';
  // `train` and `dev` may be classes too: folders are parts only when all of them are.
  if (folders.some(isTrain) && folders.every((name) => partOf(name) !== undefined)) {
    return folders.filter((name) => partOf(name) === part);
  }
  return files.some((name) => isTrain(name) && isTable(name))
    ? files.filter((name) => isTable(name) && partOf(name) === part)
    : [];
}

const isTable = (name: string): boolean =>
  entries.some(([, format]) => format.names?.test(name) === true) && !isLabels(name);

/** The second file of a pair is opened with the first. */
const isLabels = (name: string): boolean => idxName.test(name) && /labels/i.test(name);

async function openFolder(folder: string, options: DatasetOptions): Promise<Dataset> {
  const parts = partsOf(folder);
  if (parts.length > 0 || options.part !== undefined) {
    const names = partEntries(folder, options.part ?? 'train');
    if (names.length === 0) {
      const has = parts.length === 0 ? 'no parts' : `only ${parts.join(', ')}`;
      throw dataFault('SORA7030', folder, `it has no part \`${options.part}\`, ${has}`);
    }
    const { part, ...rest } = options;
    return openAll(folder, names, rest);
  }
  if (options.format !== undefined) {
    const format = formatNamed(options.format, folder);
    if (format.holds) return format.open(folder, options);
  }
  const byContent = entries.find(([, format]) => format.holds?.(folder) === true)?.[1];
  if (byContent) return byContent.open(folder, options);
  const tables = entriesOf(folder).files.filter(isTable);
  if (tables.length > 0) return openAll(folder, tables, options);
  throw dataFault('SORA7030', folder, 'a folder without files of a known format', {
    help: `formats: ${datasetFormats.join(', ')}`,
  });
}

/** Files of one format are the shards of one table. */
async function openAll(folder: string, names: readonly string[], options: DatasetOptions): Promise<Dataset> {
  const paths = names.map((name) => join(folder, name));
  const [first] = paths;
  if (first !== undefined && paths.length === 1) return openDataset(first, options);
  const kinds = new Set(paths.map((path) => options.format ?? formatOfFile(path)));
  if (kinds.size > 1) {
    throw dataFault('SORA7030', folder, `files of several formats: ${[...kinds].join(', ')}`, {
      help: 'name one of them',
    });
  }
  const opened: Dataset[] = [];
  try {
    for (const path of paths) opened.push(await openDataset(path, options));
    return concatenate(folder, opened);
  } catch (error) {
    for (const dataset of opened) await dataset.close();
    throw error;
  }
}
