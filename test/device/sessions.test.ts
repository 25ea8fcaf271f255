/**
 * Sessions on every device: how a text is cut into calls changes nothing, rows are apart, sessions are apart.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openModel } from '../../src/cli/execute.ts';
import { emitModule } from '../../src/codegen/module/index.ts';
import type { Artifact } from '../../src/runtime/artifact.ts';
import { createModel, type Model, type ModelSession } from '../../src/runtime/index.ts';
import {
  argmax,
  decoder,
  decoderCheckpoint,
  greatestDifference,
  halfStates,
  idsOf,
  positions,
  tokens,
  wholeStates,
} from '../support/decoder.ts';
import { firstGpuDevice, gpuDevices, type TestDevice, testDevice } from '../support/devices.ts';
import { withoutImmediates } from '../support/without-immediates.ts';

const coded = (code: string) => expect.objectContaining({ name: 'SoraError', code });

const full = decoder();
const half = decoder(halfStates);
const whole = decoder(wholeStates);
const checkpoint = decoderCheckpoint(full);

/** Logits are near 1; f32 sums in another order differ by some units of 2^-24. */
const tolerance = 1e-5;

function open(artifact: Artifact, adapter: TestDevice): Promise<Model> {
  return createModel(artifact, {
    adapter,
    weights: checkpoint,
    warn: () => undefined,
    cpu: () => import('../../src/cpu.ts'),
  });
}

async function feed(session: ModelSession, row: readonly number[]): Promise<ArrayLike<number>> {
  const { logits } = await session.call(row.length === 1 ? 'decode' : 'prefill', idsOf([row]));
  return logits?.data ?? [];
}

/** Logits after each chunk. */
async function inChunks(session: ModelSession, row: readonly number[], sizes: readonly number[]) {
  let last: ArrayLike<number> = [];
  let from = 0;
  for (const size of sizes) {
    last = await feed(session, row.slice(from, from + size));
    from += size;
  }
  return last;
}

/** The kernels of the other profile, on the same device. */
function swapped(artifact: Artifact): Artifact {
  const entries = artifact.entries.map((entry) => ({
    ...entry,
    plans: { software: entry.plans.gpu, gpu: entry.plans.software },
  }));
  return { ...artifact, entries };
}

const devices: readonly (readonly [string, TestDevice, Artifact])[] = [
  ['cpu', 'cpu', full.artifact],
  ...gpuDevices.flatMap((device): (readonly [string, TestDevice, Artifact])[] => [
    [device, device, full.artifact],
    [`${device}, kernels for GPUs`, device, swapped(full.artifact)],
  ]),
];

