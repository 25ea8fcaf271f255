/**
 * A model whose config ties its head to its embedding has one matrix. Exports to ONNX store it twice, and a quantized export
 * rounds it twice in different ways. The head's values are kept, under the embedding's name, as they are when PyTorch loads
 * both into the one parameter: the head comes last.
 */
import type { Conversion } from './conversion.ts';

const headName = 'lm_head.weight';
/** Embeddings of the Llama and of the GPT-2 family. */
const embeddingName = /^(?:.*\.)?(?:embed_tokens|wte)\.weight$/;

export function tieHead(conversion: Conversion, config: Readonly<Record<string, unknown>> | undefined): Conversion {
  if (config?.tie_word_embeddings !== true) return conversion;
  const { tensors } = conversion;
  const head = tensors.find(({ name }) => name === headName);
  const embedding = tensors.find(({ name, shape }) => embeddingName.test(name) && shape.join() === head?.shape.join());
  if (head === undefined || embedding === undefined) return conversion;
  const others = tensors.filter((tensor) => tensor !== head && tensor !== embedding);
  return {
    ...conversion,
    tensors: [...others, { ...head, name: embedding.name }],
    notes: [
      ...conversion.notes,
      `the config ties \`${headName}\` to \`${embedding.name}\`: the values of the head are kept`,
    ],
  };
}
