/**
 * Images, IDX files and sounds: values against their definition, damaged and hostile files end in an error with a code.
 */
import { deflateSync, gzipSync } from 'node:zlib';
import jpeg from 'jpeg-js';
import { PNG } from 'pngjs';
import { describe, expect, test } from 'vitest';
import { decodeImage } from '../../../src/training/datasets/images.ts';
import { openDataset } from '../../../src/training/datasets/open.ts';
import { resize } from '../../../src/training/datasets/resize.ts';
import { decodeWav } from '../../../src/training/datasets/wav.ts';
import { fails, fileWith, folderWith, rowsOf } from './kit.ts';

/** Any two pixels differ in some channel. */
const pixel = (at: number, channel: number): number => (at * 53 + channel * 91) % 256;

function png(width: number, height: number): Buffer {
  const image = new PNG({ width, height });
  for (let at = 0; at < width * height; at++) {
    for (let channel = 0; channel < 3; channel++) image.data[at * 4 + channel] = pixel(at, channel);
    image.data[at * 4 + 3] = 255;
  }
  return PNG.sync.write(image);
}

function chunk(type: string, body: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  // The decoder checks the sum of each chunk; nothing here gets so far.
  return Buffer.concat([length, Buffer.from(type, 'latin1'), body, Buffer.alloc(4)]);
}

function hostilePng(width: number, height: number, interlace: number, data: Uint8Array): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 6, 0, 0, interlace], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]);
}

