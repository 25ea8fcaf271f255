/**
 * The data of a run: opens what the options name, splits what has no parts, and gives batches of each part.
 */
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TrainBlock, TrainRead } from '../../ir/graph.ts';
import { type DimRange, dimBounds } from '../../ir/symbolic.ts';
import type { InputTensor } from '../../runtime/inputs.ts';
import { SoraError } from '../../support/error.ts';
import type { Tokenizer } from '../../text/index.ts';
import {
  type Batch,
  type Batches,
  type BatchOptions,
  batchesOf,
  characterTokenizer,
  type Dataset,
  type DatasetPart,
  type ImageOptions,
  type LabelMap,
  labelsOf,
  openDataset,
  partsOf,
  splitDataset,
  splitTokens,
  tokenStream,
  windowBatches,
} from '../../training/index.ts';
import { usageError } from '../exit-codes.ts';
import { fieldsOf, imageOptionsOf, numberAt, padValueOf } from './inputs.ts';
import type { TrainSettings } from './settings.ts';

export interface Parts<Part> {
  readonly train: Part;
  readonly validation: Part | undefined;
  readonly test: Part | undefined;
}

export interface TrainData extends Parts<Batches> {
  /** Names of classes by column. */
  readonly labels: ReadonlyMap<string, LabelMap>;
  /** Of a text without a tokenizer. */
  readonly characters: string | undefined;
  close(): Promise<void>;
}

export interface DataContext {
  readonly settings: TrainSettings;
  readonly block: Pick<TrainBlock, 'reads'>;
  readonly ranges: ReadonlyMap<string, DimRange>;
  readonly seed: number;
}

/** Batches that are sorted by length at a time. */
const bucketing = 16;

/** The tokenizer that is named, else the one beside the weights or the model. */
async function findTokenizer({ tokenizer, weights, file }: TrainSettings): Promise<Tokenizer | undefined> {
  // Loaded when it is needed: other commands start without it.
  const load = async (path: string): Promise<Tokenizer> => (await import('../../text/index.ts')).loadTokenizer(path);
  if (tokenizer !== undefined) return load(fileOf(tokenizer) ?? tokenizer);
  const folders = [...(weights === undefined ? [] : [weights, dirname(weights)]), dirname(file)];
  const found = folders.map(fileOf).find((path) => path !== undefined);
  return found === undefined ? undefined : load(found);
}

/** `tokenizer.json` or `tokenizer.bin` of a folder. */
function fileOf(folder: string): string | undefined {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return undefined;
  return ['tokenizer.json', 'tokenizer.bin'].map((name) => join(folder, name)).find((path) => existsSync(path));
}

/** Datasets of the parts as far as there are such; shares of the first for the others. */
interface Opened extends Parts<Dataset> {
  readonly shares: { readonly validation: number; readonly test: number };
}

async function openParts(settings: TrainSettings, images: ImageOptions | undefined): Promise<Opened> {
  const options = images === undefined ? {} : { images };
  const open = (path: string, part: DatasetPart): Promise<Dataset> =>
    openDataset(path, partsOf(path).includes(part) ? { ...options, part } : options);
  const own = partsOf(settings.data);
  const opened: Dataset[] = [];
  const openOther = async (path: string | undefined, part: DatasetPart): Promise<Dataset | undefined> => {
    const from = path ?? (own.includes(part) ? settings.data : undefined);
    if (from === undefined) return undefined;
    const dataset = await open(from, part);
    opened.push(dataset);
    return dataset;
  };
  try {
    const train = await open(settings.data, 'train');
    opened.push(train);
    const validation = await openOther(settings.validation, 'validation');
    const test = await openOther(settings.test, 'test');
    const shares = {
      validation: validation === undefined ? settings.split.validation : 0,
      // Whoever gives data for validation alone wants no test.
      test: test === undefined && validation === undefined ? settings.split.test : 0,
    };
    return { train, validation, test, shares };
  } catch (error) {
    for (const dataset of opened) await dataset.close();
    throw error;
  }
}

