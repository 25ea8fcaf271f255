/**
 * Runner `compress`, the schemes that prune: masks of single weights, and whole heads and neurons.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { chooseUnits, constantTensors, type DenseTensor, type KeptUnits, sliceTensor } from '../compression/units.ts';
import type { Program } from '../ir/graph.ts';
import type { PrunePlan, Sparsity, UnitKind, UnitSet } from '../ir/pruning.ts';
import { transposedMatrices } from '../ir/summed-axis.ts';
import { encodeSafetensors } from '../runtime/safetensors.ts';
import { prunableParts } from './compress/prunable.ts';
import { maskOf, scoresOf } from './compress/prune-weights.ts';
import { type Compiled, compileFile } from './execute.ts';
import { blocksFor, type CompressCase, compileScheme, orientations, runScheme, Worst } from './golden-compress.ts';
import { failedRow, type Place, type Row } from './golden-rows.ts';
import { type FileTensor, readTensorFile } from './tensor-file.ts';

/** What `case.json` says under `compress`. */
export interface CompressDescription {
  readonly layers: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  /** Groups of heads that go in every layer. */
  readonly drop_groups: number;
  /** Hidden neurons that stay in every layer. */
  readonly keep_ffn: number;
}

type Tensors = ReadonlyMap<string, FileTensor>;

const denseOf = (tensor: FileTensor): DenseTensor => ({ shape: tensor.shape, data: tensor.read('f32') });

/** A checkpoint in memory: floats as f32, everything else is left to the models that have it. */
function checkpointOf(tensors: ReadonlyMap<string, DenseTensor>): Uint8Array {
  return encodeSafetensors([...tensors].map(([name, { shape, data }]) => ({ name, shape, data })));
}

/** How many of each group of inputs stay, or which share of all: what the masks themselves say. */
function sparsityOf(masks: readonly (readonly [readonly number[], Float32Array])[]): Sparsity {
  const isRegular = (of: number, keep: number): boolean =>
    masks.every(([shape, mask]) => {
      const columns = shape.at(-1) ?? 1;
      if (columns % of !== 0) return false;
      for (let from = 0; from < mask.length; from += of) {
        let sum = 0;
        for (let at = from; at < from + of; at++) sum += mask[at] ?? 0;
        if (sum !== keep) return false;
      }
      return true;
    });
  for (const of of [4, 8, 16, 2]) {
    for (let keep = 1; keep < of; keep++) if (isRegular(of, keep)) return { kind: 'nm', keep, of };
  }
  const elements = masks.reduce((sum, [, mask]) => sum + mask.length, 0);
  const kept = masks.reduce((sum, [, mask]) => sum + mask.reduce((own, value) => own + value, 0), 0);
  return { kind: 'share', keep: Math.round((kept / elements) * 100) / 100 };
}

export async function runMasked(
  job: CompressCase,
  scheme: string,
  tensors: Tensors,
  weights: Tensors,
  dense: Compiled,
): Promise<readonly Row[]> {
  const { golden, model } = job;
  const place: Place = { case: golden.name, variant: '' };
  const program = dense.compilation?.program;
  if (!program) return [failedRow(place, 'the model does not compile', scheme)];
  const transposed = transposedMatrices(program.entries.map(({ graph }) => graph));
  const wanted = [...tensors].flatMap(([key, mask]) =>
    key.endsWith('.mask')
      ? [{ name: key.slice(0, -'.mask'.length), shape: mask.shape, mask: Float32Array.from(mask.read('i32')) }]
      : [],
  );
  if (wanted.length === 0) return [failedRow(place, `${scheme}.safetensors has no masks`, scheme)];
  const turned = wanted.map(({ name, shape, mask }) => {
    const [rows = 1, columns = 1] = shape;
    const isTurned = transposed.has(name) && weights.get(name)?.shape.join() === shape.join();
    return [
      isTurned ? [columns, rows] : shape,
      isTurned ? (orientations(mask, columns, rows)[1] ?? mask) : mask,
    ] as const;
  });
  const sparsity = sparsityOf(turned);
  const worst = new Worst();
  const all = new Map([...weights].map(([name, tensor]) => [name, denseOf(tensor)]));
  for (const { name, mask, shape } of wanted) {
    const tensor = all.get(name);
    if (!tensor) return [failedRow(place, `the checkpoint has no \`${name}\``, scheme)];
    const own = maskOf(tensor, sparsity, transposed.has(name) ? 0 : 1);
    const [rows = 1, columns = 1] = tensor.shape;
    const same = shape.join() === tensor.shape.join();
    worst.add(name, own, same ? [mask] : orientations(mask, rows, columns));
    all.set(name, { shape: tensor.shape, data: tensor.data.map((value, at) => (own[at] === 1 ? value : 0)) });
  }
  const value = sparsity.kind === 'nm' ? `nm(${sparsity.keep}, ${sparsity.of})` : `keep ${sparsity.keep}`;
  const names = wanted.map(({ name }) => JSON.stringify(name)).join(', ');
  const pruned = compileScheme(job, blocksFor(model, [], [`${names}: ${value}`]));
  return [worst.row(place, `${scheme}: mask`, 0), ...(await runScheme(job, scheme, pruned, checkpointOf(all)))];
}