describe('images', () => {
  test('pixels become planes of 0..1', async () => {
    const image = await decodeImage(png(5, 3), 'x');
    expect(image.shape).toEqual([3, 3, 5]);
    const expected = [0, 1, 2].flatMap((channel) => Array.from({ length: 15 }, (_, at) => pixel(at, channel) / 255));
    expect([...image.data]).toEqual([...Float32Array.from(expected)]);
  });

  test('one channel is luminance; mean and std are taken per channel', async () => {
    const grey = await decodeImage(png(2, 1), 'x', { channels: 1 });
    expect(grey.shape).toEqual([1, 1, 2]);
    expect(grey.data[1]).toBeCloseTo((0.299 * pixel(1, 0) + 0.587 * pixel(1, 1) + 0.114 * pixel(1, 2)) / 255, 6);
    const scaled = await decodeImage(png(2, 1), 'x', { mean: [0.5, 0.25, 0], std: [0.5, 1, 2] });
    const [first, second, third] = [0, 1, 2].map((channel) => pixel(1, channel) / 255);
    expect([scaled.data[1], scaled.data[3], scaled.data[5]]).toEqual([
      expect.closeTo(((first ?? 0) - 0.5) / 0.5, 6),
      expect.closeTo((second ?? 0) - 0.25, 6),
      expect.closeTo((third ?? 0) / 2, 6),
    ]);
  });

  test('JPEG is near what was encoded', async () => {
    const data = Buffer.alloc(16 * 16 * 4, 200);
    const image = await decodeImage(jpeg.encode({ width: 16, height: 16, data }, 95).data, 'x');
    expect(image.shape).toEqual([3, 16, 16]);
    expect(Math.max(...[...image.data].map((value) => Math.abs(value - 200 / 255)))).toBeLessThan(0.02);
  });

  // Pillow 12.3, mode F, Image.resize(…, BILINEAR).
  test.each<[readonly [number, number], readonly number[]]>([
    [
      [2, 3],
      [0.290298, 0.482248, 0.523759, 0.523351, 0.450121, 0.420677],
    ],
    [
      [3, 9],
      [
        0.0352941, 0.138749, 0.388422, 0.576222, 0.367507, 0.3845, 0.562714, 0.567507, 0.29972, 0.366013, 0.494118,
        0.425514, 0.33222, 0.586057, 0.631808, 0.528928, 0.500508, 0.629194, 0.496919, 0.649673, 0.510675, 0.325739,
        0.620728, 0.249051, 0.357298, 0.419608, 0.20112,
      ],
    ],
    [
      [7, 2],
      [
        0.263384, 0.398723, 0.331705, 0.505192, 0.390789, 0.578607, 0.410397, 0.562517, 0.564328, 0.480633, 0.528695,
        0.379285, 0.399088, 0.287825,
      ],
    ],
  ])('scales to %j as Pillow does', (size, expected) => {
    const data = Float32Array.from({ length: 35 }, (_, at) => ((at * at * 37) % 256) / 255);
    const scaled = resize({ shape: [1, 5, 7], data }, size);
    expect(scaled.shape).toEqual([1, ...size]);
    expect([...scaled.data]).toEqual(expected.map((value) => expect.closeTo(value, 5)));
  });

  test.each([
    ['64 Gi pixels', hostilePng(2 ** 18, 2 ** 18, 0, deflateSync(Buffer.alloc(10))), 'at most'],
    ['data that unpacks to 64 MB, interlaced', hostilePng(4, 4, 1, deflateSync(Buffer.alloc(2 ** 26))), 'does not fit'],
    ['no pixels', hostilePng(0, 4, 0, deflateSync(Buffer.alloc(10))), '0 x 4'],
    ['half a file', png(20, 20).subarray(0, 60), 'cut short'],
    ['text', Buffer.from('<svg/>'), 'neither a PNG nor a JPEG'],
    ['a JPEG without an image', Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0]), 'not a usable image'],
  ])('%s is refused', (_, bytes, message) => fails(() => decodeImage(bytes, 'x'), 'SORA7035', message));

  test('damaged files end in that error or in an image', async () => {
    const files = [png(12, 9), jpeg.encode({ width: 16, height: 16, data: Buffer.alloc(1024, 77) }, 80).data];
    let refused = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const bytes = Uint8Array.from(files[seed % 2] ?? []);
      for (let hit = 0; hit < 3; hit++)
        bytes[8 + ((seed * 7919 + hit * 104729) % (bytes.length - 8))] = (seed * 31 + hit) % 256;
      try {
        await decodeImage(bytes, 'x');
      } catch (error) {
        refused++;
        expect((error as { code?: string }).code, `seed ${seed}: ${error}`).toBe('SORA7035');
      }
    }
    expect(refused).toBeGreaterThan(50);
  });

  test('subfolders are classes', async () => {
    const folder = folderWith({ 'dog/b.png': png(2, 2), 'dog/note.md': '', 'cat/a.PNG': png(1, 2), '.git/x.png': '' });
    const data = await openDataset(folder);
    expect(Object.fromEntries(data.columns)).toEqual({ image: 'tensor', label: 'text', file: 'text' });
    expect((await rowsOf(data)).map(({ label, file }) => [label, file])).toEqual([
      ['cat', 'cat/a.PNG'],
      ['dog', 'dog/b.png'],
    ]);
    expect(data.where(1)).toMatch(/dog\/b\.png`$/);
    const flat = await openDataset(folderWith({ 'b.png': png(2, 2) }), { images: { size: [4, 6], channels: 1 } });
    expect([...(await flat.row(0)).keys()]).toEqual(['image', 'file']);
    expect((await flat.row(0)).get('image')).toMatchObject({ shape: [1, 4, 6] });
    await fails(() => openDataset(folderWith({ 'b.png': '', 'cat/a.png': '' })), 'SORA7030', 'lies in no class');
  });

  test('a broken image is named when its row is read', async () => {
    const data = await openDataset(folderWith({ 'a/x.png': png(2, 2), 'a/y.png': 'no' }));
    await data.row(0);
    await fails(() => data.row(1), 'SORA7035', '`a/y.png`: not a usable image');
  });
});

function idx(type: number, shape: readonly number[], data: Uint8Array): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  shape.forEach((dim, axis) => {
    header.writeUInt32BE(dim, 4 + 4 * axis);
  });
  return Buffer.concat([header, data]);
}

describe('idx', () => {
  const images = idx(8, [3, 2, 2], Uint8Array.of(0, 51, 102, 255, 1, 2, 3, 4, 5, 6, 7, 8));
  const labels = idx(8, [3], Uint8Array.of(7, 0, 9));

  test.each([
    ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte', false],
    ['train-images.idx3-ubyte.gz', 'train-labels.idx1-ubyte.gz', true],
  ])('%s with its labels', async (imageName, labelName, isZipped) => {
    const pack = (bytes: Buffer): Uint8Array => (isZipped ? gzipSync(bytes) : bytes);
    const folder = folderWith({
      [imageName]: pack(images),
      [labelName]: pack(labels),
      't10k-images-idx3-ubyte': idx(8, [1, 1, 1], Uint8Array.of(255)),
      't10k-labels-idx1-ubyte': idx(8, [1], Uint8Array.of(3)),
    });
    const data = await openDataset(folder);
    expect([data.length, ...data.columns]).toEqual([3, ['image', 'tensor'], ['label', 'integer']]);
    const row = await data.row(0);
    expect(row.get('label')).toBe(7);
    expect(row.get('image')).toEqual({ shape: [1, 2, 2], data: Float32Array.of(0, 51 / 255, 102 / 255, 1) });
    const test = await openDataset(folder, { part: 'test' });
    expect(await rowsOf(test)).toEqual([{ image: { shape: [1, 1, 1], data: Float32Array.of(1) }, label: 3 }]);
    await data.close();
    await test.close();
  });

  test('other types are big-endian', async () => {
    const shorts = await openDataset(fileWith('a-idx2-short', idx(0x0b, [1, 2], Uint8Array.of(0xff, 0xfe, 1, 0))));
    expect(await rowsOf(shorts)).toEqual([{ data: { shape: [2], data: Int32Array.of(-2, 256) } }]);
    const floats = await openDataset(
      fileWith('a-idx1-float', idx(0x0d, [2], Uint8Array.of(0x3f, 0x80, 0, 0, 0x7f, 0xc0, 0, 0))),
    );
    expect((await floats.row(0)).get('data')).toBe(1);
    await fails(() => floats.row(1), 'SORA7034', 'item 2 has NaN');
    await shorts.close();
    await floats.close();
  });

  test.each([
    ['cut short', images.subarray(0, 20), '20 bytes, its header asks for 28'],
    ['too long', Buffer.concat([images, images]), '28'],
    ['of lengths beyond any file', idx(8, [2 ** 31, 2 ** 31], Uint8Array.of(1)), 'at most 4 GiB'],
    ['of no axes', idx(8, [], Uint8Array.of(1)), '0 axes'],
    ['of no known type', idx(3, [1], Uint8Array.of(1)), 'not those of IDX'],
    ['of a few bytes', Buffer.from([0, 0, 8, 3, 0]), 'inside of its header'],
  ])('a file %s is refused', async (_, bytes, message) => {
    await fails(() => openDataset(fileWith('a-idx3-ubyte', bytes)), 'SORA7034', message);
    await fails(() => openDataset(fileWith('a-idx3-ubyte.gz', gzipSync(bytes))), 'SORA7034', message);
  });

  test('a packed file of a gigabyte of zeros is not unpacked, a cut one is refused', async () => {
    const zeros = gzipSync(Buffer.concat([images, Buffer.alloc(2 ** 26)]));
    await fails(() => openDataset(fileWith('a-idx3-ubyte.gz', zeros)), 'SORA7034', 'unpacks to more than the 28 bytes');
    const cut = gzipSync(images).subarray(0, 30);
    await fails(() => openDataset(fileWith('a-idx3-ubyte.gz', cut)), 'SORA7034', 'cannot be unpacked');
  });

  test('labels of another number are refused', () => {
    const folder = folderWith({ 'images-idx3-ubyte': images, 'labels-idx1-ubyte': idx(8, [2], Uint8Array.of(1, 2)) });
    return fails(() => openDataset(folder), 'SORA7034', '3 items, but `labels-idx1-ubyte` has labels of the shape [2]');
  });
});

function wav(kind: number, channels: number, bits: number, data: Uint8Array, extensible = false): Buffer {
  const format = Buffer.alloc(extensible ? 40 : 16);
  format.writeUInt16LE(extensible ? 0xfffe : kind, 0);
  format.writeUInt16LE(channels, 2);
  format.writeUInt32LE(8000, 4);
  format.writeUInt16LE(bits, 14);
  if (extensible) format.writeUInt16LE(kind, 24);
  const part = (tag: string, body: Uint8Array): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(body.length);
    return Buffer.concat([Buffer.from(tag, 'latin1'), length, body, Buffer.alloc(body.length % 2)]);
  };
  // A part of odd length that nobody knows lies before.
  const body = Buffer.concat([
    Buffer.from('WAVE'),
    part('LIST', Buffer.from('abc')),
    part('fmt ', format),
    part('data', data),
  ]);
  return part('RIFF', body);
}

describe('sounds', () => {
  const bytesOf = (array: ArrayBufferView): Uint8Array =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

  test.each([
    ['8 bits', wav(1, 1, 8, Uint8Array.of(0, 128, 192)), [-1, 0, 0.5]],
    ['16 bits', wav(1, 1, 16, bytesOf(Int16Array.of(-32768, 0, 16384))), [-1, 0, 0.5]],
    ['24 bits', wav(1, 1, 24, Uint8Array.of(0, 0, 0x80, 1, 0, 0, 0, 0, 0x40)), [-1, 2 ** -23, 0.5]],
    ['32 bits', wav(1, 1, 32, bytesOf(Int32Array.of(-(2 ** 31), 2 ** 30))), [-1, 0.5]],
    ['floats', wav(3, 1, 32, bytesOf(Float32Array.of(-1, 0.25))), [-1, 0.25]],
    ['floats of 64 bits', wav(3, 1, 64, bytesOf(Float64Array.of(-1, 0.25))), [-1, 0.25]],
    ['two channels', wav(1, 2, 16, bytesOf(Int16Array.of(16384, 0, -16384, -16384))), [0.25, -0.5]],
    ['extensible', wav(1, 1, 16, bytesOf(Int16Array.of(8192)), true), [0.25]],
  ])('%s', (_, bytes, expected) => {
    const { samples, sampleRate } = decodeWav(bytes, 'x');
    expect([sampleRate, ...samples]).toEqual([8000, ...expected]);
  });

  test.each([
    ['no WAV', Buffer.from('OggS'), 'first bytes'],
    ['cut short', wav(1, 1, 16, new Uint8Array(40)).subarray(0, 70), 'cut short'],
    ['without samples', wav(1, 1, 16, new Uint8Array(0)).subarray(0, 48), 'no samples'],
    ['of A-law', wav(6, 1, 8, Uint8Array.of(1)), 'kind 6'],
    ['of 12 bits', wav(1, 1, 12, Uint8Array.of(1)), '12 bits'],
    ['of no channels', wav(1, 0, 16, Uint8Array.of(1, 2)), '0 channels'],
    ['with NaN', wav(3, 1, 32, bytesOf(Float32Array.of(Number.NaN))), 'sample 0 is NaN'],
  ])('a file %s is refused', (_, bytes, message) => fails(() => decodeWav(bytes, 'x'), 'SORA7036', message));

  test('damaged files end in that error or in a sound', () => {
    const whole = wav(1, 2, 16, new Uint8Array(64));
    for (let seed = 1; seed <= 500; seed++) {
      const bytes = Uint8Array.from(whole.subarray(0, 20 + ((seed * 13) % whole.length)));
      for (let hit = 0; hit < 4; hit++)
        bytes[(seed * 7919 + hit * 104729) % bytes.length] = (seed * 31 + hit * 7) % 256;
      try {
        expect(decodeWav(bytes, 'x').samples.every(Number.isFinite)).toBe(true);
      } catch (error) {
        expect((error as { code?: string }).code, `seed ${seed}: ${error}`).toBe('SORA7036');
      }
    }
  });

  test('subfolders are classes; another rate is refused', async () => {
    const folder = folderWith({
      'yes/a.wav': wav(1, 1, 8, Uint8Array.of(128, 128)),
      'no/b.WAV': wav(1, 1, 8, Uint8Array.of(128)),
    });
    expect(await rowsOf(await openDataset(folder))).toEqual([
      { audio: { shape: [1], data: Float32Array.of(0) }, sample_rate: 8000, label: 'no', file: 'no/b.WAV' },
      { audio: { shape: [2], data: Float32Array.of(0, 0) }, sample_rate: 8000, label: 'yes', file: 'yes/a.wav' },
    ]);
    const other = await openDataset(folder, { sounds: { sampleRate: 16000 } });
    await fails(() => other.row(0), 'SORA7036', '8000 samples a second in place of 16000');
  });
});
