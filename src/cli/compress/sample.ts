/**
 * The sample of `sorac compress`: inputs of one entry, in a part that calibrates and a part that is held back to measure. Files of
 * tensors named as the parameters are taken as they are; everything else is read as `sorac train` reads data, by the file's
 * `train` block, or by what goes without saying.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry, Program, Scored, TrainRead } from '../../ir/graph.ts';
import { impliedReads } from '../../ir/lower/use-reads.ts';
import { dimBounds } from '../../ir/symbolic.ts';
import type { Inputs } from '../../runtime/inputs.ts';
import { SoraError } from '../../support/error.ts';
import { type Batches, openDataset } from '../../training/index.ts';
import { usageError } from '../exit-codes.ts';
import { openData } from '../train/data.ts';
import { imageOptionsOf, unread } from '../train/inputs.ts';
import type { TrainSettings } from '../train/settings.ts';
import { openTensorSample } from './tensor-sample.ts';

export interface SampleSettings {
  readonly file: string;
  readonly data: string;
  readonly validation?: string;
  /** Share of the examples that is held back, where `validation` is not given. */
  readonly heldBack: number;
  /** Examples at most. */
  readonly calibration: number;
  readonly evaluation: number;
  readonly batch: number;
  readonly seed: number;
  readonly weights: string;
  readonly tokenizer?: string;
}

export interface SampleBatch {
  readonly inputs: Inputs;
  readonly size: number;
}

export interface SamplePart {
  /** Examples that there are, and those that are used. */
  readonly available: number;
  readonly used: number;
  batches(): AsyncIterable<SampleBatch>;
}

export interface Sample {
  readonly calibration: SamplePart;
  readonly evaluation: SamplePart;
  /** What results are compared with, beside those of the dense model. */
  readonly scored: readonly Scored[];
  /** How the parts came about, in words. */
  readonly split: string;
  close(): Promise<void>;
}

/** How the inputs of an entry are read. */
export interface SampleBlock {
  readonly reads: readonly TrainRead[];
  readonly scored: readonly Scored[];
}

/** Tokens of a window of a text, at most. */
const windowTokens = 256;

/** The one parameter that is tokens and the one result that scores what follows them. */
function languageOf(program: Program, entry: Entry): { readonly tokens: string; readonly scores: string } | undefined {
  if (program.generation === undefined) return undefined;
  const needed = entry.parameters.filter(({ initial, role }) => initial === undefined && role === undefined);
  const [tokens, ...others] = needed;
  const scores = entry.results.find(({ type }) => {
    const [rows, length, classes] = type.shape;
    const own = tokens?.type.shape;
    return classes !== undefined && rows?.key === own?.[0]?.key && length?.key === own?.[1]?.key;
  });
  return tokens && scores && others.length === 0 ? { tokens: tokens.name, scores: scores.name } : undefined;
}

/** @param columns of the data: a text that goes on has none */
export function sampleBlock(program: Program, entry: Entry, columns: ReadonlySet<string> | undefined): SampleBlock {
  if (program.train?.entry === entry.name) return program.train;
  const language = languageOf(program, entry);
  const tokens = entry.parameters.find(({ name }) => name === language?.tokens);
  if (language && tokens && columns === undefined) {
    const axis = tokens.type.shape[1];
    const most = axis === undefined ? windowTokens : dimBounds(axis, program.dims).maximum;
    const options = { length: Math.min(windowTokens, most) };
    const read: TrainRead = { ...tokens, method: 'window', columns: [], of: undefined, options };
    return {
      reads: [read],
      scored: [{ scores: language.scores, target: tokens.name, kind: 'next', ignore: undefined }],
    };
  }
  const parameters = entry.parameters.filter(({ role }) => role === undefined);
  if (language && tokens) {
    // Rows are filled up with token 0: it is no target.
    const scored: Scored = { scores: language.scores, target: tokens.name, kind: 'next', ignore: 0 };
    return { reads: impliedReads({ parameters, targets: [] }, []), scored: [scored] };
  }
  const [classes] = entry.results.filter(({ type }) => type.dtype === 'f32' && type.shape.length === 2);
  const [rows] = classes?.type.shape ?? [];
  const isLabelled = columns?.has('label') === true && entry.results.length === 1 && rows !== undefined;
  if (!isLabelled || classes === undefined) return { reads: impliedReads({ parameters, targets: [] }, []), scored: [] };
  const target = { name: ':label', type: { dtype: 'i32', shape: [rows] }, doc: undefined, initial: undefined } as const;
  return {
    reads: impliedReads({ parameters, targets: [target] }, []),
    scored: [{ scores: classes.name, target: target.name, kind: 'classes', ignore: undefined }],
  };
}

