/**
 * The vocabulary file `tokenizer.bin` of llama2.c: i32 length of the longest piece, then per token f32 score, i32 length and
 * the bytes of its piece, until the file ends. Pieces are those of SentencePiece, with a space for its U+2581.
 *
 * Source: `tokenizer.py` and `run.c` of github.com/karpathy/llama2.c.
 */
import { SoraError } from '../runtime/error.ts';

export interface Vocabulary {
  /** Text of each piece. */
  readonly pieces: readonly string[];
  readonly scores: Float32Array;
  /** Pieces of text by their text; bytes and special tokens are not among them. */
  readonly ids: ReadonlyMap<string, number>;
  /** The token of each byte; undefined where the vocabulary has none. */
  readonly byteIds: readonly (number | undefined)[];
  /** The byte of each byte token. */
  readonly bytes: ReadonlyMap<number, number>;
  readonly special: Readonly<Record<'unknown' | 'begin' | 'end', number | undefined>>;
}

const bytePiece = /^<0x([0-9A-F]{2})>$/;
/** The first token after the special ones; older files have 256 characters there in place of `<0x00>` … `<0xFF>`. */
const firstByte = 3;
/** Special tokens come first, in SentencePiece's order. */
const specialPieces = ['<unk>', '<s>', '</s>'];

export function readVocabulary(file: Uint8Array, name: string): Vocabulary {
  const refuse = (what: string): SoraError =>
    new SoraError('SORA7018', `\`${name}\` is no usable tokenizer.bin: ${what}`);
  if (file.byteLength < 12) throw refuse(`it has ${file.byteLength} bytes`);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const pieces: string[] = [];
  const scores: number[] = [];
  for (let at = 4; at < file.byteLength; ) {
    if (at + 8 > file.byteLength) throw refuse('it ends inside of a token');
    const score = view.getFloat32(at, true);
    const length = view.getInt32(at + 4, true);
    at += 8;
    if (length < 0 || at + length > file.byteLength) throw refuse(`token ${pieces.length} has ${length} bytes`);
    if (!Number.isFinite(score)) throw refuse(`token ${pieces.length} has the score ${score}`);
    try {
      pieces.push(text.decode(file.subarray(at, at + length)).replaceAll('\u2581', ' '));
    } catch {
      throw refuse(`token ${pieces.length} is not UTF-8`);
    }
    scores.push(score);
    at += length;
  }
  return index(pieces, Float32Array.from(scores));
}

function index(pieces: readonly string[], scores: Float32Array): Vocabulary {
  const ids = new Map<string, number>();
  const byteIds: (number | undefined)[] = new Array(256).fill(undefined);
  const bytes = new Map<number, number>();
  // llama2.c writes line ends around `<s>` and `</s>`.
  const special = specialPieces.map((piece, id) => (pieces[id]?.trim() === piece ? id : undefined));
  const hasCharacters = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).every(
    (character, byte) => pieces[firstByte + byte] === character,
  );
  const byteOf = (piece: string, id: number): number | undefined => {
    if (hasCharacters) return id >= firstByte && id < firstByte + 256 ? id - firstByte : undefined;
    const hex = bytePiece.exec(piece)?.[1];
    return hex === undefined ? undefined : Number.parseInt(hex, 16);
  };
  pieces.forEach((piece, id) => {
    const byte = byteOf(piece, id);
    if (byte !== undefined) {
      byteIds[byte] ??= id;
      bytes.set(id, byte);
    } else if (!special.includes(id) && piece !== '' && !ids.has(piece)) ids.set(piece, id);
  });
  const [unknown, begin, end] = special;
  return { pieces, scores, ids, byteIds, bytes, special: { unknown, begin, end } };
}
