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
import { createEmitter } from '../../../src/ir/emit.ts';
import { type Graph, GraphBuilder, type Node, type Value } from '../../../src/ir/graph.ts';
import { dimsOfInputs, interpretGraph } from '../../../src/ir/interpret.ts';
import type { InferContext, Tensor } from '../../../src/ir/op.ts';
import { tensorOf } from '../../../src/ir/tensor.ts';
import { differentiate } from '../../../src/passes/autodiff.ts';
import { copyNode } from '../../../src/passes/pass.ts';

const at = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const shared = at('../shared/golden');
/** The references are f64, rounded to f32 once: 6e-8 of the greatest value, and f32 inputs alike on both sides. */
const tolerance = 1e-6;

/** sum(out * cotangent) behind a graph. */
function withLoss(
  graph: Graph,
  context: InferContext,
): { readonly graph: Graph; readonly nodes: ReadonlyMap<Node, Node> } {
  const emitter = createEmitter(new GraphBuilder(), context);
  const nodes = new Map<Node, Node>();
  const values = new Map<Value, Value>();
  for (const node of graph.nodes) {
    const copy = copyNode(
      emitter.builder,
      node,
      node.inputs.map((input) => values.get(input) ?? input),
    );
    nodes.set(node, copy);
    node.outputs.forEach((output, place) => {
      values.set(output, copy.outputs[place] ?? output);
    });
  }
  const out = graph.results.find(({ name }) => name === 'out')?.value;
  const mixed = out && values.get(out);
  if (!mixed) throw new Error('no result `out`');
  const product = emitter.emit('mul', [mixed, emitter.input('cotangent', mixed.type)]);
  const loss = emitter.emit('reduce', [product], { kind: 'sum', axes: [0, 1, 2, 3], keep: false });
  return { graph: emitter.builder.finish('loss', [{ name: 'loss', value: loss }]), nodes };
}

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
  const context = { ranges: program.dims };
  const { graph } = withLoss(entry.graph, context);
  const weightsFile = `${folder}/model.safetensors`;
  const weights = existsSync(weightsFile) ? await readTensorFile(weightsFile) : new Map<string, FileTensor>();
  const inputs = await readTensorFile(`${folder}/inputs.safetensors`);
  const outputs = await readTensorFile(`${folder}/outputs.safetensors`);

  const wrt = new Map<Node, string>();
  for (const node of graph.nodes) {
    const own =
      node.op === 'input' ? String(node.attributes.name) : (node.attributes.paths as string[] | undefined)?.[0];
    if (own !== undefined && outputs.has(`a.grad.${own}`)) wrt.set(node, own);
  }
  const differentiated = differentiate(graph, context, { loss: 'loss', wrt });
  for (const variant of ['a', 'b']) {
    const wanted = [...outputs].filter(([key]) => key.startsWith(`${variant}.grad.`));
    expect(wanted.map(([key]) => key.slice(`${variant}.grad.`.length)).sort()).toEqual([...wrt.values()].sort());
    const given = new Map<string, Tensor>();
    for (const [key, value] of inputs) {
      if (key.startsWith(`${variant}.`)) given.set(key.slice(2), tensor(value));
    }
    const dims = dimsOfInputs(entry.parameters, given);
    for (const { name: parameter, type, initial } of entry.parameters) {
      if (given.has(parameter)) continue;
      const shape = type.shape.map((dim) => dims.get(dim.key) ?? Number(dim.key));
      const length = shape.reduce((product, size) => product * size, 1);
      given.set(parameter, tensorOf(type.dtype, shape, new Array<number>(length).fill(initial ?? 0), 'f64'));
    }
    const results = interpretGraph(differentiated.graph, {
      inputs: given,
      dims,
      precision: 'f64',
      weight: (path) => tensor(weights.get(path) ?? expect.fail(`no weight ${path}`)),
    });
    for (const [key, want] of wanted) {
      const got = results.get(key.slice(`${variant}.grad.`.length));
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
