/**
 * `sorac compress` and `sorac explain FILE.sora` on the interpreter: a small language model with random weights. That numbers are
 * right is the business of other tests; here recipes, files, reports and refusals count.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../../src/cli/compress/report.ts';
import { readTensorFile } from '../../../src/cli/tensor-file.ts';
import { encodeSafetensors, openSafetensors } from '../../../src/runtime/safetensors.ts';
import { emptyFolder, sorac, uniform } from './train-kit.ts';

const source = `import { Embedding, LayerNorm, Linear, gelu } from "sora:nn"

dim B in 1..16, T in 1..16

module Block() {
  first = LayerNorm(32)
  second = LayerNorm(32)
  query = Linear(32, 32)
  key = Linear(32, 32)
  value = Linear(32, 32)
  mix = Linear(32, 32)
  up = Linear(32, 64)
  down = Linear(64, 32)

  fn (x: f32[B, T, 32]) -> f32[B, T, 32] {
    let h = first(x)
    let y = x + mix(attend(query(h), key(h), value(h)) { heads: 4, mask: causal })
    y + down(gelu(up(second(y))))
  }
}

/// Reads four letters.
model Letters {
  embed = Embedding(24, 32)
  repeat block[2] = Block()
  head = Linear(32, 24, bias: false)

  entry read(ids: i32[B, T]) -> logits: f32[B, T, 24] = head(block(embed(ids)))
}
`;

const folder = emptyFolder();
const at = (name: string): string => join(folder, name);
const weights = at('model.safetensors');

const shapes = (): ReadonlyMap<string, readonly number[]> => {
  const all = new Map<string, readonly number[]>([
    ['embed.weight', [24, 32]],
    ['head.weight', [24, 32]],
  ]);
  for (const layer of [0, 1]) {
    for (const name of ['query', 'key', 'value', 'mix']) all.set(`block.${layer}.${name}.weight`, [32, 32]);
    all.set(`block.${layer}.up.weight`, [64, 32]);
    all.set(`block.${layer}.down.weight`, [32, 64]);
    for (const name of ['query', 'key', 'value', 'mix', 'down']) all.set(`block.${layer}.${name}.bias`, [32]);
    for (const name of ['first', 'second'])
      for (const part of ['weight', 'bias']) all.set(`block.${layer}.${name}.${part}`, [32]);
    all.set(`block.${layer}.up.bias`, [64]);
  }
  return all;
};

function writeWeights(path: string, all: ReadonlyMap<string, readonly number[]>): void {
  const tensors = [...all].map(([name, shape], lane) => {
    const count = shape.reduce((product, size) => product * size, 1);
    return { name, shape, data: Float32Array.from({ length: count }, (_, index) => uniform(index, lane) - 0.5) };
  });
  writeFileSync(path, encodeSafetensors(tensors));
}

beforeAll(() => {
  writeFileSync(at('letters.sora'), source);
  writeWeights(weights, shapes());
  const ids = Int32Array.from({ length: 24 * 8 }, (_, index) => Math.floor(uniform(index, 99) * 24));
  writeFileSync(at('sample.safetensors'), encodeSafetensors([{ name: 'ids', shape: [24, 8], data: ids }]));
});

const compress = (...more: readonly string[]) =>
  sorac([
    'compress',
    at('letters.sora'),
    '--weights',
    weights,
    '--data',
    at('sample.safetensors'),
    '--device',
    'cpu',
    ...more,
  ]);

async function reportOf(out: string): Promise<Report> {
  return JSON.parse(readFileSync(join(at(out), 'report.json'), 'utf8')) as Report;
}

describe('recipes', () => {
  test('adapters behind parts belong to the model', async () => {
    const path = at('adapted.sora');
    writeFileSync(path, `${source}\nadapter Letters {\n  after "block.*": bottleneck(size: 8)\n}\n`);
    const added = [0, 1].flatMap((layer): (readonly [string, readonly number[]])[] => {
      const part = `block.${layer}.adapter`;
      return [
        [`${part}_down.weight`, [8, 32]],
        [`${part}_down.bias`, [8]],
        [`${part}_up.weight`, [32, 8]],
        [`${part}_up.bias`, [32]],
      ];
    });
    writeWeights(at('adapted.safetensors'), new Map([...shapes(), ...added]));
    const options = ['--weights', at('adapted.safetensors'), '--data', at('sample.safetensors'), '--device', 'cpu'];
    const argv = ['compress', path, ...options, '--recipe', 'int8', '--out', at('adapted')];
    const { exitCode, stderr } = await sorac(argv);
    expect(stderr).not.toMatch(/error/);
    expect(exitCode).toBe(0);
    const file = await openSafetensors(readFileSync(join(at('adapted'), 'model.safetensors')));
    for (const [name] of added) expect([...file.tensors.keys()]).toContain(name);
  });

  test('one that prunes leaves a model that loads, a report and its own text', async () => {
    const { exitCode, stdout, stderr } = await compress('--recipe', 'heads50+neurons75', '--out', at('pruned'));
    expect(stderr).not.toMatch(/error/);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^Letters, heads50\+neurons75: .* kB to .* kB/);
    expect(readdirSync(at('pruned')).sort()).toEqual([
      'letters.d.ts',
      'letters.js',
      'model.safetensors',
      'recipe.sora',
      'report.json',
      'report.md',
    ]);
    const tensors = await readTensorFile(join(at('pruned'), 'model.safetensors'));
    expect(tensors.get('block.0.query.weight')?.shape).toEqual([16, 32]);
    expect(tensors.get('block.1.mix.weight')?.shape).toEqual([32, 16]);
    expect(tensors.get('block.1.up.bias')?.shape).toEqual([48]);
    expect(tensors.get('embed.weight')?.shape).toEqual([24, 32]);
    const recipe = ['--recipe', join(at('pruned'), 'recipe.sora')];
    const small = join(at('pruned'), 'model.safetensors');
    expect((await sorac(['check', at('letters.sora'), '--weights', small, ...recipe])).exitCode).toBe(0);
    expect((await sorac(['check', at('letters.sora'), '--weights', small])).exitCode).toBe(1);
  });

  test('the report says sizes, how far answers are, and times', async () => {
    const report = await reportOf('pruned');
    expect(report).toMatchObject({
      model: 'Letters',
      entry: 'read',
      recipe: 'heads50+neurons75',
      sample: { calibration: { used: 12, available: 12 }, evaluation: { used: 12, available: 12 } },
    });
    expect(report.size.after).toBeLessThan(report.size.f32);
    expect(report.size.after).toBe(statSync(join(at('pruned'), 'model.safetensors')).size);
    const [logits] = report.measured.quality.results;
    expect(logits).toMatchObject({ name: 'logits', rows: 12 * 8 });
    expect(logits?.cosine).toBeGreaterThan(0);
    expect(logits?.cosine).toBeLessThan(1);
    expect(report.measured.call.calls).toBe(3);
    expect(report.predicted.map(({ machine, entry }) => [machine, entry])).toEqual([
      ['CPU', 'read'],
      ['GPU', 'read'],
    ]);
    const text = readFileSync(join(at('pruned'), 'report.md'), 'utf8');
    for (const part of ['# Letters: heads50+neurons75', '| logits |', '## Size', '| `read` | CPU |'])
      expect(text).toContain(part);
  });

  test('a budget, activations and zeros; the file says which units are left', async () => {
    writeFileSync(
      at('mixed.sora'),
      `prune Letters {
  heads "block": budget(0.5) by l1
  neurons "block": keep 0.5 by activation
  "head.weight": nm(2, 4)
}
`,
    );
    const { exitCode, stderr } = await compress('--recipe', at('mixed.sora'), '--out', at('mixed'));
    expect(stderr).not.toMatch(/error/);
    expect(exitCode).toBe(0);
    const file = await openSafetensors(join(at('mixed'), 'model.safetensors'));
    const head = await file.readTensor('head.weight', 'f32');
    for (let from = 0; from < head.length; from += 4)
      expect(head.subarray(from, from + 4).filter((value) => value === 0)).toHaveLength(2);
    const kept = JSON.parse(file.metadata.get('sorac.pruned') ?? '{}') as Record<string, string>;
    expect(Object.keys(kept)).toHaveLength(4);
    const rows = ['0', '1'].map((layer) => file.tensors.get(`block.${layer}.query.weight`)?.shape[0] ?? 0);
    expect(rows.reduce((sum, size) => sum + size, 0)).toBe(32);
    await file.close();
    // Half of the numbers, the smaller ones, are gone.
    const { tensors } = await reportOf('mixed');
    const lost = tensors.find(({ name }) => name === 'head.weight')?.relativeError ?? 0;
    expect(lost).toBeGreaterThan(0.1);
    expect(lost).toBeLessThan(0.5);
    expect(readFileSync(join(at('mixed'), 'report.md'), 'utf8')).toMatch(/\| `head\.weight` \| \[24, 32\] \| f32 \|/);
  });

  test('rows by how often the sample looks them up', async () => {
    const { exitCode, stderr } = await compress('--recipe', 'rows50+int8', '--out', at('rows'));
    expect(stderr).not.toMatch(/error/);
    expect(exitCode).toBe(0);
    expect(readFileSync(join(at('rows'), 'recipe.sora'), 'utf8')).toContain(
      'rows "embed", "head": keep 0.5 by activation',
    );
    expect(stderr).toContain('the sample looks up 12 of the 12 rows of `embed.weight` that stay');
    const file = await openSafetensors(join(at('rows'), 'model.safetensors'));
    const places = await file.readTensor('embed.weight.places', 'f32');
    const kept = JSON.parse(file.metadata.get('sorac.pruned') ?? '{}') as Record<string, string>;
    expect(Object.keys(kept)).toEqual(['rows embed.weight']);
    expect(file.tensors.get('embed.weight')?.shape).toEqual([12, 32]);
    expect(file.tensors.get('head.weight')?.shape).toEqual([12, 32]);
    await file.close();
    // What calibrates: half of the sample. Those that it looks up most stay, in their order.
    expect(places).toHaveLength(24);
    expect(places.filter((place) => place > 0)).toEqual(Float32Array.from({ length: 12 }, (_, row) => row + 1));
    const { measured, tensors } = await reportOf('rows');
    expect(measured.quality.results[0]?.cosine).toBeGreaterThan(0);
    expect(tensors.find(({ name }) => name === 'embed.weight')).toMatchObject({ format: 'int8', shape: [12, 32] });
    const checked = ['--weights', join(at('rows'), 'model.safetensors'), '--recipe', join(at('rows'), 'recipe.sora')];
    expect((await sorac(['check', at('letters.sora'), ...checked])).exitCode).toBe(0);
    // A file with a `train` block makes the same module, and is checked as one that only infers.
    const training = `${readFileSync(at('letters.sora'), 'utf8')}
train Letters.read { target label: i32[B, T], loss: cross_entropy(logits, label), optimizer: sgd(0.1) }
`;
    writeFileSync(at('training.sora'), training);
    expect((await sorac(['check', at('training.sora'), ...checked])).exitCode).toBe(0);
    const recipe = checked.slice(2);
    expect((await sorac(['compile', at('training.sora'), ...recipe, '-o', at('training')])).exitCode).toBe(0);
    const text = readFileSync(join(at('training'), 'training.js'), 'utf8');
    expect(text).toContain('kind: "packed"');
    expect(text).not.toContain('trainer(');
    // Without a recipe it trains, and formats of its own have no effect.
    writeFileSync(at('both.sora'), `${training}quantize Letters { "**": int8 }\n`);
    expect((await sorac(['check', at('both.sora')])).stderr).toContain('SORA3003');
    // Another share than that of the file.
    const other = await sorac(['check', at('letters.sora'), '--weights', checked[1] ?? '', '--recipe', 'rows25']);
    expect(other.exitCode).not.toBe(0);
    expect(other.stderr).toContain('another recipe has cut them');
  });

  test('what is cut out of halves is halves', async () => {
    const halves = at('halves.safetensors');
    const { packTensor } = await import('../../../src/runtime/number-formats.ts');
    const tensors = [...shapes()].map(([name, shape], lane) => {
      const count = shape.reduce((product, size) => product * size, 1);
      const data = Float32Array.from({ length: count }, (_, index) => uniform(index, lane) - 0.5);
      return packTensor(name, data, shape, { kind: 'f16' })[0];
    });
    writeFileSync(halves, encodeSafetensors(tensors.flatMap((tensor) => tensor ?? [])));
    const argv = ['--weights', halves, '--data', at('sample.safetensors'), '--device', 'cpu', '--recipe', 'rows50'];
    const { exitCode } = await sorac(['compress', at('letters.sora'), ...argv, '--out', at('cut')]);
    expect(exitCode).toBe(0);
    const file = await openSafetensors(join(at('cut'), 'model.safetensors'));
    expect(file.tensors.get('embed.weight')).toMatchObject({ dtype: 'F16', shape: [12, 32] });
    await file.close();
  });

  test('halves', async () => {
    const { exitCode } = await compress('--recipe', 'f16', '--out', at('halves'));
    expect(exitCode).toBe(0);
    const file = await openSafetensors(join(at('halves'), 'model.safetensors'));
    expect(file.tensors.get('block.0.up.weight')?.dtype).toBe('F16');
    expect(file.tensors.get('block.0.up.bias')?.dtype).toBe('F32');
    expect(file.metadata.get('recipe')).toBe('f16');
    await file.close();
  });

  test('several are compared, and none is kept', async () => {
    const recipes = ['heads50', 'neurons50', 'heads75+neurons75'].flatMap((name) => ['--recipe', name]);
    const { exitCode, stdout } = await compress('--sweep', ...recipes, '--out', at('sweep'));
    expect(exitCode).toBe(0);
    expect(readdirSync(at('sweep')).sort()).toEqual(['sweep.json', 'sweep.md', 'sweep.svg']);
    expect(stdout).toMatch(/\| recipe \| front \|/);
    const { recipes: rows } = JSON.parse(readFileSync(join(at('sweep'), 'sweep.json'), 'utf8')) as {
      recipes: { recipe: string; front: boolean }[];
    };
    expect(rows.map(({ recipe }) => recipe)).toEqual(['heads50', 'neurons50', 'heads75+neurons75']);
    expect(rows.some(({ front }) => front)).toBe(true);
    expect(readFileSync(join(at('sweep'), 'sweep.svg'), 'utf8')).toMatch(
      /^<svg [\s\S]*heads75\+neurons75[\s\S]*<\/svg>\n$/,
    );
  });
});

describe('refusals', () => {
  const cases: readonly (readonly [string, readonly string[], string, number])[] = [
    ['no recipe for a file without blocks', [], 'no `quantize` or `prune` block', 2],
    ['a word that is none', ['--recipe', 'int3'], 'is no recipe', 2],
    ['a setting that is none', ['--recipe', 'int4:64:fast'], '`fast` of `int4:64:fast` is not known', 2],
    ['a setting twice', ['--recipe', 'int4:64:32'], 'says `group` twice', 2],
    ['a share of everything', ['--recipe', 'heads100'], 'keeps 100 %', 2],
    ['two recipes for one model', ['--recipe', 'int8', '--recipe', 'int4'], '2 recipes give 2 models', 2],
    ['the same recipe twice', ['--sweep', '--recipe', 'int8', '--recipe', 'int8'], 'is given twice', 2],
    ['a sweep of nothing', ['--sweep'], 'compares recipes', 2],
    ['a file that is not there', ['--recipe', 'nowhere.sora'], 'does not exist', 2],
    ['a share that is none', ['--recipe', 'int8', '--held-back', '1'], 'no share between 0 and 1', 2],
    ['a count that is none', ['--recipe', 'int8', '--batch', '0'], 'no whole number of at least 1', 2],
    ['groups that do not divide', ['--recipe', 'int4:24'], 'groups of 24 do not divide', 1],
    ['an entry that is none', ['--recipe', 'f16', '--entry', 'write'], 'has no entry `write`', 2],
    ['data that is not there', ['--recipe', 'f16', '--data', 'nowhere.jsonl'], 'does not exist', 2],
  ];
  test.each(cases)('%s', async (_, argv, message, code) => {
    const { exitCode, stderr } = await compress(...argv, '--out', at('refused'));
    expect(stderr).toContain(message);
    expect(exitCode).toBe(code);
    expect(existsSync(at('refused'))).toBe(false);
  });

  const recipes: readonly (readonly [string, string, string])[] = [
    ['a name that selects nothing', 'quantize Letters { "blok.**": int8 }', 'SORA2302'],
    ['a group that does not divide', 'quantize Letters { "**.up.weight": int4(group: 24) }', 'SORA2304'],
    ['a part without attention', 'prune Letters { heads "embed": keep 0.5 }', 'SORA2312'],
    ['a share that leaves all', 'prune Letters { heads "block": keep 0.99 }', 'SORA2313'],
    ['another model', 'quantize Letter { "**": int8 }', 'SORA2001'],
    ['a method that is none', 'quantize Letters { "**": int4(calibrate: awq) }', 'SORA2304'],
    ['movement without steps', 'prune Letters { "**.up.weight": nm(2, 4) by movement }', 'SORA2304'],
  ];
  test.each(recipes)('%s is told with its place in the recipe', async (_, text, code) => {
    writeFileSync(at('wrong.sora'), `${text}\n`);
    for (const command of ['compress', 'explain']) {
      const { exitCode, stderr } =
        command === 'compress'
          ? await compress('--recipe', at('wrong.sora'), '--out', at('refused'))
          : await sorac(['explain', at('letters.sora'), '--recipe', at('wrong.sora')]);
      expect(stderr).toContain(`error[${code}]`);
      expect(stderr).toContain('wrong.sora:1:');
      expect(exitCode).toBe(1);
    }
    expect(existsSync(at('refused'))).toBe(false);
  });

  test('a checkpoint that no training has pruned by movement', async () => {
    writeFileSync(at('moved.sora'), 'prune Letters { "head.weight": gradual(keep: 0.5) by movement }\n');
    const { exitCode, stderr } = await compress('--recipe', at('moved.sora'), '--out', at('refused'));
    expect(stderr).toContain('`head.weight` has 0 zeros of 768: it has not been pruned by movement yet');
    expect(exitCode).toBe(4);
    expect(existsSync(at('refused'))).toBe(false);
  });

  test('weights with numbers that are none', async () => {
    const tensors = [...shapes()].map(([name, shape]) => {
      const count = shape.reduce((product, size) => product * size, 1);
      return { name, shape, data: new Float32Array(count).fill(name === 'head.weight' ? Number.NaN : 1) };
    });
    writeFileSync(at('none.safetensors'), encodeSafetensors(tensors));
    const { exitCode, stderr } = await compress(
      '--weights',
      at('none.safetensors'),
      '--recipe',
      'int4',
      '--out',
      at('refused'),
    );
    expect(stderr).toMatch(/error\[SORA7204\]: tensor `head\.weight`: NaN has no place in int4/);
    expect(exitCode).toBe(4);
  });

  test('files of others are not replaced, nor what is read', async () => {
    mkdirSync(at('others'));
    writeFileSync(join(at('others'), 'report.md'), 'my report\n');
    const kept = await compress('--recipe', 'f16', '--out', at('others'));
    expect(kept.stderr).toContain('was not written by sorac compress');
    expect(kept.exitCode).toBe(2);
    expect(readFileSync(join(at('others'), 'report.md'), 'utf8')).toBe('my report\n');
    expect(readdirSync(at('others'))).toEqual(['report.md']);
    expect((await compress('--recipe', 'f16', '--out', at('others'), '--force')).exitCode).toBe(0);
    // An earlier run is replaced without being asked.
    expect((await compress('--recipe', 'f16', '--out', at('others'))).exitCode).toBe(0);
    const same = await compress('--recipe', 'f16', '--out', folder, '--force');
    expect(same.stderr).toContain('is read and would be replaced');
    expect(same.exitCode).toBe(2);
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('a run that fails leaves nothing', async () => {
    writeFileSync(
      at('few.safetensors'),
      encodeSafetensors([{ name: 'ids', shape: [2, 40], data: new Int32Array(80) }]),
    );
    const { exitCode, stderr } = await compress(
      '--recipe',
      'f16',
      '--data',
      at('few.safetensors'),
      '--out',
      at('failed'),
    );
    expect(stderr).toContain('error[SORA60');
    expect(exitCode).toBe(4);
    expect(existsSync(at('failed'))).toBe(false);
    expect(readdirSync(folder).filter((name) => name.startsWith('.failed'))).toEqual([]);
  });
});

describe('explain', () => {
  test('what each rule holds for and saves', async () => {
    const recipesGiven = ['int8', 'int4:16:gptq', 'heads50+int8', 'layers50', 'nm24', 'rows50'];
    const argv = recipesGiven.flatMap((recipe) => ['--recipe', recipe]);
    const { exitCode, stdout } = await sorac(['explain', at('letters.sora'), ...argv, '--json']);
    expect(exitCode).toBe(0);
    const { recipes } = JSON.parse(stdout) as {
      recipes: {
        recipe: string;
        bytesBefore: number;
        bytesAfter: number;
        rules: { rule: string; weights: string[]; bytesBefore: number; bytesAfter: number }[];
      }[];
    };
    expect(recipes.map(({ recipe }) => recipe)).toEqual(recipesGiven);
    const [int8, int4, both, layers, nm, rows] = recipes;
    expect(rows?.rules).toMatchObject([
      {
        rule: 'rows "embed", "head": keep 0.5 by activation',
        weights: ['embed.weight', 'head.weight'],
        bytesAfter: 3072,
      },
    ]);
    expect(layers?.rules).toMatchObject([{ rule: 'layers "block": keep 0.5', weights: { length: 16 }, bytesAfter: 0 }]);
    expect(int8?.rules).toMatchObject([{ rule: '"**": int8', weights: { length: 14 } }]);
    expect((int8?.bytesAfter ?? 0) / (int8?.bytesBefore ?? 1)).toBeCloseTo(0.29, 1);
    expect(int4?.rules[0]?.rule).toBe('"**": int4(group: 16, calibrate: gptq)');
    expect(both?.rules.map(({ rule }) => rule)).toEqual(['"**": int8', 'heads "block": keep 0.5']);
    expect(both?.rules[1]?.weights).toHaveLength(14);
    expect(both?.bytesAfter).toBeLessThan(int8?.bytesAfter ?? 0);
    // Biases get shorter, but no format.
    expect(both?.rules[0]?.weights).toEqual(int8?.rules[0]?.weights);
    // Two numbers and four bits of places where four numbers were.
    expect(nm?.rules).toMatchObject([{ rule: '"**": nm(2, 4)', weights: { length: 14 } }]);
    const [rule] = nm?.rules ?? [];
    expect((rule?.bytesAfter ?? 0) / (rule?.bytesBefore ?? 1)).toBeCloseTo(2.125 / 4, 5);
    expect(nm?.bytesAfter).toBeLessThan(0.6 * (nm?.bytesBefore ?? 0));
  });

  test('the blocks of the file itself', async () => {
    writeFileSync(at('own.sora'), `${source}\nquantize Letters {\n  "**.down.weight": int4\n}\n`);
    const { exitCode, stdout } = await sorac(['explain', at('own.sora')]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/own +"\*\*\.down\.weight": int4 +2 +16\.4 kB +2\.6 kB/);
    expect(stdout).toMatch(/`read` on GPU/);
  });

  test('options of files are not for codes', async () => {
    const { exitCode, stderr } = await sorac(['explain', 'SORA2101', '--recipe', 'int8']);
    expect(stderr).toContain('`--recipe` is for a .sora file');
    expect(exitCode).toBe(2);
  });
});