/** Rules about all heads and all neurons of the model. */
function unitRules(program: Program, heads: number, neurons: number): readonly string[] {
  const rule = (kind: UnitKind, keep: number): readonly string[] => {
    const parts = keep < 1 ? prunableParts(program, kind).map((part) => JSON.stringify(part)) : [];
    return parts.length === 0 ? [] : [`${kind} ${parts.join(', ')}: keep ${keep} by l2`];
  };
  return [...rule('heads', heads), ...rule('neurons', neurons)];
}

export async function runStructured(
  job: CompressCase,
  scheme: string,
  { kv_heads, drop_groups, keep_ffn }: CompressDescription,
  weights: Tensors,
  dense: Compiled,
): Promise<readonly Row[]> {
  const { golden, folder, model, path } = job;
  const place: Place = { case: golden.name, variant: '' };
  const program = dense.compilation?.program;
  if (!program) return [failedRow(place, 'the model does not compile', scheme)];
  const usesFor = (neurons: number) =>
    blocksFor(model, [], unitRules(program, drop_groups === 0 ? 1 : 1 - drop_groups / kv_heads, neurons));
  // How many neurons there are is what half of them are counted for.
  const half = compileFile({ path, model, configPath: golden.configPath, uses: usesFor(0.5) }).compilation;
  const neurons = half?.program.pruned?.sets.find(({ kind }) => kind === 'neurons');
  if (!half?.program.pruned) return [failedRow(place, 'no heads or neurons can be taken out', scheme)];
  const uses = usesFor(neurons ? keep_ffn / neurons.count : 0.5);
  const compiled = compileFile({ path, model, configPath: golden.configPath, uses });
  const plan = compiled.compilation?.program.pruned;
  if (!plan) return [failedRow(place, compiled.diagnostics[0]?.message ?? 'the rule does not compile', scheme)];
  const all = new Map([...weights].map(([name, tensor]) => [name, denseOf(tensor)]));
  const scores = await scoresOf(
    plan,
    async (name) => all.get(name) ?? { shape: [0], data: new Float32Array() },
    new Map(),
  );
  const chosen = chooseUnits(plan, scores);
  const sliced = new Map([...all].map(([name, tensor]) => [name, sliceTensor(name, tensor, plan, chosen)]));
  const rows = [
    ...(await compareChoice(place, scheme, join(folder, 'pruned'), plan, scores, chosen)),
    ...(await compareSlices(place, scheme, join(folder, 'pruned'), sliced)),
  ];
  for (const [name, tensor] of constantTensors(plan, chosen)) sliced.set(name, tensor);
  return [...rows, ...(await runScheme(job, scheme, compiled, checkpointOf(sliced)))];
}

/** `group_score.L`, `kept_groups.L`, `ffn_score.L`, `kept_ffn.L` of `kept.safetensors`. */
async function compareChoice(
  place: Place,
  scheme: string,
  folder: string,
  { sets }: PrunePlan,
  scores: ReadonlyMap<string, ArrayLike<number>>,
  kept: KeptUnits,
): Promise<readonly Row[]> {
  const file = join(folder, 'kept.safetensors');
  if (!existsSync(file)) return [];
  const wanted = await readTensorFile(file);
  const [score, choice] = [new Worst(), new Worst()];
  const compare = (kind: UnitKind, scoreName: string, keptName: string): void => {
    sets
      .filter((set: UnitSet) => set.kind === kind)
      .forEach((set, layer) => {
        const [numbers, indices] = [wanted.get(`${scoreName}.${layer}`), wanted.get(`${keptName}.${layer}`)];
        if (numbers) score.add(`${scoreName}.${layer}`, scores.get(set.id) ?? [], [numbers.read('f32')]);
        if (indices) choice.add(`${keptName}.${layer}`, kept.get(set.id) ?? [], [indices.read('i32')]);
      });
  };
  compare('heads', 'group_score', 'kept_groups');
  compare('neurons', 'ffn_score', 'kept_ffn');
  return [score.row(place, `${scheme}: scores`, 1e-5), choice.row(place, `${scheme}: kept`, 0)];
}

async function compareSlices(
  place: Place,
  scheme: string,
  folder: string,
  sliced: ReadonlyMap<string, DenseTensor>,
): Promise<readonly Row[]> {
  const file = join(folder, 'model.safetensors');
  if (!existsSync(file)) return [];
  const worst = new Worst();
  for (const [name, tensor] of await readTensorFile(file)) {
    const own = sliced.get(name);
    if (own?.shape.join() !== tensor.shape.join())
      return [
        failedRow(
          place,
          `\`${name}\` is [${own?.shape.join(', ')}], not [${tensor.shape.join(', ')}]`,
          `${scheme}: weights`,
        ),
      ];
    worst.add(name, own.data, [tensor.read('f32')]);
  }
  return [worst.row(place, `${scheme}: weights`, 0)];
}
