/**
 * `init` clauses: which numbers they come to, that they survive the text form, and what is refused.
 */
import { describe, expect, test } from 'vitest';
import { compile } from '../../../src/compile.ts';
import type { Initializer } from '../../../src/ir/graph.ts';
import { initializerParameters } from '../../../src/ir/lower/initializers.ts';
import { printProgram } from '../../../src/ir/print.ts';
import { readProgram } from '../../../src/ir/read.ts';
import { verifyProgram } from '../../../src/ir/verify.ts';
import { describeDiagnostics, sourceFile } from '../../support/language.ts';
import { lower, lowered, refused } from './kit.ts';

/** A model with one tensor `w` that a module of the parameters `n` = 12 and `std` = 0.5 declares. */
function model(clause: string, type = 'f32[n]'): string {
  return `dim B in 1..4
config C {
  n: int = 12
}
module Own(n: int, std: float) {
  w: ${type} ${clause}
  fn (x: f32[B, n]) = x * std + f32(w)
}
model M(c: C) {
  own = Own(c.n, 0.5)
  entry f(x: f32[B, 12]) -> y: f32[B, 12] = own(x)
}
`;
}

const initialOf = (clause: string, type?: string): Initializer | undefined =>
  lowered(model(clause, type)).weights[0]?.initial;

const normal = (std: number, mean = 0): Initializer => ({ kind: 'normal', mean, std });
const constant = (value: number): Initializer => ({ kind: 'constant', value });
const within = (bound: number): Initializer => ({ kind: 'uniform', low: -bound, high: bound });

/** Per clause what torch.nn.init says. */
const cases: readonly (readonly [string, Initializer])[] = [
  ['zeros', constant(0)],
  ['ones', constant(1)],
  ['constant(-2.5)', constant(-2.5)],
  ['uniform(0.25)', within(0.25)],
  ['uniform(bound: 1 / sqrt(n))', within(1 / Math.sqrt(12))],
  ['uniform(low: -1, high: n)', { kind: 'uniform', low: -1, high: 12 }],
  ['uniform(bound: 0)', constant(0)],
  ['normal(std)', normal(0.5)],
  ['normal(std: 0.02, mean: n - 11)', normal(0.02, 1)],
  ['normal(std: std - 0.5, mean: 3)', constant(3)],
  ['truncated_normal(std: 0.02)', { kind: 'normal', mean: 0, std: 0.02, truncated: true }],
  // torch: kaiming_uniform_(a=0) has the bound sqrt(6 / fan_in); with a = sqrt(5) it is 1 / sqrt(fan_in), nn.Linear's own.
  ['kaiming_uniform(n)', within(Math.sqrt(6 / 12))],
  ['kaiming_uniform(n, slope: sqrt(5))', within(1 / Math.sqrt(12))],
  ['kaiming_normal(fan_in: 2 * n)', normal(Math.sqrt(2 / 24))],
  ['xavier_uniform(n, 3 * n)', within(Math.sqrt(6 / 48))],
  ['xavier_normal(n, n, gain: 2)', normal(2 * Math.sqrt(2 / 24))],
  ['if n > 4 { normal(std: std) } else { zeros }', normal(0.5)],
  ['if n > 40 { normal(std: std) } else if n > 4 { ones } else { zeros }', constant(1)],
  ['if n > 4 { let root = sqrt(n) uniform(bound: 3 / root) }', within(3 / Math.sqrt(12))],
];

function close(actual: Initializer | undefined, expected: Initializer): void {
  expect(actual?.kind).toBe(expected.kind);
  for (const [name, value] of Object.entries(expected)) {
    const own = (actual as unknown as Record<string, unknown>)[name];
    if (typeof value === 'number') expect(own).toBeCloseTo(value, 14);
    else expect(own).toBe(value);
  }
}

