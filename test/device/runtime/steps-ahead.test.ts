/**
 * Steps of a text that the device begins before the host knows their tokens: that it does, that nothing else sees them, and that they are
 * forgotten when something else is called. Everything that a text does otherwise is in generate.test.ts, once with steps sent ahead.
 */
import { describe, expect, test, vi } from 'vitest';
import { createModel, type Model, type ModelSession } from '../../../src/runtime/index.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { decoderArtifact, randomWeights } from '../../support/generator.ts';

const artifact = decoderArtifact();
const weights = randomWeights(artifact);
const prompt = [7, 3, 99, 14, 0, 28];
const lavapipe = gpuDevices.filter((kind) => kind === 'lavapipe');

async function tokensOf(session: ModelSession, ids: readonly number[], maxTokens: number): Promise<readonly number[]> {
  const tokens: number[] = [];
  for await (const { token } of session.generate(ids, { maxTokens, stop: [] })) tokens.push(token);
  return tokens;
}

const usual = lavapipe.length > 0 ? createModel(artifact, { weights, adapter: 'lavapipe' }) : undefined;

/** By a device whose work takes cores of the host: nothing is sent ahead. */
async function withoutSteps(ids: readonly number[], maxTokens: number): Promise<readonly number[]> {
  const session = (await usual)?.session();
  if (!session) throw new Error('no lavapipe');
  const tokens = await tokensOf(session, ids, maxTokens);
  await session.close();
  return tokens;
}

describe.each(lavapipe)('on %s', (kind) => {
  test.each([
    ['', 0],
    ['0', 1],
  ])('LP_NUM_THREADS=%s: %i more step is with the device when a token is given', async (threads, more) => {
    const { device } = await testDevice(kind);
    vi.stubEnv('LP_NUM_THREADS', threads);
    const model = await createModel(artifact, { weights, device });
    vi.unstubAllEnvs();
    const session = model.session();
    const submit = vi.spyOn(device.queue, 'submit');
    const running = session.generate(prompt, { maxTokens: 6, stop: [] });
    const counts: number[] = [];
    for (let token = 0; token < 6; token++) {
      await running.next();
      counts.push(submit.mock.calls.length);
    }
    await running.next();
    counts.push(submit.mock.calls.length);
    submit.mockRestore();
    // Room for the states, the prompt, and a step for each token; none behind the last.
    const [first = 0] = counts;
    expect(first).toBe(3 + more);
    expect(counts).toEqual([0, 1, 2, 3, 4, 5, 5].map((steps) => Math.min(first + steps, 3 + 5)));
    expect(session.lengths).toEqual([prompt.length + 6]);
    await model.close();
  });

  test('the number of driver threads is one model’s own', async () => {
    const model = await createModel(artifact, { weights, adapter: kind, driverThreads: 0 });
    expect(process.env.LP_NUM_THREADS).toBeUndefined();
    expect(model.device).toMatchObject({ kind, isApart: true });
    expect((await usual)?.device).toMatchObject({ kind, isApart: false });
    for (const driverThreads of [-1, 0.5, Number.NaN, '2' as unknown as number, Symbol('2') as unknown as number]) {
      const refused = createModel(artifact, { weights, adapter: kind, driverThreads });
      await expect(refused).rejects.toMatchObject({ code: 'SORA6003', message: /`driverThreads` is a whole number/ });
    }
    await model.close();
  });

  test('two texts in turns, whose steps share buffers, are those that each is alone', async () => {
    const model = await createModel(artifact, { weights, adapter: kind, driverThreads: 0 });
    const prompts = [prompt, [1, 50, 3]];
    const alone = await Promise.all(prompts.map((ids) => withoutSteps(ids, 15)));
    const sessions = prompts.map(() => model.session());
    const texts = sessions.map((session, at) => session.generate(prompts[at] ?? [], { maxTokens: 15, stop: [] }));
    const got: number[][] = [[], []];
    for (let step = 0; step < 15; step++) {
      for (const [at, text] of texts.entries()) {
        const { value } = await text.next();
        if (value && 'token' in value) got[at]?.push(value.token);
      }
    }
    expect(got).toEqual(alone);
    const together = await Promise.all(prompts.map((ids) => tokensOf(model.session(), ids, 15)));
    expect(together).toEqual(alone);
    await model.close();
  });

  test('a call in between is taken in, and the text goes on from it', async () => {
    const model = await createModel(artifact, { weights, adapter: kind, driverThreads: 0 });
    const session = model.session();
    const running = session.generate(prompt, { maxTokens: 8, stop: [] });
    const first = await running.next();
    const ids = { data: Int32Array.from([42]), shape: [1, 1] };
    await session.call('forward', { ids });
    const second = await running.next();
    // The token that follows the first was found before the call, the third comes behind it.
    const third = await running.next();
    await running.return({ reason: 'stop' });
    const tokens = [first, second, third].map(({ value }) => (value && 'token' in value ? value.token : -1));
    const [one = 0, two = 0] = await withoutSteps(prompt, 2);
    expect(tokens.slice(0, 2)).toEqual([one, two]);
    expect(tokens[2]).toBe((await withoutSteps([...prompt, one, 42, two], 1))[0]);
    expect(session.lengths).toEqual([prompt.length + 4]);
    await model.close();
  });

  test('a text that is left, a fork and a new beginning know nothing of the step', async () => {
    const model = await createModel(artifact, { weights, adapter: kind, driverThreads: 0 });
    const want = await withoutSteps(prompt, 12);
    const session = model.session({ capacity: 8 });
    let given = 0;
    for await (const _ of session.generate(prompt, { maxTokens: 12, stop: [] })) if (++given === 4) break;
    expect(session.lengths).toEqual([prompt.length + 4]);
    const fork = await session.fork();
    expect(await tokensOf(fork, [], 8)).toEqual(want.slice(4));
    expect(await tokensOf(session, [], 8)).toEqual(want.slice(4));
    const stopped: number[] = [];
    const other = model.session();
    const stop = [want[5] ?? 0];
    for await (const { token } of other.generate(prompt, { maxTokens: 12, stop })) stopped.push(token);
    expect(stopped).toEqual(want.slice(0, want.indexOf(stop[0] ?? 0)));
    other.reset();
    expect(await tokensOf(other, prompt, 12)).toEqual(want);
    await model.close();
  });

  test('a session that is closed with a step under way leaves nothing behind', async () => {
    const model = await createModel(artifact, { weights, adapter: kind, driverThreads: 0 });
    await (await fresh(model)).close();
    const { buffers } = model.stats();
    for (let time = 0; time < 20; time++) await (await fresh(model)).close();
    // Results that were on their way are read into one of a few buffers that stay.
    expect(model.stats().buffers).toBeLessThanOrEqual(buffers + 4);
    await model.close();

    async function fresh(of: Model): Promise<ModelSession> {
      const session = of.session();
      const running = session.generate(prompt, { maxTokens: 20, stop: [] });
      await running.next();
      return session;
    }
  });
});
