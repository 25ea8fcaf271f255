/**
 * The options of `sorac compress`, checked before anything is read.
 */
import { type Call, optional, requiredOption, textOption } from '../command.ts';
import { usageError } from '../exit-codes.ts';
import { givenRecipes } from './open-recipes.ts';
import type { SampleSettings } from './sample.ts';

export interface CompressSettings extends SampleSettings {
  /** As they were given; empty: the blocks of the file. */
  readonly recipes: readonly string[];
  readonly isSweep: boolean;
  readonly out: string;
  readonly isForced: boolean;
  readonly config?: string;
  readonly model?: string;
  readonly entry?: string;
  readonly device: string;
}

function whole(call: Call, name: string, flag: string, least: number): number {
  const text = requiredOption(call, name);
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least) return value;
  throw usageError(`\`${flag} ${text}\` is no whole number of at least ${least}`);
}

function share(call: Call): number {
  const text = requiredOption(call, 'heldBack');
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value > 0 && value < 1) return value;
  throw usageError(`\`--held-back ${text}\` is no share between 0 and 1`);
}

/** @errors SORA0001 */
export function readSettings(call: Call): CompressSettings {
  const [file = ''] = call.args;
  const name = (file.split(/[\\/]/).at(-1) ?? '').replace(/\.sora$/, '');
  const recipes = givenRecipes(call.options.recipe);
  const isSweep = call.options.sweep === true;
  if (recipes.length > 1 && !isSweep)
    throw usageError(
      `${recipes.length} recipes give ${recipes.length} models`,
      'compare them with --sweep, or join words of one by +',
    );
  if (isSweep && recipes.length === 0)
    throw usageError('`--sweep` compares recipes, and none is given', '--sweep --recipe int8 --recipe int4');
  const twice = recipes.find((recipe, at) => recipes.indexOf(recipe) !== at);
  if (twice !== undefined) throw usageError(`\`--recipe ${twice}\` is given twice`);
  return {
    file,
    recipes,
    isSweep,
    data: requiredOption(call, 'data'),
    weights: requiredOption(call, 'weights'),
    ...optional('validation', textOption(call, 'val')),
    heldBack: share(call),
    calibration: whole(call, 'calibrate', '--calibrate', 1),
    evaluation: whole(call, 'evaluate', '--evaluate', 1),
    batch: whole(call, 'batch', '--batch', 1),
    seed: whole(call, 'seed', '--seed', 0),
    out: textOption(call, 'out') ?? `${name === '' ? 'model' : name}-compressed`,
    isForced: call.options.force === true,
    ...optional('tokenizer', textOption(call, 'tokenizer')),
    ...optional('config', textOption(call, 'config')),
    ...optional('model', textOption(call, 'model')),
    ...optional('entry', textOption(call, 'entry')),
    device: requiredOption(call, 'device'),
  };
}
