import { describe, expect, test } from 'vitest';
import { napWhile } from '../../../src/runtime/nap.ts';

const later = (milliseconds: number) => new Promise<string>((resolve) => setTimeout(resolve, milliseconds, 'done'));

describe('waiting with naps', () => {
  test('gives the value, and passes a rejection on', async () => {
    expect(await napWhile(later(5))).toBe('done');
    await expect(napWhile(Promise.reject(new Error('lost')))).rejects.toThrow('lost');
  });

  test('leaves most of the core free while a poller keeps the event loop busy', async () => {
    let open = true;
    const poll = (): void => {
      if (open) setImmediate(poll);
    };
    setImmediate(poll);
    const before = process.cpuUsage();
    const start = performance.now();
    await napWhile(later(300));
    const waited = performance.now() - start;
    open = false;
    const used = process.cpuUsage(before);
    // A busy poller alone uses all of the time; naps of 1 ms between polls leave well under half.
    expect((used.user + used.system) / 1000).toBeLessThan(0.6 * waited);
  });

  test('other work goes on meanwhile', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    await napWhile(later(200));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(10);
  });

  test('waits may overlap and come one after another', async () => {
    expect(await Promise.all([napWhile(later(20)), napWhile(later(5)), napWhile(later(40))])).toEqual([
      'done',
      'done',
      'done',
    ]);
    expect(await napWhile(later(5))).toBe('done');
  });
});
