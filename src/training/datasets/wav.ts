/**
 * WAV to samples in -1..1: PCM of 8, 16, 24 and 32 bits and floats of 32 and 64; several channels become their mean.
 */
import type { SoraError } from '../../support/error.ts';
import { dataFault } from './dataset.ts';

export interface Sound {
  /** [samples] */
  readonly samples: Float32Array;
  /** Per second. */
  readonly sampleRate: number;
}

interface Format {
  readonly kind: 'pcm' | 'float';
  readonly channels: number;
  readonly sampleRate: number;
  readonly bits: number;
}

const kinds: ReadonlyMap<number, Format['kind']> = new Map([
  [1, 'pcm'],
  [3, 'float'],
]);

/** @errors SORA7036 when it is no WAV file, is cut short, or is of a kind that is not read */
export function decodeWav(bytes: Uint8Array, name: string): Sound {
  const fault = (what: string): SoraError => dataFault('SORA7036', name, `not a usable WAV file: ${what}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tag = (at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.byteLength < 12 || tag(0) !== 'RIFF' || tag(8) !== 'WAVE')
    throw fault('its first bytes are not those of WAV');
  let format: Format | undefined;
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    const length = view.getUint32(at + 4, true);
    const start = at + 8;
    const isOpen = length === 0xffffffff && tag(at) === 'data'; // written to a pipe: until the file ends
    const end = isOpen ? bytes.byteLength : start + length;
    if (end > bytes.byteLength) throw fault('it is cut short');
    if (tag(at) === 'fmt ') format = readFormat(view, start, length, fault);
    if (tag(at) === 'data') {
      if (!format) throw fault('samples come before their format');
      return decode(new DataView(view.buffer, view.byteOffset + start, end - start), format, fault);
    }
    at = end + (length % 2);
  }
  throw fault('it has no samples');
}

function readFormat(view: DataView, at: number, length: number, fault: (what: string) => SoraError): Format {
  if (length < 16) throw fault('its format is cut short');
  const written = view.getUint16(at, true);
  // "Extensible": the real number begins the identifier at the end.
  const code = written === 0xfffe && length >= 26 ? view.getUint16(at + 24, true) : written;
  const channels = view.getUint16(at + 2, true);
  const sampleRate = view.getUint32(at + 4, true);
  const bits = view.getUint16(at + 14, true);
  const kind = kinds.get(code);
  if (!kind) throw fault(`samples of kind ${code} (only PCM and floats are read)`);
  if (channels === 0 || sampleRate === 0) throw fault(`${channels} channels at ${sampleRate} Hz`);
  const widths = kind === 'pcm' ? [8, 16, 24, 32] : [32, 64];
  if (!widths.includes(bits)) throw fault(`${kind === 'pcm' ? 'whole numbers' : 'floats'} of ${bits} bits`);
  return { kind, channels, sampleRate, bits };
}

function sampleReader({ kind, bits }: Format): (view: DataView, at: number) => number {
  if (kind === 'float') {
    return bits === 32 ? (view, at) => view.getFloat32(at, true) : (view, at) => view.getFloat64(at, true);
  }
  if (bits === 8) return (view, at) => (view.getUint8(at) - 128) / 128;
  if (bits === 16) return (view, at) => view.getInt16(at, true) / 2 ** 15;
  if (bits === 24) return (view, at) => (view.getUint8(at) + view.getInt16(at + 1, true) * 256) / 2 ** 23;
  return (view, at) => view.getInt32(at, true) / 2 ** 31;
}

function decode(view: DataView, format: Format, fault: (what: string) => SoraError): Sound {
  const read = sampleReader(format);
  const { channels, sampleRate } = format;
  const width = format.bits / 8;
  const frames = Math.floor(view.byteLength / (width * channels));
  const samples = new Float32Array(frames);
  for (let frame = 0; frame < frames; frame++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += read(view, (frame * channels + channel) * width);
    const mean = sum / channels;
    if (!Number.isFinite(mean)) throw fault(`sample ${frame} is NaN or infinity`);
    samples[frame] = mean;
  }
  return { samples, sampleRate };
}
