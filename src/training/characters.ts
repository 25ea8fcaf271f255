/**
 * A tokenizer whose tokens are the characters (code points) of a text: for language models on raw text without a tokenizer.
 */
import { SoraError } from '../support/error.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

export interface CharacterTokenizer extends Tokenizer {
  /** The characters in the order of their ids; `characterTokenizer(characters)` gives the tokenizer again. */
  readonly characters: string;
}

/** @param text every character of it gets an id, in the order of code points */
export function characterTokenizer(text: string): CharacterTokenizer {
  const list = [...new Set(text)].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0));
  const ids = new Map(list.map((character, id) => [character, id]));
  const characterOf = (id: number): string => {
    const character = list[id];
    if (character === undefined) throw new SoraError('SORA7039', `there is no character ${id}, only ${list.length}`);
    return character;
  };
  return {
    characters: list.join(''),
    vocabularySize: list.length,
    bos: undefined,
    eos: undefined,
    encode: (words) =>
      Array.from(words, (character, at) => {
        const id = ids.get(character);
        if (id !== undefined) return id;
        const name = `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
        throw new SoraError('SORA7039', `character ${at + 1} (${name}) is not among the ${list.length} of this model`, {
          help: 'characters come from the training text alone',
        });
      }),
    decode: (list) => Array.from(list, characterOf).join(''),
    stream: () => ({ push: characterOf, end: () => '' }),
  };
}
