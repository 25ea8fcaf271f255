/**
 * PNG and JPEG to tensors [channels, height, width] of f32, through `pngjs` and `jpeg-js`. What a header claims is checked
 * before anything is decoded.
 */
import { constants, inflateSync } from 'node:zlib';
import type { SoraError } from '../../support/error.ts';
import { faultAt, type TensorValue } from './dataset.ts';
import { resize } from './resize.ts';

export interface ImageOptions {
  /** 3 for red, green, blue; 1 for their luminance. 3 unless said otherwise, for files of grey images (IDX) 1. */
  readonly channels?: 1 | 3;
  /** [height, width] that every image is scaled to; without it images keep their sizes. */
  readonly size?: readonly [number, number];
  /** Per channel; values are 0..1 before (value - mean) / std. */
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

const maximumPixels = 64 * 1024 * 1024;

const signatures = { png: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], jpeg: [0xff, 0xd8, 0xff] } as const;

function formatOf(bytes: Uint8Array): keyof typeof signatures | undefined {
  const has = (signature: readonly number[]): boolean => signature.every((byte, at) => bytes[at] === byte);
  if (has(signatures.png)) return 'png';
  return has(signatures.jpeg) ? 'jpeg' : undefined;
}

export function isImage(bytes: Uint8Array): boolean {
  return formatOf(bytes) !== undefined;
}

/**
 * @param where the image stands, for messages
 * @errors SORA7035 when it is no image, is cut short or is beyond 64 Mi pixels
 */
export async function decodeImage(bytes: Uint8Array, where: string, options: ImageOptions = {}): Promise<TensorValue> {
  const format = formatOf(bytes);
  if (format === undefined) throw refuse(where, 'neither a PNG nor a JPEG');
  const { width, height, data } = await decode(format, bytes, where);
  if (data.length !== width * height * 4) throw refuse(where, 'it is cut short');
  return imageTensor(planes(data, width, height, options.channels ?? 3), options);
}

function refuse(where: string, what: string, cause?: unknown): SoraError {
  return faultAt('SORA7035', where, `not a usable image: ${what}`, { cause });
}

interface Pixels {
  readonly width: number;
  readonly height: number;
  /** Red, green, blue and alpha by turns. */
  readonly data: Uint8Array;
}

async function decode(format: keyof typeof signatures, bytes: Uint8Array, where: string): Promise<Pixels> {
  if (format === 'png') {
    checkPng(bytes, where);
    const { PNG } = await import('pngjs');
    try {
      return PNG.sync.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    } catch (cause) {
      throw refuse(where, cause instanceof Error ? cause.message : String(cause), cause);
    }
  }
  const { decode: decodeJpeg } = await import('jpeg-js').then((module) => module.default ?? module);
  try {
    return decodeJpeg(bytes, {
      useTArray: true,
      formatAsRGBA: true,
      tolerantDecoding: false,
      maxResolutionInMP: maximumPixels / 1e6,
      maxMemoryUsageInMB: 1024,
    });
  } catch (cause) {
    throw refuse(where, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

/** Size, chunks and, for interlaced images, the length of the compressed data, which the decoder would not bound. */
function checkPng(bytes: Uint8Array, where: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < 33 || view.getUint32(12) !== 0x49484452) throw refuse(where, 'a PNG without a header');
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (width === 0 || height === 0) throw refuse(where, `a PNG of ${width} x ${height} pixels`);
  if (width * height > maximumPixels) {
    throw refuse(where, `${width} x ${height} pixels, at most ${maximumPixels} allowed`);
  }
  const data: Uint8Array[] = [];
  let isEnded = false;
  for (let at = 8; at + 12 <= bytes.byteLength && !isEnded; ) {
    const length = view.getUint32(at);
    const type = view.getUint32(at + 4);
    if (at + 12 + length > bytes.byteLength) break;
    if (type === 0x49444154) data.push(bytes.subarray(at + 8, at + 8 + length));
    isEnded = type === 0x49454e44;
    at += 12 + length;
  }
  if (!isEnded) throw refuse(where, 'it is cut short');
  if (bytes[28] === 0) return;
  // Seven passes of at most eight bytes a pixel, with a filter byte per row.
  const most = width * height * 8 + 8 * (height + 8) * 7;
  try {
    inflateSync(Buffer.concat(data), { maxOutputLength: most, finishFlush: constants.Z_SYNC_FLUSH });
  } catch (cause) {
    throw refuse(where, 'its data does not fit its size', cause);
  }
}

/** Channels one after the other, 0..1; luminance as of ITU-R BT.601. Alpha is left out. */
function planes(data: Uint8Array, width: number, height: number, channels: 1 | 3): TensorValue {
  const area = width * height;
  const values = new Float32Array(channels * area);
  for (let at = 0; at < area; at++) {
    const [red = 0, green = 0, blue = 0] = [data[at * 4], data[at * 4 + 1], data[at * 4 + 2]];
    if (channels === 1) values[at] = (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
    else {
      values[at] = red / 255;
      values[area + at] = green / 255;
      values[2 * area + at] = blue / 255;
    }
  }
  return { shape: [channels, height, width], data: values };
}

/** Scales and normalizes [channels, height, width] with values in 0..1. */
export function imageTensor(image: TensorValue, options: ImageOptions): TensorValue {
  const { size, mean = [], std = [] } = options;
  const scaled = size === undefined ? image : resize(image, size);
  const [channels = 0, height = 0, width = 0] = scaled.shape;
  if (mean.length === 0 && std.length === 0) return scaled;
  const area = height * width;
  const data = scaled.data.map((value, at) => {
    const channel = Math.min(channels - 1, Math.floor(at / area));
    return (value - (mean[channel] ?? mean[0] ?? 0)) / (std[channel] ?? std[0] ?? 1);
  });
  return { shape: scaled.shape, data };
}
