/**
 * Recorded training runs of PyTorch (../shared/golden, where it is present), repeated by the interpreter in f64 from the
 * model files of models/: losses, norms, first gradients and final weights.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { compileFile } from '../../../src/cli/execute.ts';
import { type RecordedRun, usesOf } from '../../../src/cli/golden-train.ts';
import { readModelCatalog } from '../../../src/cli/model-catalog.ts';
import { loadConfig, loadSource } from '../../../src/cli/source-files.ts';
import { type FileTensor, readTensorFile } from '../../../src/cli/tensor-file.ts';
import { lowerSource } from '../../../src/compile.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { referenceTrainer } from '../../support/reference-trainer.ts';

const at = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const shared = at('../shared/golden');

interface Case {
  readonly name: string;
  readonly train: RecordedRun;
  readonly no_gradient: Readonly<Record<string, readonly [number, number]>>;
}

const cases = (existsSync(shared) ? readdirSync(shared) : []).flatMap((name): readonly Case[] => {
  const path = `${shared}/${name}/case.json`;
  const description = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  return description.runner === 'train' ? [{ name, ...description }] : [];
});

function tensor(file: FileTensor, row?: number): Tensor {
  const dtype = file.dtype.startsWith('I') ? 'i32' : 'f32';
  const data = file.read(dtype);
  if (row === undefined) return tensorOf(dtype, file.shape, data, 'f64');
  const shape = file.shape.slice(1);
  const size = shape.reduce((product, dim) => product * dim, 1);
  return tensorOf(dtype, shape, data.slice(row * size, (row + 1) * size), 'f64');
}

const skipWithoutCases = cases.length === 0;

describe.skipIf(skipWithoutCases)('recorded runs', () => {
  test.each(cases)(
    '$name',
    async ({ name, train, no_gradient }) => {
      const folder = `${shared}/${name}`;
      const configPath = `${folder}/config.json`;
      const [architecture = ''] = JSON.parse(readFileSync(configPath, 'utf8')).architectures as string[];
      const path = readModelCatalog(at('models')).get(architecture) ?? '';
      const plain = compileFile({ path, model: architecture, configPath }).compilation?.program;
      const entry = plain?.entries.find(({ steps, isHidden }) => steps === undefined && !isHidden);
      if (!plain || !entry) throw new Error('no entry to train');
      const vectors = plain.weights.filter(({ type }) => type.shape.length === 1).map((weight) => weight.path);
      const uses = usesOf(train, architecture, entry, vectors);
      const source = loadSource(path);
      const lowered = lowerSource({
        file: source.file,
        host: source.host,
        model: architecture,
        config: loadConfig(configPath),
        uses: { path: '(options)', text: uses },
      });
      expect(lowered.diagnostics).toEqual([]);
      const program = lowered.value;
      if (!program) throw new Error('does not compile');
      const adapterPath = `${folder}/adapter/adapter_model.safetensors`;
      const weights = new Map([
        ...(await readTensorFile(`${folder}/model.safetensors`)),
        ...(existsSync(adapterPath) ? await readTensorFile(adapterPath) : []),
      ]);
      const inputs = await readTensorFile(`${folder}/inputs.safetensors`);
      const wanted = await readTensorFile(`${folder}/outputs.safetensors`);
      const want = (key: string): Float32Array => wanted.get(key)?.read('f32') ?? new Float32Array();
      const trainer = referenceTrainer(program, (weight) => {
        const file = weights.get(weight);
        if (!file) throw new Error(`no weight ${weight}`);
        return tensor(file);
      });
      const rates = want('lr');
      const batch = (at: number) =>
        new Map(
          [...inputs].flatMap(([key, file]) =>
            key.startsWith('train.') ? [[key.slice(6), tensor(file, at)] as const] : [],
          ),
        );
      for (let step = 0; step < train.steps; step++) {
        const { loss, norm } = trainer.step(batch(step), rates[step] ?? 0);
        expect(Math.abs(loss - (want('loss')[step] ?? 0)), `loss ${step}`).toBeLessThan(1e-5);
        expect(Math.abs(norm / (want('grad_norm')[step] ?? 1) - 1)).toBeLessThan(1e-4);
        if (step > 0) continue;
        for (const path of trainer.parameters) {
          const expected = want(`grad.${path}`);
          expect(expected.length, path).toBe(trainer.gradient(path).length);
          const [from = 0, to = 0] = no_gradient[path] ?? [];
          const scale = Math.max(...expected.map(Math.abs));
          trainer.gradient(path).forEach((value, place) => {
            if (place >= from && place < to) return;
            expect(Math.abs(value - (expected[place] ?? 0)) / scale, `${path}[${place}]`).toBeLessThan(1e-4);
          });
        }
      }
      // The tolerance of the case, of how far the weight moved: what Adam makes of rounding noise is larger.
      const share = train.optimizer === 'adam' ? 9e-3 : 1e-3;
      for (const path of trainer.parameters) {
        const expected = want(`final.${path}`);
        const start = weights.get(path)?.read('f32') ?? new Float32Array();
        const moved = Math.max(...expected.map((value, place) => Math.abs(value - (start[place] ?? 0))));
        const [from = 0, to = 0] = no_gradient[path] ?? [];
        trainer.weight(path).forEach((value, place) => {
          if (place >= from && place < to) return;
          expect(Math.abs(value - (expected[place] ?? 0)), `${path}[${place}]`).toBeLessThanOrEqual(share * moved);
        });
      }
      const evaluated = trainer.evaluate(
        new Map(
          [...inputs].flatMap(([key, file]) =>
            key.startsWith('eval.') ? [[key.slice(5), tensor(file)] as const] : [],
          ),
        ),
      );
      expect(evaluated.get(':loss')?.data[0]).toBeCloseTo(want('eval_loss_after')[0] ?? 0, 4);
      // Some seconds each on a quiet machine.
    },
    180_000,
  );
});
