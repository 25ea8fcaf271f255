/**
 * Modules, functions, configs, repeats, imports: names of weights, what is checked when, what is said once.
 */
import { describe, expect, test } from 'vitest';
import { printProgram } from '../../../src/ir/print.ts';
import { readProgram } from '../../../src/ir/read.ts';
import { describeDiagnostics } from '../../support/language.ts';
import { lower, lowered, model, refused, run } from './kit.ts';

const paths = (text: string, options = {}): readonly string[] => lowered(text, options).weights.map(({ path }) => path);

/** A model with the given fields over `c: Sizes` and one entry that uses them. */
function withFields(fields: string, body: string, before = ''): string {
  return `import { Linear } from "sora:nn"
dim B in 1..8
config Sizes { width: int = 4 from "width", layers: int = 2 from "layers", extra: bool = false from "extra" }
${before}
model Test(c: Sizes) {
${fields}
  entry forward(x: f32[B, c.width]) -> y: f32[B, c.width] { ${body} }
}
`;
}

describe('weight names', () => {
  test('a field gives its name, `as` another one with any dots, `as ""` none', () => {
    const inner = 'module Inner(n: int) { gain: f32[n] fn (x: f32[..., n]) = x * gain }';
    const fields = 'a = Inner(c.width) b = Inner(c.width) as "x.y" d = Inner(c.width) as ""';
    expect(
      paths(
        withFields(fields, 'a(b(d(Linear0(x))))', inner)
          .replace('Linear0(x)', 'x')
          .replace('import { Linear } from "sora:nn"', ''),
      ),
    ).toEqual(['a.gain', 'x.y.gain', 'gain']);
  });

  test('copies of a repeat are numbered', () => {
    const text = withFields('repeat layer[c.layers] = Linear(c.width, c.width, bias: false) as "h"', 'layer(x)');
    expect(paths(text)).toEqual(['h.0.weight', 'h.1.weight']);
    expect(paths(text, { config: { layers: 3 } })).toEqual(['h.0.weight', 'h.1.weight', 'h.2.weight']);
  });

  test('nodes carry the path of the module that made them', () => {
    const program = lowered(withFields('repeat layer[c.layers] = Linear(c.width, c.width)', 'layer(x)'));
    const labels = program.entries[0]?.graph.nodes.filter((node) => node.op === 'linear').map((node) => node.label);
    expect(labels).toEqual(['layer.0', 'layer.1']);
  });

  test('a weight of a library module points at the field of the model', () => {
    const [weight] = lowered(withFields('dense = Linear(c.width, c.width)', 'dense(x)')).weights;
    expect(weight?.span?.file.path).toBe('test.sora');
  });

  test('a weight has no runtime dim', () => {
    refused(withFields('gain: f32[B]', 'x').replace('import { Linear } from "sora:nn"', ''), { code: 'SORA2203' });
  });
});

