/**
 * A process of its own that loads stories15M on lavapipe: what it measures is cold, and nothing of the test runner is in it. The
 * weights are those that `npm run demo:stories` has converted.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadSource } from '../../src/cli/source-files.ts';
import { emitModule } from '../../src/codegen/module/index.ts';
import { compile } from '../../src/compile.ts';
import { gpuDevices } from '../support/devices.ts';

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const weights = at('examples/stories/generated/model.safetensors');

export const isHere = existsSync(weights) && gpuDevices.includes('lavapipe') && process.platform === 'linux';

/** What `script` prints as JSON; it finds `load` and `weights` in scope. */
export type Measure = <Result>(script: string, environment?: Readonly<Record<string, string>>) => Result;

/** Compiles the model into a folder that is gone after `use`. */
export function withStories<Value>(use: (measure: Measure) => Value): Value {
  const folder = mkdtempSync(join(tmpdir(), 'sorac-stories-'));
  try {
    const config = JSON.parse(readFileSync(at('examples/stories/generated/config.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    const { value } = compile({ ...loadSource(at('models/llama/llama.sora')), config });
    if (!value) throw new Error('models/llama does not compile');
    writeFileSync(join(folder, 'llama.mjs'), emitModule(value.artifact, { fileName: 'llama.sora' }).js);
    return use((script, environment = {}) => {
      const text = `const weights = ${JSON.stringify(weights)};\nconst { load } = await import('./llama.mjs');\n${script}`;
      writeFileSync(join(folder, 'measure.mjs'), text);
      const done = spawnSync(process.execPath, [join(folder, 'measure.mjs')], {
        // Here are the packages.
        cwd: at('.'),
        env: { ...process.env, ...environment },
        encoding: 'utf8',
        timeout: 120_000,
      });
      if (done.status !== 0) throw new Error(`the process ended with ${done.status}: ${done.stderr}`);
      return JSON.parse(done.stdout) as never;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