/** The batch size against the range of the model's dim. */
function checkBatch({ settings, block, ranges }: DataContext): { readonly least: number } {
  let least = 1;
  for (const { name, type } of block.reads) {
    const [axis] = type.shape;
    if (axis === undefined) continue;
    const { minimum, maximum } = dimBounds(axis, ranges);
    least = Math.max(least, minimum);
    if (settings.batch >= minimum && settings.batch <= maximum) continue;
    throw usageError(
      `\`--batch ${settings.batch}\`: \`${name}\` takes ${minimum === maximum ? minimum : `${minimum} to ${maximum}`} rows`,
      `the model says \`${axis.key}\``,
    );
  }
  return { least };
}

/** Inputs of one batch that share an axis are made as long as the longest of them. */
function withEqualLengths(batches: Batches, reads: readonly TrainRead[]): Batches {
  const axes = new Map<string, TrainRead[]>();
  for (const read of reads) {
    const axis = read.type.shape[1];
    if (axis !== undefined && read.type.shape.length === 2 && read.method !== 'vector')
      axes.set(axis.key, [...(axes.get(axis.key) ?? []), read]);
  }
  const shared = [...axes.values()].filter((group) => group.length > 1);
  if (shared.length === 0) return batches;
  const even = (batch: Batch): Batch => {
    const inputs: Record<string, InputTensor> = { ...batch.inputs };
    for (const group of shared) {
      const length = Math.max(...group.map(({ name }) => inputs[name]?.shape[1] ?? 0));
      for (const read of group) {
        const tensor = inputs[read.name];
        if (tensor) inputs[read.name] = lengthen(tensor, length, padValueOf(read));
      }
    }
    return { ...batch, inputs };
  };
  return {
    ...batches,
    batch: async (epoch, index) => even(await batches.batch(epoch, index)),
    async *epoch(epoch, from) {
      for await (const batch of batches.epoch(epoch, from)) yield even(batch);
    },
  };
}

function lengthen(tensor: InputTensor, length: number, fill: number): InputTensor {
  const [rows = 0, own = 0] = tensor.shape;
  if (own === length) return tensor;
  const isFloat = tensor.data instanceof Float32Array;
  const data = (isFloat ? new Float32Array(rows * length) : new Int32Array(rows * length)).fill(fill);
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < own; at++) data[row * length + at] = Number(tensor.data[row * own + at] ?? fill);
  return { shape: [rows, length], data };
}

async function openRows(
  context: DataContext,
  opened: Opened,
  options: BatchOptions,
): Promise<Omit<TrainData, 'close'>> {
  const { block, ranges, seed, settings } = context;
  const { reads } = block;
  if (opened.train.isStream && reads.some(({ method }) => method === 'tokens'))
    throw new SoraError('SORA7060', `\`${opened.train.name}\` is one text that goes on, not rows of a table`, {
      help: 'write `read NAME: window(256)` in the `train` block, or give a table with a column of texts',
    });
  const split = splitDataset(opened.train, { ...opened.shares, seed });
  const labels = new Map<string, LabelMap>();
  for (const { method, columns } of reads) {
    const [column] = columns;
    if (method === 'label' && column !== undefined && !labels.has(column))
      labels.set(column, await labelsOf(split.train, column));
  }
  const hasText = reads.some(({ method }) => method === 'tokens');
  const tokenizer = hasText ? await findTokenizer(settings) : undefined;
  const isText = (column: string) => opened.train.columns.get(column) === 'text';
  if (hasText && !tokenizer && reads.some(({ method, columns }) => method === 'tokens' && columns.some(isText)))
    throw new SoraError('SORA7061', 'no tokenizer for the texts', {
      help: 'name one with --tokenizer: a folder or a `tokenizer.json`',
    });
  const fields = fieldsOf({ reads, ranges, tokenizer, labels });
  const padded = fields.some(({ isPadded }) => isPadded) ? { bucketing } : {};
  const batchesFor = async (dataset: Dataset, own: Partial<BatchOptions>): Promise<Batches> =>
    withEqualLengths(await batchesOf(dataset, fields, { ...options, ...padded, ...own }), reads);
  const evaluated = async (dataset: Dataset | undefined) => (dataset ? batchesFor(dataset, {}) : undefined);
  return {
    train: await batchesFor(split.train, { shuffle: true }),
    validation: await evaluated(opened.validation ?? split.validation),
    test: await evaluated(opened.test ?? split.test),
    labels,
    characters: undefined,
  };
}

