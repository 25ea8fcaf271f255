/**
 * What a run keeps of itself: where it is, what its checkpoints say of it, and `train.json` for people and programs.
 */
import { readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openSafetensors } from '../../runtime/safetensors.ts';
import type { Trainer } from '../../runtime/trainer-types.ts';
import { SoraError } from '../../support/error.ts';
import { isLeftover, writeFileAtomic } from '../../support/node-atomic-file.ts';
import type { CheckpointKind, Checkpoints, RunState } from '../../training/index.ts';
import type { Measures } from './judge.ts';

export interface Evaluated {
  readonly loss: number;
  readonly measures: Measures;
}

export interface EpochRecord {
  /** From 1. */
  readonly epoch: number;
  /** Steps taken at its end. */
  readonly steps: number;
  readonly trainLoss: number;
  readonly validation?: Evaluated;
}

/** The mean training loss of some steps, the last of which is `step`. */
export interface Point {
  readonly step: number;
  readonly loss: number;
  readonly lr: number;
}

/** Where a run is; all of it comes back from a checkpoint, bit for bit. */
export interface Position {
  /** From 0. */
  epoch: number;
  /** The batch of the epoch that comes next. */
  batch: number;
  /** Sum and number of the losses of this epoch's steps, and of those since the last point. */
  sums: { loss: number; steps: number; pointLoss: number; pointSteps: number };
  readonly epochs: EpochRecord[];
  readonly points: Point[];
  best: { readonly epoch: number; readonly step: number; readonly loss: number } | undefined;
}

export function firstPosition(): Position {
  return {
    epoch: 0,
    batch: 0,
    sums: { loss: 0, steps: 0, pointLoss: 0, pointSteps: 0 },
    epochs: [],
    points: [],
    best: undefined,
  };
}

/** What decides the batches and steps of a run: two runs with different ones cannot go on with each other. */
export type RunIdentity = Readonly<Record<string, string | number | null>>;

const keys = { identity: 'run', position: 'position' } as const;

/** Writes a checkpoint of the run; the one before stays until it is whole. */
export async function saveCheckpoint(
  checkpoints: Checkpoints,
  kind: CheckpointKind,
  trainer: Trainer,
  identity: RunIdentity,
  position: Position,
): Promise<void> {
  const bytes = await trainer.checkpoint();
  const file = await openSafetensors(bytes);
  const tensors = [...file.tensors.values()].map(({ name, dtype, shape, offset, bytes: length }) => {
    return { name, dtype, shape, read: () => bytes.subarray(offset, offset + length) };
  });
  const { best } = position;
  const state: RunState = {
    step: trainer.steps,
    epoch: position.epoch,
    batch: position.batch,
    seed: trainer.seed,
    optimizer: String(identity.optimizer),
    ...(best === undefined ? {} : { best: { metric: 'validation loss', value: best.loss, step: best.step } }),
    extra: { [keys.identity]: JSON.stringify(identity), [keys.position]: JSON.stringify(position) },
  };
  await checkpoints.save(kind, tensors, state, Object.fromEntries(file.metadata));
  await file.close();
}

/** @errors SORA7062 when the run of the checkpoint was another one */
export function readPosition(path: string, state: RunState, identity: RunIdentity): Position {
  const refuse = (what: string, help?: string): SoraError =>
    new SoraError('SORA7062', `\`${path}\` does not go on with this run: ${what}`, help === undefined ? {} : { help });
  const parse = (key: string): object => {
    try {
      const value: unknown = JSON.parse(state.extra?.[key] ?? 'null');
      if (typeof value === 'object' && value !== null) return value;
    } catch {
      // Said below.
    }
    throw refuse('it was not written by `sorac train`');
  };
  const before = new Map<string, unknown>(Object.entries(parse(keys.identity)));
  for (const [name, value] of Object.entries(identity)) {
    const old = before.get(name) ?? null;
    if (old !== value)
      throw refuse(
        `${name} was ${String(old)} and is ${String(value)}`,
        'resume with the options and the data of the run, or begin another in another folder',
      );
  }
  return parse(keys.position) as Position;
}

/** Names of the files of a run in its folder. */
export function pathsOf(out: string): Readonly<Record<'checkpoints' | 'best' | 'last' | 'record', string>> {
  return {
    checkpoints: join(out, 'checkpoints'),
    best: join(out, 'best.safetensors'),
    last: join(out, 'last.safetensors'),
    record: join(out, 'train.json'),
  };
}

/** Removes what a killed run left unfinished beside its checkpoints. */
export function removeLeftovers(out: string): void {
  const { best, last, record } = pathsOf(out);
  const names = [best, last, record].map((path) => basename(path));
  for (const entry of readdirSync(out))
    if (names.some((name) => isLeftover(entry, name))) rmSync(join(out, entry), { force: true });
}

export function writeRecord(path: string, record: Readonly<Record<string, unknown>>): void {
  writeFileAtomic(path, [`${JSON.stringify({ schema: 1, ...record }, null, 2)}\n`]);
}
