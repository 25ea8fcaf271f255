import { describe, expect, test } from 'vitest';
import { napWhile, type WaitKind } from '../../../src/runtime/nap.ts';

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

  test('a wait of a kind is looked at seldom up to where the last one was', async () => {
    const turnsOf = async (kind: () => WaitKind): Promise<number> => {
      let turns = 0;
      for (let wait = 0; wait < 20; wait++) {
        let isOpen = true;
        const count = (): void => {
          turns++;
          if (isOpen) setImmediate(count);
        };
        setImmediate(count);
        await napWhile(later(4), kind());
        isOpen = false;
      }
      return turns;
    };
    const one = { last: 0 };
    const apart = await turnsOf(() => ({ last: 0 }));
    const alike = await turnsOf(() => one);
    expect(one.last).toBeGreaterThan(3);
    // Naps of a twentieth of the wait so far are many in its first milliseconds.
    expect(alike).toBeLessThan(0.7 * apart);
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
