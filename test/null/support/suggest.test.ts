import { describe, expect, test } from 'vitest';
import { closest, editDistance } from '../../../src/support/suggest.ts';

describe('edit distance', () => {
  test.each([
    ['', '', 0],
    ['abc', 'abc', 0],
    ['abc', '', 3],
    ['kitten', 'sitting', 3],
    ['weight', 'wieght', 1],
    ['ca', 'abc', 3],
    ['LayerNorm', 'LayerNrom', 1],
  ])('%j to %j is %i', (from, to, expected) => {
    expect(editDistance(from, to)).toBe(expected);
    expect(editDistance(to, from)).toBe(expected);
  });

  test('stops at the limit', () => {
    expect(editDistance('abcdef', 'uvwxyz', 2)).toBe(3);
    expect(editDistance('a', 'abcdefgh', 2)).toBe(3);
  });
});

describe('closest', () => {
  const names = ['linear', 'LayerNorm', 'embedding', 'softmax', 'gelu', 'T'];
  test.each([
    ['liner', 'linear'],
    ['layernorm', 'LayerNorm'],
    ['embeding', 'embedding'],
    ['sotfmax', 'softmax'],
    ['gleu', 'gelu'],
    ['convolution', undefined],
    ['gelo', 'gelu'],
    ['galo', undefined],
    ['x', undefined],
    ['ab', undefined],
    ['linear', undefined],
  ])('%s: %s', (name, expected) => {
    expect(closest(name, name === 'linear' ? ['linear'] : names)).toBe(expected);
  });

  test('long names may differ by a third', () => {
    expect(closest('bert.encoder.layers.0.weight', ['bert.encoder.layer.10.weight'])).toBe(
      'bert.encoder.layer.10.weight',
    );
    expect(closest('aaaaaaaaa', ['bbbbaaaaa'])).toBeUndefined();
  });

  test('a name that goes on wins, then the alphabet: the answer does not depend on the order', () => {
    expect(closest('modul', ['model', 'module'])).toBe('module');
    expect(closest('modul', ['module', 'model'])).toBe('module');
    expect(closest('aab', ['aad', 'aac'])).toBe('aac');
  });
});
