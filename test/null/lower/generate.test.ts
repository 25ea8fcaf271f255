/**
 * `generate` blocks: what they add to the program, and which settings are refused.
 */
import { describe, expect, test } from 'vitest';
import { emitModule } from '../../../src/codegen/module/index.ts';
import { printProgram } from '../../../src/ir/print.ts';
import { readProgram } from '../../../src/ir/read.ts';
import { printType } from '../../../src/ir/types.ts';
import { decoderArtifact, decoderSource } from '../../support/generator.ts';
import { lowered, refused } from './kit.ts';

const source = (block: string): string => decoderSource({ block });

describe('a block', () => {
  const program = lowered(source('stop: [3, 5], top: 32'));

  test('adds two hidden entries beside the one that people call', () => {
    expect(program.entries.map(({ name, isHidden = false }) => [name, isHidden])).toEqual([
      ['forward', false],
      ['forward:prefill', true],
      ['forward:step', true],
    ]);
    const step = program.entries[2];
    expect(step?.steps?.key).toBe('1');
    expect(step?.results.map(({ name, type, isLazy = false }) => [name, printType(type), isLazy])).toEqual([
      ['ids', 'i32[B, 32]', false],
      ['values', 'f32[B, 32]', false],
      ['totals', 'f32[B, 2]', false],
      ['logits', 'f32[B, 101]', true],
    ]);
    expect(step?.parameters.map(({ name, type }) => [name, printType(type)])).toContainEqual(['ids', 'i32[B, 1]']);
  });

  test('is told to the runtime, and survives printing and reading', () => {
    expect(program.generation).toEqual({
      entry: 'forward',
      prefill: 'forward:prefill',
      step: 'forward:step',
      tokens: 'ids',
      length: 'T',
      vocabulary: 101,
      top: 32,
      stop: [3, 5],
    });
    const text = printProgram(program);
    const again = readProgram(text);
    expect(printProgram(again)).toBe(text);
    expect(again.generation).toEqual(program.generation);
    expect(again.entries.map(({ isHidden }) => isHidden)).toEqual([undefined, true, true]);
  });

  test('without settings reads 64, or all of a small vocabulary', () => {
    expect(lowered(source('')).generation).toMatchObject({ top: 64, stop: [] });
    expect(lowered(decoderSource({ vocabulary: 40, block: '' })).generation?.top).toBe(40);
  });

  test('gives sessions a method; hidden entries are nowhere in the declarations', () => {
    const { js, dts } = emitModule(decoderArtifact(), { fileName: 'words.sora' });
    expect(dts).toContain('generate(ids: TokenIds, options?: GenerateOptions)');
    expect(dts).not.toContain('prefill');
    expect(dts).not.toContain('heats');
    expect(js).toContain('generate(ids, options)');
    const plain = decoderSource().replace(/generate [\s\S]*$/, '');
    expect(lowered(plain).generation).toBeUndefined();
  });
});

describe('refused', () => {
  test('numbers that are no tokens', () => {
    refused(source('stop: [3, 101]'), { code: 'SORA2304', message: '0 to 100, found 101' });
    refused(source('stop: 1.5'), { code: 'SORA2304', message: '`stop` takes integers' });
    refused(source('stop: "end"'), { code: 'SORA2304' });
  });

  test('more than a step can read', () => {
    refused(source('top: 0'), { code: 'SORA2304', message: '1 to 101, found 0' });
    refused(source('top: 102'), { code: 'SORA2304' });
    refused(decoderSource({ vocabulary: 1000, block: 'top: 257' }), { code: 'SORA2304', message: '1 to 256' });
    refused(source('top: 3, 4'), { code: 'SORA2304', message: 'one value' });
  });

  test('unknown settings, rules, and a second block', () => {
    refused(source('stopp: 3'), { code: 'SORA2301', help: 'stop' });
    refused(source('"embed.weight": f16'), { code: 'SORA2301' });
    refused(`${source('')}\ngenerate Words.forward {}\n`, { code: 'SORA2002', message: 'one entry only' });
    refused(source('').replace('Words.forward', 'Words'), { code: 'SORA2305' });
  });
});
