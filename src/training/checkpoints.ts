/**
 * Checkpoints of a training run: `last.safetensors` and `best.safetensors` in one folder, each whole or absent whenever the
 * process or the machine stops. What a run needs to go on stands in the file's metadata beside a SHA-256 of the file.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileTypeBytes } from '../runtime/convert.ts';
import { encodeSafetensorsHeader, openSafetensors, type TensorHead } from '../runtime/safetensors.ts';
import { openSource } from '../runtime/source.ts';
import { SoraError } from '../support/error.ts';
import { copyFileAtomic, isLeftover, openAtomicFile, whileWriting } from '../support/node-atomic-file.ts';

export const checkpointKinds = ['last', 'best'] as const;
export type CheckpointKind = (typeof checkpointKinds)[number];

/** Where a run is. Numbers are exact: they are kept as JSON. */
export interface RunState {
  /** Optimizer steps done. */
  readonly step: number;
  /** From 0. */
  readonly epoch: number;
  /** The batch of the epoch that comes next, from 0. */
  readonly batch: number;
  readonly seed: number;
  /** Such as `adamw`: moments of another optimizer are of no use. */
  readonly optimizer: string;
  /** The best value so far of the metric that `best.safetensors` is chosen by. */
  readonly best?: { readonly metric: string; readonly value: number; readonly step: number };
  /** What else belongs to the run: names of classes, characters, digests of data. */
  readonly extra?: Readonly<Record<string, string>>;
}

/** A tensor of a checkpoint, fetched when it is written. */
export interface CheckpointTensor extends TensorHead {
  /** As many bytes as type and shape say. */
  read(): ArrayBufferView | Promise<ArrayBufferView>;
}

export interface Checkpoints {
  readonly folder: string;
  path(kind: CheckpointKind): string;
  /**
   * Writes a checkpoint in place of the one of this kind; the file has its name only once it is whole and on the disk.
   *
   * @param metadata texts that stand in the file beside the state
   * @errors SORA0002 when the disk is full or the folder cannot be written; the one before is then still there
   */
  save(
    kind: CheckpointKind,
    tensors: readonly CheckpointTensor[],
    state: RunState,
    metadata?: Readonly<Record<string, string>>,
  ): Promise<void>;
  /** Makes the last checkpoint the best one too, without writing it again where the file system can. */
  promote(): void;
}

const fileName = (kind: CheckpointKind): string => `${kind}.safetensors`;
const stateKey = 'sorac.run';
const sumKey = 'sorac.sha256';
const noSum = '0'.repeat(64);

/**
 * Opens a folder for writing, makes it when it is missing, and removes what killed runs left unfinished. One run at a time may
 * write to a folder.
 *
 * @errors SORA0002 when it cannot be made or written
 */
export function openCheckpoints(folder: string): Checkpoints {
  const path = (kind: CheckpointKind): string => join(folder, fileName(kind));
  whileWriting(folder, () => {
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(folder)) {
      if (checkpointKinds.some((kind) => isLeftover(name, fileName(kind)))) rmSync(join(folder, name), { force: true });
    }
  });
  return {
    folder,
    path,
    async save(kind, tensors, state, metadata = {}) {
      try {
        await write(path(kind), tensors, state, metadata);
      } catch (error) {
        if (!(error instanceof SoraError) || error.code !== 'SORA0002' || !existsSync(path(kind))) throw error;
        const help = `\`${path(kind)}\` still holds the checkpoint before; make room and resume`;
        throw new SoraError(error.code, error.message, { help, cause: error });
      }
    },
    promote: () => copyFileAtomic(path('last'), path('best')),
  };
}

function checkBytes({ name, dtype, shape }: TensorHead, bytes: Uint8Array): void {
  const needed = shape.reduce((product, dim) => product * dim, fileTypeBytes(dtype));
  if (needed === bytes.byteLength) return;
  throw new SoraError(
    'SORA7005',
    `tensor \`${name}\` [${shape.join(', ')}] takes ${needed} bytes, got ${bytes.byteLength}`,
  );
}

