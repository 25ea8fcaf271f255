/**
 * Batches of a dataset by number. Batch `index` of an epoch depends on the seed, the epoch and the index alone: a run that is
 * resumed takes up where it was, without replaying what came before.
 */
import type { InputTensor } from '../runtime/inputs.ts';
import { SoraError } from '../support/error.ts';
import type { Dataset, TensorValue } from './datasets/dataset.ts';
import type { Field } from './fields.ts';
import { requireColumns } from './labels.ts';
import { permutation } from './random.ts';

export interface Batch {
  /** As an entry takes them. */
  readonly inputs: Readonly<Record<string, InputTensor>>;
  /** How many examples are in it; fewer than asked for at the end of an epoch. */
  readonly size: number;
  readonly epoch: number;
  /** From 0, in its epoch. */
  readonly index: number;
}

export interface Batches {
  /** Examples of an epoch. */
  readonly examples: number;
  /** Batches of an epoch. */
  readonly perEpoch: number;
  /** @errors SORA7042 when the epoch has no such batch, and those of reading rows */
  batch(epoch: number, index: number): Promise<Batch>;
  /** Batches of an epoch from `from` on, 0 unless given. */
  epoch(epoch: number, from?: number): AsyncIterable<Batch>;
}

export interface BatchOptions {
  /** Examples of a batch, 1 at least. */
  readonly batchSize: number;
  /** Whole, in 0..2^53; 0 unless given. */
  readonly seed?: number;
  /** Another order in every epoch; no unless said otherwise. */
  readonly shuffle?: boolean;
  /** Leaves out the last batch of an epoch when it is smaller than the others. */
  readonly dropLast?: boolean;
  /**
   * Puts examples of near lengths into one batch: this many batches of shuffled rows are sorted and cut at a time. 0, the default,
   * for none. Every text is tokenized before the first batch.
   */
  readonly bucketing?: number;
}

/** Bytes of samples that are kept, so that texts are not tokenized and images not decoded in every epoch. */
const keptBytes = 512 * 1024 * 1024;

/** @errors SORA7042 for impossible options, SORA7040 when the dataset lacks a column that a field reads */
export async function batchesOf(dataset: Dataset, fields: readonly Field[], options: BatchOptions): Promise<Batches> {
  const { batchSize, seed = 0, shuffle = false, bucketing = 0 } = options;
  checkOptions(options);
  const columns = new Set(fields.flatMap((field) => field.columns));
  requireColumns(dataset, columns);
  const names = fields.flatMap((field) => field.inputs);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new SoraError('SORA7042', `two fields give the input \`${twice}\``);
  const samples = sampleReader(dataset, fields, columns);
  const lengths = bucketing > 0 ? await lengthsOf(dataset.length, fields, samples) : undefined;
  const order = (epoch: number): Uint32Array =>
    shuffle
      ? permutation(seed, 'shuffle', epoch, dataset.length)
      : Uint32Array.from({ length: dataset.length }, (_, at) => at);
  const epochs = new Latest((epoch) => {
    const rows = order(epoch);
    if (lengths === undefined) return cutRows(rows, options);
    const pools = cutRows(rows, { batchSize: batchSize * bucketing });
    const batches = pools.flatMap((pool) => {
      const sorted = pool.slice().sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0));
      return cutRows(sorted, options);
    });
    if (!shuffle) return batches;
    return [...permutation(seed, 'pool', epoch, batches.length)].flatMap((at) => batches[at] ?? []);
  });
  return numbered(dataset.length, options, async (epoch, index) => {
    const rows = epochs.get(epoch)[index] ?? new Uint32Array(0);
    const read = await samples([...rows]);
    const inputs = fields.flatMap((field, at) =>
      field.collate(
        read.map((row) => row[at] ?? { shape: [0], data: new Int32Array(0) }),
        { seed, epoch, rows },
      ),
    );
    return { inputs: Object.fromEntries(inputs), size: rows.length, epoch, index };
  });
}

