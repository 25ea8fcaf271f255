/**
 * Recipes of `sorac compress`: what stands for the `quantize` and `prune` blocks of a file. A recipe is a file with such blocks, or
 * a word: `int8`, `int4:64:gptq`, `nm24`, `heads50+int8`.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Program } from '../../ir/graph.ts';
import { inputsOf, transposedMatrices } from '../../ir/summed-axis.ts';
import { usageError } from '../exit-codes.ts';
import { otherTensors, prunableParts, rowParts, stacksOf } from './prunable.ts';

export interface Recipe {
  /** As it was asked for, for tables. */
  readonly name: string;
  /** Use blocks; undefined: those of the file itself. */
  readonly text: string | undefined;
  /** The file that it was read from. */
  readonly path?: string;
}

/** What one word of a recipe adds to the blocks. */
interface Rule {
  readonly block: 'quantize' | 'prune';
  readonly text: string;
}

const calibrations = ['minmax', 'mse', 'percentile', 'gptq'] as const;
const all = '"**"';

/** `int4:64:asym:gptq`: the parts behind the first in any order. */
function formatRule(kind: string, given: readonly string[], word: string): Rule {
  const settings: string[] = [];
  const add = (name: string, value: string): void => {
    if (settings.some((setting) => setting.startsWith(`${name}:`)))
      throw usageError(`\`${word}\` says \`${name}\` twice`);
    settings.push(`${name}: ${value}`);
  };
  for (const part of given) {
    if (/^[1-9]\d{0,8}$/.test(part)) add('group', part);
    else if (kind === 'int4' && (part === 'sym' || part === 'asym')) add('symmetric', String(part === 'sym'));
    else if (calibrations.some((name) => name === part)) add('calibrate', part);
    else
      throw usageError(
        `\`${part}\` of \`${word}\` is not known`,
        `a group size, ${kind === 'int4' ? '`sym`, `asym`, ' : ''}or one of ${calibrations.map((name) => `\`${name}\``).join(', ')}`,
      );
  }
  return { block: 'quantize', text: `${all}: ${kind}${settings.length === 0 ? '' : `(${settings.join(', ')})`}` };
}

/**
 * Globs of what `nmXY` means: matrices with rows of whole groups. A `prune` block has no way to take weights out again, so they are named
 * where `**` would be too many.
 */
function matricesOf(program: Program, of: number): string {
  const others = new Set(otherTensors(program));
  const transposed = transposedMatrices(program.entries.map(({ graph }) => graph));
  const matrices = program.weights.filter(({ type }) => type.shape.length > 1);
  const wanted = matrices.filter(
    ({ path, type }) => !others.has(path) && (inputsOf(type, transposed.has(path)) ?? 1) % of === 0,
  );
  return wanted.length === matrices.length ? all : wanted.map(({ path }) => JSON.stringify(path)).join(', ');
}

interface Word {
  readonly pattern: RegExp;
  readonly example: string;
  rule(match: RegExpExecArray, given: readonly string[], word: string, program: Program): Rule;
}

/** Words without settings behind a colon. */
function plain(word: string, given: readonly string[], rule: Rule): Rule {
  if (given.length > 0) throw usageError(`\`${word}\` takes nothing behind a colon`);
  return rule;
}

function share(percent: string | undefined, word: string): string {
  const kept = Number(percent);
  if (kept >= 1 && kept <= 99) return String(kept / 100);
  throw usageError(`\`${word}\` keeps ${percent} %`, '1 to 99: `heads50` keeps half of the heads');
}

