// Writes the seeded weights of gpt2step as a safetensors file, tensor by tensor.
import { closeSync, openSync, writeSync } from 'node:fs';
import { weightList, weightValues } from './gpt2step.mjs';

export function writeWeights(path) {
  const list = weightList();
  let end = 0;
  const entries = list.map(({ name, shape }) => {
    const start = end;
    end += 4 * shape.reduce((product, dim) => product * dim, 1);
    return [name, { dtype: 'F32', shape, data_offsets: [start, end] }];
  });
  let header = JSON.stringify(Object.fromEntries(entries));
  header = header.padEnd(Math.ceil(header.length / 8) * 8);
  const length = new BigUint64Array([BigInt(header.length)]);
  const file = openSync(path, 'w');
  writeSync(file, new Uint8Array(length.buffer));
  writeSync(file, header);
  for (const weight of list) writeSync(file, new Uint8Array(weightValues(weight).buffer));
  closeSync(file);
}