describe.each(devices)('sessions on %s', (_name, adapter, artifact) => {
  let model: Model;
  beforeAll(async () => {
    model = await open(artifact, adapter);
  }, 120_000);
  afterAll(() => model.close());

  test('give the same for a text at once, in chunks and token by token', async () => {
    const row = tokens(27);
    const whole = await inChunks(model.session(), row, [27]);
    for (const sizes of [[1, 26], [13, 1, 13], [5, 7, 1, 1, 8, 5], row.map(() => 1)]) {
      const session = model.session({ capacity: 3 });
      expect(greatestDifference(await inChunks(session, row, sizes), whole)).toBeLessThan(tolerance);
      expect(session.lengths).toEqual([27]);
      await session.close();
    }
  });

  test('keep rows of different lengths apart', async () => {
    const rows = [tokens(11, 1), tokens(4, 2), tokens(7, 3)];
    const batch = model.session({ capacity: 12 });
    const next = [[5], [9], [31]];
    const first = await batch.call('prefill', idsOf(rows), { lengths: rows.map((row) => row.length) });
    expect(batch.lengths).toEqual([11, 4, 7]);
    const second = await batch.call('decode', idsOf(next));
    // A second chunk, ragged again, that makes the states grow while the rows hold different lengths.
    const third = await batch.call('prefill', idsOf([tokens(1, 4), tokens(6, 5), tokens(3, 6)]), {
      lengths: [1, 6, 3],
    });
    expect(batch.lengths).toEqual([13, 11, 11]);
    for (const [at, row] of rows.entries()) {
      const alone = model.session();
      const wanted = [
        await feed(alone, row),
        await feed(alone, next[at] ?? []),
        await feed(alone, [tokens(1, 4), tokens(6, 5), tokens(3, 6)][at] ?? []),
      ];
      for (const [call, { logits }] of [first, second, third].entries()) {
        const width = (logits?.data.length ?? 0) / rows.length;
        const own = logits?.data.slice(at * width, (at + 1) * width) ?? [];
        expect(greatestDifference(own, wanted[call] ?? []), `row ${at}, call ${call}`).toBeLessThan(tolerance);
      }
      await alone.close();
    }
    await batch.close();
  });

  test('are apart from each other', async () => {
    const rows = [tokens(9, 1), tokens(9, 5)];
    const [a, b] = [model.session(), model.session()];
    const mixed: ArrayLike<number>[] = [];
    for (let at = 0; at < 9; at += 3) {
      mixed[0] = await feed(a, (rows[0] ?? []).slice(at, at + 3));
      mixed[1] = await feed(b, (rows[1] ?? []).slice(at, at + 3));
    }
    for (const [at, row] of rows.entries()) {
      const alone = model.session();
      expect(greatestDifference(await feed(alone, row), mixed[at] ?? [])).toBeLessThan(tolerance);
      await alone.close();
    }
    await Promise.all([a.close(), b.close()]);
  });

  test('fork: both go on by themselves from a shared beginning', async () => {
    const start = tokens(10, 2);
    const trunk = model.session();
    await feed(trunk, start);
    const branch = await trunk.fork();
    expect(branch.lengths).toEqual([10]);
    const [left, right] = [await feed(trunk, tokens(4, 7)), await feed(branch, tokens(4, 8))];
    await trunk.close();
    const more = await feed(branch, [3]);
    const alone = model.session();
    expect(greatestDifference(await feed(alone, [...start, ...tokens(4, 7)]), left)).toBeLessThan(tolerance);
    alone.reset();
    expect(greatestDifference(await feed(alone, [...start, ...tokens(4, 8)]), right)).toBeLessThan(tolerance);
    expect(greatestDifference(await feed(alone, [3]), more)).toBeLessThan(tolerance);
    await Promise.all([branch.close(), alone.close()]);
  });

  test('reset: as new, with another batch too', async () => {
    const session = model.session();
    const wanted = await feed(session, tokens(6, 3));
    await feed(session, tokens(20, 4));
    session.reset();
    expect(session.lengths).toEqual([]);
    expect(greatestDifference(await feed(session, tokens(6, 3)), wanted)).toBe(0);
    await expect(session.call('decode', idsOf([[1], [2]]))).rejects.toEqual(coded('SORA6017'));
    session.reset();
    const { logits } = await session.call('prefill', idsOf([tokens(6, 3), tokens(6, 3)]));
    expect(greatestDifference(logits?.data.slice(0, wanted.length) ?? [], wanted)).toBeLessThan(tolerance);
    await session.close();
  });

  test('grow up to the declared positions and no further', async () => {
    const session = model.session({ capacity: 1 });
    const row = tokens(positions, 6);
    const seen = new Set<number>();
    let last: ArrayLike<number> = [];
    for (let from = 0; from < positions; from += 12) {
      last = await feed(session, row.slice(from, from + 12));
      seen.add(session.capacity);
    }
    expect([...seen]).toEqual([16, 32, 64, positions]);
    await expect(feed(session, [1])).rejects.toEqual(coded('SORA6016'));
    expect(session.lengths).toEqual([positions]);
    const other = model.session();
    expect(greatestDifference(await inChunks(other, row, [32, 32, 32]), last)).toBeLessThan(tolerance);
    await Promise.all([session.close(), other.close()]);
  });

  test('run overlapping calls in order', async () => {
    const row = tokens(12, 9);
    const session = model.session({ capacity: 2 });
    const scratch = new Int32Array(3);
    const calls = [0, 3, 6, 9].map((from) => {
      // The same array for every call: what it held when the call was made counts.
      scratch.set(row.slice(from, from + 3));
      return session.call('prefill', { ids: { data: scratch, shape: [1, 3] } });
    });
    const forked = session.fork();
    const after = session.call('decode', idsOf([[7]]));
    const results = await Promise.all(calls);
    const alone = model.session();
    const wanted = await feed(alone, row);
    expect(greatestDifference(results[3]?.logits?.data ?? [], wanted)).toBeLessThan(tolerance);
    const next = await feed(alone, [7]);
    expect(greatestDifference((await after).logits?.data ?? [], next)).toBeLessThan(tolerance);
    expect(greatestDifference(await feed(await forked, [7]), next)).toBeLessThan(tolerance);
    await Promise.all([session.close(), alone.close()]);
  });

  test('stay as they were when a call is aborted or refused', async () => {
    const session = model.session();
    await feed(session, tokens(5, 2));
    const control = new AbortController();
    const aborted = session.call('prefill', idsOf([tokens(20, 8)]), { signal: control.signal });
    control.abort(new Error('enough'));
    // The interpreter does not stop in the middle: there the call may have been done first.
    if (adapter !== 'cpu') await expect(aborted).rejects.toThrow('enough');
    else await aborted.catch(() => session.lengths);
    await expect(session.call('prefill', idsOf([[vocabularyEnd]]))).rejects.toEqual(coded('SORA6014'));
    await expect(session.call('prefill', idsOf([[1, 2]]), { lengths: [3] })).rejects.toEqual(coded('SORA6018'));
    for (const wrong of [{ length: [2] }, { lengths: [-1] }, { lengths: [Number.NaN] }, { signal: {} }] as object[])
      await expect(session.call('prefill', idsOf([[1, 2]]), wrong)).rejects.toEqual(coded('SORA6018'));
    await expect(session.call('prefill', { ids: idsOf([[1]]).ids, past: idsOf([[1]]).ids })).rejects.toEqual(
      coded('SORA6011'),
    );
    if (adapter === 'cpu') return;
    expect(session.lengths).toEqual([5]);
    const alone = model.session();
    const wanted = await feed(alone, [...tokens(5, 2), ...tokens(3, 1)]);
    expect(greatestDifference(await feed(session, tokens(3, 1)), wanted)).toBeLessThan(tolerance);
    await Promise.all([session.close(), alone.close()]);
  });

  test('reject after close, and when a call is under way', async () => {
    const session = model.session();
    const running = feed(session, tokens(30));
    await session.close();
    await expect(running).rejects.toEqual(coded('SORA6002'));
    await expect(feed(session, [1])).rejects.toEqual(coded('SORA6002'));
    await session.close();
  });

  test('are needed by entries with states only', async () => {
    await expect(model.call('prefill', idsOf([[1]]))).rejects.toEqual(coded('SORA6015'));
    const { x } = await model.call('words', idsOf([[4, 9]]));
    expect(x?.shape).toEqual([1, 24]);
    const session = model.session();
    await feed(session, tokens(3));
    // Positions of an entry without states start at 0, in a session too.
    const inside = await session.call('words', idsOf([[4, 9]]));
    expect(inside.x?.data).toEqual(x?.data);
    expect(session.lengths).toEqual([3]);
    await session.close();
  });
});