/** Files of tensors, one call or several each. */
function tensorFiles(path: string): readonly string[] {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) throw usageError(`\`${path}\` does not exist`);
  if (stats.isFile()) return path.endsWith('.safetensors') ? [path] : [];
  const names = readdirSync(path).filter((name) => name.endsWith('.safetensors'));
  return names.sort().map((name) => join(path, name));
}

/** The entry that the sample is for: the one that was asked for, that is trained, or the only one without a session. */
export function sampleEntry(program: Program, asked: string | undefined): Entry {
  const visible = program.entries.filter(({ isHidden }) => isHidden !== true);
  const free = visible.filter(({ steps }) => steps === undefined);
  const wanted = asked ?? program.train?.entry;
  const list = free.map(({ name }) => `\`${name}\``).join(', ');
  if (wanted !== undefined) {
    const found = visible.find(({ name }) => name === wanted);
    if (found === undefined)
      throw usageError(`model \`${program.name}\` has no entry \`${wanted}\``, `there is ${list}`);
    if (found.steps === undefined) return found;
    throw usageError(`\`${wanted}\` needs a session: a sample has calls that stand by themselves`, `there is ${list}`);
  }
  const [only, ...others] = free;
  if (only && others.length === 0) return only;
  throw usageError(
    only
      ? `model \`${program.name}\` has ${free.length} entries`
      : `model \`${program.name}\` has no entry without a session`,
    only ? `choose one with --entry: ${list}` : 'write one without `cache:`',
  );
}

/** @errors SORA0001, SORA7030 to SORA7063 for data that does not fit */
export async function openSample(program: Program, entry: Entry, settings: SampleSettings): Promise<Sample> {
  const files = tensorFiles(settings.data);
  const tensors = files.length === 0 ? undefined : await openTensorSample(files, program, entry, settings);
  return tensors ?? openDataSample(program, entry, settings);
}

async function openDataSample(program: Program, entry: Entry, settings: SampleSettings): Promise<Sample> {
  const block = await blockOf(program, entry, settings.data);
  const missing = unread({ reads: block.reads, targets: [] }, entry.parameters);
  if (missing.length > 0)
    throw new SoraError('SORA7060', `nothing says how ${missing.map((name) => `\`${name}\``).join(' and ')} is read`, {
      help: `give a safetensors file with these tensors, or write \`read NAME: METHOD(…)\` in a \`train\` block`,
    });
  const { heldBack } = settings;
  const open: TrainSettings = {
    ...settings,
    split: { validation: settings.validation === undefined ? heldBack : 0, test: 0 },
    epochs: 1,
    out: '',
    resume: false,
    device: 'auto',
  };
  const data = await openData({ settings: open, block, ranges: program.dims, seed: settings.seed });
  const evaluation = data.validation ?? data.train;
  const share = `${Math.round(heldBack * 100)} %`;
  const isText = block.reads.some(({ method }) => method === 'window');
  return {
    calibration: partOf(data.train, settings.calibration, settings.batch),
    evaluation: partOf(evaluation, settings.evaluation, settings.batch),
    scored: block.scored,
    split:
      settings.validation === undefined
        ? isText
          ? `the last ${share} of the text are held back`
          : `${share} of the examples are held back, drawn by seed ${settings.seed}`
        : `held back: \`${settings.validation}\``,
    close: () => data.close(),
  };
}

/** What columns there are decides about labels; opening a dataset reads no row. */
async function blockOf(program: Program, entry: Entry, path: string): Promise<SampleBlock> {
  if (program.train?.entry === entry.name) return program.train;
  const images = imageOptionsOf(sampleBlock(program, entry, new Set()).reads);
  const dataset = await openDataset(path, images === undefined ? {} : { images });
  try {
    return sampleBlock(program, entry, dataset.isStream ? undefined : new Set(dataset.columns.keys()));
  } finally {
    await dataset.close();
  }
}

function partOf(batches: Batches, most: number, batch: number): SamplePart {
  const used = Math.min(most, batches.examples);
  return {
    available: batches.examples,
    used,
    async *batches() {
      const count = Math.min(Math.ceil(used / batch), batches.perEpoch);
      for (let at = 0; at < count; at++) {
        const { inputs, size } = await batches.batch(0, at);
        yield { inputs, size };
      }
    },
  };
}