async function openStreams(
  { block, seed, settings }: DataContext,
  opened: Opened,
  options: BatchOptions,
  window: TrainRead,
): Promise<Omit<TrainData, 'close'>> {
  const next = block.reads.find(({ method, of }) => method === 'next' && of === window.name);
  const other = block.reads.find((read) => read !== window && read !== next);
  if (other)
    throw new SoraError('SORA7060', `\`${other.name}\` is read beside a window of a text`, {
      help: 'a text that goes on has no rows, so there is nothing else to read from it',
    });
  const known = await findTokenizer(settings);
  const tokenizer = known ?? characterTokenizer(await wholeText(opened.train));
  const streamOf = (dataset: Dataset): Promise<Int32Array> =>
    tokenStream(dataset, tokenizer, {
      ...(dataset.isStream || tokenizer.eos === undefined ? {} : { separator: tokenizer.eos }),
    });
  const split = splitTokens(await streamOf(opened.train), opened.shares);
  const windowOptions = {
    ...options,
    length: numberAt(window, 'length') ?? 1,
    ids: window.name,
    labels: next?.name ?? `${window.name}:next`,
  };
  const only = (batches: Batches): Batches => (next ? batches : withoutInput(batches, windowOptions.labels));
  const evaluated = async (dataset: Dataset | undefined, rest: Int32Array | undefined) => {
    const tokens = dataset ? await streamOf(dataset) : rest;
    return tokens && only(windowBatches(tokens, windowOptions));
  };
  return {
    train: only(windowBatches(split.train, { ...windowOptions, seed, shuffle: true })),
    validation: await evaluated(opened.validation, split.validation),
    test: await evaluated(opened.test, split.test),
    labels: new Map(),
    characters: 'characters' in tokenizer ? String(tokenizer.characters) : undefined,
  };
}

function withoutInput(batches: Batches, name: string): Batches {
  const without = (batch: Batch): Batch => {
    const { [name]: _, ...inputs } = batch.inputs;
    return { ...batch, inputs };
  };
  return {
    ...batches,
    batch: async (epoch, index) => without(await batches.batch(epoch, index)),
    async *epoch(epoch, from) {
      for await (const batch of batches.epoch(epoch, from)) yield without(batch);
    },
  };
}

async function wholeText(dataset: Dataset): Promise<string> {
  const parts: string[] = [];
  for (let index = 0; index < dataset.length; index++)
    parts.push(String((await dataset.row(index, new Set(['text']))).get('text') ?? ''));
  return parts.join('');
}

/** @errors SORA0001 for a batch size that the model does not take, SORA7030 to SORA7061 for data that does not fit */
export async function openData(context: DataContext): Promise<TrainData> {
  const { settings, block, seed } = context;
  const { least } = checkBatch(context);
  const opened = await openParts(settings, imageOptionsOf(block.reads));
  const close = async (): Promise<void> => {
    for (const dataset of [opened.train, opened.validation, opened.test]) await dataset?.close();
  };
  try {
    // The last batch of an epoch may be too small for the model.
    const options: BatchOptions = { batchSize: settings.batch, seed, dropLast: least > 1 };
    const window = block.reads.find(({ method }) => method === 'window');
    const data = window
      ? await openStreams(context, opened, options, window)
      : await openRows(context, opened, options);
    return { ...data, close };
  } catch (error) {
    await close();
    throw error;
  }
}