const vocabularyEnd = 61;

interface GeneratedSession {
  prefill(inputs: object, options?: object): Promise<{ readonly logits: { readonly data: Float32Array } }>;
  decode(inputs: object): Promise<{ readonly logits: { readonly data: Float32Array } }>;
  readonly lengths: readonly number[];
  readonly capacity: number;
  reset(): void;
  fork(): Promise<GeneratedSession>;
  close(): Promise<void>;
}

interface Generated {
  load(options: object): Promise<{
    session(options?: object): GeneratedSession;
    words(inputs: object): Promise<{ readonly x: { readonly shape: readonly number[] } }>;
    close(): Promise<void>;
  }>;
}

describe.each(['cpu' as const, ...gpuDevices.slice(0, 1)])('the generated module on %s', (adapter) => {
  test('has sessions as a class of their own', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sorac-sessions-'));
    const path = join(folder, 'decoder.mjs');
    writeFileSync(path, emitModule(full.artifact, { fileName: 'decoder.sora' }).js);
    const { load } = (await import(path)) as Generated;
    rmSync(folder, { recursive: true });
    const cpu = () => import('../../src/cpu.ts');
    const model = await load({ weights: checkpoint, adapter, warn: () => undefined, cpu });
    const session = model.session({ capacity: 4 });
    await session.prefill(idsOf([tokens(5), tokens(2)]), { lengths: [5, 2] });
    expect([session.lengths, session.capacity]).toEqual([[5, 2], 8]);
    const branch = await session.fork();
    expect(branch.constructor).toBe(session.constructor);
    const [left, right] = [await session.decode(idsOf([[1], [2]])), await branch.decode(idsOf([[1], [2]]))];
    expect(left.logits.data).toEqual(right.logits.data);
    session.reset();
    expect(session.lengths).toEqual([]);
    expect((await model.words(idsOf([[1]]))).x.shape).toEqual([1, 24]);
    await Promise.all([session.close(), branch.close()]);
    await model.close();
  });
});

test('`sorac run` gives each call a session of its own', async () => {
  const model = await openModel(full.artifact, { weights: checkpoint, device: 'cpu' });
  const { ids } = idsOf([tokens(4)]);
  const inputs = { ids: { dtype: 'i32' as const, ...ids } };
  const [first, second] = [await model.call('prefill', inputs), await model.call('prefill', inputs)];
  expect(first.get('logits')).toEqual(second.get('logits'));
  await model.close();
});

