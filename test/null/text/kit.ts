/**
 * Small tokenizer files for tests, in both formats.
 */
import { join } from '../../support/protobuf.ts';

export type Piece = readonly [text: string, score: number];

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** A `tokenizer.bin` of these pieces. */
export function tokenizerBin(pieces: readonly Piece[]): Uint8Array<ArrayBuffer> {
  const records = pieces.map(([text, score]) => {
    const bytes = bytesOf(text);
    const head = new DataView(new ArrayBuffer(8));
    head.setFloat32(0, score, true);
    head.setInt32(4, bytes.byteLength, true);
    return join(new Uint8Array(head.buffer), bytes);
  });
  const longest = Math.max(0, ...pieces.map(([text]) => bytesOf(text).byteLength));
  return join(new Uint8Array(Int32Array.of(longest).buffer), ...records);
}

export const bytePieces: readonly Piece[] = Array.from({ length: 256 }, (_, byte) => [
  `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  0,
]);

/** How llama2.c wrote bytes before it wrote `<0x..>`. */
export const characterPieces: readonly Piece[] = Array.from({ length: 256 }, (_, byte) => [
  String.fromCharCode(byte),
  0,
]);

export const special: readonly Piece[] = [
  ['<unk>', 0],
  ['\n<s>\n', 0],
  ['\n</s>\n', 0],
];

/** Words are joined from the left: ` t`, ` th`, ` the`; `he` is better than ` t`. */
export const words: readonly Piece[] = [
  [' ', -20],
  ['t', -21],
  ['h', -22],
  ['e', -23],
  ['a', -24],
  ['c', -25],
  ['\u4f60', -26],
  [' t', -2],
  ['he', -1],
  [' the', -3],
  ['ca', -4],
  [' ca', -5],
  ['cat', -6],
  [' cat', -7],
  ['  ', -8],
  ['aa', -9],
  ['aaa', -9],
];

export const small: readonly Piece[] = [...special, ...bytePieces, ...words];

/** Bytes as the characters that byte-level BPE uses for them (GPT-2): printable ones stay, the others follow from U+0100. */
function byteCharacters(): readonly string[] {
  const isPlain = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPlain(byte) ? byte : next++));
}

/** A byte-level BPE with a few merges and two special tokens, as GPT-2 and its successors have it. */
export function tokenizerJson(): object {
  const characters = byteCharacters();
  const merges: readonly (readonly [string, string])[] = [
    ['h', 'e'],
    ['l', 'l'],
    ['he', 'll'],
    ['hell', 'o'],
    ['\u0120', 'w'],
  ];
  const tokens = ['<|s|>', '<|e|>', ...characters, ...merges.map((pair) => pair.join(''))];
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const added = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [added(0, '<|s|>'), added(1, '<|e|>')],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}

/** BPE of pieces with bytes for the rest, as Llama's `tokenizer.json` decodes it. */
export function piecesJson(): object {
  const pieces = [
    '<unk>',
    '<s>',
    '</s>',
    ...bytePieces.map(([text]) => text),
    '\u2581',
    'h',
    'i',
    '\u2581hi',
    'hi',
    '\u4f60',
  ];
  return {
    ...tokenizerJson(),
    added_tokens: [],
    pre_tokenizer: null,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '\u2581' },
        { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
      ],
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: ['h i', '\u2581 hi'],
    },
  };
}

export const jsonBytes = (value: object) => bytesOf(JSON.stringify(value));
