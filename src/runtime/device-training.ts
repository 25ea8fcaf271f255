/**
 * What the trainers of a model share on a device: pipelines and scratch memory of the hidden entries, and weights that do not
 * train. It is there while there is a trainer; a model that only infers has none of it.
 */

import { type Arenas, type DeviceTrainingParts, type TrainingDevice, trainingEntryNames } from './arenas.ts';
import type { EntrySpec } from './artifact.ts';
import { guard, partOf } from './buffers.ts';
import { elementBytes } from './convert.ts';
import { makeDeviceArenas } from './device-arenas.ts';
import { type EntryRunner, makeEntryRunner } from './entry-runner.ts';
import { SoraError } from './error.ts';
import { loadWeights } from './executor.ts';
import { napWhile } from './nap.ts';
import { createPipelines, kernelsOf, type Pipelines } from './pipelines.ts';
import { type Checkpoint, fillWeight, weightElements } from './weights.ts';
import type { WeightMemory } from './word-textures.ts';

type Runners = ReadonlyMap<EntrySpec, EntryRunner>;

export function makeDeviceTraining(parts: DeviceTrainingParts): TrainingDevice {
  const { device, pool, artifact, spec, profile } = parts;
  const names = trainingEntryNames(spec);
  const entries = artifact.entries.filter((entry) => names.has(entry.name));
  const plans = entries.map((entry) => entry.plans[profile]);
  const others = artifact.entries.filter((entry) => !names.has(entry.name)).map((entry) => entry.plans[profile]);
  const known = new Set(kernelsOf(others));
  let making: Promise<Pipelines> | undefined;
  let count = 0;
  const shared = partOf(pool);
  let sharing: Promise<Runners> | undefined;
  let users = 0;

  /** Made once: pipelines cannot be given back. */
  const pipelines = (): Promise<Pipelines> => {
    const missing = kernelsOf(plans).filter((name) => !known.has(name));
    making ??= createPipelines(device, artifact.kernels, missing, parts.pipelines).then(
      (made) => {
        count = made.count;
        const get = (name: string) => (known.has(name) ? parts.pipelines : made).get(name);
        return { ...made, get };
      },
      (error: unknown) => {
        making = undefined;
        throw error;
      },
    );
    return making;
  };
  const share = async (checkpoint: Checkpoint): Promise<Runners> => {
    const ready = await pipelines();
    const used = new Set(
      plans.flatMap((plan) => plan.buffers.flatMap((buffer) => (buffer.kind === 'weight' ? [buffer.weight] : []))),
    );
    for (const index of parts.weights.keys()) used.delete(index);
    const added = await loadWeights(artifact, device, shared, checkpoint, used, ready.words);
    const weights = new Map([...parts.weights, ...added]);
    const own = { device, pool: shared, artifact, profile, pipelines: ready, weights };
    return new Map(entries.map((entry) => [entry, makeEntryRunner(own, entry)] as const));
  };
  /** With the last trainer everything but the pipelines goes. */
  const leave = (): void => {
    users--;
    if (users > 0) return;
    shared.destroyAll();
    sharing = undefined;
  };
  return {
    get pipelines() {
      return count;
    },
    async open(checkpoint) {
      users++;
      let arenas: Arenas | undefined;
      try {
        sharing ??= share(checkpoint);
        const runners = await sharing;
        arenas = makeDeviceArenas({
          device,
          pool,
          specs: artifact.arenas ?? [],
          wait: (waiting) => (profile === 'software' ? napWhile(waiting) : waiting),
          runner(entry) {
            const runner = runners.get(entry);
            if (!runner) throw new SoraError('SORA6006', `\`${entry.name}\` is no entry of the training`);
            return runner;
          },
          onFree: leave,
        });
        await arenas.reserve(spec.groups.flatMap(({ weights, gradients, slots }) => [weights, gradients, ...slots]));
        return arenas;
      } catch (error) {
        if (arenas) arenas.free();
        else leave();
        throw error;
      }
    },
    async apply(trained, changed) {
      const done = new Set<WeightMemory>();
      for (const [index, memory] of parts.weights) {
        const weight = artifact.weights[index];
        const isChanged = weight?.sources.some(
          ({ path, tied }) => changed.has(path) || (tied !== undefined && changed.has(tied)),
        );
        // Weights of equal content share their memory.
        if (!weight || isChanged !== true || done.has(memory)) continue;
        done.add(memory);
        const bytes = new ArrayBuffer(Math.ceil((weightElements(weight) * elementBytes(weight.dtype)) / 4) * 4);
        await fillWeight(trained, weight, bytes);
        const what = weight.sources.map(({ path }) => `\`${path}\``).join(' + ');
        const { checked } = guard(device, 'SORA6102', `weight ${what}`, () => memory.write(bytes));
        await checked;
      }
    },
  };
}
