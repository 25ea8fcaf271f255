/**
 * The modifiers of `attend`: how each is read, in the order in which they take effect (docs/decisions/0005).
 */

import type { Modifier } from './building.ts';
import { applyCache } from './cache.ts';
import { applyMask } from './masks.ts';

/** Read before all others: the sizes of the heads. */
export const sizeModifiers: readonly string[] = ['heads', 'kv_heads', 'scale'];

/** Up to the attention node. */
export const modifiersBefore: readonly Modifier[] = [
  { name: 'cache', apply: applyCache },
  { name: 'mask', apply: applyMask },
];

export const modifierNames: readonly string[] = [...sizeModifiers, ...modifiersBefore.map(({ name }) => name)];

/** Modifiers that the language names and this version does not build. */
export const laterModifiers: readonly string[] = [
  'bias',
  'softcap',
  'rope',
  'sinks',
  'dropout',
  'span',
  'normalize',
  'gate',
  'temperature',
  'score',
  'window',
];
