/**
 * Makes the generated sources once before any test: the library and the runtime's text (scripts/build.mjs, steps 1 and 2).
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export function setup(): void {
  const script = fileURLToPath(new URL('../../scripts/build.mjs', import.meta.url));
  execFileSync(process.execPath, [script, '--no-emit'], { stdio: 'inherit' });
}