const words: readonly Word[] = [
  {
    pattern: /^(int8|int4)$/,
    example: 'int4:64:gptq',
    rule: ([, kind = ''], given, word) => formatRule(kind, given, word),
  },
  {
    pattern: /^f16$/,
    example: 'f16',
    rule: (_, given, word) => plain(word, given, { block: 'quantize', text: `${all}: f16` }),
  },
  {
    pattern: /^nm([1-9])(\d)$/,
    example: 'nm24',
    rule([, keep, of], given, word, program) {
      const matrices = matricesOf(program, Number(of));
      if (matrices === '')
        throw usageError(`\`${word}\`: no matrix of \`${program.name}\` has rows of whole groups of ${of}`);
      return plain(word, given, { block: 'prune', text: `${matrices}: nm(${keep}, ${of})` });
    },
  },
  {
    pattern: /^(heads|neurons)(\d{1,3})$/,
    example: 'heads50',
    rule([, units = '', percent], given, word, program) {
      const kept = share(percent, word);
      const parts = prunableParts(program, units === 'heads' ? 'heads' : 'neurons');
      if (parts.length === 0) throw usageError(`\`${word}\`: no ${units} of \`${program.name}\` can be taken out`);
      const names = parts.map((part) => JSON.stringify(part)).join(', ');
      return plain(word, given, { block: 'prune', text: `${units} ${names}: keep ${kept}` });
    },
  },
  {
    pattern: /^rows(\d{1,3})$/,
    example: 'rows25',
    rule([, percent], given, word, program) {
      const kept = share(percent, word);
      const parts = rowParts(program);
      if (parts.length === 0)
        throw usageError(`\`${word}\`: \`${program.name}\` has no table whose rows can be taken out`);
      const names = parts.map((part) => JSON.stringify(part)).join(', ');
      return plain(word, given, { block: 'prune', text: `rows ${names}: keep ${kept} by activation` });
    },
  },
  {
    pattern: /^layers(\d{1,3})$/,
    example: 'layers50',
    rule([, percent], given, word, program) {
      const kept = share(percent, word);
      const parts = stacksOf(program);
      if (parts.length === 0) throw usageError(`\`${word}\`: \`${program.name}\` has no numbered layers`);
      const names = parts.map((part) => JSON.stringify(part)).join(', ');
      return plain(word, given, { block: 'prune', text: `layers ${names}: keep ${kept}` });
    },
  },
];

/** Use blocks of a word for a model. */
export function blocksOf(word: string, program: Program): string {
  const rules = word.split('+').map((part) => {
    const [name = '', ...given] = part.split(':');
    for (const known of words) {
      const match = known.pattern.exec(name);
      if (match) return known.rule(match, given, part, program);
    }
    const examples = words.map(({ example }) => `\`${example}\``).join(', ');
    throw usageError(
      `\`--recipe ${word}\` is no recipe`,
      `a .sora file with \`quantize\` or \`prune\` blocks, or words as ${examples}, joined by +`,
    );
  });
  const plainly = otherTensors(program).map((path) => JSON.stringify(path));
  const exception: Rule = { block: 'quantize', text: `${plainly.join(', ')}: f32` };
  const isQuantized = rules.some(({ block }) => block === 'quantize');
  return textOf(isQuantized && plainly.length > 0 ? [...rules, exception] : rules, program.name);
}

/** Both blocks, so that none of the file stays. */
function textOf(rules: readonly Rule[], model: string): string {
  const blocks = (['quantize', 'prune'] as const).map((block) => {
    const own = rules.filter((rule) => rule.block === block).map(({ text }) => `  ${text}\n`);
    return `${block} ${model} {\n${own.join('')}}\n`;
  });
  return blocks.join('\n');
}

/** The model as it is, without any of the file's blocks. */
export function denseBlocks(model: string): string {
  return textOf([], model);
}

/** @errors SORA0001 for a recipe that is neither a file nor made of known words */
export function readRecipe(given: string, program: Program): Recipe {
  if (!given.endsWith('.sora')) return { name: given, text: blocksOf(given, program) };
  if (!existsSync(given) || !statSync(given).isFile()) throw usageError(`\`--recipe ${given}\` does not exist`);
  const name = basename(given).replace(/\.sora$/, '');
  const own = readFileSync(given, 'utf8');
  // A block that the recipe lacks is none: otherwise it would be that of the file.
  const missing = (['quantize', 'prune'] as const).filter((block) => !new RegExp(`^\\s*${block}\\b`, 'm').test(own));
  return { name, path: given, text: [own, ...missing.map((block) => `${block} ${program.name} {\n}\n`)].join('\n') };
}
