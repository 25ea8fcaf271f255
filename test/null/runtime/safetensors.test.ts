import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeSafetensors, openSafetensors } from '../../../src/runtime/safetensors.ts';
import { entry, file, hostileFiles } from './hostile-headers.ts';

/** Large arrays: comparing element by element takes minutes. */
function sameBytes(left: Float32Array, right: Float32Array): boolean {
  return Buffer.from(left.buffer, left.byteOffset, left.byteLength).equals(
    Buffer.from(right.buffer, right.byteOffset, right.byteLength),
  );
}

const code = (expected: string) => expect.objectContaining({ name: 'SoraError', code: expected });

describe('a file that must not be trusted', () => {
  test.each(hostileFiles)('%s', async (_what, bytes, expected) => {
    await expect(openSafetensors(bytes)).rejects.toEqual(code(expected));
  });

  test('is refused wherever its header is cut', async () => {
    const whole = encodeSafetensors([{ name: 'a', shape: [3], data: Float32Array.of(1, 2, 3) }], { format: 'pt' });
    for (let length = 0; length < whole.byteLength; length++) {
      await expect(openSafetensors(whole.subarray(0, length)), `cut at ${length}`).rejects.toEqual(
        expect.objectContaining({ code: expect.stringMatching(/^SORA700[236]$/) }),
      );
    }
    expect((await openSafetensors(whole)).metadata.get('format')).toBe('pt');
  });

  test('is refused or read, never anything else, when a byte of its header changes', async () => {
    const whole = encodeSafetensors([{ name: 'a', shape: [3], data: Float32Array.of(1, 2, 3) }], { format: 'pt' });
    const headerEnd = whole.byteLength - 12;
    let refused = 0;
    for (let at = 0; at < headerEnd; at++) {
      for (const change of [1, 0x20, 0x80]) {
        const changed = whole.slice();
        changed[at] = (changed[at] ?? 0) ^ change;
        const error = await openSafetensors(changed).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error === undefined) continue;
        refused++;
        expect(error, `byte ${at} ^ ${change}`).toEqual(code(expect.stringMatching(/^SORA70/)));
      }
    }
    expect(refused).toBeGreaterThan(headerEnd);
  });

  test('with 100,000 tensors is read', async () => {
    const entries = Array.from({ length: 100_000 }, (_, i) => `"t${i}":${entry('"U8"', '[1]', `[${i},${i + 1}]`)}`);
    const opened = await openSafetensors(file(`{${entries.join(',')}}`, 100_000));
    expect(opened.tensors.size).toBe(100_000);
  });

  test('may name tensors like properties of objects', async () => {
    const names = ['__proto__', 'constructor', 'prototype', 'toString', ''];
    const data = Float32Array.of(5);
    const opened = await openSafetensors(encodeSafetensors(names.map((name) => ({ name, shape: [1], data }))));
    expect([...opened.tensors.keys()].sort()).toEqual([...names].sort());
    expect(Array.from(await opened.readTensor('__proto__', 'f32'))).toEqual([5]);
    await expect(opened.readTensor('hasOwnProperty', 'f32')).rejects.toEqual(code('SORA7201'));
  });
});

