/**
 * One recipe from weights to a report: choose, calibrate, pack, write, and compare with the dense model.
 */
import { keptKey, printKept } from '../../compression/kept.ts';
import type { Entry, Program } from '../../ir/graph.ts';
import { encodeSafetensors } from '../../runtime/safetensors.ts';
import { type Checkpoint, openCheckpoint } from '../../runtime/weights.ts';
import { version } from '../../version.ts';
import { type Compiled, openModel } from '../execute.ts';
import { measure } from './measure.ts';
import { type Moments, momentsOf } from './moments.ts';
import type { Compilation, OpenedRecipe } from './open-recipes.ts';
import type { OutFolder } from './out-folder.ts';
import {
  encodeModel,
  formatLines,
  lookedUp,
  needsMoments,
  type Packed,
  type Placed,
  packConstant,
  packWeight,
  placeWeights,
} from './pack.ts';
import { machines, modelBytes, predict, usualDims, waitedFor } from './predict.ts';
import { budgetsOf, lookedUpLines, makePruning, type Pruning } from './prune-weights.ts';
import type { PredictedPair, Report } from './report.ts';
import type { Sample } from './sample.ts';
import { sampleSums } from './sample-sums.ts';
import type { CompressSettings } from './settings.ts';

export interface RecipeRun {
  readonly settings: CompressSettings;
  readonly opened: OpenedRecipe;
  readonly compileTrained: () => Compiled;
  readonly entry: Entry;
  readonly sample: Sample;
  readonly out: OutFolder;
  /** Name of the file of weights in `out`. */
  readonly file: string;
  /** Told what is going on. */
  readonly say: (line: string) => void;
}

export interface RecipeResult {
  readonly report: Report;
  /** What loads the file: of budgets, only the weights say how many units each layer has. */
  readonly compilation: Compilation;
}

export async function runRecipe(run: RecipeRun): Promise<RecipeResult> {
  const { opened, settings, say } = run;
  const { name } = opened.recipe;
  const checkpoint = await openCheckpoint(settings.weights);
  let made: Made;
  try {
    made = await makeFile(run, checkpoint);
  } finally {
    await checkpoint.close();
  }
  say(`${name}: comparing with the dense model`);
  return { report: await compareWithDense(run, made), compilation: made.compilation };
}

interface Made {
  readonly compilation: Compilation;
  readonly packed: readonly Packed[];
  readonly bytesBefore: number;
  readonly bytes: number;
}

async function makeFile(run: RecipeRun, checkpoint: Checkpoint): Promise<Made> {
  const { opened, sample, settings, entry, out, file, compileTrained, say } = run;
  const { dense } = opened;
  const { program } = opened.compilation;
  const { weights, device } = settings;
  const plain = { plain: dense.program, entry: entryOf(dense.program, entry), compileTrained };
  const known = checkpoint.metadata.get(keptKey);
  const sums =
    known === undefined
      ? await sampleSums({ ...plain, program, checkpoint, weights, device, sample: sample.calibration })
      : new Map<string, Float64Array>();
  const pruning = await makePruning(program, dense.program, checkpoint, sums, known !== undefined);
  const counts = new Map([...pruning.kept].map(([id, units]) => [id, units.length]));
  for (const line of lookedUpLines(pruning, sums)) say(`${opened.recipe.name}: ${line}`);
  const compilation =
    known === undefined && budgetsOf(program).size > 0
      ? (opened.compile(counts).compilation ?? opened.compilation)
      : opened.compilation;
  const packed = await packAll(run, compilation.program, pruning, checkpoint);
  const constants = [...pruning.constants].map(([name, tensor]) => packConstant(name, tensor));
  const all = [...packed.values(), ...constants];
  const metadata = {
    compiler: `sorac ${version}`,
    recipe: opened.recipe.name,
    ...formatLines(packed),
    ...(known === undefined ? {} : { [keptKey]: known }),
    ...(pruning.kept.size > 0 ? { [keptKey]: printKept(pruning.kept) } : {}),
  };
  let bytes = 0;
  async function* counted(): AsyncIterable<Uint8Array> {
    for await (const part of encodeModel(all, metadata)) {
      bytes += part.byteLength;
      yield part;
    }
  }
  await out.write(file, counted());
  const bytesBefore = checkpoint.tensors.reduce((sum, info) => sum + info.bytes, 0);
  return { compilation, packed: all, bytesBefore, bytes };
}

