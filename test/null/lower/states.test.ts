/**
 * States from the text to the graph: hidden dims and parameters, what an entry keeps in f64, what takes no session.
 */
import { describe, expect, test } from 'vitest';
import type { Program } from '../../../src/ir/graph.ts';
import { entryNamed, interpretGraph, type StateHolder } from '../../../src/ir/interpret.ts';
import type { Tensor } from '../../../src/ir/op.ts';
import { printProgram } from '../../../src/ir/print.ts';
import { readProgram } from '../../../src/ir/read.ts';
import { evaluateDim } from '../../../src/ir/symbolic.ts';
import { newTensor, tensorOf } from '../../../src/ir/tensor.ts';
import { printType } from '../../../src/ir/types.ts';
import { verifyProgram } from '../../../src/ir/verify.ts';
import { optimize, toKernels } from '../../../src/passes/index.ts';
import { decoder, decoderText, decoderWeights, greatestDifference, halfStates, tokens } from '../../support/decoder.ts';
import { lower, lowered, refused } from './kit.ts';

const head = 'dim B in 1..4, T in 1..8\n';
const model = (members: string, before = head) => `${before}model Test {\n${members}\n}\n`;
const attend = 'attend(x, x, x) { heads: 2, mask: causal, cache: kv }';
const plain = model(`state kv = KVCache(B, 2, 8, 4)\nentry run(x: f32[B, T, 8]) -> y: f32[B, T, 8] = ${attend}`);

/** A session of the interpreter with room for so many positions. */
function session(program: Program, room: number, rows = 1, precision: 'f32' | 'f64' = 'f64') {
  const states = new Map<string, Tensor>(
    program.states.map(({ path, dtype, width }) => [path, newTensor(dtype, [rows, room, width], precision)]),
  );
  const holder: StateHolder = {
    read: (path) => states.get(path) ?? newTensor('f32', [], precision),
    write: (path, tensor) => void states.set(path, tensor),
  };
  const weights = decoderWeights(decoder());
  const held = Array.from({ length: rows }, () => 0);
  return {
    held,
    run(name: string, ids: readonly (readonly number[])[]): ArrayLike<number> {
      const entry = entryNamed(program, name);
      const steps = ids[0]?.length ?? 0;
      const past = Math.max(...held);
      const { session: dims } = program;
      const inputs = new Map([['ids', tensorOf('i32', [rows, steps], ids.flat(), precision)]]);
      for (const { name: hidden, role } of entry.parameters) {
        const given = role === 'past' ? held : held.map(() => steps);
        if (role) inputs.set(hidden, tensorOf('i32', [rows], given, precision));
      }
      const results = interpretGraph(entry.graph, {
        inputs,
        precision,
        states: holder,
        dims: new Map([
          ['B', rows],
          ['T', steps],
          [dims?.past ?? '', past],
          [dims?.slack ?? '', room - past - steps],
        ]),
        weight: (path) => weights.get(path) ?? newTensor('f32', [], precision),
      });
      held.forEach((count, row) => {
        held[row] = count + steps;
      });
      return results.get('logits')?.data ?? results.get(name)?.data ?? [];
    },
  };
}

