/**
 * Text from a small random decoder on every device: greedy text against the interpreter's logits, sampling against the definition
 * on all logits, batches against singles, and what a session holds after each way to end.
 */
import { describe, expect, test } from 'vitest';
import type { GeneratedToken, GenerateOptions, GenerationEnd } from '../../../src/runtime/generate.ts';
import { createModel, type Model, type ModelSession } from '../../../src/runtime/index.ts';
import { uniform } from '../../../src/runtime/philox.ts';
import { allCandidates, choose } from '../../../src/runtime/sampler.ts';
import { gpuDevices, testDevice } from '../../support/devices.ts';
import { decoderArtifact, randomWeights } from '../../support/generator.ts';

const artifact = decoderArtifact();
const weights = randomWeights(artifact);
const positions = 64;
const devices = [...gpuDevices, 'cpu'] as const;

interface Text {
  readonly tokens: readonly number[];
  readonly steps: readonly GeneratedToken[];
  readonly end: GenerationEnd;
}

async function textOf(session: ModelSession, ids: readonly number[], options: GenerateOptions): Promise<Text> {
  const steps: GeneratedToken[] = [];
  const running = session.generate(ids, options);
  for (;;) {
    const { value, done } = await running.next();
    if (done) return { tokens: steps.map(({ token }) => token), steps, end: value };
    steps.push(value);
  }
}

/** Logits after a text, by the entry that people call, on the interpreter. */
async function logitsAfter(model: Model, text: readonly number[]): Promise<Float32Array> {
  const session = model.session();
  let data = new Float32Array();
  for (let start = 0; start < text.length; start += 16) {
    const part = Int32Array.from(text.slice(start, start + 16));
    const results = await session.call('forward', { ids: { data: part, shape: [1, part.length] } });
    data = (results.logits?.data ?? data) as Float32Array<ArrayBuffer>;
  }
  await session.close();
  return data;
}

const prompt = [7, 3, 99, 14, 0, 28];
const cpu = await createModel(artifact, { weights, adapter: 'cpu' });

const combinations: readonly GenerateOptions[] = [
  { temperature: 1 },
  { temperature: 3 },
  { temperature: 0.7, topK: 5 },
  { temperature: 2, topK: 60 },
  { temperature: 1.5, topP: 0.9 },
  { temperature: 4, topP: 0.99 },
  { temperature: 1, minP: 0.1 },
  { temperature: 1, repetitionPenalty: 1.4, topP: 0.8 },
  { temperature: 0, repetitionPenalty: 1.8 },
];

/** Also with steps sent ahead, as where the device's work takes no core of the host. */
const ways = [
  ...devices.map((kind) => [kind, ''] as const),
  ...gpuDevices.filter((kind) => kind === 'lavapipe').map((kind) => [kind, ', a step ahead'] as const),
];

