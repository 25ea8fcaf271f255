/**
 * Text from ids one by one, for a tokenizer that only knows how to decode a list. The new token is decoded together with the
 * group of tokens before it, because decoders treat a beginning differently (they drop a leading space); text that ends in
 * U+FFFD may be an unfinished character and waits. As vLLM and text-generation-inference do it.
 */
import type { TextStream } from './tokenizer.ts';

/** Ids of the text before that the first token is decoded with. */
const contextTokens = 8;
/** Tokens that may wait: a character has at most four bytes, the rest is special tokens between. */
const maximumWaiting = 64;

export function streamByDecoding(
  decode: (ids: readonly number[]) => string,
  after: readonly number[] = [],
): TextStream {
  let ids = after.slice(-contextTokens);
  /** End of the last group with whole text. */
  let boundary = ids.length;
  /** Characters of `decode(ids)` that were given. */
  let given = decode(ids).length;

  const advance = (): void => {
    ids = ids.slice(boundary);
    boundary = ids.length;
    given = decode(ids).length;
  };
  const take = (text: string, end: number): string => {
    const taken = end > given ? text.slice(given, end) : '';
    given = Math.max(given, end);
    return taken;
  };
  return {
    push(id) {
      ids.push(id);
      const text = decode(ids);
      const whole = text.replace(/\uFFFD+$/, '').length;
      const taken = take(text, whole);
      if (whole === text.length && taken !== '') advance();
      else if (ids.length - boundary > maximumWaiting) {
        const late = take(text, text.length);
        advance();
        return taken + late;
      }
      return taken;
    },
    end() {
      const text = decode(ids);
      return take(text, text.length);
    },
  };
}
