#!/usr/bin/env node
// Starts the compiled command line. In a checkout that was not built yet it says how to build it.
import { existsSync } from 'node:fs';

const main = new URL('../dist/cli/main.js', import.meta.url);
if (existsSync(main)) {
  const { runCommandLine } = await import(main.href);
  process.exitCode = await runCommandLine(process.argv.slice(2));
} else {
  process.stderr.write('sorac: dist/ is missing: this checkout is not built yet\n  next: npm run build\n');
  process.exitCode = 3;
}
