// Shared by the peers of gpt2step: their feeds, their `navigator.gpu`, and the measurement.
import { create, globals } from 'webgpu';
import { pastValues, shape, token } from './gpt2step.mjs';

/** [1, heads, past, head] of the keys or values of a layer, which this side of the bench has as [past, width]. */
function byHead(values) {
  const { heads, width, past } = shape;
  const head = width / heads;
  const result = new Float32Array(values.length);
  for (let at = 0; at < values.length; at++) {
    const [row, column] = [Math.floor(at / width), at % width];
    result[(Math.floor(column / head) * past + row) * head + (column % head)] = values[at];
  }
  return result;
}

/** Name, values and shape of each input after the ids. */
export function pastFeeds() {
  const dims = [1, shape.heads, shape.past, shape.width / shape.heads];
  return Array.from({ length: shape.layers }, (_, at) =>
    ['k', 'v'].map((kind, index) => ({ name: `${kind}${at}`, data: byHead(pastValues(at, index)), dims })),
  ).flat();
}

export { shape, token };

/** For packages written for browsers. The object of `create` must live as long as its devices. */
export function browserGpu() {
  Object.assign(globalThis, globals);
  const gpu = create([]);
  globalThis.keepGpu = gpu;
  const navigator = globalThis.navigator ?? {};
  const value = Object.create(navigator, { gpu: { value: gpu }, userAgent: { value: 'Chrome/147' } });
  Object.defineProperty(globalThis, 'navigator', { value, configurable: true, writable: true });
  globalThis.requestAnimationFrame ??= (callback) => setImmediate(callback);
  // Dawn in Node refuses views of shared memory, which threaded wasm hands over.
  const { writeBuffer } = GPUQueue.prototype;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, dataOffset = 0, size = undefined) {
    const shared = ArrayBuffer.isView(data) ? data.buffer : data;
    if (!(shared instanceof SharedArrayBuffer)) {
      return size === undefined
        ? writeBuffer.call(this, buffer, offset, data, dataOffset)
        : writeBuffer.call(this, buffer, offset, data, dataOffset, size);
    }
    const unit = ArrayBuffer.isView(data) ? (data.BYTES_PER_ELEMENT ?? 1) : 1;
    const start = (ArrayBuffer.isView(data) ? data.byteOffset : 0) + dataOffset * unit;
    const length = size === undefined ? data.byteLength - dataOffset * unit : size * unit;
    return writeBuffer.call(this, buffer, offset, new Uint8Array(shared, start, length).slice());
  };
}
