// Weights as a safetensors file: 8 bytes of header length, the header, the tensors.
import { writeFileSync } from 'node:fs';

export function writeSafetensors(path, list) {
  let offset = 0;
  const header = {};
  for (const { name, shape, data } of list) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const text = JSON.stringify(header);
  const head = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  writeFileSync(path, Buffer.concat([length, head, ...list.map(({ data }) => Buffer.from(data.buffer))]));
}
