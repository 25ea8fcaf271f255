/**
 * The vocabulary that a llama2.ts file carries, as a `tokenizer.bin` of llama2.c: the same records (f32 score, i32 length,
 * bytes) behind an i32 with the greatest length. `sorac/text` reads the result.
 */
import type { ByteSource } from '../../runtime/source.ts';
import { SoraError } from '../../support/error.ts';

/** The longest piece of Llama's vocabulary has 48 bytes. */
const maximumPieceBytes = 4096;

export async function readVocabulary(
  source: ByteSource,
  start: number,
  count: number,
): Promise<{ readonly tokenizer: Uint8Array; readonly end: number }> {
  let end = start;
  let longest = 0;
  for (let index = 0; index < count; index++) {
    if (end + 8 > source.size) throw new SoraError('SORA7012', `\`${source.name}\` ends in its vocabulary`);
    const head = await source.read(end, 8);
    const length = new DataView(head.buffer, head.byteOffset, 8).getInt32(4, true);
    if (length < 0 || length > maximumPieceBytes || end + 8 + length > source.size) {
      throw new SoraError('SORA7012', `\`${source.name}\` has a piece of ${length} bytes in its vocabulary`);
    }
    longest = Math.max(longest, length);
    end += 8 + length;
  }
  const tokenizer = new Uint8Array(4 + end - start);
  new DataView(tokenizer.buffer).setInt32(0, longest, true);
  tokenizer.set(await source.read(start, end - start), 4);
  return { tokenizer, end };
}
