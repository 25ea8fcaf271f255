// `npm run goldens -- DIR [--device D] [--filter TEXT] [--json]`: reference cases through the built command line.
import { runCommandLine } from '../dist/cli/main.js';

process.exitCode = await runCommandLine(['goldens', ...process.argv.slice(2)]);
