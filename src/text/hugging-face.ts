/**
 * `tokenizer.json` of Hugging Face, through `@huggingface/tokenizers`.
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { SoraError } from '../runtime/error.ts';
import { specialToken, type TokenizerConfig } from './config.ts';
import { streamByDecoding } from './stream.ts';
import type { Tokenizer } from './tokenizer.ts';

export function tokenizerFromJson(description: object, config: TokenizerConfig, name: string): Tokenizer {
  let inner: HuggingFaceTokenizer;
  try {
    inner = new HuggingFaceTokenizer(description, config);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SoraError('SORA7018', `\`${name}\` is no usable tokenizer: ${why}`, { cause });
  }
  const decode = (ids: readonly number[], skipSpecialTokens: boolean): string =>
    // The library asks for at least one token; spaces are left as the tokens have them, so that streamed text is equal.
    ids.length === 0
      ? ''
      : inner.decode([...ids], { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false });
  const idOf = (token: string | undefined): number | undefined =>
    token === undefined ? undefined : inner.token_to_id(token);
  return {
    vocabularySize: inner.get_vocab(true).size,
    bos: idOf(specialToken(config, 'bos_token')),
    eos: idOf(specialToken(config, 'eos_token')),
    encode: (text, { addSpecialTokens = true } = {}) =>
      inner.encode(text, { add_special_tokens: addSpecialTokens }).ids,
    encodePair(first, second) {
      const { ids, token_type_ids: segments } = inner.encode(first, { text_pair: second, return_token_type_ids: true });
      return { ids, segments };
    },
    decode: (ids, { skipSpecialTokens = true } = {}) => decode([...ids], skipSpecialTokens),
    stream: (after = []) => streamByDecoding((ids) => decode(ids, true), [...after]),
  };
}
