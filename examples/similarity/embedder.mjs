// Text in, unit vectors out: the tokenizer and the compiled model in one object.
import { readFile } from 'node:fs/promises';
import { Tokenizer } from '@huggingface/tokenizers';
import { load } from './generated/minilm.js';

/** all-MiniLM-L6-v2 was trained on at most 128 tokens; its tokenizer.json says the same. */
const maximumTokens = 128;

/** @param {{ weights: string, tokenizer: string, adapter?: 'auto' | 'gpu' | 'lavapipe' | 'swiftshader' | 'cpu' }} options */
export async function createEmbedder({ weights, tokenizer, adapter = 'auto' }) {
  const description = JSON.parse(await readFile(tokenizer, 'utf8'));
  const words = new Tokenizer(description, {});
  const model = await load({ weights, adapter });
  return {
    device: model.device,
    /** Token ids with [CLS] and [SEP], cut to `maximumTokens`. */
    encode(text) {
      const { ids } = words.encode(text);
      return ids.length <= maximumTokens ? ids : [...ids.slice(0, maximumTokens - 1), ids.at(-1)];
    },
    /** A Float32Array of unit length. */
    async embed(text) {
      const ids = Int32Array.from(this.encode(text));
      const { sentence_embedding } = await model.embed({ input_ids: { data: ids, shape: [1, ids.length] } });
      return sentence_embedding.data;
    },
    close: () => model.close(),
  };
}

/** Cosine of two unit vectors. */
export function similarity(left, right) {
  return left.reduce((sum, value, index) => sum + value * right[index], 0);
}
