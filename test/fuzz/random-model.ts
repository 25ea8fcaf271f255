/**
 * Random models that are valid: a forward-growing generator that picks an operation, finds values that it fits and writes the next
 * `let`. The same seed gives the same `.sora` text and the same inputs. Shapes are tracked here, apart from the compiler's own
 * rules, so a model that the compiler refuses is a mistake of one of the two.
 *
 * Values stay small (tanh after products) and away from jumps, so that results on devices can be compared with the interpreter.
 */
import { randomNumbers } from '../support/equivalence.ts';
import { Body, type Known, number, type Size, sameShape, symbol, typeText, widths } from './body.ts';
import { steps } from './steps.ts';

export interface PlainInput {
  readonly dtype: 'f32' | 'i32';
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

export interface RandomModel {
  readonly seed: number;
  readonly source: string;
  /** The only entry. */
  readonly entry: string;
  /** Sizes of the runtime dims of `inputs`. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly inputs: Readonly<Record<string, PlainInput>>;
}

function grow(body: Body, count: number): void {
  for (let step = 0; step < count; step++) body.pick(steps)(body);
}

function block(lines: readonly string[], result: string): string {
  return `{\n${[...lines, result].map((line) => `    ${line}\n`).join('')}  }`;
}

function mentions(text: string, name: string): boolean {
  return new RegExp(`\\b${name}\\b`).test(text);
}

/** What the result needs: the compiler warns about the rest. */
function alive(body: Body, result: string): { readonly fields: readonly string[]; readonly lets: readonly string[] } {
  const lets: string[] = [];
  for (const text of [...body.lets].reverse()) {
    const [, names = ''] = /^let (?:\[(.*)\]|\w+) =/.exec(text) ?? [];
    const given = names === '' ? [text.split(' ')[1] ?? ''] : names.split(', ');
    if (given.some((name) => [...lets, result].some((later) => mentions(later, name)))) lets.unshift(text);
  }
  const fields = body.fields.filter((field) => {
    const name = /^(?:repeat )?(\w+)/.exec(field)?.[1] ?? '';
    return [...lets, result].some((text) => mentions(text, name));
  });
  return { fields, lets };
}

/** A value to give back that has exactly this shape: the last one that has it. */
function lastOf(body: Body, shape: readonly Size[]): string {
  return body.values.findLast((value) => value.dtype === 'f32' && sameShape(value.shape, shape))?.text ?? '';
}

export function randomModel(seed: number): RandomModel {
  const next = randomNumbers(seed);
  const integer = (below: number): number => Math.floor(next() * below);
  const imports = new Set<string>();
  const modules: string[] = [];

  const makeBlock = (shape: readonly Size[]): string => {
    const inner = new Body([{ text: 'x', dtype: 'f32', shape }], imports, next);
    grow(inner, 2 + inner.integer(4));
    const name = `Block${modules.length}`;
    const result = `tanh(x + ${lastOf(inner, shape)})`;
    const type = typeText('f32', shape);
    const { fields, lets } = alive(inner, result);
    modules.push(
      `module ${name}() {\n${fields.map((field) => `  ${field}\n`).join('')}\n  fn (x: ${type}) -> ${type} ${block(lets, result)}\n}\n`,
    );
    return name;
  };

  const width = widths[integer(widths.length)] ?? 8;
  const other = widths[integer(widths.length)] ?? 5;
  const [B, T, S] = [symbol('B'), symbol('T'), symbol('S')];
  const parameters: readonly Known[] = [
    { text: 'x', dtype: 'f32', shape: [B, T, number(width)] },
    { text: 'y', dtype: 'f32', shape: [T, number(width)] },
    { text: 'z', dtype: 'f32', shape: [S, number(other)] },
    { text: 'flags', dtype: 'i32', shape: [B, T] },
  ];
  const body = new Body(parameters, imports, next, makeBlock);
  grow(body, 6 + integer(32));
  const floats = body.values.filter(({ dtype, text }) => dtype === 'f32' && !['x', 'y', 'z'].includes(text));
  const chosen = [floats.at(-1), floats[integer(floats.length)], floats[integer(floats.length)]].flatMap(
    (value) => value ?? [],
  );
  const results = [...new Set(chosen.length === 0 ? parameters.slice(0, 1) : chosen)].slice(0, 1 + integer(3));
  const [only] = results;
  const single = results.length === 1 && only !== undefined;
  // A result needs no lower bound of its own: shapes here are at least 1 everywhere.
  const signature = single
    ? `r0: ${typeText('f32', only.shape)}`
    : `{ ${results.map(({ shape }, at) => `r${at}: ${typeText('f32', shape)}`).join(', ')} }`;
  const value = single ? `${only.text} * 1` : `{ ${results.map(({ text }, at) => `r${at}: ${text} * 1`).join(', ')} }`;
  const list = parameters.map(
    ({ text, dtype, shape }) => `${text}: ${typeText(dtype, shape)}${text === 'flags' ? ' = 1' : ''}`,
  );
  const { fields, lets } = alive(body, value);
  const usedModules = modules.filter((_, at) => fields.some((field) => mentions(field, `Block${at}`)));
  const model = `model Random {\n${fields.map((field) => `  ${field}\n`).join('')}\n  entry run(${list.join(', ')}) -> ${signature} ${block(lets, value)}\n}\n`;
  const text = `dim B in 1..3, T in 2..9\ndim S in 1..4\n\n${[...usedModules, model].join('\n')}`;
  const imported = [...imports].sort().filter((name) => mentions(text, name));
  const source = imported.length === 0 ? text : `import { ${imported.join(', ')} } from "sora:nn"\n\n${text}`;

  const sizes = { B: 1 + integer(3), T: 2 + integer(8), S: 1 + integer(4) };
  const inputs = Object.fromEntries(
    parameters.map(({ text, dtype, shape }) => {
      const lengths = shape.map((size) => (size.symbol === undefined ? size.constant : sizes[size.symbol]));
      const count = lengths.reduce((product, length) => product * length, 1);
      const values = Array.from({ length: count }, () => (dtype === 'i32' ? Math.floor(2 * next()) : 2 * next() - 1));
      return [text, { dtype: dtype === 'i32' ? dtype : 'f32', shape: lengths, values } satisfies PlainInput];
    }),
  );
  return { seed, source, entry: 'run', sizes, inputs };
}
