/**
 * Which kernels are warmed: those of the usual call, none that another number of rows would need.
 */
import { expect, test } from 'vitest';
import { compile } from '../../../src/compile.ts';
import { evaluateSize } from '../../../src/runtime/size.ts';
import { warmKernels } from '../../../src/runtime/warm-up.ts';
import { decoderArtifact, decoderSource } from '../../support/generator.ts';
import { handArtifact } from '../../support/hand-artifact.ts';
import { sourceFile } from '../../support/language.ts';

const artifact = decoderArtifact();

/** Kernels of a call with these dims, by the definition of `when`. */
function kernelsOf(entry: string, dims: Readonly<Record<string, number>>): readonly string[] {
  const all = new Map(Object.entries({ past: 0, slack: 0, ...dims }));
  const plan = artifact.entries.find(({ name }) => name === entry)?.plans.software;
  const used = (plan?.steps ?? []).filter(({ when }) => {
    const value = when ? evaluateSize(when.value, all) : 0;
    return !when || (value >= when.minimum && value <= when.maximum);
  });
  return [...new Set(used.map(({ kernel }) => kernel))].sort();
}

const sorted = (kernels: ReadonlySet<string>): readonly string[] => [...kernels].sort();

test('of a model that generates: first the prompt of one row, later the steps', () => {
  const { prefill = '', step = '' } = artifact.generation ?? {};
  const [first, later] = warmKernels(artifact, 'software');
  expect(sorted(first)).toEqual(kernelsOf(prefill, { B: 1, T: 16 }));
  expect(sorted(later)).toEqual(kernelsOf(step, { B: 1, T: 1 }));
  expect(first.size).toBeGreaterThan(5);
  expect(later.size).toBeGreaterThan(5);
  // Few rows need others.
  const few = kernelsOf(prefill, { B: 1, T: 3 }).filter((kernel) => !first.has(kernel));
  expect(few.length).toBeGreaterThan(0);
});

test('of another model every entry that its author wrote, at the greatest sizes', () => {
  const text = decoderSource().replace(/generate [\s\S]*/, '');
  const plain = compile({ file: sourceFile(text, 'words.sora') }).value?.artifact;
  if (!plain) throw new Error('the decoder does not compile');
  const [first, later] = warmKernels(plain, 'software');
  expect(later.size).toBe(0);
  // One row of the session, 16 positions.
  expect([...first].some((kernel) => kernel.includes('few_rows'))).toBe(false);
  const entry = plain.entries.find(({ name }) => name === 'forward');
  if (!entry) throw new Error('there is no entry');
  const hidden = { ...entry, name: 'own', internal: true };
  expect(warmKernels({ ...plain, entries: [entry, hidden] }, 'software')[0]).toEqual(first);
  const none = warmKernels({ ...plain, entries: [hidden] }, 'software')[0];
  expect(none.size).toBe(0);
  const [ofHand] = warmKernels(handArtifact, 'software');
  expect(sorted(ofHand)).toEqual(['affine', 'row_sum_many']);
});
