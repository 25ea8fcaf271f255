/**
 * Gradients of the adaptive forms of attention against the recorded ones of ../shared/golden, where they are present: the
 * model of models/adaptive, differentiated and run in f64.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadSource } from '../../../src/cli/source-files.ts';
import { type FileTensor, readTensorFile } from '../../../src/cli/tensor-file.ts';
import { checkSource } from '../../../src/compile.ts';
import { dimsOfInputs, interpretGraph } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { gradientEntry } from '../../../src/passes/index.ts';

const at = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const shared = at('../shared/golden');
/** The references are f64, rounded to f32 once: 6e-8 of the greatest value, and f32 inputs alike on both sides. */
const tolerance = 1e-6;

function tensor(file: FileTensor): Tensor {
  const isInteger = file.dtype.startsWith('I');
  return tensorOf(isInteger ? 'i32' : 'f32', file.shape, file.read(isInteger ? 'i32' : 'f32'), 'f64');
}

const cases = (existsSync(shared) ? readdirSync(shared) : []).filter((name) => {
  const path = `${shared}/${name}/case.json`;
  return existsSync(path) && JSON.parse(readFileSync(path, 'utf8')).runner === 'adaptive';
});

test.skipIf(cases.length > 0)('skipped: no reference cases here', () => {});

test.each(cases)('%s', async (name) => {
  const folder = `${shared}/${name}`;
  const { file, host } = loadSource(at('models/adaptive/adaptive.sora'));
  const config = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
  const program = checkSource({ file, host, config }).value;
  const entry = program?.entries[0];
  if (!program || !entry) throw new Error('the model does not compile');
  const weightsFile = `${folder}/model.safetensors`;
  const weights = existsSync(weightsFile) ? await readTensorFile(weightsFile) : new Map<string, FileTensor>();
  const inputs = await readTensorFile(`${folder}/inputs.safetensors`);
  const outputs = await readTensorFile(`${folder}/outputs.safetensors`);

  const names = [...outputs.keys()].flatMap((key) => (key.startsWith('a.grad.') ? [key.slice('a.grad.'.length)] : []));
  const { graph, results: given } = gradientEntry(program, entry, 'out', new Set(names));
  for (const variant of ['a', 'b']) {
    const wanted = [...outputs].filter(([key]) => key.startsWith(`${variant}.grad.`));
    const computed = given.flatMap(({ name: result }) => (result.startsWith('grad.') ? [`${variant}.${result}`] : []));
    expect(wanted.map(([key]) => key).sort()).toEqual(computed.sort());
    const bound = new Map<string, Tensor>();
    for (const [key, value] of inputs) {
      if (key.startsWith(`${variant}.`)) bound.set(key.slice(2), tensor(value));
    }
    const dims = dimsOfInputs(entry.parameters, bound);
    for (const { name: parameter, type, initial } of entry.parameters) {
      if (bound.has(parameter)) continue;
      const shape = type.shape.map((dim) => dims.get(dim.key) ?? Number(dim.key));
      const length = shape.reduce((product, size) => product * size, 1);
      bound.set(parameter, tensorOf(type.dtype, shape, new Array<number>(length).fill(initial ?? 0), 'f64'));
    }
    const results = interpretGraph(graph, {
      inputs: bound,
      dims,
      precision: 'f64',
      weight: (path) => tensor(weights.get(path) ?? expect.fail(`no weight ${path}`)),
    });
    for (const [key, want] of wanted) {
      const got = results.get(key.slice(2));
      const numbers = want.read('f32');
      let worst = 0;
      let greatest = 0;
      numbers.forEach((value, place) => {
        worst = Math.max(worst, Math.abs(Number(got?.data[place]) - value));
        greatest = Math.max(greatest, Math.abs(value));
      });
      expect(got?.data.length, key).toBe(numbers.length);
      expect(worst / greatest, `${key}: max |a-b| ${worst}, of ${greatest}`).toBeLessThan(tolerance);
    }
  }
});
