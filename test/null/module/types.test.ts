/**
 * The declarations of a generated module as a user's compiler sees them.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emitModule } from '../../../src/codegen/module/index.ts';
import { decoder } from '../../support/decoder.ts';
import { handArtifact } from '../../support/hand-artifact.ts';
import { classifierSource, trainable } from '../../support/training.ts';

// Inside of the repository, so that `@webgpu/types` and TypeScript's own libraries are found.
mkdirSync('out', { recursive: true });
const folder = mkdtempSync(join('out', 'types-'));
afterAll(() => rmSync(folder, { recursive: true }));

const right = `
import load, { type ApplyInputs, type Config, type Inputs, type Outputs, kernels, signature, SoraError, weights } from './hand.js';
import { Hand, load as named } from './hand.js';

export async function main(): Promise<number> {
  const model: Hand = await load({ weights: 'hand.safetensors', onProgress: ({ loaded, total }) => void (loaded / total) });
  const inputs: ApplyInputs = { x: { data: new Float32Array(6), shape: [2, 3] } };
  const { y, total } = await model.apply(inputs);
  const data: Float32Array = y.data;
  const rows: number = total.shape[0];
  await model.apply({ ...inputs, ids: { data: Int32Array.of(1, 2), shape: [2] } }, {});
  const width: 3 = signature.config['Hand.width'];
  const same: Config['Hand.width'] = width;
  const names: string[] = weights.map((weight) => weight.name);
  const text: string = kernels.affine;
  const both: [Inputs['apply'], Outputs['apply']] = [inputs, { y, total }];
  const lost: SoraError = await model.lost;
  await model[Symbol.asyncDispose]();
  await model.close();
  return data.length + rows + same + names.length + text.length + both.length + lost.code.length + (named === load ? 1 : 0);
}
`;

const wrong = `
import { Hand, kernels, load, signature } from './hand.js';

export async function main(model: Hand): Promise<void> {
  const x = { data: new Float32Array(3), shape: [1, 3] as const };
  // @ts-expect-error a wrong input name
  await model.apply({ x, idz: { data: Int32Array.of(1), shape: [1] } });
  // @ts-expect-error a missing input
  await model.apply({});
  // @ts-expect-error a wrong element type
  await model.apply({ x, ids: { data: Uint32Array.of(1), shape: [1] } });
  // @ts-expect-error a plain array
  await model.apply({ x: { data: [1, 2, 3], shape: [1, 3] } });
  // @ts-expect-error a wrong rank
  await model.apply({ x: { data: new Float32Array(3), shape: [3] } });
  // @ts-expect-error a wrong entry
  await model.applied({ x });
  // @ts-expect-error a wrong result
  (await model.apply({ x })).z;
  // @ts-expect-error no weights
  await load({});
  // @ts-expect-error an unknown adapter
  await load({ weights: 'a', adapter: 'cuda' });
  // @ts-expect-error something that is no device
  await load({ weights: 'a', device: {} });
  // @ts-expect-error models come from load
  new Hand();
  // @ts-expect-error an unknown kernel
  kernels.none;
  // @ts-expect-error a wrong signature
  signature.entries.apply.inputs.z;
}
`;

const sessions = `
import { Decoder, DecoderSession, load, signature, type SessionCallOptions, type SessionOptions } from './decoder.js';

export async function main(): Promise<number> {
  const model: Decoder = await load({ weights: 'decoder.safetensors' });
  const start: SessionOptions = { capacity: 128 };
  const session: DecoderSession = model.session(start);
  const options: SessionCallOptions = { lengths: [2, 1], signal: new AbortController().signal };
  const ids = { data: Int32Array.of(1, 2, 3, 4), shape: [2, 2] as const };
  const { logits } = await session.prefill({ ids }, options);
  await session.decode({ ids }, { lengths: Int32Array.of(1, 1) });
  const branch: DecoderSession = await session.fork();
  branch.reset();
  const lengths: readonly number[] = branch.lengths;
  await branch[Symbol.asyncDispose]();
  await session.close();
  const { x } = await model.words({ ids });
  return logits.data.length + lengths.length + session.capacity + x.shape[1];
}

export async function mistakes(model: Decoder, session: DecoderSession): Promise<void> {
  const ids = { data: Int32Array.of(1), shape: [1, 1] as const };
  // @ts-expect-error entries with states are methods of sessions
  await model.prefill({ ids });
  // @ts-expect-error and others of the model
  await session.words({ ids });
  // @ts-expect-error the session fills what is hidden
  await session.prefill({ ids, past: ids });
  // @ts-expect-error lengths are for sessions
  await model.words({ ids }, { lengths: [1] });
  // @ts-expect-error sessions come from models
  new DecoderSession();
  // @ts-expect-error hidden dims
  signature.dims.past;
}
`;

const training = `
import { Classifier, load, type StepResult, type TrainBatch, type Trainer, type TrainerOptions } from './classifier.js';

export async function main(): Promise<number> {
  const model: Classifier = await load({ weights: 'classifier.safetensors' });
  const options: TrainerOptions = { seed: 1, totalSteps: 100, lr: 0.1, schedule: { kind: 'cosine', warmup: 0.1 } };
  const trainer: Trainer = await model.trainer(options);
  const ids = { data: Int32Array.of(1, 2), shape: [1, 2] as const };
  const label = { data: Int32Array.of(1), shape: [1] as const };
  const batch: TrainBatch = { ids, label };
  const { loss, gradNorm, lr, step }: StepResult = await trainer.step(batch, { signal: new AbortController().signal });
  await trainer.step([batch, { ...batch, mask: ids }]);
  const { gradients } = await trainer.gradients(batch);
  async function* batches() {
    yield batch;
  }
  const { batches: count } = await trainer.evaluate(batches(), {
    onBatch: ({ logits }, { label }) => void (logits.data.length + label.shape[0]),
  });
  await trainer.save('run.safetensors', { metadata: { epoch: '1' } });
  const { steps, metadata } = await trainer.load(new Uint8Array(await trainer.checkpoint()));
  await trainer.restore(await trainer.weights());
  await trainer.apply();
  await trainer.close();
  const data: Float32Array | undefined = gradients['head.weight']?.data;
  return loss + gradNorm + lr + step + count + steps + trainer.steps + Object.keys(metadata).length + (data?.length ?? 0);
}

export async function mistakes(model: Classifier, trainer: Trainer): Promise<void> {
  const ids = { data: Int32Array.of(1), shape: [1, 1] as const };
  const label = { data: Int32Array.of(1), shape: [1] as const };
  // @ts-expect-error targets are for trainers
  await model.classify({ ids, label });
  // @ts-expect-error a batch without its target
  await trainer.step({ ids });
  // @ts-expect-error a target of another rank
  await trainer.step({ ids, label: ids });
  // @ts-expect-error an unknown schedule
  await model.trainer({ schedule: { kind: 'steps' } });
  // @ts-expect-error a result that is none
  await trainer.evaluate([], { onBatch: ({ scores }) => scores });
  // @ts-expect-error the hidden entries are no methods
  await model['classify:update']({});
}
`;

const withDevice = `
import { load } from './hand.js';
export const main = (device: GPUDevice, gpu: GPU, signal: AbortSignal, file: File) =>
  Promise.all([
    load({ weights: file, device, signal }),
    load({ weights: new URL('https://example.org/a'), gpu }),
    load({ weights: [new Uint8Array(8), new ArrayBuffer(8), new Blob([])] }),
  ]);
`;

beforeAll(() => {
  const { js, dts } = emitModule(handArtifact, { fileName: 'hand.sora' });
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  writeFileSync(join(folder, 'hand.js'), js);
  writeFileSync(join(folder, 'hand.d.ts'), dts);
  writeFileSync(join(folder, 'right.ts'), right);
  writeFileSync(join(folder, 'wrong.ts'), wrong);
  writeFileSync(join(folder, 'device.ts'), withDevice);
  const stateful = emitModule(decoder().artifact, { fileName: 'decoder.sora' });
  writeFileSync(join(folder, 'decoder.js'), stateful.js);
  writeFileSync(join(folder, 'decoder.d.ts'), stateful.dts);
  writeFileSync(join(folder, 'sessions.ts'), sessions);
  const trained = emitModule(trainable(classifierSource()).artifact, { fileName: 'classifier.sora' });
  writeFileSync(join(folder, 'classifier.js'), trained.js);
  writeFileSync(join(folder, 'classifier.d.ts'), trained.dts);
  writeFileSync(join(folder, 'training.ts'), training);
});

function check(files: readonly string[], options: Record<string, unknown>): string {
  const config = join(folder, `tsconfig.${files[0]}.${Object.keys(options).join('-')}.json`);
  const compilerOptions = { strict: true, module: 'nodenext', target: 'es2022', noEmit: true, types: [], ...options };
  writeFileSync(config, JSON.stringify({ compilerOptions, files: files.map((name) => `${name}.ts`) }));
  const tsc = join('node_modules', 'typescript', 'bin', 'tsc');
  const done = spawnSync(process.execPath, [tsc, '-p', config, '--pretty', 'false'], { encoding: 'utf8' });
  return done.stdout + done.stderr;
}

describe('a consumer type-checks under strict nodenext', () => {
  test.each<[string, readonly string[], Record<string, unknown>]>([
    ['with nothing but the language', ['right', 'wrong'], { lib: ['es2022'] }],
    [
      'with the strictest flags',
      ['right', 'wrong'],
      { exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, isolatedModules: true },
    ],
    ['with the types of Node', ['right', 'wrong', 'sessions'], { types: ['node'] }],
    [
      'with trainers',
      ['training'],
      { lib: ['es2022', 'dom'], exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
    ],
    ['with sessions', ['sessions'], { lib: ['es2022', 'dom'], exactOptionalPropertyTypes: true }],
    ['with explicit resource management', ['right', 'wrong'], { lib: ['esnext', 'dom'] }],
    ['with the DOM and its own WebGPU types', ['device'], { lib: ['es2022', 'dom', 'dom.iterable'] }],
    // The two declare WebGPU differently, hence skipLibCheck; the generated file is checked in the cases above.
    ['with @webgpu/types', ['right', 'wrong', 'device'], { types: ['@webgpu/types'], skipLibCheck: true }],
  ])('%s', (_what, files, options) => {
    expect(check(files, options)).toBe('');
  });

  test('and the check can fail', () => {
    writeFileSync(join(folder, 'broken.ts'), wrong.replaceAll('// @ts-expect-error', '//'));
    expect(check(['broken'], {}).match(/error TS/g)?.length).toBe(13);
  });
});