describe.each(ways)('on %s%s', (kind, way) => {
  const model = createModel(artifact, { weights, adapter: kind, ...(way !== '' && { driverThreads: 0 }) });

  test('greedy text has the greatest logits of the entry, with their probabilities', async () => {
    const session = (await model).session();
    const { tokens, steps, end } = await textOf(session, prompt, { maxTokens: 12 });
    expect(end).toEqual({ reason: 'length' });
    expect(session.lengths).toEqual([prompt.length + 12]);
    const text = [...prompt];
    for (const [at, token] of tokens.entries()) {
      const logits = await logitsAfter(cpu, text);
      const { ids, logits: sorted } = allCandidates(logits);
      // Near ties may fall either way; these have none.
      expect(Number(sorted[0]) - Number(sorted[1])).toBeGreaterThan(1e-4);
      expect(token).toBe(ids[0]);
      const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
      expect(steps[at]?.logprob).toBeCloseTo(Number(sorted[0]) - total, 4);
      expect(steps[at]?.step).toBe(at);
      text.push(token);
    }
    expect(new Set(tokens).size).toBeGreaterThan(3);
    await session.close();
  });

  test.each(combinations)('sampling as the definition on all logits says: %j', async (options) => {
    const session = (await model).session();
    const { tokens } = await textOf(session, prompt, { ...options, seed: 11, maxTokens: 10 });
    const text = [...prompt];
    const sampling = {
      temperature: options.temperature ?? 0,
      topK: options.topK,
      topP: options.topP ?? 1,
      minP: options.minP ?? 0,
      repetitionPenalty: options.repetitionPenalty ?? 1,
    };
    for (const [step, token] of tokens.entries()) {
      const all = allCandidates(await logitsAfter(cpu, text));
      expect(token).toBe(choose(all, sampling, new Set(text), uniform(11, prompt.length + step, 0)));
      text.push(token);
    }
    expect(tokens).toHaveLength(10);
    await session.close();
  });

  test('a temperature of 0 takes the most probable token whatever else is asked for', async () => {
    const session = (await model).session();
    const want = (await textOf(session, prompt, { maxTokens: 12 })).tokens;
    for (const options of [{}, { topK: 2, topP: 0.1, minP: 0.9, seed: 3 }]) {
      session.reset();
      expect((await textOf(session, prompt, { temperature: 0, ...options, maxTokens: 12 })).tokens).toEqual(want);
    }
    await session.close();
  });

  test('equal seeds give equal texts, others do not', async () => {
    const texts: string[] = [];
    for (const seed of [1, 1, 2]) {
      const session = (await model).session();
      texts.push((await textOf(session, prompt, { temperature: 2, seed, maxTokens: 20 })).tokens.join());
      await session.close();
    }
    expect(texts[0]).toBe(texts[1]);
    expect(texts[0]).not.toBe(texts[2]);
  });

  test('a prompt in chunks, a text in two parts, and a fork go on alike', async () => {
    const loaded = await model;
    const whole = loaded.session();
    const want = (await textOf(whole, prompt, { maxTokens: 10 })).tokens;
    for (const chunk of [1, 2, 4]) {
      const session = loaded.session({ capacity: 4 });
      expect((await textOf(session, prompt, { maxTokens: 10, chunk })).tokens).toEqual(want);
      await session.close();
    }
    const session = loaded.session();
    const first = (await textOf(session, prompt.slice(0, 3), { maxTokens: 4 })).tokens;
    const fork = await session.fork();
    const again = loaded.session();
    const text = [...prompt.slice(0, 3), ...first, 5, 6];
    const whole2 = (await textOf(again, text, { maxTokens: 5 })).tokens;
    expect((await textOf(session, [5, 6], { maxTokens: 5 })).tokens).toEqual(whole2);
    expect((await textOf(fork, [5, 6], { maxTokens: 5 })).tokens).toEqual(whole2);
    for (const each of [whole, session, fork, again]) await each.close();
  });

  test.each<GenerateOptions>([
    {},
    { temperature: 1.5, topK: 20, seed: 4 },
    { temperature: 1, repetitionPenalty: 1.5, seed: 9 },
    { temperature: 0, repetitionPenalty: 1.8 },
  ])('without tokens a session goes on as though the text had not been cut: %j', async (options) => {
    const loaded = await model;
    const whole = loaded.session();
    const want = await textOf(whole, prompt, { ...options, maxTokens: 12 });
    const session = loaded.session({ capacity: 4 });
    const first = await textOf(session, prompt, { ...options, maxTokens: 5 });
    const fork = await session.fork();
    for (const each of [session, fork]) {
      const rest = await textOf(each, [], { ...options, maxTokens: 7 });
      expect([...first.tokens, ...rest.tokens]).toEqual(want.tokens);
      expect(rest.steps.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5, 6]);
      expect(rest.steps[0]?.logprob).toBeCloseTo(want.steps[5]?.logprob ?? 0, 5);
      expect(each.lengths).toEqual(whole.lengths);
    }
    for (const each of [whole, session, fork]) await each.close();
  });

  test('without tokens after the entry that people call, after leaving the loop, and row by row', async () => {
    const loaded = await model;
    const whole = loaded.session();
    const want = (await textOf(whole, prompt, { maxTokens: 8 })).tokens;
    const fed = loaded.session();
    // Not waited for: `generate` looks at the session when calls under way are done.
    const feeding = fed.call('forward', { ids: { data: Int32Array.from(prompt), shape: [1, prompt.length] } });
    expect((await textOf(fed, [], { maxTokens: 8 })).tokens).toEqual(want);
    await feeding;
    const left = loaded.session();
    const got: number[] = [];
    for await (const { token } of left.generate(prompt)) if (got.push(token) === 3) break;
    expect([...got, ...(await textOf(left, [], { maxTokens: 5 })).tokens]).toEqual(want);
    const batch = loaded.session();
    const data = Int32Array.from([...prompt, 1, 2, 0, 0, 0, 0]);
    await batch.call('forward', { ids: { data, shape: [2, 6] } }, { lengths: [6, 2] });
    // The first row goes on by itself, the second takes two tokens in.
    const rows: number[][] = [[], []];
    for await (const { tokens } of batch.generate([[], [5, 6]], { maxTokens: 8 }))
      tokens.forEach((token, row) => {
        if (token !== null) rows[row]?.push(token);
      });
    const second = loaded.session();
    expect(rows).toEqual([want, (await textOf(second, [1, 2, 5, 6], { maxTokens: 8 })).tokens]);
    expect(batch.lengths).toEqual([14, 12]);
    await expect(textOf(batch, [], {})).rejects.toMatchObject({ code: 'SORA6017', help: /an empty list for each/ });
    for (const each of [whole, fed, left, batch, second]) await each.close();
  });

  test('without tokens a stop is met again, a full session ends at once, and an empty one is refused', async () => {
    const session = (await model).session();
    await expect(textOf(session, [], {})).rejects.toMatchObject({ code: 'SORA6021', message: /holds none/ });
    const { tokens } = await textOf(session, prompt, { maxTokens: 12 });
    session.reset();
    const stop = [tokens[5] ?? 0];
    await textOf(session, prompt, { maxTokens: 12, stop });
    const held = session.lengths;
    expect(await textOf(session, [], { maxTokens: 3, stop })).toMatchObject({ tokens: [], end: { reason: 'stop' } });
    expect(session.lengths).toEqual(held);
    expect((await textOf(session, [], { maxTokens: 1 })).tokens).toEqual(stop);
    await textOf(session, [], {});
    expect(session.lengths).toEqual([positions]);
    expect(await textOf(session, [], {})).toEqual({ tokens: [], steps: [], end: { reason: 'full' } });
    await session.close();
  });

  test('an aborted step that goes on leaves what was held', async () => {
    const session = (await model).session();
    const { tokens } = await textOf(session, prompt, { maxTokens: 3 });
    const { signal } = new AbortController();
    const gone = AbortSignal.abort();
    expect((await textOf(session, [], { signal: gone })).end.reason).toBe('aborted');
    expect(session.lengths).toEqual([prompt.length + 3]);
    const again = (await model).session();
    const want = (await textOf(again, [...prompt, ...tokens], { maxTokens: 4 })).tokens;
    expect((await textOf(session, [], { signal, maxTokens: 4 })).tokens).toEqual(want);
    for (const each of [session, again]) await each.close();
  });

  test('rows of unlike lengths give the texts that they give alone', async () => {
    const loaded = await model;
    const prompts = [prompt, [1], Int32Array.from({ length: 21 }, (_, i) => (i * 37) % 101)];
    const singles: (readonly number[])[] = [];
    for (const each of prompts) {
      const session = loaded.session();
      singles.push((await textOf(session, Array.from(each), { maxTokens: 9 })).tokens);
      await session.close();
    }
    const session = loaded.session();
    // The second row ends first.
    const stop = [singles[1]?.[4] ?? -1];
    const ends = singles.map((tokens) => tokens.findIndex((token) => stop.includes(token)));
    const want = singles.map((tokens, row) => tokens.slice(0, ends[row] === -1 ? undefined : ends[row]));
    const got: number[][] = prompts.map(() => []);
    const running = session.generate(prompts, { maxTokens: 9, stop });
    for (;;) {
      const { value, done } = await running.next();
      if (done) {
        expect(value.reasons).toEqual(ends.map((end) => (end === -1 ? 'length' : 'stop')));
        break;
      }
      value.tokens.forEach((token, row) => {
        if (token !== null) got[row]?.push(token);
        expect(value.logprobs[row] === null).toBe(token === null);
      });
    }
    expect(got).toEqual(want);
    expect(session.lengths).toEqual(prompts.map((each, row) => each.length + (want[row]?.length ?? 0)));
    await session.close();
  });

  test('stop tokens are not given, stop sequences are', async () => {
    const loaded = await model;
    const session = loaded.session();
    const { tokens } = await textOf(session, prompt, { maxTokens: 12 });
    session.reset();
    const stop = tokens[5] ?? 0;
    const first = tokens.indexOf(stop);
    const stopped = await textOf(session, prompt, { maxTokens: 12, stop: [stop] });
    expect(stopped.tokens).toEqual(tokens.slice(0, first));
    expect(stopped.end.reason).toBe('stop');
    expect(session.lengths).toEqual([prompt.length + first]);
    session.reset();
    const sequence = tokens.slice(3, 5);
    const ended = await textOf(session, prompt, { stopSequences: [sequence] });
    expect(ended.tokens.slice(-2)).toEqual(sequence);
    expect(ended.end.reason).toBe('stop');
    await session.close();
  });

  test('leaving the loop and aborting leave a session that holds what was given', async () => {
    const loaded = await model;
    const session = loaded.session();
    const want = (await textOf(loaded.session(), prompt, { maxTokens: 12 })).tokens;
    const got: number[] = [];
    for await (const { token } of session.generate(prompt, { maxTokens: 12 })) {
      got.push(token);
      if (got.length === 3) break;
    }
    expect(session.lengths).toEqual([prompt.length + 3]);
    const controller = new AbortController();
    const running = session.generate([50], { signal: controller.signal });
    expect((await running.next()).done).toBe(false);
    controller.abort();
    expect(await running.next()).toEqual({ done: true, value: { reason: 'aborted' } });
    expect(session.lengths).toEqual([prompt.length + 5]);
    expect(await textOf(session, [50], { signal: controller.signal })).toMatchObject({ end: { reason: 'aborted' } });
    expect(session.lengths).toEqual([prompt.length + 5]);
    expect(got).toEqual(want.slice(0, 3));
    await session.close();
  });

  test('a text ends where the session is full', async () => {
    const session = (await model).session();
    const { tokens, end } = await textOf(session, prompt, {});
    expect(end.reason).toBe('full');
    // The last token was given and did not fit.
    expect(tokens).toHaveLength(positions - prompt.length + 1);
    expect(session.lengths).toEqual([positions]);
    await expect(textOf(session, [1], {})).rejects.toMatchObject({
      code: 'SORA6016',
      help: 'at most 0 fit; `reset` makes room',
    });
    const tooLong = Array.from({ length: positions + 1 }, () => 1);
    await expect(textOf(session, tooLong, {})).rejects.toMatchObject({
      code: 'SORA6016',
      help: `no session holds more than ${positions}: shorten the text`,
    });
    await session.close();
  });

  test('a full row ends, the others of its batch go on as they would alone', async () => {
    const loaded = await model;
    const long = Array.from({ length: positions - 3 }, (_, i) => (i * 37) % 101);
    const alone = loaded.session();
    const { tokens: want } = await textOf(alone, prompt, { maxTokens: 9, stop: [] });
    await alone.close();
    const session = loaded.session();
    const got: number[][] = [[], []];
    for await (const { tokens } of session.generate([long, prompt], { maxTokens: 9, stop: [] }))
      tokens.forEach((token, row) => {
        if (token !== null) got[row]?.push(token);
      });
    // Three fit, and one was given that did not.
    expect(got.map(({ length }) => length)).toEqual([4, 9]);
    expect(got[1]).toEqual(want);
    expect(session.lengths).toEqual([positions, prompt.length + 9]);
    await session.close();
  });

  test('wrong options and tokens are refused, and two texts at once', async () => {
    const session = (await model).session();
    const refused = (ids: readonly number[], options: GenerateOptions) =>
      textOf(session, ids, options).then(
        () => 'accepted',
        (error: { code: string }) => error.code,
      );
    const wrong: readonly GenerateOptions[] = [
      { temperature: -1 },
      { temperature: Number.NaN },
      { topP: 0 },
      { topP: 1.5 },
      { topK: 0 },
      { minP: 2 },
      { repetitionPenalty: 0 },
      { maxTokens: -1 },
      { seed: 0.5 },
      { stop: [101] },
      { stopSequences: [[]] },
      { chunk: 0 },
      { stopSequences: [3] as unknown as number[][] },
      { signal: new AbortController() as unknown as AbortSignal },
      // Nothing is drawn without a temperature.
      { topK: 5 },
      { topP: 0.9 },
      { minP: 0.1 },
    ];
    for (const options of wrong) expect(await refused([1], options), JSON.stringify(options)).toBe('SORA6020');
    for (const ids of [[], [101], [-1], [0.5]]) expect(await refused(ids, {})).toBe('SORA6021');
    for (const ids of [undefined, null, 'text', 5, [[1], undefined]])
      expect(await refused(ids as unknown as number[], {})).toBe('SORA6021');
    const misspelled: readonly [object, string][] = [
      [{ maxToken: 3 }, 'did you mean `maxTokens`?'],
      [{ max_new_tokens: 3 }, 'did you mean `maxTokens`?'],
      [{ top_p: 0.5 }, 'did you mean `topP`?'],
      [{ temprature: 1 }, 'did you mean `temperature`?'],
      [{ chunks: 1 }, 'did you mean `chunk`?'],
      [{ beams: 4 }, 'there is maxTokens, temperature, topK, topP, minP, repetitionPenalty, seed, stop, '],
    ];
    for (const [options, help] of misspelled) {
      const error = await textOf(session, [1], options).catch((each: unknown) => each);
      expect(error).toMatchObject({ code: 'SORA6020', help: expect.stringContaining(help) });
    }
    expect(await refused([1], { maxTokens: 0, ...{ gone: undefined } })).toBe('accepted');
    session.reset();
    const running = session.generate([1], {});
    await running.next();
    expect(await refused([1], {})).toBe('SORA6020');
    expect(() => session.reset()).toThrow(expect.objectContaining({ code: 'SORA6020' }));
    await running.return({ reason: 'stop' });
    expect(await refused([1], { maxTokens: 1 })).toBe('accepted');
    await session.close();
  });
});

