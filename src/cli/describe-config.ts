/**
 * The sizes that a model was compiled with, in one line: a forgotten `--config` shows at once.
 */
import { basename } from 'node:path';
import type { Program } from '../ir/graph.ts';

/** Whole numbers shown; the header of the written module has all values. */
const SHOWN = 8;

/**
 * `GPT2: vocab 50257, hidden 768, layers 12, … (12 of 14 from config.json)`.
 *
 * @returns undefined for a model whose configs read no config file
 */
export function describeConfig(
  { config, configSources = {} }: Pick<Program, 'config' | 'configSources'>,
  sourceName: string,
  configPath: string | undefined,
): string | undefined {
  const paths = Object.keys(configSources);
  if (paths.length === 0) return undefined;
  const sizes = paths.filter((path) => Number.isInteger(config[path]));
  const shown: string[] = [];
  let last = '';
  for (const path of sizes.slice(0, SHOWN)) {
    const at = path.indexOf('.');
    const [name, field] = [path.slice(0, at), path.slice(at + 1)];
    shown.push(`${name === last ? '' : `${name}: `}${field} ${config[path]}`);
    last = name;
  }
  if (paths.length > shown.length) shown.push('…');
  return `${shown.join(', ')} (${origin(Object.values(configSources), sourceName, configPath)})`;
}

function origin(sources: readonly string[], sourceName: string, configPath: string | undefined): string {
  const defaults = `defaults of ${sourceName}`;
  if (configPath === undefined) return `${defaults}; --config takes those of a checkpoint`;
  const name = basename(configPath);
  const given = sources.filter((source) => source === 'given').length;
  if (given === 0) return `${defaults}: ${name} has none of its keys`;
  return given === sources.length ? `from ${name}` : `${given} of ${sources.length} from ${name}, else ${defaults}`;
}
