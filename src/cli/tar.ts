/**
 * One member of a ustar archive by its full name. No extraction to disk, so hostile paths and links mean nothing here.
 */

export function readTarMember(tar: Uint8Array, name: string): Uint8Array | undefined {
  const decoder = new TextDecoder('latin1');
  const field = (start: number, length: number): string => {
    const text = decoder.decode(tar.subarray(start, start + length));
    const end = text.indexOf('\0');
    return end < 0 ? text : text.slice(0, end);
  };
  for (let at = 0; at + 512 <= tar.byteLength; ) {
    const base = field(at, 100);
    if (base === '') return undefined;
    const size = Number.parseInt(field(at + 124, 12).trim(), 8);
    if (!(size >= 0) || at + 512 + size > tar.byteLength) throw new Error('the archive is damaged');
    const prefix = field(at + 345, 155);
    const type = field(at + 156, 1);
    const isFile = type === '0' || type === '';
    if (isFile && (prefix === '' ? base : `${prefix}/${base}`) === name) return tar.subarray(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return undefined;
}