describe.each(gpuDevices)('on %s', (kind) => {
  test('a step reads a few hundred bytes, not the logits; nothing is left behind', async () => {
    const big = decoderArtifact({ vocabulary: 3000, block: 'stop: 2' });
    const { device } = await testDevice(kind);
    let read = 0;
    const counting = new Proxy(device, {
      get(target, name) {
        const value = Reflect.get(target, name, target) as unknown;
        if (name !== 'createBuffer') return typeof value === 'function' ? value.bind(target) : value;
        return (descriptor: GPUBufferDescriptor) => {
          const buffer = target.createBuffer(descriptor);
          if ((descriptor.usage & 1) === 0) return buffer;
          const map = buffer.mapAsync.bind(buffer);
          buffer.mapAsync = (...given: Parameters<GPUBuffer['mapAsync']>) => {
            read += descriptor.size;
            return map(...given);
          };
          return buffer;
        };
      },
    });
    const model = await createModel(big, { weights: randomWeights(big), device: counting });
    const session = model.session();
    await textOf(session, prompt, { maxTokens: 1 });
    const before = { read, buffers: model.stats().buffers };
    const { tokens } = await textOf(session, [5], { maxTokens: 20, temperature: 0.5, topK: 40, seed: 3 });
    // 64 ids, 64 values and two sums for each token, and once for the prompt.
    expect((read - before.read) / (tokens.length + 1)).toBeLessThanOrEqual(600);
    expect(model.stats().buffers).toBe(before.buffers);
    read = 0;
    await textOf(session, [5], { maxTokens: 1, temperature: 50, seed: 4 });
    expect(read).toBeGreaterThan(3000 * 4);
    expect(model.stats().buffers).toBeLessThanOrEqual(before.buffers + 1);
    await model.close();
  });
});
