/**
 * ONNX weights to safetensors: what the graph says about names, orientation and whole numbers, and files that lie.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { readForeign } from '../../../src/cli/convert/index.ts';
import { runCommandLine } from '../../../src/cli/main.ts';
import { openSafetensors } from '../../../src/runtime/safetensors.ts';
import { memorySource } from '../../../src/runtime/source.ts';
import {
  initializer,
  join,
  little,
  message,
  node,
  number,
  onnxModel,
  raw,
  text,
  varint,
} from '../../support/protobuf.ts';

const base = mkdtempSync(joinPath(tmpdir(), 'sorac-onnx-'));
let folder = base;
let count = 0;
beforeEach(() => {
  folder = joinPath(base, String(count++));
  mkdirSync(folder);
});
afterAll(() => rmSync(base, { recursive: true }));

const source = (bytes: Uint8Array) => memorySource(bytes, 'model.onnx');
const read = (bytes: Uint8Array) => readForeign(source(bytes), undefined, 'onnx');

async function valuesOf(
  bytes: Uint8Array,
): Promise<Record<string, { shape: readonly number[]; data: readonly number[] }>> {
  const { tensors } = await read(bytes);
  const found: Record<string, { shape: readonly number[]; data: readonly number[] }> = {};
  for (const { name, shape, chunks, dtype } of tensors) {
    const runs: Uint8Array[] = [];
    for await (const run of chunks()) runs.push(run);
    expect(dtype).toBe('F32');
    found[name] = { shape, data: [...new Float32Array(join(...runs).buffer)] };
  }
  return found;
}

const named = initializer('model.norm.weight', 'f32', [3], raw(little.f32(1, 2, 3)));

describe('names and orientation', () => {
  test('a parameter under its own name is taken as it is', async () => {
    expect(await valuesOf(onnxModel(named))).toEqual({ 'model.norm.weight': { shape: [3], data: [1, 2, 3] } });
  });

  test('a folded transpose is undone, and the module is that of the node', async () => {
    const model = onnxModel(
      node({ op: 'MatMul', name: '/model/layers.0/up_proj/MatMul', inputs: ['x', 'onnx::MatMul_7'], outputs: ['y'] }),
      node({ op: 'Add', name: '/model/layers.0/up_proj/Add', inputs: ['onnx::Add_8', 'y'], outputs: ['z'] }),
      initializer('onnx::MatMul_7', 'f32', [2, 3], raw(little.f32(1, 2, 3, 4, 5, 6))),
      initializer('onnx::Add_8', 'f32', [3], raw(little.f32(7, 8, 9))),
    );
    expect(await valuesOf(model)).toEqual({
      'model.layers.0.up_proj.weight': { shape: [3, 2], data: [1, 4, 2, 5, 3, 6] },
      'model.layers.0.up_proj.bias': { shape: [3], data: [7, 8, 9] },
    });
  });

  test('a transpose that the graph has is not undone', async () => {
    const model = onnxModel(
      node({ op: 'Transpose', name: '/head/Transpose', inputs: ['onnx::Transpose_7'], outputs: ['t'] }),
      node({ op: 'MatMul', name: '/head/MatMul', inputs: ['x', 't'], outputs: ['y'] }),
      initializer('onnx::Transpose_7', 'f32', [2, 1], raw(little.f32(1, 2))),
    );
    expect(await valuesOf(model)).toEqual({ 'head.weight': { shape: [2, 1], data: [1, 2] } });
  });

  test('Gemm says for itself whether its weight is transposed', async () => {
    const model = (transB: number) =>
      onnxModel(
        node({
          op: 'Gemm',
          name: '/pooler/Gemm',
          inputs: ['x', 'onnx::Gemm_1', 'onnx::Gemm_2'],
          outputs: ['y'],
          integers: { transB },
        }),
        initializer('onnx::Gemm_1', 'f32', [1, 2], raw(little.f32(1, 2))),
        initializer('onnx::Gemm_2', 'f32', [2], raw(little.f32(3, 4))),
      );
    expect((await valuesOf(model(1)))['pooler.weight']?.shape).toEqual([1, 2]);
    expect((await valuesOf(model(0)))['pooler.weight']?.shape).toEqual([2, 1]);
    expect((await valuesOf(model(0)))['pooler.bias']?.data).toEqual([3, 4]);
  });

  test('weights inside of a branch are found', async () => {
    const branch = node({ op: 'MatMul', name: '/a/MatMul', inputs: ['x', 'onnx::MatMul_7'], outputs: ['y'] });
    const model = onnxModel(
      message(1, text(4, 'If'), message(5, text(1, 'then_branch'), message(6, branch))),
      initializer('onnx::MatMul_7', 'f32', [1, 2], raw(little.f32(1, 2))),
    );
    expect(await valuesOf(model)).toEqual({ 'a.weight': { shape: [2, 1], data: [1, 2] } });
  });

  test('constants of the graph are left out with a note', async () => {
    const model = onnxModel(
      named,
      node({ op: 'Where', name: '/mask/Where', inputs: ['c', 'onnx::Where_1', 'x'], outputs: ['y'] }),
      initializer('onnx::Where_1', 'f32', [2], raw(little.f32(0, 1))),
      initializer('onnx::Reshape_2', 'i64', [2], raw(little.i64(1, 2))),
      initializer('labels', 'string', [1]),
    );
    const { tensors, notes } = await read(model);
    expect(tensors.map(({ name }) => name)).toEqual(['model.norm.weight']);
    expect(notes.join('\n')).toMatch(/`onnx::Where_1`[\s\S]*`labels`/);
  });
});

describe('whole numbers', () => {
  const q = { scale: raw(little.f32(0.5)), zero: message(5, varint(3)) };
  const scalars = [initializer('w_scale', 'f32', [], q.scale), initializer('w_zero', 'i8', [], q.zero)];

  test('of an integer product with the scale behind it', async () => {
    const model = onnxModel(
      node({ op: 'DynamicQuantizeLinear', inputs: ['x'], outputs: ['xq', 'xs', 'xz'] }),
      node({ op: 'Mul', name: '/q/scales', inputs: ['xs', 'w_scale'], outputs: ['s'] }),
      node({
        op: 'MatMulInteger',
        name: '/q_proj/MatMul_quant',
        inputs: ['xq', 'onnx::MatMul_1_quantized', 'xz', 'w_zero'],
        outputs: ['i'],
      }),
      node({ op: 'Cast', inputs: ['i'], outputs: ['f'] }),
      node({ op: 'Mul', name: '/q/out', inputs: ['f', 's'], outputs: ['y'] }),
      initializer('onnx::MatMul_1_quantized', 'i8', [2, 3], raw(little.i8(3, 4, 5, -128, 127, 1))),
      ...scalars,
    );
    const data = [0, -65.5, 0.5, 62, 1, -1];
    expect(await valuesOf(model)).toEqual({ 'q_proj.weight': { shape: [3, 2], data } });
  });

  test('of rows that are chosen first', async () => {
    const model = onnxModel(
      node({ op: 'Gather', name: '/embed/Gather', inputs: ['embed.weight_quantized', 'ids'], outputs: ['g'] }),
      node({ op: 'DequantizeLinear', name: '/embed/D', inputs: ['g', 'w_scale', 'w_zero'], outputs: ['y'] }),
      initializer('embed.weight_quantized', 'u8', [2, 1], raw(little.u8(255, 0))),
      ...scalars,
    );
    expect(await valuesOf(model)).toEqual({ 'embed.weight': { shape: [2, 1], data: [126, -1.5] } });
  });

  test('with a scale per channel, along the axis that the node names', async () => {
    const model = (axis: number) =>
      onnxModel(
        node({
          op: 'DequantizeLinear',
          name: '/D',
          inputs: ['a.weight', 's', 'z'],
          outputs: ['y'],
          integers: { axis },
        }),
        initializer('a.weight', 'i8', [2, 2], raw(little.i8(1, 2, 3, 4))),
        initializer('s', 'f32', [2], message(4, little.f32(1, 10))),
        initializer('z', 'i8', [2], message(5, varint(0), varint(1))),
      );
    expect((await valuesOf(model(0)))['a.weight']?.data).toEqual([1, 2, 20, 30]);
    expect((await valuesOf(model(1)))['a.weight']?.data).toEqual([1, 10, 3, 30]);
    expect((await valuesOf(model(-1)))['a.weight']?.data).toEqual([1, 10, 3, 30]);
  });

  test.each([
    ['blocks of 4 bits', [node({ op: 'MatMulNBits', inputs: ['x', 'a.weight'], outputs: ['y'] })]],
    ['a computed scale', [node({ op: 'DequantizeLinear', inputs: ['a.weight', 'computed'], outputs: ['y'] })]],
    [
      'scales by block',
      [node({ op: 'DequantizeLinear', inputs: ['a.weight', 'w_scale'], outputs: ['y'], integers: { block_size: 32 } })],
    ],
  ])('%s are refused', async (_what, nodes) => {
    const model = onnxModel(...nodes, initializer('a.weight', 'u8', [2], raw(little.u8(1, 2))), ...scalars);
    await expect(read(model)).rejects.toMatchObject({ code: 'SORA7016' });
  });
});

describe('a file that must not be trusted', () => {
  const whole = onnxModel(
    node({ op: 'MatMul', name: '/a/MatMul', inputs: ['x', 'onnx::MatMul_7'], outputs: ['y'], integers: { k: 1 } }),
    initializer('onnx::MatMul_7', 'f32', [1, 2], raw(little.f32(1, 2))),
    named,
  );
  const usual = /^SORA70(?:07|14|15|16|17)$/;
  const outcome = async (bytes: Uint8Array): Promise<string> => {
    try {
      const { tensors } = await read(bytes);
      for (const { chunks } of tensors) for await (const run of chunks()) void run;
      return 'ok';
    } catch (error) {
      if (error instanceof Error && 'code' in error && usual.test(String(error.code))) return 'refused';
      throw error;
    }
  };

  test('is refused wherever it is cut', async () => {
    for (let length = 2; length < whole.byteLength; length++) {
      expect(await outcome(whole.subarray(0, length)), `cut at ${length}`).toBe('refused');
    }
    expect(await outcome(whole)).toBe('ok');
  });

  test('is read or refused, never anything else, when a byte changes', async () => {
    let refused = 0;
    for (let at = 0; at < whole.byteLength; at++) {
      for (const change of [1, 0x10, 0x80, 0xff]) {
        const bytes = Uint8Array.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ change;
        if ((await outcome(bytes)) === 'refused') refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  const huge = 2 ** 31 - 1;
  test.each([
    ['no graph', number(1, 8), 'SORA7014'],
    ['a length past the end', join(number(1, 8), varint((7 << 3) | 2), varint(2n ** 60n)), 'SORA7014'],
    ['a number of eleven bytes', join(number(1, 8), new Uint8Array(11).fill(0x80)), 'SORA7014'],
    ['a group', join(number(1, 8), varint((7 << 3) | 3)), 'SORA7014'],
    ['more elements than bytes', onnxModel(initializer('a', 'f32', [huge], raw(little.f32(1)))), 'SORA7015'],
    ['a shape past all bounds', onnxModel(initializer('a', 'f32', [huge, huge, huge])), 'SORA7015'],
    ['a negative axis', onnxModel(initializer('a', 'f32', [-1], raw(little.f32(1)))), 'SORA7014'],
    ['nine axes', onnxModel(initializer('a', 'f32', new Array(9).fill(1), raw(little.f32(1)))), 'SORA7015'],
    ['one name twice', onnxModel(named, named), 'SORA7017'],
    ['few numbers for many elements', onnxModel(initializer('a', 'f16', [huge], message(5, varint(1)))), 'SORA7015'],
    ['a sparse initializer', onnxModel(message(15)), 'SORA7016'],
  ])('%s', async (_what, bytes, code) => {
    const convert = async (): Promise<void> => {
      for (const { chunks } of (await read(bytes)).tensors) for await (const run of chunks()) void run;
    };
    await expect(convert()).rejects.toMatchObject({ name: 'SoraError', code });
  });

  test('graphs inside of graphs end somewhere', async () => {
    let graph: Uint8Array = new Uint8Array();
    for (let depth = 0; depth < 200; depth++) graph = message(1, message(5, message(6, graph)));
    await expect(read(onnxModel(graph))).rejects.toMatchObject({ code: 'SORA7014' });
  });

  const external = (location: string, ...more: readonly Uint8Array[]) =>
    onnxModel(
      initializer('a.weight', 'f32', [2], message(13, text(1, 'location'), text(2, location)), ...more, number(14, 1)),
    );

  test('data in a file of its own is read beside the model and nowhere else', async () => {
    writeFileSync(joinPath(folder, 'weights.data'), join(little.f32(0), little.f32(1, 2)));
    writeFileSync(joinPath(base, 'secret.data'), little.f32(3, 4));
    const path = joinPath(folder, 'model.onnx');
    const first = async (bytes: Uint8Array): Promise<Uint8Array> => {
      const { tensors, close } = await readForeign(source(bytes), path, 'onnx');
      try {
        for (const { chunks } of tensors) for await (const run of chunks()) return run;
        return new Uint8Array();
      } finally {
        await close();
      }
    };
    const offset = message(13, text(1, 'offset'), text(2, '4'));
    expect(await first(external('weights.data', offset))).toEqual(little.f32(1, 2));
    for (const bytes of [
      external('../secret.data'),
      external(joinPath(base, 'secret.data')),
      external('missing.data'),
      external(''),
      external('weights.data', message(13, text(1, 'offset'), text(2, '8'))),
      external('weights.data', message(13, text(1, 'offset'), text(2, '-4'))),
      external('weights.data', message(13, text(1, 'length'), text(2, '4'))),
    ]) {
      await expect(first(bytes)).rejects.toMatchObject({ code: 'SORA7015' });
    }
  });
});

describe('the command', () => {
  async function sorac(...argv: readonly string[]) {
    const streams = { stdout: '', stderr: '' };
    const exitCode = await runCommandLine(argv, {
      stdout: { write: (piece) => (streams.stdout += piece) },
      stderr: { write: (piece) => (streams.stderr += piece) },
    });
    return { exitCode, ...streams };
  }

  const model = onnxModel(
    node({ op: 'MatMul', name: '/lm_head/MatMul', inputs: ['x', 'onnx::MatMul_7'], outputs: ['y'] }),
    initializer('onnx::MatMul_7', 'f32', [1, 2], raw(little.f32(5, 6))),
    initializer('model.embed_tokens.weight', 'f32', [2, 1], raw(little.f32(1, 2))),
  );

  async function convert(config: object, ...more: readonly string[]) {
    mkdirSync(joinPath(folder, 'onnx'), { recursive: true });
    mkdirSync(joinPath(folder, 'out'), { recursive: true });
    writeFileSync(joinPath(folder, 'config.json'), JSON.stringify(config));
    writeFileSync(joinPath(folder, 'onnx/model.onnx'), model);
    const out = joinPath(folder, 'out/model.safetensors');
    const result = await sorac('weights', 'convert', joinPath(folder, 'onnx/model.onnx'), '-o', out, ...more);
    return { ...result, out };
  }

  test('takes the config of the folder above', async () => {
    const { exitCode, out } = await convert({ model_type: 'llama', tie_word_embeddings: false });
    expect(exitCode).toBe(0);
    expect(JSON.parse(readFileSync(joinPath(folder, 'out/config.json'), 'utf8'))).toMatchObject({
      model_type: 'llama',
    });
    const file = await openSafetensors(out);
    expect([...file.tensors.keys()].sort()).toEqual(['lm_head.weight', 'model.embed_tokens.weight']);
    await file.close();
  });

  test('keeps one matrix where the config ties the head to the embedding', async () => {
    const { stderr, out } = await convert({ tie_word_embeddings: true });
    expect(stderr).toContain('note: the config ties');
    const file = await openSafetensors(out);
    expect([...file.tensors.keys()]).toEqual(['model.embed_tokens.weight']);
    expect(await file.readTensor('model.embed_tokens.weight', 'f32')).toEqual(Float32Array.of(5, 6));
    await file.close();
  });

  test('does not replace the config of another model unless told so', async () => {
    await convert({ a: 1 });
    expect(await convert({ a: 2 })).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--force') });
    expect(await convert({ a: 2 }, '--force')).toMatchObject({ exitCode: 0 });
  });

  test('says which formats it reads', async () => {
    writeFileSync(joinPath(folder, 'a.pt'), 'PK pickle');
    const out = joinPath(folder, 'a.safetensors');
    const { exitCode, stderr } = await sorac('weights', 'convert', joinPath(folder, 'a.pt'), '-o', out);
    expect(exitCode).toBe(4);
    expect(stderr).toMatch(/SORA7011[\s\S]*llama2c and onnx/);
    expect((await sorac('weights', 'convert', joinPath(folder, 'a.pt'), '-o', 'model.bin')).exitCode).toBe(2);
    expect((await sorac('weights', 'convert', joinPath(folder, 'a.pt'), '-o', out, '--bytes', '5:99')).exitCode).toBe(
      2,
    );
  });
});
