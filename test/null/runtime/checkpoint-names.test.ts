import { expect, test } from 'vitest';
import { nameFinder } from '../../../src/runtime/checkpoint-names.ts';

const find = (names: readonly string[], path: string) => nameFinder(new Set(names))(path);

test('the name itself comes first', () => {
  expect(find(['bert.a.weight', 'a.weight'], 'a.weight')).toBe('a.weight');
  expect(find(['bert.a.weight', 'a.weight'], 'bert.a.weight')).toBe('bert.a.weight');
});

test('a file of the base model lacks the prefix', () => {
  expect(find(['wte.weight', 'h.0.attn.c_attn.weight'], 'transformer.h.0.attn.c_attn.weight')).toBe(
    'h.0.attn.c_attn.weight',
  );
  // Where the prefix stands in the file, a missing name is a missing name.
  expect(find(['wte.weight', 'transformer.wpe.weight'], 'transformer.wte.weight')).toBeUndefined();
});

test('a file of a model with a head has a prefix that most of its tensors share', () => {
  const names = ['bert.embeddings.weight', 'bert.layer.0.weight', 'classifier.weight'];
  expect(find(names, 'layer.0.weight')).toBe('bert.layer.0.weight');
  expect(find(names, 'pooler.weight')).toBeUndefined();
  expect(find(['a.layer.weight', 'b.layer.weight'], 'layer.weight')).toBeUndefined();
});

test('gamma and beta are weight and bias of a norm', () => {
  const names = ['bert.LayerNorm.gamma', 'bert.LayerNorm.beta', 'bert.dense.weight'];
  expect(find(names, 'bert.LayerNorm.weight')).toBe('bert.LayerNorm.gamma');
  expect(find(names, 'LayerNorm.bias')).toBe('bert.LayerNorm.beta');
  expect(find(names, 'bert.dense.bias')).toBeUndefined();
});

test('names without a dot have no prefix', () => {
  expect(find(['scale', 'shift'], 'scale')).toBe('scale');
  expect(find(['scale'], 'model.scale')).toBe('scale');
  expect(find([], 'model.scale')).toBeUndefined();
});