describe('an entry with a state', () => {
  test('has hidden dims, a hidden parameter and an append per tensor', () => {
    const program = lowered(plain);
    expect(program.session).toEqual({ past: 'past', slack: 'slack', positions: 8 });
    expect(program.states.map(({ path, dtype, width }) => `${path} ${dtype} ${width}`)).toEqual([
      'kv.key f32 8',
      'kv.value f32 8',
    ]);
    expect(program.dims.get('past')).toEqual({ minimum: 0, maximum: 8, multiple: 1 });
    const [entry] = program.entries;
    expect(entry?.steps?.key).toBe('T');
    expect(entry?.parameters.map(({ name, role, type }) => `${name} ${role ?? ''} ${printType(type)}`)).toEqual([
      'x  f32[B, T, 8]',
      'past past i32[B]',
    ]);
    const ops = entry?.graph.nodes.filter(({ op }) => op === 'append' || op === 'state') ?? [];
    expect(ops.map(({ outputs: [output] }) => output && printType(output.type))).toEqual(
      Array.from({ length: 4 }, () => 'f32[B, T + past + slack, 8]'),
    );
  });

  test('has hidden names that no name of the model has', () => {
    const program = lowered(
      model(
        'state kv = KVCache(past, 2, 8, 4)\nentry run(x: f32[past, slack, 8], lengths: i32[past]) -> { y: f32[past, slack, 8], z: f32[past, 8] } {\n' +
          `  let a = ${attend}\n  { y: a, z: last(a) * f32(lengths)[:, new] }\n}`,
        'dim past in 1..4, slack in 1..8\n',
      ),
    );
    expect(program.session).toEqual({ past: 'past_2', slack: 'slack_2', positions: 8 });
    expect(program.entries[0]?.parameters.map(({ name, role }) => [name, role])).toEqual([
      ['x', undefined],
      ['lengths', undefined],
      ['past', 'past'],
      ['lengths_2', 'lengths'],
    ]);
  });

  test('may be taken for one position, one row, or both', () => {
    const program = lowered(
      plain.replace(/\n\}\n$/, '\nentry one = run with T = 1\nentry row = run with B = 1, T = 2\n}\n'),
    );
    const signatures = program.entries.map(({ name, steps, parameters }) => [
      name,
      steps?.key,
      parameters.map(({ type }) => printType(type)).join(' '),
    ]);
    expect(signatures).toEqual([
      ['run', 'T', 'f32[B, T, 8] i32[B]'],
      ['one', '1', 'f32[B, 1, 8] i32[B]'],
      ['row', '2', 'f32[1, 2, 8] i32[1]'],
    ]);
    for (const name of ['past', 'slack']) {
      const { diagnostics } = lower(plain.replace(/\n\}\n$/, `\nentry one = run with ${name} = 1\n}\n`));
      expect(diagnostics.map(({ code }) => code)).toEqual(['SORA2001']);
    }
  });

  test('keeps its text form', () => {
    for (const program of [decoder().program, decoder(halfStates).program, lowered(plain)]) {
      const text = printProgram(program);
      const read = readProgram(text);
      expect(printProgram(read)).toBe(text);
      expect(read.session).toEqual(program.session);
      expect(verifyProgram(read, { stage: 'model' })).toEqual([]);
    }
  });

  test('is verified: what it appends to, once, in a declared state with the right room', () => {
    const program = lowered(plain);
    const [entry] = program.entries;
    if (!entry) throw new Error('no entry');
    const problems = (changed: Partial<Program>) =>
      verifyProgram({ ...program, ...changed }, { stage: 'model' }).join('\n');
    expect(problems({ states: [] })).toContain('state `kv.key` is not declared');
    expect(problems({ states: program.states.map((state) => ({ ...state, width: 9 })) })).toContain('not f32[');
    const { steps: _, ...without } = entry;
    expect(problems({ entries: [without] })).toContain('without steps');
    const parameters = entry.parameters.map(({ role: _role, ...rest }) => rest);
    expect(problems({ entries: [{ ...entry, parameters }] })).toContain('no hidden parameter `past`');
  });

  test('without causality hides what a row does not hold', () => {
    const program = lowered(plain.replace('mask: causal, ', ''));
    expect(program.entries[0]?.parameters.map(({ role }) => role)).toEqual([undefined, 'past', 'lengths']);
    const node = program.entries[0]?.graph.nodes.find(({ op }) => op === 'attention');
    expect(node?.attributes.extras).toEqual(['mask', 'offsets']);
  });

  test('may have values of another width than keys', () => {
    const program = lowered(
      model(
        'state kv = KVCache(B, 2, 8, 4, value_width: 3)\n' +
          'entry run(x: f32[B, T, 8], v: f32[B, T, 6]) -> y: f32[B, T, 6] = attend(x, x, v) { heads: 2, mask: causal, cache: kv }',
      ),
    );
    expect(program.states.map(({ width }) => width)).toEqual([8, 6]);
  });
});

