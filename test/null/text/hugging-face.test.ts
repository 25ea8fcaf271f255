/**
 * `tokenizer.json`, its config beside it, and text that streams.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadTokenizer, type Tokenizer } from '../../../src/text/index.ts';
import { streamByDecoding } from '../../../src/text/stream.ts';
import { jsonBytes, piecesJson, tokenizerJson } from './kit.ts';

const folder = mkdtempSync(join(tmpdir(), 'sorac-text-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tokenizer = await loadTokenizer(jsonBytes(tokenizerJson()));

test('encodes and decodes', () => {
  const ids = tokenizer.encode('hello <|s|>w');
  // Two special tokens, then one token per byte, then the merges.
  expect(ids).toEqual([2 + 256 + 3, 2 + 0x20, 0, 2 + 0x77]);
  expect(tokenizer.decode(ids)).toBe('hello w');
  expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('hello <|s|>w');
  expect(tokenizer.decode([])).toBe('');
  expect(tokenizer.encode('hello w').at(-1)).toBe(262);
  expect(tokenizer.vocabularySize).toBe(263);
});

test('the config beside a path is read, an absent one is not missed', async () => {
  const path = join(folder, 'tokenizer.json');
  writeFileSync(path, jsonBytes(tokenizerJson()));
  expect(await loadTokenizer(path)).toMatchObject({ bos: undefined, eos: undefined });
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"bos_token": "<|s|>", "eos_token": {"content": "<|e|>"}}');
  expect(await loadTokenizer(path)).toMatchObject({ bos: 0, eos: 1 });
  expect(await loadTokenizer(path, { config: {} })).toMatchObject({ bos: undefined, eos: undefined });
  writeFileSync(join(folder, 'tokenizer_config.json'), 'oops');
  await expect(loadTokenizer(path)).rejects.toMatchObject({ code: 'SORA7018' });
});

test.each([
  ['no tokenizer', '{}'],
  ['no object', '[]'],
  ['cut short', '{"model":'],
  ['another kind', '{"model":{"type":"Nope"}}'],
])('%s is refused', async (_what, text) => {
  await expect(loadTokenizer(new TextEncoder().encode(text))).rejects.toMatchObject({ code: 'SORA7018' });
});

test('a missing file is told as such', async () => {
  await expect(loadTokenizer(join(folder, 'absent.json'))).rejects.toMatchObject({ code: 'SORA7001' });
});

function streamed(each: Tokenizer, ids: readonly number[], after: readonly number[] = []): readonly string[] {
  const stream = each.stream(after);
  return [...ids.map((id) => stream.push(id)), stream.end()];
}

describe('stream', () => {
  test('a character over several tokens comes when it is whole', () => {
    expect(streamed(tokenizer, tokenizer.encode('hello\u4f60w'))).toEqual(['hello', '', '', '\u4f60', 'w', '']);
    expect(streamed(tokenizer, tokenizer.encode('\u{1f600}'))).toEqual(['', '', '', '\u{1f600}', '']);
  });

  test('what stays unfinished is given in the end', () => {
    expect(streamed(tokenizer, tokenizer.encode('h\u4f60').slice(0, 2)).join('')).toBe('h\ufffd');
  });

  test('special tokens give nothing and change nothing', () => {
    const ids = tokenizer.encode('hello<|s|> w<|e|>hello');
    expect(streamed(tokenizer, ids).join('')).toBe('hello whello');
  });

  test('bytes among pieces, a dropped first space, and text before', async () => {
    const pieces = await loadTokenizer(jsonBytes(piecesJson()));
    for (const text of ['hi hi', 'hi \u4f60\u{1f600}\u00e9 hi', '\u00e9\u00e9\u{1f600}hi']) {
      const ids = pieces.encode(text);
      expect(pieces.decode(ids)).toBe(text);
      expect(streamed(pieces, ids).join('')).toBe(text);
    }
    const ids = pieces.encode('hi');
    expect(streamed(pieces, ids, ids).join('')).toBe(' hi');
    expect(streamed(pieces, ids).join('')).toBe('hi');
  });

  test('bytes that never become a character are given in bounded time', () => {
    const stray = Array.from({ length: 300 }, () => tokenizer.encode('\u4f60')[1] ?? 0);
    const pushed = streamed(tokenizer, stray);
    expect(pushed.join('')).toBe('\ufffd'.repeat(300));
    expect(pushed.findIndex((text) => text !== '')).toBeLessThan(80);
  });

  test('each token is decoded with few others', () => {
    let most = 0;
    const stream = streamByDecoding((ids) => {
      most = Math.max(most, ids.length);
      return ids.map((id) => String.fromCharCode(id)).join('');
    }, new Array<number>(500).fill(97));
    for (let index = 0; index < 500; index++) expect(stream.push(98)).toBe('b');
    expect(most).toBeLessThan(12);
  });
});
