/**
 * Folders of images, sounds or texts: each subfolder is a class, its name the label. Without subfolders there are no labels.
 */
import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SoraError } from '../../support/error.ts';
import { type ColumnKind, type Dataset, dataFault, emptyFault, place, type Value } from './dataset.ts';
import { readText, readWhole } from './files.ts';
import { decodeImage, type ImageOptions } from './images.ts';
import { decodeWav } from './wav.ts';

/** One image, sound or text. */
const maximumFileBytes = 256 * 1024 * 1024;

interface MediaFile {
  readonly path: string;
  /** Name of the folder that it lies in, if that is a class. */
  readonly label: string | undefined;
}

export const imageName = /\.(?:png|jpe?g)$/i;
export const soundName = /\.wave?$/i;
export const textName = /\.(?:txt|text)$/i;

/** Entries of a folder in the order of their names, without hidden ones. */
export function entriesOf(folder: string): { readonly folders: readonly string[]; readonly files: readonly string[] } {
  try {
    const names = readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .sort();
    const isFolder = (name: string): boolean =>
      statSync(join(folder, name), { throwIfNoEntry: false })?.isDirectory() === true;
    const folders = names.filter(isFolder);
    return { folders, files: names.filter((name) => !folders.includes(name)) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SoraError('SORA7001', `cannot read \`${folder}\`: ${why}`, { cause });
  }
}

/** Files whose names match, in class folders or directly in the folder; empty when there are none. */
export function mediaFiles(folder: string, pattern: RegExp): readonly MediaFile[] {
  const { folders, files } = entriesOf(folder);
  const classes = folders.flatMap((label) =>
    entriesOf(join(folder, label))
      .files.filter((name) => pattern.test(name))
      .map((name) => ({ path: join(folder, label, name), label })),
  );
  const direct = files
    .filter((name) => pattern.test(name))
    .map((name) => ({ path: join(folder, name), label: undefined }));
  if (classes.length > 0 && direct.length > 0) {
    const what = `\`${direct[0]?.path}\` lies in no class, \`${classes[0]?.path}\` in one`;
    throw dataFault('SORA7030', folder, what, { help: 'put every file into the folder of its class, or none' });
  }
  return [...classes, ...direct];
}

/**
 * Columns `image` [channels, height, width], `label`, `file` (the path from the folder).
 *
 * @errors SORA7038 no images; per row SORA7035
 */
export async function openImageFolder(folder: string, images: ImageOptions = {}): Promise<Dataset> {
  const files = mediaFiles(folder, imageName);
  return mediaRows(folder, files, [['image', 'tensor']], async (path) => [
    ['image', await decodeImage(readMedia(path), place(path), images)],
  ]);
}

/**
 * Columns `text`, `label`, `file`: a document per file. Files without classes are one text that goes on (text.ts).
 *
 * @errors SORA7038 no texts; per row SORA7037
 */
export async function openDocumentFolder(folder: string): Promise<Dataset> {
  return mediaRows(folder, mediaFiles(folder, textName), [['text', 'text']], async (path) => [
    ['text', readText(path)],
  ]);
}

export interface SoundOptions {
  /** What every file must have, per second; nothing is resampled. */
  readonly sampleRate?: number;
}

/**
 * Columns `audio` [samples], `sample_rate`, `label`, `file`.
 *
 * @errors SORA7038 no sounds; per row SORA7036
 */
export async function openSoundFolder(folder: string, sounds: SoundOptions = {}): Promise<Dataset> {
  const files = mediaFiles(folder, soundName);
  const columns = [['audio', 'tensor'] as const, ['sample_rate', 'integer'] as const];
  return mediaRows(folder, files, columns, async (path) => {
    const { samples, sampleRate } = decodeWav(readMedia(path), path);
    if (sounds.sampleRate !== undefined && sounds.sampleRate !== sampleRate) {
      throw dataFault('SORA7036', path, `${sampleRate} samples a second in place of ${sounds.sampleRate}`);
    }
    return [
      ['audio', { shape: [samples.length], data: samples }],
      ['sample_rate', sampleRate],
    ];
  });
}

const readMedia = (path: string): Uint8Array => readWhole(path, maximumFileBytes, 'SORA7030');

function mediaRows(
  folder: string,
  files: readonly MediaFile[],
  columns: readonly (readonly [string, ColumnKind])[],
  decode: (path: string) => Promise<readonly (readonly [string, Value])[]>,
): Dataset {
  const hasLabels = files.some(({ label }) => label !== undefined);
  if (files.length === 0) throw emptyFault(folder, 'the folder has no such files');
  const fileAt = (index: number): MediaFile => {
    const file = files[index];
    if (!file) throw new RangeError(`file ${index} of ${files.length}`);
    return file;
  };
  return {
    name: folder,
    length: files.length,
    columns: new Map([...columns, ...(hasLabels ? [['label', 'text'] as const] : []), ['file', 'text'] as const]),
    isStream: false,
    where: (index) => place(fileAt(index).path),
    async row(index, only) {
      const { path, label } = fileAt(index);
      const isDecoded = only === undefined || columns.some(([column]) => only.has(column));
      const cells = isDecoded ? await decode(path) : [];
      const file = label === undefined ? basename(path) : `${label}/${basename(path)}`;
      return new Map<string, Value>([
        ...cells,
        ...(label === undefined ? [] : [['label', label] as const]),
        ['file', file],
      ]);
    },
    async close() {},
  };
}
