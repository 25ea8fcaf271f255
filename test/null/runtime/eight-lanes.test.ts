/** Kernels for subgroups of eight lanes: which devices get them, and which lines of which kernels become others. */
import { expect, test } from 'vitest';
import { EIGHT_LANES } from '../../../src/runtime/artifact.ts';
import { eightLanesFor, shareLanes } from '../../../src/runtime/eight-lanes.ts';
import { compiled, matrixText } from '../../support/packed.ts';
import { rowsText } from '../../support/staged-rows.ts';

const oneRow = (text: string) => {
  const { artifact } = compiled(text);
  const used = new Set(artifact.entries.flatMap(({ plans }) => plans.software.steps.map(({ kernel }) => kernel)));
  return [...used].filter((name) => name.includes('_one_row')).map((name) => artifact.kernels[name]?.code ?? '');
};

test.each([
  ['int8', 64, 2],
  ['int4(group: 32)', 64, 2],
  ['int4(group: 64, symmetric: false)', 128, 2],
  // A group or the whole sum that 32 steps do not divide, and numbers that are not packed.
  ['int4(group: 16)', 64, 0],
  ['int8', 72, 0],
  ['f16', 64, 0],
])('products of one row in %s, %i inputs', (format, inputs, wanted) => {
  const kernels = oneRow(matrixText(300, inputs, format));
  expect(kernels).toHaveLength(2);
  const marked = kernels.filter((code) => code.includes(EIGHT_LANES));
  expect(marked).toHaveLength(wanted);
  for (const code of marked) {
    const shared = shareLanes(code).split('\n');
    expect(shared.shift()).toBe('enable subgroups;');
    const lines = code.split('\n');
    const changed = shared.flatMap((line, at) => (line === lines[at] ? [] : [line]));
    // Eight vectors of four steps.
    expect(changed).toHaveLength(8);
    for (const [lane, line] of changed.entries())
      expect(line).toMatch(
        new RegExp(`^ +let left\\w* = subgroupShuffle\\(\\w+\\[[^\\]]*\\blane\\b[^\\]]*\\], ${lane}u\\);$`),
      );
  }
});

test('rows that are computed on the spot', () => {
  const staged = oneRow(`${rowsText(64, 40)}quantize Rows { "**": int8 }\n`).filter((code) =>
    code.includes('row: array'),
  );
  expect(staged.length).toBeGreaterThan(2);
  expect(staged.every((code) => code.includes(EIGHT_LANES))).toBe(true);
});

test('kernels of other workgroups stay as they are', () => {
  const [code = ''] = oneRow(matrixText(300, 64, 'int8'));
  const wider = code.replace('@workgroup_size(8)', '@workgroup_size(32)');
  expect(shareLanes(wider)).toBe(wider);
  expect(shareLanes('fn main() {}')).toBe('fn main() {}');
});

test('on lavapipe alone, where subgroups have eight lanes', () => {
  const device = (features: readonly string[], least: number, most: number) =>
    ({
      features: new Set(features),
      adapterInfo: { subgroupMinSize: least, subgroupMaxSize: most },
    }) as unknown as GPUDevice;
  expect(eightLanesFor(device(['subgroups'], 8, 8), 'lavapipe')).toBe(shareLanes);
  expect(eightLanesFor(device([], 8, 8), 'lavapipe')).toBe(undefined);
  expect(eightLanesFor(device(['subgroups'], 4, 8), 'lavapipe')).toBe(undefined);
  expect(eightLanesFor(device(['subgroups'], 8, 8), 'swiftshader')).toBe(undefined);
  expect(eightLanesFor(device(['subgroups'], 8, 8), 'gpu')).toBe(undefined);
});
