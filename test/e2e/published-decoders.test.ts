/**
 * Published decoders against recorded greedy texts in ../shared, where both are present: the weights are those that
 * `npm run demo:stories` and `npm run demo:chat` have converted into `examples/`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadSource } from '../../src/cli/source-files.ts';
import { compile } from '../../src/compile.ts';
import { createModel, type Model } from '../../src/runtime/index.ts';
import { gpuDevices, type TestDevice } from '../support/devices.ts';

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const references = at('../shared/data/reference-outputs');

interface Text {
  readonly prompt_ids: readonly number[];
  /** The prompt and what follows, or … */
  readonly ids?: readonly number[];
  /** … only what follows. */
  readonly new_ids?: readonly number[];
}

/** Llama with the sizes of an example; `half` keeps keys and values in f16. */
async function open(example: string, adapter: TestDevice, half: boolean): Promise<Model> {
  const { file, host } = loadSource(at('models/llama/llama.sora'));
  const rule = '\nquantize LlamaForCausalLM {\n  state "**.kv": f16\n}\n';
  const config = JSON.parse(readFileSync(at(`examples/${example}/generated/config.json`), 'utf8')) as Record<
    string,
    unknown
  >;
  const { value, diagnostics } = compile({ file: half ? { ...file, text: file.text + rule } : file, host, config });
  if (!value) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return createModel(value.artifact, { weights: at(`examples/${example}/generated/model.safetensors`), adapter });
}

async function greedy(model: Model, prompt: readonly number[], maxTokens: number, stop: readonly number[]) {
  const session = model.session();
  const tokens: number[] = [];
  for await (const { token } of session.generate(prompt, { maxTokens, stop })) tokens.push(token);
  await session.close();
  return tokens;
}

const examples = [
  { example: 'stories', file: 'stories15M.json', stop: [1, 2] },
  { example: 'chat', file: 'minimind2.json', stop: [2] },
] as const;

for (const { example, file, stop } of examples) {
  const isHere =
    existsSync(`${references}/${file}`) && existsSync(at(`examples/${example}/generated/model.safetensors`));
  if (!isHere || gpuDevices.length === 0) {
    test.skip(`${example}: its weights, the reference or an adapter are not here`, () => {});
    continue;
  }
  const recorded = JSON.parse(readFileSync(`${references}/${file}`, 'utf8')) as readonly Text[] | { greedy: Text[] };
  const texts: readonly Text[] = 'greedy' in recorded ? recorded.greedy : recorded;

  describe(example, () => {
    const first = new Map<number, readonly number[]>();
    test.each(gpuDevices.flatMap((kind) => [false, true].map((half) => [kind, half] as const)))(
      'the recorded greedy texts on %s, keys and values in f16: %s',
      async (kind, half) => {
        const model = await open(example, kind, half);
        for (const [which, { prompt_ids, ids, new_ids }] of texts.entries()) {
          const want = new_ids ?? ids?.slice(prompt_ids.length) ?? [];
          const got = await greedy(model, prompt_ids, 256, stop);
          // The reference was cut at its own length, or ended by a stop token, which is not given here.
          const known = want.filter((id) => !stop.some((end) => end === id));
          expect(got.slice(0, known.length)).toEqual(known);
          // Beyond it all adapters must agree.
          expect(got).toEqual(first.get(which) ?? got);
          first.set(which, got);
        }
        await model.close();
      },
      300_000,
    );
  });
}