describe('a tensor begins with', () => {
  test.each(cases)('%s', (clause, expected) => {
    close(initialOf(`init ${clause}`), expected);
  });

  test('every initializer is tried above', () => {
    for (const name of initializerParameters().keys()) {
      expect(cases.some(([clause]) => clause.startsWith(name))).toBe(true);
    }
  });

  test('nothing of its own without a clause, or when its `if` says nothing', () => {
    expect(initialOf('')).toBeUndefined();
    expect(initialOf('init if n > 40 { zeros }')).toBeUndefined();
  });

  test('a constant, when it holds integers', () => {
    expect(initialOf('init constant(n)', 'i32[n]')).toEqual(constant(12));
    expect(initialOf('init ones', 'bool[n]')).toEqual(constant(1));
  });

  test('clauses stand together: name, beginning, tie, condition', () => {
    const text = model('as "gain" init ones if std > 0');
    expect(lowered(text).weights).toMatchObject([{ path: 'own.gain', initial: constant(1) }]);
    const tied = `dim B in 1..4
model M {
  a: f32[3]
  b: f32[3] as "own.b" init zeros tied a if missing
  entry f(x: f32[B, 3]) -> y: f32[B, 3] = x * a + b
}
`;
    expect(lowered(tied).weights[1]).toMatchObject({ path: 'own.b', initial: constant(0), tied: 'a' });
  });

  test('each copy of a `repeat` with its own numbers', () => {
    const text = `dim B in 1..4
module Own(at: int) {
  w: f32[3] init constant(at)
  init: f32[3]
  fn (x: f32[B, 3]) -> f32[B, 3] = x * w + init
}
model M {
  repeat own[i in 3] = Own(i)
  entry f(x: f32[B, 3]) -> y: f32[B, 3] = own(x)
}
`;
    // `init` is a name elsewhere.
    expect(lowered(text).weights.map(({ path, initial }) => [path, initial])).toEqual(
      [0, 1, 2].flatMap((at) => [
        [`own.${at}.w`, constant(at)],
        [`own.${at}.init`, undefined],
      ]),
    );
  });
});

test('the text form keeps them', () => {
  for (const [clause] of cases) {
    const program = lowered(model(`init ${clause}`));
    const text = printProgram(program);
    const again = readProgram(text);
    expect(printProgram(again)).toBe(text);
    expect(again.weights[0]?.initial).toEqual(program.weights[0]?.initial);
  }
  const text = printProgram(lowered(model('init truncated_normal(std: 0.02)')));
  expect(text).toContain('weight "own.w" : f32[12] init normal 0 0.02 truncated\n');
  expect(() => readProgram(text.replace('init normal', 'init poisson'))).toThrow(/expected an initializer/);
});

test('the verifier refuses impossible numbers', () => {
  const program = lowered(model('init ones'));
  const [first] = program.weights;
  const problems = (initial: Initializer) =>
    verifyProgram({ ...program, weights: [{ ...first, initial } as never] }, { stage: 'model' });
  const told = ['weight `own.w` begins with impossible numbers'];
  expect(problems({ kind: 'normal', mean: 0, std: -1 })).toEqual(told);
  expect(problems({ kind: 'uniform', low: 1, high: 0 })).toEqual(told);
  expect(problems(constant(Number.NaN))).toEqual(told);
  expect(problems({ kind: 'uniform', low: 0, high: 0 })).toEqual([]);
});

describe('refused:', () => {
  test.each([
    ['unifrom(bound: 1)', 'SORA2118', 'no initializer `unifrom`'],
    ['n', 'SORA2118', 'no initializer `n`'],
    ['0.5', 'SORA2118', 'this is no initializer'],
    ['-n', 'SORA2118', 'this is no initializer'],
    ['normal', 'SORA2007', '`normal` needs `std`'],
    ['zeros(1)', 'SORA2007', 'takes 0 arguments'],
    ['normal(sd: 1)', 'SORA2007', 'no parameter `sd`'],
    ['normal(std: "a")', 'SORA2006', 'known when compiling'],
    ['normal(std: -1)', 'SORA2118', '`std` is at least 0'],
    ['normal(std: 1e39)', 'SORA2118', 'does not fit in `f32`'],
    ['uniform', 'SORA2118', 'needs `bound`, or `low` and `high`'],
    ['uniform(low: 1)', 'SORA2118', 'needs `bound`, or `low` and `high`'],
    ['uniform(bound: -1)', 'SORA2118', '`bound` is at least 0'],
    ['uniform(bound: 1, low: 0)', 'SORA2118', 'stands for both'],
    ['uniform(low: 1, high: 0)', 'SORA2118', 'at most `high`'],
    ['kaiming_normal(0)', 'SORA2118', '`fan_in` is at least 1'],
    ['xavier_normal(n, 0)', 'SORA2118', '`fan_out` is at least 1'],
    ['if n > 40 { nothing } else { zeros }', 'SORA2118', 'no initializer `nothing`'],
    ['if n > 40 { normal(std: sdt) } else { zeros }', 'SORA2001', 'sdt'],
    ['if x { zeros }', 'SORA2001', 'x'],
  ] as const)('init %s', (clause, code, message) => {
    refused(model(`init ${clause}`), { code, line: 6, message });
  });

  test.each([
    ['constant(0.5)', 'i32[n]', 'is no `i32`'],
    ['constant(-1)', 'u32[n]', 'is no `u32`'],
    ['constant(2)', 'bool[n]', 'is no `bool`'],
    ['normal(std: 1)', 'i32[n]', 'only a float tensor'],
    ['constant(70000)', 'f16[n]', 'does not fit in `f16`'],
  ] as const)('init %s of %s', (clause, type, message) => {
    refused(model(`init ${clause}`, type), { code: 'SORA2118', line: 6, message });
  });

  test('in a module that nobody makes, names are looked up', () => {
    const text = `${model('init ones')}module Never(a: int) {\n  w: f32[a] init if a > 1 { let b = a normal(std: bb) } else { zeros }\n}\n`;
    const { diagnostics } = lower(text);
    expect(diagnostics.filter(({ severity }) => severity === 'error').map(({ message }) => message)).toEqual([
      'unknown name `bb`',
    ]);
  });
});