describe.runIf(firstGpuDevice)('the life of sessions on a device', () => {
  const adapter = firstGpuDevice ?? 'cpu';

  test('two hundred leave no buffer, and no pipeline is made for them', async () => {
    const model = await open(full.artifact, adapter);
    const warm = model.session();
    await feed(warm, tokens(9));
    await feed(warm, [1]);
    const { pipelines } = model.stats();
    await warm.close();
    const before = model.stats();
    for (let round = 0; round < 200; round++) {
      const session = model.session({ capacity: 1 + (round % 5) });
      await feed(session, tokens(1 + (round % 7), round));
      const control = new AbortController();
      const aborted = feed(session, [round % 60]);
      control.abort();
      if (round % 3 === 0) await aborted;
      else aborted.catch(() => undefined);
      await session.close();
    }
    const after = model.stats();
    expect(after.pipelines).toBe(pipelines);
    expect(after.buffers).toBeLessThanOrEqual(before.buffers + 4);
    await model.close();
    expect(model.stats()).toMatchObject({ buffers: 0, bytes: 0 });
  });

  test('end with their model', async () => {
    const model = await open(full.artifact, adapter);
    const session = model.session();
    const running = feed(session, tokens(30));
    await model.close();
    await expect(running).rejects.toEqual(coded('SORA6002'));
    await expect(feed(session, [1])).rejects.toEqual(coded('SORA6002'));
    expect(() => model.session()).toThrow('after `close`');
    await session.close();
    expect(model.stats().buffers).toBe(0);
  });

  test('work with dims in a uniform buffer', async () => {
    const { device } = await testDevice(adapter);
    const model = await createModel(full.artifact, { device: withoutImmediates(device, []), weights: checkpoint });
    const plain = await open(full.artifact, adapter);
    const [a, b] = [model.session({ capacity: 2 }), plain.session()];
    for (const size of [4, 1, 1, 9, 1]) {
      expect(greatestDifference(await feed(a, tokens(size, size)), await feed(b, tokens(size, size)))).toBe(0);
    }
    await Promise.all([model.close(), plain.close()]);
  });
});

/** Two layers, keys and values, 64 positions, 2 heads of 4 numbers: 4 bytes each in f32; in int8 a word and a scale for four numbers. */
const formats = [
  { format: 'f16', artifact: half.artifact, bytes: 2 * 2 * 64 * 8 * 2, tolerance: 2e-2 },
  { format: 'int8', artifact: whole.artifact, bytes: 2 * 2 * 64 * 2 * 8, tolerance: 6e-2 },
] as const;

describe.each(['cpu' as const, ...gpuDevices])('stored states on %s', (adapter) => {
  test.each(formats)('$format takes less memory and gives the same tokens', async ({ artifact, bytes, tolerance }) => {
    const [wide, narrow] = [await open(full.artifact, adapter), await open(artifact, adapter)];
    const [a, b] = [wide.session({ capacity: 64 }), narrow.session({ capacity: 64 })];
    let [left, right] = [await feed(a, tokens(8, 3)), await feed(b, tokens(8, 3))];
    for (let step = 0; step < 24; step++) {
      expect(argmax(right)).toBe(argmax(left));
      // A relative step is 2^-11 in f16 and half of 1 / 127 of the greatest in int8; some of them add up in the logits.
      expect(greatestDifference(left, right)).toBeLessThan(tolerance);
      const next = [argmax(left)];
      left = await feed(a, next);
      right = await feed(b, next);
    }
    // What is stored is not the same: a format that does nothing would pass above.
    expect(greatestDifference(left, right)).toBeGreaterThan(0);
    if (adapter !== 'cpu') {
      // Only the states of another session come to what is there.
      const before = narrow.stats().bytes;
      await feed(narrow.session({ capacity: 64 }), [1]);
      expect(narrow.stats().bytes - before).toBe(bytes);
    }
    await Promise.all([wide.close(), narrow.close()]);
  });

  test('int8 keeps rows when states grow, are forked and hold rows of different lengths', async () => {
    const model = await open(whole.artifact, adapter);
    const cpu = await open(whole.artifact, 'cpu');
    const [small, large] = [model.session({ capacity: 2 }), model.session({ capacity: 64 })];
    for (const size of [5, 1, 13, 1]) {
      const [left, right] = [await feed(small, tokens(size, size)), await feed(large, tokens(size, size))];
      expect(greatestDifference(left, right)).toBe(0);
    }
    const fork = await small.fork();
    expect(greatestDifference(await feed(fork, [7]), await feed(small, [7]))).toBe(0);
    // The same rows beside each other, padded: on the device and in the interpreter, whose quotients may round to the other side.
    const [device, host] = [model.session(), cpu.session()];
    const batch = idsOf([tokens(9, 1), tokens(9, 2), tokens(9, 3)]);
    const options = { lengths: [9, 4, 1] };
    const one = idsOf([[3], [4], [5]]);
    for (const [entry, inputs, given] of [
      ['prefill', batch, options],
      ['decode', one, {}],
    ] as const) {
      const [left, right] = [await device.call(entry, inputs, given), await host.call(entry, inputs, given)];
      expect(greatestDifference(left.logits?.data ?? [], right.logits?.data ?? [])).toBeLessThan(2e-2);
    }
    await Promise.all([model.close(), cpu.close()]);
  });
});
