/**
 * Training beside the interpreter: arenas are arrays of the host, and parameters are views of them.
 */
import type { Arenas, HostTrainingParts, TrainingDevice } from './arenas.ts';
import type { EntrySpec } from './artifact.ts';
import type { HostStateMap, HostTensor } from './cpu.ts';
import { SoraError } from './error.ts';
import { product } from './size.ts';
import { type Checkpoint, hostWeight } from './weights.ts';

type Floats = Float32Array<ArrayBuffer>;

/** Where a state of the program lies. */
interface Place {
  readonly arena: number;
  readonly offset: number;
  readonly shape: readonly number[];
}

function placesOf({ artifact, spec }: HostTrainingParts): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  (artifact.arenas ?? []).forEach(({ path, elements }, arena) => {
    places.set(path, { arena, offset: 0, shape: [elements] });
  });
  for (const { weights, parameters } of spec.groups) {
    for (const { path, offset, shape } of parameters) places.set(`weight:${path}`, { arena: weights, offset, shape });
  }
  return places;
}

function makeHostArenas(parts: HostTrainingParts): Arenas {
  const specs = parts.artifact.arenas ?? [];
  const places = placesOf(parts);
  const contents: (Floats | undefined)[] = specs.map(() => undefined);
  let tail: Promise<unknown> = Promise.resolve();
  let isFree = false;

  const contentOf = (arena: number): Floats => {
    const content = contents[arena];
    if (!content) throw new SoraError('SORA6006', `the arena \`${specs[arena]?.path}\` is not there`);
    return content;
  };
  /** Arrays that are read are never changed: what is written takes their place. */
  const statesWith = (instead: ReadonlyMap<number, number> | undefined): HostStateMap => ({
    get(path): HostTensor | undefined {
      const place = places.get(path);
      if (!place) return undefined;
      const content = contentOf(instead?.get(place.arena) ?? place.arena);
      const elements = product(place.shape);
      return { dtype: 'f32', shape: place.shape, data: content.subarray(place.offset, place.offset + elements) };
    },
    set(path, { data }) {
      const place = places.get(path);
      if (place?.shape.length !== 1 || data.length !== contentOf(place.arena).length)
        throw new SoraError('SORA6006', `the program writes \`${path}\`, which is no arena`);
      contents[place.arena] = Float32Array.from(data);
    },
  });
  const keepPieces = (entry: EntrySpec, results: ReadonlyMap<string, HostTensor>): void => {
    const written = new Map<number, Floats>();
    for (const { name, arena, offset } of entry.pieces ?? []) {
      const content = written.get(arena) ?? contentOf(arena).slice();
      const data = results.get(name)?.data;
      if (!data) throw new SoraError('SORA6006', `\`${entry.name}\` gives no \`${name}\``);
      content.set(data, offset);
      written.set(arena, content);
    }
    for (const [arena, content] of written) contents[arena] = content;
  };
  return {
    run(calls, instead) {
      const states = statesWith(instead);
      const work = async (): Promise<readonly ReadonlyMap<string, HostTensor>[]> => {
        const before = [...contents];
        const given: ReadonlyMap<string, HostTensor>[] = [];
        try {
          for (const { entry, inputs } of calls) {
            const results = await parts.run(entry, inputs, states);
            keepPieces(entry, results);
            given.push(results);
          }
        } catch (error) {
          if (!isFree) contents.splice(0, contents.length, ...before);
          throw error;
        }
        return given;
      };
      const running = tail.then(work);
      tail = running.catch(() => undefined);
      return running;
    },
    async reserve(arenas) {
      for (const arena of arenas) contents[arena] ??= new Float32Array(specs[arena]?.elements ?? 0);
    },
    write(given) {
      for (const [arena, data] of given) contents[arena] = data.slice();
    },
    read: async (arena) => contentOf(arena).slice(),
    free() {
      isFree = true;
      contents.fill(undefined);
    },
  };
}

export function makeHostTraining(parts: HostTrainingParts): TrainingDevice {
  const { artifact, executor } = parts;
  const sources = new Map(artifact.weights.flatMap((spec) => spec.sources.map((source) => [source.path, source])));
  return {
    pipelines: 0,
    async open() {
      const arenas = makeHostArenas(parts);
      await arenas.reserve(
        parts.spec.groups.flatMap(({ weights, gradients, slots }) => [weights, gradients, ...slots]),
      );
      return arenas;
    },
    async apply(trained: Checkpoint, names) {
      for (const { path, tied } of sources.values()) {
        if (!names.has(path) && (tied === undefined || !names.has(tied))) continue;
        executor.assign(path, await hostWeight(trained, path, artifact.weights, tied));
      }
    },
  };
}
