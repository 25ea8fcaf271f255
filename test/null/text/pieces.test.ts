/**
 * The tokenizer of llama2.c: equal to the plain algorithm of `run.c`, bytes for what is no piece, text that streams.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadTokenizer } from '../../../src/text/index.ts';
import { characterPieces, type Piece, small, special, tokenizerBin, words } from './kit.ts';

const tokenizer = await loadTokenizer(tokenizerBin(small));
const idOf = (piece: string) => small.findIndex(([text]) => text === piece);

/** `encode` of `run.c`, as slow as it is there: the best pair is looked for anew after each join. */
function plainEncode(pieces: readonly Piece[], text: string): number[] {
  if (text === '') return [1];
  const lookUp = (piece: string): number => pieces.findIndex(([each], id) => id > 258 && each === piece);
  let ids = [...` ${text}`].flatMap((character) => {
    const id = lookUp(character);
    return id >= 0 ? [id] : [...new TextEncoder().encode(character)].map((byte) => byte + 3);
  });
  for (;;) {
    let best = { score: -1e10, at: -1, id: -1 };
    for (let at = 0; at + 1 < ids.length; at++) {
      const [left = -1, right = -1] = [ids[at], ids[at + 1]];
      if (left <= 258 || right <= 258) continue;
      const id = lookUp(`${pieces[left]?.[0]}${pieces[right]?.[0]}`);
      const score = pieces[id]?.[1] ?? Number.NEGATIVE_INFINITY;
      if (id >= 0 && score > best.score) best = { score, at, id };
    }
    if (best.at < 0) return [1, ...ids];
    ids = [...ids.slice(0, best.at), best.id, ...ids.slice(best.at + 2)];
  }
}

describe('encode', () => {
  test('joins the best pair first', () => {
    // `he` before ` t`; then ` t` + `he`.
    expect(tokenizer.encode('the')).toEqual([1, idOf(' the')]);
    expect(tokenizer.encode('the cat')).toEqual([1, idOf(' the'), idOf(' cat')]);
  });

  test('of equal pairs the left one', () => {
    expect(tokenizer.encode('caaa')).toEqual([1, idOf(' ca'), idOf('aa')]);
  });

  test('the empty text has no space', () => {
    expect(tokenizer.encode('')).toEqual([1]);
    expect(tokenizer.encode('', { addSpecialTokens: false })).toEqual([]);
  });

  test('special tokens in a text are text', () => {
    expect(tokenizer.encode('<s>')).not.toContain(1 + 1);
    expect(tokenizer.encode('<0x41>')).toEqual(plainEncode(small, '<0x41>'));
  });

  test('equals run.c on any text', () => {
    const letters = fc.string({
      unit: fc.constantFrom('t', 'h', 'e', ' ', 'c', 'a', '\u4f60', '\u{1f600}', 'z'),
      maxLength: 60,
    });
    fc.assert(
      fc.property(letters, (text) => {
        expect(tokenizer.encode(text)).toEqual(plainEncode(small, text));
      }),
      { numRuns: 500, seed: 7 },
    );
  });

  test('equals run.c whatever the scores are, among them many equal ones', () => {
    const scored = fc.array(fc.integer({ min: -3, max: 0 }), { minLength: words.length, maxLength: words.length });
    const letters = fc.string({ unit: fc.constantFrom('t', 'h', 'e', ' ', 'c', 'a'), maxLength: 40 });
    return fc.assert(
      fc.asyncProperty(scored, letters, async (scores, text) => {
        const pieces = small.map(([piece], id): Piece => [piece, scores[id - 259] ?? 0]);
        expect((await loadTokenizer(tokenizerBin(pieces))).encode(text)).toEqual(plainEncode(pieces, text));
      }),
      { numRuns: 200, seed: 8 },
    );
  });

  test('a long text takes no time worth telling', () => {
    const text = 'the cat a '.repeat(20_000);
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  }, 5_000);

  test('the older files with characters for bytes give the same ids', async () => {
    const older = await loadTokenizer(tokenizerBin([...special, ...characterPieces, ...words]));
    for (const text of ['the cat', 'z \u{1f600}\n', 'caaa']) {
      expect(older.encode(text)).toEqual(tokenizer.encode(text));
      expect(older.decode(older.encode(text))).toBe(text);
    }
  });

  test('U+2581 in the file is a space', async () => {
    const marked = small.map(([piece, score]): Piece => [piece.replaceAll(' ', '\u2581'), score]);
    expect((await loadTokenizer(tokenizerBin(marked))).encode('the cat')).toEqual(tokenizer.encode('the cat'));
  });
});

describe('decode', () => {
  test('gives any text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 30 }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { numRuns: 300, seed: 9 },
    );
  });

  test('special tokens are no text unless asked for', () => {
    const ids = [1, idOf(' the'), 2];
    expect(tokenizer.decode(ids)).toBe('the');
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('<s>the</s>');
  });
});

describe('stream', () => {
  test('a character in four bytes comes when it is whole', () => {
    const stream = tokenizer.stream();
    const ids = tokenizer.encode('\u{1f600}the', { addSpecialTokens: false });
    expect(ids.map((id) => stream.push(id))).toEqual(['', '', '', '', '\u{1f600}', 't', 'he']);
    expect(stream.end()).toBe('');
  });

  test('an unfinished character ends as U+FFFD', () => {
    const stream = tokenizer.stream();
    expect(stream.push(3 + 0xe4)).toBe('');
    expect(stream.end()).toBe('\ufffd');
  });

  test('a word after a prompt keeps its space', () => {
    const prompt = tokenizer.encode('the');
    expect(tokenizer.stream(prompt).push(idOf(' cat'))).toBe(' cat');
    expect(tokenizer.stream().push(idOf(' cat'))).toBe('cat');
    expect(tokenizer.stream([...prompt, 1]).push(idOf(' cat'))).toBe('cat');
  });
});

describe('a file that must not be trusted', () => {
  const whole = tokenizerBin(small.slice(0, 6));

  test('is refused where it is cut inside of a token', async () => {
    let refused = 0;
    for (let length = 0; length < whole.byteLength; length++) {
      try {
        await loadTokenizer(whole.subarray(0, length));
      } catch (error) {
        expect(error).toMatchObject({ name: 'SoraError', code: 'SORA7018' });
        refused++;
      }
    }
    // Between two tokens nothing tells that more should come.
    expect(whole.byteLength - refused).toBeLessThanOrEqual(5);
  });

  const changed = (at: number, write: (view: DataView) => void) => {
    const bytes = Uint8Array.from(whole);
    write(new DataView(bytes.buffer, at));
    return bytes;
  };
  test.each([
    ['a negative length', changed(8, (view) => view.setInt32(0, -1, true))],
    ['a length past the end', changed(8, (view) => view.setInt32(0, 2 ** 31 - 1, true))],
    ['a score that is no number', changed(4, (view) => view.setFloat32(0, Number.NaN, true))],
    ['bytes that are no text', changed(12, (view) => view.setUint8(0, 0xff))],
  ])('%s', async (_what, bytes) => {
    await expect(loadTokenizer(bytes)).rejects.toMatchObject({ code: 'SORA7018' });
  });
});