describe('repeat', () => {
  const eye = { shape: [2, 2], values: [1, 0, 0, 1] };
  const text = withFields('repeat layer[c.layers] = Linear(c.width, c.width, bias: false)', 'layer(x)');

  test('no copies hand the argument through', () => {
    const program = lowered(text, { config: { width: 2, layers: 0 } });
    expect(run(program, { x: { shape: [1, 2], values: [3, 4] } }).y?.values).toEqual([3, 4]);
  });

  test('one copy can be picked', () => {
    const one = lowered(text.replace('layer(x)', 'layer[-1](x) + layer[0](x)'), { config: { width: 2 } });
    const weights = { 'layer.0.weight': eye, 'layer.1.weight': { shape: [2, 2], values: [0, 1, 1, 0] } };
    expect(run(one, { x: { shape: [1, 2], values: [3, 4] } }, weights).y?.values).toEqual([7, 7]);
    refused(text.replace('layer(x)', 'layer[2](x)'), { code: 'SORA2106', at: '2' });
  });

  test('too many copies are refused before they are made', () => {
    refused(text, { code: 'SORA5002', at: 'c.layers' }, { config: { layers: 5000 } });
    const nested = 'module Inner(c: Sizes) { repeat in[4000] = Linear(c.width, c.width) fn (x: f32[..., N]) = in(x) }';
    const start = performance.now();
    refused(withFields('repeat layer[4000] = Inner(c)', 'layer(x)', nested), { code: 'SORA5002' });
    // 16 million copies would take minutes.
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test('a negative or runtime count', () => {
    refused(text.replace('[c.layers]', '[0 - 1]'), { code: 'SORA2204' });
    refused(text.replace('[c.layers]', '[B]'), { code: 'SORA2204' });
  });

  test('a mistake in a repeated module is told once', () => {
    const inner =
      'module Inner(c: Sizes) { dense = Linear(c.width, 2 * c.width) fn (x: f32[..., N]) -> f32[..., N] = dense(x) }';
    refused(withFields('repeat layer[c.layers] = Inner(c)', 'layer(x)', inner), { code: 'SORA2104', at: 'dense(x)' });
  });
});

describe('fields with a condition', () => {
  const text = withFields('dense = Linear(c.width, c.width) if c.extra', 'if c.extra { dense(x) } else { x }');

  test('exist only when it holds', () => {
    expect(paths(text)).toEqual([]);
    expect(paths(text, { config: { extra: true } })).toEqual(['dense.weight', 'dense.bias']);
  });

  test('a typo in the branch that is not taken is found', () => {
    refused(text.replace('dense(x) }', 'dnese(x) }'), { code: 'SORA2001', at: 'dnese', help: 'dense' });
  });
});

describe('functions', () => {
  test('a shape variable takes the size of its first argument and binds the rest', () => {
    const fn = 'fn mix(a: f32[N, D], b: f32[D, N]) -> f32[N, N] = matmul(a, b)';
    lowered(model('x: f32[B, T]', 'f32[B, B]', 'mix(x, transpose(x, [1, 0]))', fn));
    refused(model('x: f32[B, T]', 'f32[B, B]', 'mix(x, x)', fn), { code: 'SORA2101', at: 'x' });
  });

  test('`...` stands for the same dims everywhere in a signature', () => {
    const fn = 'fn plus(a: f32[..., D], b: f32[..., D]) -> f32[..., D] = a + b';
    lowered(model('x: f32[B, T]', 'f32[B, T]', 'plus(x, x)', fn));
    refused(model('x: f32[B, T]', 'f32[B, T]', 'plus(x, x[0])', fn), { code: 'SORA2102', at: 'x[0]' });
  });

  test('shape variables can be used as numbers', () => {
    const fn = 'fn center(x: f32[..., D]) -> f32[..., D] = x - sum(x, axis: -1, keep: true) / D';
    const program = lowered(model('x: f32[B, T]', 'f32[B, T]', 'center(x)', fn));
    expect(run(program, { x: { shape: [1, 3], values: [1, 2, 6] } }).y?.values).toEqual([-2, -1, 3]);
  });

  test('named arguments, defaults, scalar parameters', () => {
    const fn =
      'fn scaled(x: f32[...], by: float = 2, flip: bool = false) -> f32[...] = if flip { -by * x } else { by * x }';
    const values = (body: string) =>
      run(lowered(model('x: f32[B, T]', 'f32[B, T]', body, fn)), { x: { shape: [1, 2], values: [1, 2] } }).y?.values;
    expect(values('scaled(x)')).toEqual([2, 4]);
    expect(values('scaled(flip: true, x: x)')).toEqual([-2, -4]);
    expect(values('scaled(x, 0.5)')).toEqual([0.5, 1]);
    refused(model('x: f32[B, T]', 'f32[B, T]', 'scaled(x, by: true)', fn), { code: 'SORA2006', at: 'true' });
    refused(model('x: f32[B, T]', 'f32[B, T]', 'scaled(x, 1, by: 2)', fn), { code: 'SORA2007', at: '2' });
    refused(model('x: f32[B, T]', 'f32[B, T]', 'scaled(x, 1, true, 3)', fn), { code: 'SORA2007', at: '3' });
  });

  test('what no entry calls is checked too', () => {
    const fn = 'fn broken(x: f32[B, 4]) -> f32[B] = x';
    refused(model('x: f32[B, T]', 'f32[B, T]', 'x + 0', fn), { code: 'SORA2104', at: 'x' });
    // What depends on the sizes of a call is judged at a call.
    const open = 'fn open(x: f32[N, D]) -> f32[N, 4] = x[0:2] + x[0:2, 0, 0]';
    refused(model('x: f32[B, T]', 'f32[B, T]', 'x + 0', open), { code: 'SORA2102' });
    refused(model('x: f32[B, T]', 'f32[B, T]', 'x + 0', 'module Lost(n: int) { fn (x: f32[n]) = y }'), {
      code: 'SORA2001',
      at: 'y',
    });
  });

  test('a name that is missing in several places is one mistake with several labels', () => {
    const wrong = refused(model('x: f32[B, T]', 'f32[B, T]', 'let a = x * gain let b = a + gain b + a'), {
      code: 'SORA2001',
      at: 'gain',
    });
    expect(wrong.labels.map(({ text }) => text)).toEqual(['also here']);
  });

  test('a name mistyped in the import is one mistake, its use is none', () => {
    const text = model('x: f32[B, T]', 'f32[B, T]', 'gelu_tanh(x)');
    refused(`import { gelu_tahn } from "sora:nn"\n${text}`, { code: 'SORA2003', at: 'gelu_tahn', help: 'gelu_tanh' });
  });

  test('several mistakes are all told, each once', () => {
    const { diagnostics } = lower(
      model('x: f32[B, T]', 'f32[B, T]', 'let a = unknown1(x) let b = a + x let d = x[0, 0, 0] + unknown2 b + d + a'),
    );
    expect(diagnostics.map(({ code }) => code)).toEqual(['SORA2001', 'SORA2102', 'SORA2001']);
  });
});

describe('limits', () => {
  const chain = (count: number, body: (next: string) => string): string => {
    const functions = Array.from(
      { length: count },
      (_, at) => `fn f${at}(x: f32[...]) -> f32[...] = ${body(`f${at + 1}`)}`,
    );
    return [...functions, `fn f${count}(x: f32[...]) -> f32[...] = x * 2`].join('\n');
  };

  test('a long chain of calls is refused, not a stack overflow', () => {
    lowered(
      model(
        'x: f32[B, T]',
        'f32[B, T]',
        'f0(x)',
        chain(40, (next) => `${next}(x + 1)`),
      ),
    );
    refused(
      model(
        'x: f32[B, T]',
        'f32[B, T]',
        'f0(x)',
        chain(500, (next) => `${next}(x + 1)`),
      ),
      { code: 'SORA5002' },
    );
    const deep = chain(40, (next) => `${'('.repeat(60)}${next}(x)${' * 2)'.repeat(60)}`);
    refused(model('x: f32[B, T]', 'f32[B, T]', 'f0(x)', deep), { code: 'SORA5002' });
  });

  test('calls that double at every level are refused in time', () => {
    const levels = Array.from({ length: 40 }, (_, at) => `fn f${at}(k: int) = f${at + 1}(k) + f${at + 1}(k)`);
    const before = [...levels, 'fn f40(k: int) = k'].join('\n');
    refused(model('x: f32[B, T]', 'f32[B, T]', 'x * f0(1)', before), { code: 'SORA5002' });
  });

  test('a tensor has at most eight axes', () => {
    refused(model('x: f32[B, T, 1, 1, 1, 1, 1, 1, 1]', 'f32[B]', 'x'), { code: 'SORA5002' });
  });
});

describe('programs of the language sketch', () => {
  test('an encoder classifier', () => {
    const program = lowered(`import { Linear, LayerNorm, Embedding, gelu } from "sora:nn"

dim B in 1..32, T in 1..512

config Bert {
  hidden: int = 768   from "hidden_size"
  heads:  int = 12    from "num_attention_heads"
  layers: int = 12    from "num_hidden_layers"
  ffn:    int = 3072  from "intermediate_size"
  vocab:  int = 30522 from "vocab_size"
  labels: int = 2
}

module Layer(c: Bert) {
  q = Linear(c.hidden, c.hidden)     as "attention.self.query"
  k = Linear(c.hidden, c.hidden)     as "attention.self.key"
  v = Linear(c.hidden, c.hidden)     as "attention.self.value"
  o = Linear(c.hidden, c.hidden)     as "attention.output.dense"
  n1 = LayerNorm(c.hidden, 1e-12)    as "attention.output.LayerNorm"
  up = Linear(c.hidden, c.ffn)       as "intermediate.dense"
  down = Linear(c.ffn, c.hidden)     as "output.dense"
  n2 = LayerNorm(c.hidden, 1e-12)    as "output.LayerNorm"

  fn (x: f32[B, T, c.hidden], len: i32[B]) {
    let a = attend(q(x), k(x), v(x)) { heads: c.heads, mask: padding(len) }
    let y = n1(x + o(a))
    n2(y + down(gelu(up(y))))
  }
}

model BertClassifier(c: Bert) {
  word = Embedding(c.vocab, c.hidden) as "bert.embeddings.word_embeddings"
  pos  = Embedding(512, c.hidden)     as "bert.embeddings.position_embeddings"
  typ  = Embedding(2, c.hidden)       as "bert.embeddings.token_type_embeddings"
  ln   = LayerNorm(c.hidden, 1e-12)   as "bert.embeddings.LayerNorm"
  repeat layer[c.layers] = Layer(c)   as "bert.encoder.layer"
  pool = Linear(c.hidden, c.hidden)   as "bert.pooler.dense"
  classifier = Linear(c.hidden, c.labels)

  /// Class scores, one row per sentence, before softmax.
  entry classify(ids: i32[B, T], len: i32[B]) -> f32[B, c.labels] {
    let h = layer(ln(word(ids) + pos(iota(T)) + typ(0)), len)
    classifier(tanh(pool(h[:, 0])))
  }
}
`);
    expect(program.weights).toHaveLength(5 + 12 * 16 + 4);
    expect(program.weights[5]?.path).toBe('bert.encoder.layer.0.attention.self.query.weight');
  });

  test('a diffusion transformer block', () => {
    lowered(`import { Linear, LayerNorm, gelu_tanh, silu } from "sora:nn"

dim B in 1..8, N in 1..256

config DiT { hidden: int = 64, heads: int = 4 }

fn modulate(x: f32[B, N, D], shift: f32[B, D], scale: f32[B, D]) = x * (1 + scale[:, new]) + shift[:, new]

module Block(c: DiT) {
  ada = Linear(c.hidden, 6 * c.hidden)
  qkv = Linear(c.hidden, 3 * c.hidden)
  proj = Linear(c.hidden, c.hidden)
  fc1 = Linear(c.hidden, 4 * c.hidden)
  fc2 = Linear(4 * c.hidden, c.hidden)
  n1 = LayerNorm(c.hidden)
  n2 = LayerNorm(c.hidden)

  fn (x: f32[B, N, c.hidden], cond: f32[B, c.hidden]) {
    let [s1, k1, g1, s2, k2, g2] = split(ada(silu(cond)), 6)
    let [q, k, v] = split(qkv(modulate(n1(x), s1, k1)), 3)
    let y = x + g1[:, new] * proj(attend(q, k, v) { heads: c.heads })
    y + g2[:, new] * fc2(gelu_tanh(fc1(modulate(n2(y), s2, k2))))
  }
}

model Denoiser(c: DiT) {
  repeat blocks[4] = Block(c)

  entry denoise(x: f32[B, N, c.hidden], cond: f32[B, c.hidden]) -> noise: f32[B, N, c.hidden] = blocks(x, cond)
}
`);
  });
});

describe('config', () => {
  const text = `dim B in 1..8
config Sizes {
  width: int = 4 from "hidden_size" or "d_model"
  head: int = width / 2 from "head_dim"
  eps: float = 1e-5 from "eps"
  act: string = "gelu" from "text.hidden_act"
  labels: int = 2 from "num_labels" or count("id2label")
  bias: bool = true from "bias"
}
model Test(c: Sizes) {
  entry forward(x: f32[B, c.width]) -> y: f32[B, c.width] {
    if c.bias and c.act == "gelu" { x + c.eps * c.labels * c.head } else { x * 2 }
  }
}
`;
  const bound = (config: Readonly<Record<string, unknown>>) => lowered(text, { config }).config;

  test('keys in order, dotted keys, counts, defaults from other fields', () => {
    expect(bound({})).toMatchObject({ 'Sizes.width': 4, 'Sizes.head': 2, 'Sizes.labels': 2 });
    expect(bound({ d_model: 6, id2label: { 0: 'a', 1: 'b', 2: 'c' } })).toMatchObject({
      'Sizes.width': 6,
      'Sizes.head': 3,
      'Sizes.labels': 3,
    });
    expect(bound({ hidden_size: 8, d_model: 6, text: { hidden_act: 'relu' }, eps: 1 })).toMatchObject({
      'Sizes.width': 8,
      'Sizes.act': 'relu',
      'Sizes.eps': 1,
    });
    expect(bound({ id2label: ['a', 'b', 'c', 'd'], hidden_size: null, bias: false })).toMatchObject({
      'Sizes.width': 4,
      'Sizes.labels': 4,
      'Sizes.bias': false,
    });
  });

  test.each([
    [{ hidden_size: '8' }, '"hidden_size"'],
    [{ hidden_size: 8.5 }, '"hidden_size"'],
    [{ hidden_size: 2 ** 60 }, '"hidden_size"'],
    [{ hidden_size: [8] }, '"hidden_size"'],
    [{ eps: Number.NaN }, '"eps"'],
    [{ eps: Number.POSITIVE_INFINITY }, '"eps"'],
    [{ eps: '1e-5' }, '"eps"'],
    [{ bias: 1 }, '"bias"'],
    [{ text: { hidden_act: 3 } }, '"text.hidden_act"'],
    [{ id2label: 3.5 }, '"id2label"'],
  ])('%j is refused at the key', (config, at) => {
    refused(text, { code: 'SORA2202', at }, { config });
  });

  test('a width of zero or of too many is refused where the dim is used', () => {
    expect(lower(text, { config: { hidden_size: 0 } }).diagnostics[0]?.code).toBe('SORA2204');
    expect(lower(text, { config: { hidden_size: -4 } }).diagnostics[0]?.code).toBe('SORA2204');
    expect(lower(text, { config: { hidden_size: 2 ** 32 } }).diagnostics[0]?.code).toBe('SORA5002');
  });

  test('inherited properties of the JSON object are no values', () => {
    const config = Object.create({ hidden_size: 8 }) as Record<string, unknown>;
    expect(bound(config)).toMatchObject({ 'Sizes.width': 4 });
    expect(bound(JSON.parse('{ "__proto__": { "hidden_size": 8 } }'))).toMatchObject({ 'Sizes.width': 4 });
  });

  test('a config fits by its fields', () => {
    const files = {
      'part.sora':
        'config Need { width: int from "width" }\nmodule Part(c: Need) { gain: f32[c.width] fn (x: f32[..., c.width]) = x * gain }',
    };
    const user = (fields: string) =>
      `import { Part } from "./part.sora"\ndim B in 1..8\nconfig Mine { ${fields} }\nmodel Test(c: Mine) {\n  part = Part(c)\n  entry forward(x: f32[B, 4]) -> y: f32[B, 4] = part(x)\n}\n`;
    expect(paths(user('width: int = 4, other: int = 1'), { files })).toEqual(['part.gain']);
    refused(user('breadth: int = 4'), { code: 'SORA2006', at: 'c' }, { files });
  });
});

describe('which model', () => {
  const two =
    'dim B in 1..8\nmodel A { entry f(x: f32[B]) -> y: f32[B] = x + 1 }\nmodel C { entry f(x: f32[B]) -> y: f32[B] = x + 2 }\n';

  test('is asked for only when there are several', () => {
    refused(two, { code: 'SORA2010', help: '--model' });
    expect(lowered(two, { model: 'C' }).name).toBe('C');
    refused(two, { code: 'SORA2010', help: '`A`, `C`' }, { model: 'X1' });
    refused('dim B in 1..8\n', { code: 'SORA2010' });
  });

  test('an unnamed result takes the name of its entry', () => {
    const program = lowered('dim B in 1..8\nmodel A { entry twice(x: f32[B]) -> f32[B] = x * 2 }\n');
    expect(program.entries[0]?.results.map(({ name }) => name)).toEqual(['twice']);
  });
});

describe('unused names', () => {
  test('are warnings, and the program is there', () => {
    const text = `import { Linear, gelu } from "sora:nn"
dim B in 1..8, T in 1..8
fn lost(x: f32[N]) -> f32[N] = x * 2
model Test {
  dense = Linear(4, 4)
  spare = Linear(4, 4)
  entry forward(x: f32[B, 4]) -> y: f32[B, 4] {
    let unused = x * 2
    let _meant = x * 3
    dense(x)
  }
}
`;
    const { value, diagnostics } = lower(text);
    expect(value).toBeDefined();
    expect(diagnostics.every(({ severity, code }) => severity === 'warning' && code === 'SORA3001')).toBe(true);
    expect(describeDiagnostics(diagnostics)).toEqual([
      '1:18 SORA3001 import `gelu` is never used',
      '2:16 SORA3001 dim `T` is never used',
      '3:4 SORA3001 function `lost` is never used',
      '6:3 SORA3001 field `spare` is never used',
      '8:9 SORA3001 `let` `unused` is never used',
    ]);
  });

  test('a name used only in the branch that is not taken is used', () => {
    lowered(
      model(
        'x: f32[B, T]',
        'f32[B, T]',
        'if 1 > 2 { relu(x) } else { x * 2 }',
        'import { relu } from "sora:nn"',
      ).replace(/^(dim.*)\n(import.*)\n/, '$2\n$1\n'),
    );
  });
});

describe('entries', () => {
  test('defaults must be one element of the type', () => {
    const text = (initial: string, dtype = 'i32') =>
      `dim B in 1..8\nmodel A { entry f(x: f32[B], m: ${dtype}[B] = ${initial}) -> y: f32[B] = x * f32(m) }\n`;
    expect(lowered(text('-1')).entries[0]?.parameters[1]?.initial).toBe(-1);
    expect(lowered(text('0.5', 'f32')).entries[0]?.parameters[1]?.initial).toBe(0.5);
    expect(lowered(text('true', 'bool')).entries[0]?.parameters[1]?.initial).toBe(1);
    refused(text('0.5'), { code: 'SORA2103', at: '0.5' });
    refused(text('-1', 'u32'), { code: 'SORA2103', at: '-1' });
    refused(text('1', 'bool'), { code: 'SORA2103', at: '1' });
  });

  test('a dim known only from a parameter that may be left out', () => {
    refused(
      'dim B in 1..8, T in 1..8\nmodel A { entry f(x: f32[B], m: f32[T] = 0) -> y: f32[B, T] = x[:, new] + m }\n',
      { code: 'SORA2206' },
    );
  });

  test('two runs give the same text, and the text reads back', () => {
    const text = model('x: f32[B, T]', 'f32[B, T]', 'softmax(x) * T');
    const printed = printProgram(lowered(text));
    expect(printProgram(lowered(text))).toBe(printed);
    expect(printProgram(readProgram(printed))).toBe(printed);
  });
});
