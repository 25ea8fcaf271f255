/**
 * From `load` to the first token of stories15M on lavapipe, in a new process without the driver's disk cache. The promised figure
 * (3 s) is a wall time of a quiet machine and is held with `SORAC_BUDGET_STRICT=1`. Tests run beside other processes, so they hold
 * one and a half times that in time of the processor.
 */
import { expect, test } from 'vitest';
import { isHere, withStories } from './stories.ts';

const isStrict = process.env.SORAC_BUDGET_STRICT === '1';

interface Run {
  readonly token: number;
  /** Milliseconds on the clock and of the processor. */
  readonly wall: number;
  readonly processor: number;
}

const script = (warmup: boolean) => `
const [start, before] = [performance.now(), process.cpuUsage()];
const model = await load({ weights, adapter: 'lavapipe', warmup: ${warmup} });
const session = model.session();
const { value } = await session.generate([1, 9038, 2501, 263, 931], { maxTokens: 1 }).next();
const { user, system } = process.cpuUsage(before);
console.log(JSON.stringify({ token: value.token, wall: performance.now() - start, processor: (user + system) / 1000 }));
await model.close();
`;

test.skipIf(!isHere)('the first token of stories15M, with and without warm-up', { timeout: 400_000 }, () => {
  withStories((measure) => {
    const cold: Run[] = [];
    const warm: Run[] = [];
    const least = (runs: readonly Run[], of: 'wall' | 'processor') => Math.min(...runs.map((run) => run[of]));
    const isHeld = (): boolean =>
      [cold, warm].every((runs) => (isStrict ? least(runs, 'wall') < 3000 : least(runs, 'processor') < 4500)) &&
      least(warm, 'processor') / least(cold, 'processor') < 1.3;
    // Taken in turns, so that a busy moment of the machine meets both; the best of three.
    for (let round = 0; round < 3; round++) {
      const environment = { MESA_SHADER_CACHE_DISABLE: 'true' };
      cold.push(measure<Run>(script(false), environment));
      warm.push(measure<Run>(script(true), environment));
      if (isHeld()) break;
    }
    const shown = (runs: readonly Run[]): string =>
      runs.map(({ wall, processor }) => `${wall.toFixed(0)} ms (processor ${processor.toFixed(0)})`).join(', ');
    const told = `cold ${shown(cold)}; warmed ${shown(warm)}`;
    console.log(`first token: ${told}`);
    expect(new Set([...cold, ...warm].map(({ token }) => token)).size).toBe(1);
    // Warming up compiles what the first token needs and leaves the rest.
    expect(isHeld(), told).toBe(true);
  });
});
