import { expect, test } from 'vitest';
import { compile } from '../../../src/compile.ts';
import { createModel, encodeSafetensors } from '../../../src/runtime/index.ts';

test('the interpreter asks for no weight that no entry reads', async () => {
  const text = `import { Linear } from "sora:nn"
dim B in 1..4
model M {
  used = Linear(2, 2, bias: false)
  unused = Linear(2, 3)
  entry run(x: f32[B, 2]) -> y: f32[B, 2] = used(x)
}
`;
  const { value } = compile({ file: { path: 'm.sora', text } });
  if (!value) throw new Error('it compiles, with a warning');
  const weights = encodeSafetensors([{ name: 'used.weight', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]);
  const cpu = () => import('../../../src/cpu.ts');
  const model = await createModel(value.artifact, { weights, adapter: 'cpu', cpu });
  const { y } = await model.call('run', { x: { data: Float32Array.of(1, 1), shape: [1, 2] } });
  expect(Array.from(y?.data ?? [])).toEqual([3, 7]);
  await model.close();
});