describe('reading', () => {
  test('tensors of rank 0, of no elements and at odd offsets', async () => {
    const header =
      `{"byte":${entry('"U8"', '[1]', '[0,1]')},"scalar":${entry('"F32"', '[]', '[1,5]')},` +
      `"none":${entry('"F64"', '[3,0]', '[5,5]')},"half":${entry('"F16"', '[2]', '[5,9]')}}   `;
    const bytes = file(header, 9);
    const view = new DataView(bytes.buffer, bytes.byteLength - 9);
    view.setFloat32(1, -2.5, true);
    view.setUint16(5, 0x3c00, true);
    view.setUint16(7, 0xc000, true);
    const opened = await openSafetensors(bytes);
    expect(Array.from(await opened.readTensor('scalar', 'f32'))).toEqual([-2.5]);
    expect(Array.from(await opened.readTensor('none', 'f32'))).toEqual([]);
    expect(Array.from(await opened.readTensor('half', 'f32'))).toEqual([1, -2]);
    expect(Array.from(await opened.readTensor('half', 'f16'))).toEqual([0x3c00, 0xc000]);
  });

  test('a tensor of several chunks', async () => {
    const data = Float32Array.from({ length: 2_500_000 }, (_, i) => i % 65_521);
    const opened = await openSafetensors(encodeSafetensors([{ name: 'big', shape: [2_500_000], data }]));
    const firsts: number[] = [];
    const info = opened.tensors.get('big');
    if (!info) throw new Error('no tensor');
    await opened.readChunks(info, (bytes, first) => {
      expect(bytes.byteLength).toBeLessThanOrEqual(4 * 1024 * 1024);
      firsts.push(first);
    });
    expect(firsts.length).toBe(3);
    expect(sameBytes(await opened.readTensor('big', 'f32'), data)).toBe(true);
  });

  test('stops when it is told to', async () => {
    const bytes = encodeSafetensors([{ name: 'a', shape: [1], data: Float32Array.of(1) }]);
    const controller = new AbortController();
    const opened = await openSafetensors(bytes, controller.signal);
    controller.abort(new Error('enough'));
    await expect(opened.readTensor('a', 'f32')).rejects.toThrow('enough');
  });

  const bytes = encodeSafetensors([{ name: 'a', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]);
  test.each([
    ['a Uint8Array', () => bytes],
    ['a view into a larger buffer', () => new Uint8Array([9, ...bytes, 9]).subarray(1, 1 + bytes.byteLength)],
    ['an ArrayBuffer', () => bytes.slice().buffer],
    ['a Blob', () => new Blob([bytes.slice()])],
    ['a DataView', () => new DataView(bytes.slice().buffer)],
  ])('from %s', async (_what, make) => {
    const opened = await openSafetensors(make());
    expect(Array.from(await opened.readTensor('a', 'f32'))).toEqual([1, 2, 3, 4]);
  });

  test('nothing else', async () => {
    await expect(openSafetensors({} as Uint8Array)).rejects.toEqual(code('SORA7001'));
  });
});

describe('from disk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sorac-safetensors-'));
  const path = join(folder, 'a b.safetensors');
  const data = Float32Array.of(1, 2, 3, 4);
  writeFileSync(path, encodeSafetensors([{ name: 'a', shape: [4], data }]));
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each([
    ['a path', path],
    ['a file address', pathToFileURL(path).href],
    ['a URL', pathToFileURL(path)],
  ])('by %s', async (_what, source) => {
    const opened = await openSafetensors(source);
    expect(Array.from(await opened.readTensor('a', 'f32'))).toEqual([1, 2, 3, 4]);
    await opened.close();
  });

  test('a folder, a missing file and a device are refused', async () => {
    await expect(openSafetensors(folder)).rejects.toEqual(code('SORA7001'));
    await expect(openSafetensors(join(folder, 'none'))).rejects.toEqual(code('SORA7001'));
    await expect(openSafetensors('/dev/zero')).rejects.toEqual(code('SORA7001'));
  });

  test('a file that shrinks is reported', async () => {
    const shrinking = join(folder, 'shrinking');
    writeFileSync(shrinking, encodeSafetensors([{ name: 'a', shape: [4], data }]));
    const opened = await openSafetensors(shrinking);
    writeFileSync(shrinking, 'short');
    await expect(opened.readTensor('a', 'f32')).rejects.toEqual(code('SORA7007'));
    await opened.close();
  });
});

describe('from a server', () => {
  const data = Float32Array.from({ length: 5_000_000 }, (_, i) => i % 1000);
  const body = encodeSafetensors([{ name: 'a', shape: [5_000_000], data }]);
  const requests: (string | undefined)[] = [];
  let server: Server;
  let address = '';

  beforeAll(async () => {
    server = createServer((request, response) => {
      requests.push(request.headers.range);
      const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
      if (request.url === '/none') response.writeHead(404).end();
      else if (request.url === '/cut') {
        response.writeHead(200, { 'content-length': body.byteLength });
        response.write(body.subarray(0, 1000), () => response.destroy());
      } else if (request.url === '/whole' || !range) response.end(body);
      else {
        const [first, last] = [Number(range[1]), Math.min(Number(range[2]), body.byteLength - 1)];
        response.writeHead(206, { 'content-range': `bytes ${first}-${last}/${body.byteLength}` });
        response.end(body.subarray(first, last + 1));
      }
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((done) => server.close(done)));

  test('by ranges of 8 MiB', async () => {
    requests.length = 0;
    const opened = await openSafetensors(`${address}/ranges`);
    expect(sameBytes(await opened.readTensor('a', 'f32'), data)).toBe(true);
    expect(requests.length).toBe(3);
  });

  test('as a whole when it knows no ranges', async () => {
    requests.length = 0;
    const opened = await openSafetensors(new URL(`${address}/whole`));
    expect(sameBytes(await opened.readTensor('a', 'f32'), data)).toBe(true);
    expect(requests.length).toBe(1);
  });

  test('a missing file, a cut connection and no server are errors', async () => {
    await expect(openSafetensors(`${address}/none`)).rejects.toEqual(code('SORA7001'));
    await expect(openSafetensors(`${address}/cut`)).rejects.toEqual(code('SORA7007'));
    await expect(openSafetensors('http://127.0.0.1:9/')).rejects.toEqual(code('SORA7001'));
  });
});

describe('writing', () => {
  const a = { name: 'a', shape: [2], data: Float32Array.of(1, 2) };
  const b = { name: 'b', shape: [1, 3], data: Uint8Array.of(1, 0, 1), dtype: 'BOOL' as const };
  const c = { name: 'c', shape: [], data: Int32Array.of(-7) };

  test('gives equal bytes for equal tensors in any order, and reads back', async () => {
    const written = encodeSafetensors([a, b, c], { z: '1', y: '"' });
    expect(encodeSafetensors([c, b, a], { y: '"', z: '1' })).toEqual(written);
    const opened = await openSafetensors(written);
    expect([...opened.metadata]).toEqual([
      ['y', '"'],
      ['z', '1'],
    ]);
    expect(Array.from(await opened.readTensor('b', 'bool'))).toEqual([1, 0, 1]);
    expect(Array.from(await opened.readTensor('c', 'i32'))).toEqual([-7]);
    expect(opened.tensors.get('c')?.shape).toEqual([]);
  });

  test('refuses data that does not fill its shape', () => {
    expect(() => encodeSafetensors([{ ...a, shape: [3] }])).toThrow(code('SORA7005'));
  });
});
