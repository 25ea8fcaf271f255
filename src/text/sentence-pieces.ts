/**
 * The tokenizer of llama2.c: SentencePiece's BPE with a space put before the text and bytes for characters that are no piece.
 */
import { mergePairs } from './merge.ts';
import type { TextStream, Tokenizer } from './tokenizer.ts';
import { readVocabulary, type Vocabulary } from './vocabulary.ts';

export function tokenizerFromPieces(file: Uint8Array, name: string): Tokenizer {
  const vocabulary = readVocabulary(file, name);
  const { begin, end } = vocabulary.special;
  return {
    vocabularySize: vocabulary.pieces.length,
    bos: begin,
    eos: end,
    encode: (text, { addSpecialTokens = true } = {}) => {
      const ids = text === '' ? [] : mergePairs(vocabulary, charactersOf(vocabulary, ` ${text}`));
      return addSpecialTokens && begin !== undefined ? [begin, ...ids] : ids;
    },
    decode(ids, { skipSpecialTokens = true } = {}) {
      const stream = pieceStream(vocabulary, [], skipSpecialTokens);
      return [...ids].map((id) => stream.push(id)).join('') + stream.end();
    },
    stream: (after = []) => pieceStream(vocabulary, [...after], true),
  };
}

/** One token per character, or one per byte of a character that is no piece. */
function charactersOf(vocabulary: Vocabulary, text: string): number[] {
  const encoder = new TextEncoder();
  const ids: number[] = [];
  for (const character of text) {
    const id = vocabulary.ids.get(character);
    if (id !== undefined) ids.push(id);
    else
      for (const byte of encoder.encode(character))
        ids.push(vocabulary.byteIds[byte] ?? vocabulary.special.unknown ?? 0);
  }
  return ids;
}

/** The space before a text goes again: at the beginning, and after each token that begins a text. */
function pieceStream(vocabulary: Vocabulary, after: readonly number[], skipSpecialTokens: boolean): TextStream {
  const { pieces, bytes, special } = vocabulary;
  const specialIds = new Set(Object.values(special).filter((id) => id !== undefined));
  const encoder = new TextEncoder();
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let isBeginning = true;
  const push = (id: number): string => {
    const byte = bytes.get(id);
    if (specialIds.has(id)) {
      if (id === special.begin) isBeginning = true;
      return skipSpecialTokens ? '' : decoder.decode(encoder.encode((pieces[id] ?? '').trim()), { stream: true });
    }
    const piece = pieces[id] ?? '';
    const text = isBeginning && piece.startsWith(' ') ? piece.slice(1) : piece;
    isBeginning = false;
    return decoder.decode(byte === undefined ? encoder.encode(text) : Uint8Array.of(byte), { stream: true });
  };
  for (const id of after) push(id);
  return { push, end: () => decoder.decode() };
}