async function write(
  path: string,
  tensors: readonly CheckpointTensor[],
  state: RunState,
  others: Readonly<Record<string, string>>,
): Promise<void> {
  const metadata = { ...others, format: 'pt', [stateKey]: JSON.stringify(state), [sumKey]: noSum };
  const { header, sorted } = encodeSafetensorsHeader(tensors, metadata);
  const sum = createHash('sha256').update(header);
  const file = openAtomicFile(path);
  try {
    file.write(header);
    for (const tensor of sorted) {
      const view = await tensor.read();
      const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      checkBytes(tensor, bytes);
      sum.update(bytes);
      file.write(bytes);
    }
    file.rewrite(Buffer.from(sum.digest('hex'), 'latin1'), placeOfSum(header));
    file.keep();
  } catch (error) {
    file.discard();
    throw error;
  }
}

/** Where the digits of the sum begin. Names are JSON: no quote of theirs can look like this one. */
function placeOfSum(header: Uint8Array): number {
  const key = `"${sumKey}":"`;
  return Buffer.from(header.buffer, header.byteOffset, header.byteLength).indexOf(key) + key.length;
}

export interface FoundCheckpoint {
  readonly path: string;
  readonly kind: CheckpointKind;
  readonly state: RunState;
  /** Checkpoints that are damaged, newer or not, with the reason; to be told to the user. */
  readonly skipped: readonly { readonly path: string; readonly why: string }[];
}

/**
 * The newest whole checkpoint of a folder; every byte of it has been read and compared with its sum.
 *
 * @errors SORA7044 when the folder has none, SORA7045 when all that it has are damaged
 */
export async function findCheckpoint(folder: string): Promise<FoundCheckpoint> {
  const there = checkpointKinds.filter((kind) => existsSync(join(folder, fileName(kind))));
  if (there.length === 0) {
    throw new SoraError('SORA7044', `\`${folder}\` has no checkpoint of a training run`, {
      help: `looked for ${checkpointKinds.map((kind) => `\`${fileName(kind)}\``).join(' and ')}`,
    });
  }
  const skipped: { path: string; why: string }[] = [];
  let found: Omit<FoundCheckpoint, 'skipped'> | undefined;
  for (const kind of there) {
    const path = join(folder, fileName(kind));
    try {
      const state = await readRunState(path);
      if (found === undefined || state.step > found.state.step) found = { path, kind, state };
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error)) throw error;
      skipped.push({ path, why: error.message });
    }
  }
  if (found) return { ...found, skipped };
  const whys = skipped.map(({ why }) => why).join('; ');
  throw new SoraError('SORA7045', `\`${folder}\` has no whole checkpoint: ${whys}`);
}

/**
 * Checks one checkpoint and reads where its run was.
 *
 * @errors SORA7045 when it is no checkpoint of a run or its bytes have changed, SORA7001 to SORA7009 when it is no safetensors file
 */
export async function readRunState(path: string): Promise<RunState> {
  const file = await openSafetensors(path);
  const { metadata } = file;
  await file.close();
  const text = metadata.get(stateKey);
  const sum = metadata.get(sumKey);
  const refuse = (what: string): SoraError => new SoraError('SORA7045', `\`${path}\` ${what}`);
  if (text === undefined || sum === undefined) throw refuse('was not written by a training run');
  const state = parseState(text);
  if (!state) throw refuse('does not say where its run was');
  if ((await sumOf(path, sum)) !== sum) throw refuse('has changed since it was written: its bytes do not have its sum');
  return state;
}

const chunkBytes = 4 * 1024 * 1024;

async function sumOf(path: string, written: string): Promise<string> {
  const source = await openSource(path);
  try {
    const lengthBytes = await source.read(0, 8);
    const headerBytes = 8 + Number(new DataView(lengthBytes.buffer, lengthBytes.byteOffset).getBigUint64(0, true));
    const header = Buffer.from(await source.read(0, headerBytes));
    const at = placeOfSum(header);
    if (header.toString('latin1', at, at + written.length) !== written) return '';
    header.write(noSum, at, 'latin1');
    const sum = createHash('sha256').update(header);
    for (let start = headerBytes; start < source.size; start += chunkBytes) {
      sum.update(await source.read(start, Math.min(chunkBytes, source.size - start)));
    }
    return sum.digest('hex');
  } finally {
    await source.close();
  }
}

function parseState(text: string): RunState | undefined {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (state === null || typeof state !== 'object') return undefined;
  const values = new Map<string, unknown>(Object.entries(state));
  const areCounts = ['step', 'epoch', 'batch', 'seed'].every((key) => Number.isSafeInteger(values.get(key)));
  return areCounts && typeof values.get('optimizer') === 'string' ? (state as RunState) : undefined;
}
