/** Which products of one row compute their left operand themselves: fewer dispatches, and only where that is right and worth it. */
import { describe, expect, test } from 'vitest';
import { evaluateSize } from '../../../src/codegen/plan/sizes.ts';
import type { Artifact } from '../../../src/runtime/artifact.ts';
import { compiled } from '../../support/packed.ts';
import { rowsText } from '../../support/staged-rows.ts';

/** Kernels of an entry that run for so many rows. */
function kernelsOf(
  artifact: Artifact,
  name: string,
  B: number,
  profile: 'software' | 'gpu' = 'software',
): readonly string[] {
  const entry = artifact.entries.find((one) => one.name === name);
  return (entry?.plans[profile].steps ?? []).flatMap(({ kernel, when }) => {
    const size = when ? evaluateSize(when.value, { B, T: 3 }) : 0;
    return when && (size < when.minimum || size > when.maximum) ? [] : [kernel];
  });
}

describe('a product behind a norm or an activation', () => {
  const { artifact } = compiled(rowsText(36, 33));

  test.each(['normed', 'centred', 'gated', 'ending'])(
    'takes one dispatch for one row, and two for more (%s)',
    (name) => {
      expect(kernelsOf(artifact, name, 1)).toEqual([expect.stringContaining('one_row')]);
      for (const rows of [2, 5]) expect(kernelsOf(artifact, name, rows)).toHaveLength(2);
      expect(artifact.kernels[kernelsOf(artifact, name, 1)[0] ?? '']?.code).toContain(
        'var<workgroup> row: array<vec4<f32>, 9>;',
      );
    },
  );

  test('reads what others need too', () => {
    for (const rows of [1, 2]) expect(kernelsOf(artifact, 'kept', rows)).toHaveLength(2);
  });

  test('is as it was on GPUs, where dispatches cost less', () => {
    for (const name of ['normed', 'gated']) expect(kernelsOf(artifact, name, 1, 'gpu')).toHaveLength(2);
  });
});

test.each([
  ['a row that workgroup memory does not hold', 2052, 8],
  ['so many outputs that the row would be computed too often', 512, 8192],
])('not for %s', (_, width, outputs) => {
  const { artifact } = compiled(rowsText(width, outputs));
  expect(kernelsOf(artifact, 'normed', 1)).toHaveLength(2);
});
