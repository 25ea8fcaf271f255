/**
 * Options in plain JavaScript, and names that stand in two places because the runtime imports nothing of the compiler.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { generationTypes } from '../../../src/codegen/module/generation-types.ts';
import { compile } from '../../../src/compile.ts';
import type { Generation } from '../../../src/ir/graph.ts';
import { philox2 } from '../../../src/ir/ops/random.ts';
import type { GenerationSpec } from '../../../src/runtime/artifact.ts';
import { checkOptions } from '../../../src/runtime/options.ts';
import { high } from '../../../src/runtime/philox.ts';
import { decoderSource } from '../../support/generator.ts';
import { sourceFile } from '../../support/language.ts';

describe('options', () => {
  const failing = (options: unknown): unknown => {
    try {
      checkOptions('SORA6003', 'load', options as object, { maxTokens: 1, weights: 1, signal: 1 } as never);
    } catch (error) {
      return error;
    }
    return 'accepted';
  };

  test.each([
    ['maxToken', 'maxTokens'],
    ['max_tokens', 'maxTokens'],
    ['MAXTOKENS', 'maxTokens'],
    ['wieghts', 'weights'],
    ['weight', 'weights'],
    ['singal', 'signal'],
  ])('%s is near to %s', (name, near) => {
    expect(failing({ [name]: 1 })).toMatchObject({
      code: 'SORA6003',
      message: `\`load\` has no option \`${name}\``,
      help: `did you mean \`${near}\`?`,
    });
  });

  test('what is near to nothing gets the list', () => {
    expect(failing({ q: 1 })).toMatchObject({ help: 'there is maxTokens, weights, signal' });
    expect(failing({ toString: 1 })).toMatchObject({ message: '`load` has no option `toString`' });
  });

  test('what is given as undefined is not given', () => {
    expect(failing({ q: undefined, weights: 1 })).toBe('accepted');
    expect(failing({})).toBe('accepted');
  });

  test.each([null, 5, 'model.safetensors', true])('%s is no object of options', (options) => {
    expect(failing(options)).toMatchObject({ code: 'SORA6003', message: '`load` takes an object of options' });
  });

  test('a controller is no signal', () => {
    expect(failing({ signal: new AbortController().signal })).toBe('accepted');
    for (const signal of [new AbortController(), null, true, {}])
      expect(failing({ signal })).toMatchObject({ message: '`signal` of `load` is none' });
  });
});

describe('twins', () => {
  test('the upper half of a product is one function in both generators', () => {
    const words = [0, 1, 2, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xd256d193, 0xdeadbeef, 0xffffffff];
    for (const a of words) for (const b of words) expect(high(a, b)).toBe(Number((BigInt(a) * BigInt(b)) >> 32n));
    // Philox2x32-10 by the runtime's `high`, against the interpreter's op with its own.
    for (const counter of words) {
      for (const seed of words) {
        let [a, b, key] = [counter, 0, seed];
        for (let round = 0; round < 10; round++) {
          [a, b] = [(high(0xd256d193, a) ^ key ^ b) >>> 0, Math.imul(0xd256d193, a) >>> 0];
          key = (key + 0x9e3779b9) >>> 0;
        }
        expect(philox2(counter, seed)).toBe(a);
      }
    }
  });

  test('what lowering says about generating is what the runtime reads', () => {
    // Each way round: a field that only one side has, or has with another type, does not compile.
    const read = (generation: Required<Generation>): Required<GenerationSpec> => generation;
    const written = (spec: Required<GenerationSpec>): Required<Generation> => spec;
    const { value } = compile({ file: sourceFile(decoderSource(), 'words.sora') });
    const { generation } = value?.program ?? {};
    if (!generation || !value?.artifact.generation) throw new Error('the decoder does not generate');
    expect(value.artifact.generation).toEqual(read(generation));
    expect(written(value.artifact.generation)).toEqual(generation);
  });

  test('the declarations of a module say of each option what the runtime says', () => {
    const source = readFileSync(new URL('../../../src/runtime/generate-options.ts', import.meta.url), 'utf8');
    const members = (text: string): string => {
      const [, body = ''] = /export interface GenerateOptions \{\n([\s\S]*?)\n\}/.exec(text) ?? [];
      return body.replaceAll('AbortSignal', 'SignalLike');
    };
    expect(members(generationTypes)).toBe(members(source));
    expect(members(source).match(/readonly \w+\?:/g)?.length).toBe(11);
  });
});