async function compareWithDense(run: RecipeRun, { compilation, packed, bytesBefore, bytes }: Made): Promise<Report> {
  const { settings, opened, entry, sample, out, file } = run;
  const { dense } = opened;
  const { device, weights, data } = settings;
  const large = await openModel(dense.artifact, { weights, device });
  try {
    const small = await openModel(compilation.artifact, { weights: out.pathOf(file), device });
    try {
      const measured = await measure({
        dense: large,
        compressed: small,
        artifact: compilation.artifact,
        entry: entry.name,
        sample: sample.evaluation,
        scored: sample.scored,
      });
      return {
        compiler: `sorac ${version}`,
        model: compilation.program.name,
        entry: entry.name,
        recipe: opened.recipe.name,
        blocks: opened.recipe.text,
        adapter: small.adapter,
        size: { f32: modelBytes(dense.program), before: bytesBefore, after: bytes },
        sample: {
          data,
          split: sample.split,
          calibration: countOf(sample.calibration),
          evaluation: countOf(sample.evaluation),
        },
        predicted: predictBoth(dense, compilation),
        measured,
        tensors: packed.map(({ report }) => report),
      };
    } finally {
      await small.close();
    }
  } finally {
    await large.close();
  }
}

const countOf = ({ used, available }: Sample['calibration']) => ({ used, available });

export function predictBoth(dense: Compilation, compressed: Compilation): readonly PredictedPair[] {
  const entry = waitedFor(dense.program);
  if (!entry) return [];
  return machines.map((machine) => ({
    machine: machine.name,
    entry: entry.name,
    dense: predict(dense, entry.name, usualDims(dense.program, entry), machine),
    compressed: predict(compressed, entry.name, usualDims(compressed.program, entry), machine),
  }));
}

/** Lets an interruption in between two matrices. */
const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Every weight of the program; those that need the inputs of the sample as these come in. */
async function packAll(
  { settings, opened, entry, sample, say }: RecipeRun,
  program: Program,
  pruning: Pruning,
  checkpoint: Checkpoint,
): Promise<ReadonlyMap<Placed, Packed>> {
  const placed = placeWeights(program, checkpoint, new Set(pruning.constants.keys()));
  const wanted = needsMoments(placed);
  const tables = lookedUp(program);
  const packed = new Map<Placed, Packed>();
  const pack = async (moments: Moments, isReady: (path: string) => boolean): Promise<void> => {
    for (const one of placed) {
      if (packed.has(one) || ![one.weight, ...one.others].some(({ path }) => isReady(path))) continue;
      packed.set(one, await packWeight(one, { moments, pruning, tables }));
      await pause();
    }
  };
  if (wanted.size > 0) {
    say(`${opened.recipe.name}: calibrating ${wanted.size} matrices on ${sample.calibration.used} examples`);
    // Inputs are those of the pruned model, with plain numbers.
    const plain = { ...program, weights: program.weights.map(({ format, ...weight }) => weight) };
    const weights = await prunedWeights(placed, pruning, settings.weights);
    const options = { program: plain, entry: entryOf(plain, entry), paths: wanted, weights };
    for await (const moments of momentsOf({ ...options, sample: sample.calibration, device: settings.device }))
      await pack(moments, (path) => moments.has(path));
  }
  // What the entry multiplies nothing with goes without moments.
  await pack(new Map(), () => true);
  return new Map(placed.flatMap((one) => (packed.has(one) ? [[one, packed.get(one) as Packed] as const] : [])));
}

/** The checkpoint as pruning leaves it: the file itself where nothing is pruned. */
async function prunedWeights(placed: readonly Placed[], pruning: Pruning, file: string): Promise<string | Uint8Array> {
  if (!placed.some(({ weight, found }) => pruning.touches(weight, found.info.name))) return file;
  const tensors = new Map(pruning.constants);
  for (const { weight, found } of placed) {
    const { info, file: from } = found;
    const tensor = { shape: info.shape, data: await from.readTensor(info.name, 'f32') };
    tensors.set(info.name, pruning.apply(weight, info.name, tensor));
  }
  return encodeSafetensors([...tensors].map(([name, { shape, data }]) => ({ name, shape, data })));
}

function entryOf(program: Program, entry: Entry): Entry {
  return program.entries.find(({ name }) => name === entry.name) ?? entry;
}