describe('an entry without states', () => {
  const members = 'entry run(x: f32[B, T, 8]) -> y: f32[B, 8] = last(x * f32(positions(B, T))[:, :, new])';

  test('starts at position 0, in a model with states too', () => {
    const { entries } = lowered(
      model(`state kv = KVCache(B, 2, 8, 4)\n${members}\nentry keep(x: f32[B, T, 8]) -> y: f32[B, T, 8] = ${attend}`),
    );
    const [run, keep] = entries;
    expect(run?.steps).toBeUndefined();
    expect(run?.parameters).toHaveLength(1);
    expect(keep?.steps?.key).toBe('T');
    const [alone] = lowered(model(members)).entries;
    expect(run?.graph.nodes.map(({ op }) => op)).toEqual(alone?.graph.nodes.map(({ op }) => op));
  });
});

describe('mistakes', () => {
  test.each<[string, string, string]>([
    ['cache: x', 'SORA2120', '`cache` takes a state'],
    ['cache: 3', 'SORA2120', '`cache` takes a state'],
  ])('%s', (modifier, code, message) => {
    const text = plain.replace('cache: kv', modifier);
    const { diagnostics } = lower(text);
    expect(diagnostics[0]).toMatchObject({ code });
    expect(diagnostics[0]?.message).toContain(message);
  });

  test('`positions` and `last` along other sizes than those of the states', () => {
    const text = model(
      `state kv = KVCache(B, 2, 8, 4)\nentry run(x: f32[B, T, 8], z: f32[B, S, 8]) -> y: f32[B, 8] = last(${attend}) + last(z)`,
      'dim B in 1..4, T in 1..8, S in 1..8\n',
    );
    refused(text, { code: 'SORA2123', at: 'last(z)', message: 'positions of the call' });
  });

  test('an unused state', () => {
    const text = model('state kv = KVCache(B, 2, 8, 4)\nentry run(x: f32[B, T, 8]) -> y: f32[B, T, 8] = x + 1');
    refused(text, { code: 'SORA3001', at: 'kv', message: 'state `kv` is never used' });
  });
});

describe('in f64', () => {
  const { program } = decoder();
  const row = tokens(20);

  test.each<[string, readonly number[]]>([
    ['token by token', row.map(() => 1)],
    ['in chunks', [7, 1, 12]],
  ])('a text %s gives what it gives at once', (_name, sizes) => {
    const whole = session(program, 20).run('prefill', [row]);
    // More room changes nothing: what lies behind is never looked at.
    const cut = session(program, 37);
    let last: ArrayLike<number> = [];
    let from = 0;
    for (const size of sizes) {
      last = cut.run(size === 1 ? 'decode' : 'prefill', [row.slice(from, from + size)]);
      from += size;
    }
    expect(greatestDifference(last, whole)).toBeLessThan(1e-12);
  });

  test('kernels keep what the model keeps', () => {
    for (const profile of ['software', 'gpu'] as const) {
      const kernels = toKernels(optimize(program).value, profile, { verify: true }).value;
      expect(verifyProgram(kernels, { stage: 'kernels' })).toEqual([]);
      const [a, b] = [session(program, 24), session(kernels, 24)];
      for (const part of [row.slice(0, 9), row.slice(9, 12), row.slice(12)]) {
        expect(greatestDifference(b.run('prefill', [part]), a.run('prefill', [part]))).toBeLessThan(1e-12);
      }
    }
  });
});

test('rules of `quantize` choose the states that are f16', () => {
  const types = (rules: string) =>
    lowered(`${decoderText}\nquantize Decoder {\n${rules}\n}\n`).states.map(({ dtype }) => dtype);
  expect(types('state "**.kv": f16')).toEqual(['f16', 'f16', 'f16', 'f16']);
  expect(types('state "layers.1.kv": f16')).toEqual(['f32', 'f32', 'f16', 'f16']);
  expect(types('state "**.kv": f16\nstate "layers.0.*": f32')).toEqual(['f32', 'f32', 'f16', 'f16']);
});

test('room is what past, the call and slack are together', () => {
  const leaf = decoder().program.entries[0]?.graph.nodes.find(({ op }) => op === 'state');
  const room = leaf?.outputs[0]?.type.shape[1];
  const dims = new Map([
    ['T', 3],
    ['past', 5],
    ['slack', 8],
  ]);
  expect(room && evaluateDim(room, dims)).toBe(16);
});