/** Counts and checks that are the same wherever batches come from. */
export function numbered(
  examples: number,
  { batchSize, dropLast = false }: Pick<BatchOptions, 'batchSize' | 'dropLast'>,
  make: (epoch: number, index: number) => Promise<Batch>,
): Batches {
  const perEpoch = dropLast ? Math.floor(examples / batchSize) : Math.ceil(examples / batchSize);
  if (perEpoch === 0) {
    throw new SoraError('SORA7042', `${examples} examples make no batch of ${batchSize}`, {
      help: 'take a smaller batch size, or keep the last batch',
    });
  }
  const batch = async (epoch: number, index: number): Promise<Batch> => {
    if (!(Number.isSafeInteger(epoch) && epoch >= 0 && Number.isSafeInteger(index) && index >= 0 && index < perEpoch)) {
      throw new SoraError('SORA7042', `there is no batch ${index} of epoch ${epoch}: an epoch has ${perEpoch}`);
    }
    return make(epoch, index);
  };
  return {
    examples,
    perEpoch,
    batch,
    async *epoch(epoch, from = 0) {
      for (let index = from; index < perEpoch; index++) yield await batch(epoch, index);
    },
  };
}

export function checkOptions({ batchSize, seed = 0, bucketing = 0 }: BatchOptions): void {
  if (!(Number.isSafeInteger(batchSize) && batchSize >= 1)) {
    throw new SoraError('SORA7042', `a batch of ${batchSize} examples`, { help: 'a whole number, 1 at least' });
  }
  if (!(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new SoraError('SORA7042', `the seed ${seed}`, { help: 'a whole number in 0..2^53' });
  }
  if (!(Number.isSafeInteger(bucketing) && bucketing >= 0)) {
    throw new SoraError('SORA7042', `bucketing of ${bucketing} batches`, { help: 'a whole number, 0 for none' });
  }
}

/** The last value made, by its key: an epoch's order is asked for again and again. */
export class Latest<Made> {
  readonly #make: (key: number) => Made;
  #last: { readonly key: number; readonly made: Made } | undefined;

  constructor(make: (key: number) => Made) {
    this.#make = make;
  }

  get(key: number): Made {
    if (this.#last?.key !== key) this.#last = { key, made: this.#make(key) };
    return this.#last.made;
  }
}

function cutRows(
  rows: Uint32Array,
  { batchSize, dropLast = false }: Pick<BatchOptions, 'batchSize' | 'dropLast'>,
): readonly Uint32Array[] {
  const count = dropLast ? Math.floor(rows.length / batchSize) : Math.ceil(rows.length / batchSize);
  return Array.from({ length: count }, (_, at) => rows.subarray(at * batchSize, (at + 1) * batchSize));
}

type Samples = readonly TensorValue[];

/** Samples of rows, by field; kept while they fit the budget. */
function sampleReader(
  dataset: Dataset,
  fields: readonly Field[],
  columns: ReadonlySet<string>,
): (rows: readonly number[]) => Promise<readonly Samples[]> {
  const kept = new Map<number, Samples>();
  let bytes = 0;
  const read = async (index: number): Promise<Samples> => {
    const known = kept.get(index);
    if (known) return known;
    const row = await dataset.row(index, columns);
    const where = dataset.where(index);
    const samples = fields.map((field) => field.read(row, where));
    const size = samples.reduce((sum, { data }) => sum + data.byteLength + 256, 0);
    if (bytes + size <= keptBytes) {
      kept.set(index, samples);
      bytes += size;
    }
    return samples;
  };
  return async (rows) => {
    const all: Samples[] = [];
    for (const index of rows) all.push(await read(index));
    return all;
  };
}

/** The length of each row: that of its longest padded field. */
async function lengthsOf(
  rows: number,
  fields: readonly Field[],
  samples: (rows: readonly number[]) => Promise<readonly Samples[]>,
): Promise<Uint32Array> {
  const lengths = new Uint32Array(rows);
  for (let index = 0; index < rows; index++) {
    const [read = []] = await samples([index]);
    const own = read.map(({ shape }, at) => (fields[at]?.isPadded === true ? (shape[0] ?? 0) : 0));
    lengths[index] = Math.max(0, ...own);
  }
  return lengths;
}
