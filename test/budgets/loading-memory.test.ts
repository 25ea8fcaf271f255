/**
 * Memory of the host while stories15M is loaded on lavapipe: 1.2 times the largest tensor and 100 MB, over what the process had
 * before. Weights that have arrived lie in the device's memory, which is the process's here, and do not count.
 */
import { expect, test } from 'vitest';
import { isHere, withStories } from './stories.ts';

interface Run {
  /** Bytes. */
  readonly most: number;
  readonly largest: number;
}

const script = `
import { readFileSync } from 'node:fs';
import { weights as tensors } from './llama.mjs';
const held = () => {
  const status = readFileSync('/proc/self/status', 'utf8');
  const kilobytes = (name) => Number(new RegExp(name + ':\\\\s+(\\\\d+)').exec(status)?.[1] ?? 0);
  return 1024 * (kilobytes('RssAnon') + kilobytes('RssShmem'));
};
const before = held();
let [loaded, most] = [0, 0];
const look = () => {
  most = Math.max(most, held() - before - loaded);
};
const timer = setInterval(look, 1);
const onProgress = (progress) => {
  look();
  loaded = progress.loaded;
};
const model = await load({ weights, adapter: 'lavapipe', onProgress });
look();
clearInterval(timer);
const bytes = tensors.map(({ shape }) => 4 * shape.reduce((product, size) => product * size, 1));
console.log(JSON.stringify({ most, largest: Math.max(...bytes) }));
await model.close();
`;

test.skipIf(!isHere)('loading stories15M takes little beside the weights', { timeout: 200_000 }, () => {
  withStories((measure) => {
    const runs: Run[] = [];
    const isHeld = (): boolean => runs.some(({ most, largest }) => most < 1.2 * largest + 100e6);
    // When garbage is collected is not ours; what we hold is held in every run.
    while (runs.length < 3 && !isHeld()) runs.push(measure<Run>(script));
    const told = runs.map(({ most }) => `${(most / 1e6).toFixed(0)} MB`).join(', ');
    console.log(
      `most memory while loading: ${told}; the largest tensor is ${((runs[0]?.largest ?? 0) / 1e6).toFixed(0)} MB`,
    );
    expect(runs[0]?.largest).toBe(32000 * 288 * 4);
    expect(isHeld(), told).toBe(true);
  });
});