describe('in the artifact', () => {
  const source = (train: string) => `import { Embedding, Linear } from "sora:nn"
dim B in 1..4
model M {
  words = Embedding(7, 3)
  head = Linear(3, 2)
  entry f(ids: i32[B]) -> y: f32[B, 2] = head(words(ids))
}
${train}`;
  const train =
    'train M.f {\n  target t: i32[B]\n  loss: cross_entropy(y, t)\n  optimizer: sgd(0.1)\n  freeze: "words.**"\n}\n';
  const artifactOf = (text: string) => {
    const { value, diagnostics } = compile({ file: sourceFile(text) });
    expect(describeDiagnostics(diagnostics)).toEqual([]);
    return value?.artifact ?? expect.fail('no artifact');
  };

  test('of a model that trains, parameters and frozen weights begin', () => {
    const artifact = artifactOf(source(train));
    const [group] = artifact.training?.groups ?? [];
    const bound = 1 / Math.sqrt(3);
    expect(group?.parameters.map(({ path, initial }) => [path, initial])).toEqual([
      ['head.weight', within(bound)],
      ['head.bias', within(bound)],
    ]);
    const sources = artifact.weights.flatMap((spec) => spec.sources);
    expect(sources.map(({ path, initial }) => [path, initial])).toEqual([
      ['words.weight', normal(1)],
      ['head.weight', within(bound)],
      ['head.bias', within(bound)],
    ]);
  });

  test('of a model that does not, nothing is said', () => {
    const { weights } = artifactOf(source(''));
    expect(weights.flatMap((spec) => spec.sources).map((one) => Object.keys(one).join())).toEqual(
      new Array(3).fill('path,shape'),
    );
  });
});

describe('the library begins as PyTorch does', () => {
  const begin = (field: string): Record<string, unknown> => {
    const names = field.match(/[A-Z]\w+/)?.[0] ?? '';
    const text = `import { ${names} } from "sora:nn"\ndim B in 1..4\nmodel M {\n  it = ${field}\n  entry f(x: f32[B]) -> y: f32[B] = x\n}\n`;
    const { value, diagnostics } = lower(text);
    expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
    return Object.fromEntries((value?.weights ?? []).map(({ path, initial }) => [path.replace('it.', ''), initial]));
  };

  test.each([
    ['Linear(16, 5)', { weight: within(0.25), bias: within(0.25) }],
    ['Linear(16, 5, std: 0.02)', { weight: normal(0.02), bias: constant(0) }],
    ['Embedding(7, 3)', { weight: normal(1) }],
    ['LayerNorm(4)', { weight: constant(1), bias: constant(0) }],
    ['RMSNorm(4)', { weight: constant(1) }],
    ['GroupNorm(2, 4)', { weight: constant(1), bias: constant(0) }],
    ['BatchNorm2d(4)', { weight: constant(1), bias: constant(0), running_mean: constant(0), running_var: constant(1) }],
    ['Conv1d(8, 4, 2)', { weight: within(0.25), bias: within(0.25) }],
    ['Conv2d(8, 4, 2, groups: 2)', { weight: within(0.25), bias: within(0.25) }],
    // torch counts the inputs of a transposed convolution along axis 1 of its weight, which are outputs.
    ['ConvTranspose1d(3, 8, 2)', { weight: within(0.25), bias: within(0.25) }],
    ['ConvTranspose2d(3, 8, 2, groups: 1)', { weight: within(Math.sqrt(1 / 32)), bias: within(Math.sqrt(1 / 32)) }],
    ['PReLU()', { weight: constant(0.25) }],
    [
      'MultiheadAttention(16, 2)',
      {
        in_proj_weight: within(Math.sqrt(6 / 64)),
        in_proj_bias: constant(0),
        'out_proj.weight': within(0.25),
        'out_proj.bias': constant(0),
      },
    ],
    ['PatchEmbedding(4, 8, 2, std: 0.02)', { 'projection.weight': normal(0.02), 'projection.bias': constant(0) }],
  ])('%s', (field, expected: Readonly<Record<string, Initializer>>) => {
    const actual = begin(field);
    expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
    for (const [name, initial] of Object.entries(expected)) close(actual[name] as Initializer, initial);
  });
});
