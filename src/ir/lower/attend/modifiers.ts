/**
 * The modifiers of `attend`: how each is read, in the order in which they take effect (docs/decisions/0005).
 */
import type { Modifier, ResultModifier } from './building.ts';
import { appendToCache, openCache } from './cache.ts';
import { applyMask } from './masks.ts';
import { applyHeadNorm } from './norms.ts';
import { applyGate } from './results.ts';
import { applyRope } from './rope.ts';
import { applyBias, applyScore, applySoftcap, applySpan, applyTemperature } from './score-modifiers.ts';
import { applyDropout, applyNormalize, applySinks } from './weights.ts';

/** Read before all others: the sizes of the heads. */
export const sizeModifiers: readonly string[] = ['heads', 'kv_heads', 'scale'];

/** Up to the attention node. A modifier may stand here several times when it acts in several places. */
export const modifiersBefore: readonly Modifier[] = [
  { name: 'cache', apply: openCache },
  { name: 'q_norm', apply: applyHeadNorm('query') },
  { name: 'k_norm', apply: applyHeadNorm('key') },
  { name: 'rope', apply: applyRope },
  { name: 'cache', apply: appendToCache },
  { name: 'mask', apply: applyMask },
  { name: 'score', apply: applyScore },
  { name: 'softcap', apply: applySoftcap },
  { name: 'bias', apply: applyBias },
  { name: 'temperature', apply: applyTemperature },
  { name: 'span', apply: applySpan },
  { name: 'normalize', apply: applyNormalize },
  { name: 'sinks', apply: applySinks },
  { name: 'dropout', apply: applyDropout },
];

/** After it. */
export const modifiersAfter: readonly ResultModifier[] = [{ name: 'gate', apply: applyGate }];

export const modifierNames: readonly string[] = [
  ...new Set([...sizeModifiers, ...[...modifiersBefore, ...modifiersAfter].map(({ name }) => name)]),
];
