/**
 * Random models that are valid: a forward-growing generator that picks an operation, finds values that it fits and writes the next
 * `let`. The same seed gives the same `.sora` text and the same inputs. Shapes are tracked here, apart from the compiler's own
 * rules, so a model that the compiler refuses is a mistake of one of the two.
 *
 * Values stay small (tanh after products) and away from jumps, so that results on devices can be compared with the interpreter.
 */
import { randomNumbers } from '../support/equivalence.ts';

/** coefficient * symbol + constant; a number has no symbol. */
interface Size {
  readonly symbol: 'B' | 'T' | 'S' | undefined;
  readonly coefficient: number;
  readonly constant: number;
}

type DType = 'f32' | 'i32' | 'bool';

interface Known {
  /** An expression that needs no brackets. */
  readonly text: string;
  readonly dtype: DType;
  readonly shape: readonly Size[];
}

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

const widths = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 24, 31];

function number(constant: number): Size {
  return { symbol: undefined, coefficient: 0, constant };
}

function symbol(name: 'B' | 'T' | 'S'): Size {
  return { symbol: name, coefficient: 1, constant: 0 };
}

function print(size: Size): string {
  if (size.symbol === undefined) return String(size.constant);
  const product = size.coefficient === 1 ? size.symbol : `${size.coefficient} * ${size.symbol}`;
  return size.constant === 0 ? product : `${product} + ${size.constant}`;
}

function same(left: Size, right: Size): boolean {
  return print(left) === print(right);
}

function sameShape(left: readonly Size[], right: readonly Size[]): boolean {
  return left.length === right.length && left.every((size, axis) => same(size, right[axis] ?? number(0)));
}

/** The sum of two sizes where this form can say it. */
function add(left: Size, right: Size): Size | undefined {
  if (left.symbol !== undefined && right.symbol !== undefined && left.symbol !== right.symbol) return undefined;
  return {
    symbol: left.symbol ?? right.symbol,
    coefficient: left.coefficient + right.coefficient,
    constant: left.constant + right.constant,
  };
}

function broadcast(left: readonly Size[], right: readonly Size[]): readonly Size[] | undefined {
  const rank = Math.max(left.length, right.length);
  const shape: Size[] = [];
  for (let fromEnd = rank; fromEnd >= 1; fromEnd--) {
    const [a, b] = [left[left.length - fromEnd] ?? number(1), right[right.length - fromEnd] ?? number(1)];
    if (same(a, b) || print(b) === '1') shape.push(a);
    else if (print(a) === '1') shape.push(b);
    else return undefined;
  }
  return shape;
}

function typeText(dtype: DType, shape: readonly Size[]): string {
  return shape.length === 0 ? dtype : `${dtype}[${shape.map(print).join(', ')}]`;
}

/** One body that grows: of the entry or of a module's `fn`. */
class Body {
  readonly fields: string[] = [];
  readonly lets: string[] = [];
  readonly values: Known[];
  readonly imports: Set<string>;
  readonly next: () => number;
  /** Names a module of the file that keeps the type of its argument, made on demand. */
  readonly makeBlock: ((shape: readonly Size[]) => string) | undefined;

  constructor(
    values: readonly Known[],
    imports: Set<string>,
    next: () => number,
    makeBlock?: (shape: readonly Size[]) => string,
  ) {
    this.values = [...values];
    this.imports = imports;
    this.next = next;
    this.makeBlock = makeBlock;
  }

  integer(below: number): number {
    return Math.floor(this.next() * below);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.integer(items.length)] as Item;
  }

  /** A float tensor with at least `rank` axes; later ones are likelier, so that models get deep as well as wide. */
  some(rank = 0, most = 5): Known | undefined {
    const fitting = this.values.filter(
      ({ dtype, shape }) => dtype === 'f32' && shape.length >= rank && shape.length <= most,
    );
    return fitting[Math.max(this.integer(fitting.length), this.integer(fitting.length))];
  }

  /** One with a known last axis. */
  wide(rank = 1): Known | undefined {
    const fitting = this.values.filter(
      ({ dtype, shape }) => dtype === 'f32' && shape.length >= rank && shape.at(-1)?.symbol === undefined,
    );
    return fitting[Math.max(this.integer(fitting.length), this.integer(fitting.length))];
  }

  /** Writes the next `let`. */
  name(text: string, shape: readonly Size[], dtype: DType = 'f32'): Known {
    const name = `v${this.lets.length}`;
    this.lets.push(`let ${name} = ${text}`);
    const value: Known = { text: name, dtype, shape };
    this.values.push(value);
    return value;
  }

  field(text: (name: string) => string): string {
    const name = `f${this.fields.length}`;
    this.fields.push(text(name));
    return name;
  }

  library(name: string): string {
    this.imports.add(name);
    return name;
  }
}

type Step = (body: Body) => unknown;

const bounded = ['tanh', 'sin', 'cos', 'abs', 'erf'];
const activations = ['gelu', 'gelu_tanh', 'relu', 'sigmoid', 'silu', 'softplus', 'quick_gelu', 'mish'];

/** A dim of the shape with its axis replaced, dropped or kept with length 1. */
function without(shape: readonly Size[], axis: number, keep: boolean): readonly Size[] {
  return keep ? shape.map((size, at) => (at === axis ? number(1) : size)) : shape.filter((_, at) => at !== axis);
}

const steps: readonly Step[] = [
  (body) => {
    const x = body.some();
    if (x) body.name(`${body.pick(bounded)}(${x.text})`, x.shape);
  },
  (body) => {
    const x = body.some();
    if (x) body.name(`${body.library(body.pick(activations))}(${x.text})`, x.shape);
  },
  (body) => {
    const x = body.some();
    const forms = [
      'exp(tanh(#))',
      'log(abs(#) + 1)',
      'sqrt(abs(#) + 0.5)',
      'rsqrt(# * # + 1)',
      '(-#) ** 2 % 7',
      '-# / 3',
    ];
    if (x) body.name(body.pick(forms).replaceAll('#', x.text), x.shape);
  },
  (body) => {
    const x = body.some();
    if (!x) return;
    const scalar = body.pick(['0', '1', '-0.5', '2', '1e-3', 'sqrt(2)', '(7 / 2)']);
    body.name(
      body.pick(['# + $', '$ - #', '# * $', 'max(#, $)', 'min($, #)']).replace('#', x.text).replace('$', scalar),
      x.shape,
    );
  },
  (body) => {
    const [x, y] = [body.some(), body.some()];
    const shape = x && y && broadcast(x.shape, y.shape);
    if (!x || !y || !shape) return;
    const form = body.pick(['# + $', '# - $', 'tanh(# * $)', 'max(#, $)', 'min(#, $)', '# / (abs($) + 1)']);
    body.name(form.replace('#', x.text).replace('$', y.text), shape);
  },
  (body) => {
    const [x, y] = [body.some(), body.some()];
    const shape = x && y && broadcast(x.shape, y.shape);
    if (x && y && shape)
      body.name(`where(${x.text} ${body.pick(['<', '<='])} ${y.text}, ${x.text}, ${y.text}) * 2`, shape);
  },
  (body) => {
    const flags = body.values.find(({ dtype }) => dtype === 'i32');
    const x = body.some(2);
    const shape = flags && x && broadcast(flags.shape, x.shape);
    if (flags && x && shape) body.name(`where(${flags.text} != 0 and not (${flags.text} > 1), ${x.text}, 0)`, shape);
  },
  (body) => {
    const flags = body.values.find(({ dtype }) => dtype === 'i32');
    if (flags) body.name(`f32(${flags.text} * 2 + 1) / 3`, flags.shape);
  },
  (body) => {
    const x = body.some(2);
    if (!x) return;
    const rank = x.shape.length;
    const shift = 1 + body.integer(rank - 1);
    const order = x.shape.map((_, axis) => (axis + shift) % rank);
    body.name(
      `transpose(${x.text}, [${order.join(', ')}])`,
      order.map((axis) => x.shape[axis] ?? number(1)),
    );
  },
  (body) => {
    const x = body.some(1, 4);
    if (!x) return;
    // Every axis of known length may be split or joined with a neighbour of known length.
    const axis = body.integer(x.shape.length);
    const [size, after] = [x.shape[axis], x.shape[axis + 1]];
    if (size?.symbol !== undefined || size === undefined) return;
    const factor = [2, 3, 4].find((one) => size.constant % one === 0 && size.constant > one);
    const shape = [...x.shape];
    if (factor !== undefined && body.integer(2) === 0)
      shape.splice(axis, 1, number(factor), number(size.constant / factor));
    else if (after !== undefined && after.symbol === undefined)
      shape.splice(axis, 2, number(size.constant * after.constant));
    else shape.splice(axis, 0, number(1));
    body.name(`reshape(${x.text}, [${shape.map(print).join(', ')}])`, shape);
  },
  (body) => {
    const x = body.some(1, 4);
    if (!x) return;
    const at = body.integer(x.shape.length + 1);
    const items = Array.from({ length: at }, () => ':');
    body.name(`${x.text}[${[...items, 'new'].join(', ')}]`, [...x.shape.slice(0, at), number(1), ...x.shape.slice(at)]);
  },
  (body) => {
    const x = body.some(1);
    if (!x) return;
    const axis = body.integer(x.shape.length);
    const items = Array.from({ length: axis }, () => ':');
    body.name(`${x.text}[${[...items, body.pick(['0', '-1'])].join(', ')}]`, without(x.shape, axis, false));
  },
  (body) => {
    const x = body.some(1);
    const size = x?.shape.at(-1);
    if (!x || size === undefined || size.symbol !== undefined || size.constant < 2) return;
    const start = 1 + body.integer(size.constant - 1);
    const left = body.integer(2) === 0;
    const length = left ? start : size.constant - start;
    body.name(`${x.text}[..., ${left ? `:${start}` : `${start}:`}]`, [...x.shape.slice(0, -1), number(length)]);
  },
  (body) => {
    // Tokens without the first: T is at least 2.
    const x = body.some(1);
    const axis = x?.shape.findIndex((size) => print(size) === 'T') ?? -1;
    if (!x || axis < 0) return;
    const items = Array.from({ length: axis }, () => ':');
    const rest = { symbol: 'T', coefficient: 1, constant: -1 } as const;
    body.name(
      `sum(${x.text}[${[...items, '1:T'].join(', ')}], axis: ${axis})`,
      without(x.shape.with(axis, rest), axis, false),
    );
  },
  (body) => {
    const x = body.some(1);
    if (!x) return;
    const axis = body.integer(x.shape.length);
    const size = x.shape[axis];
    const [y, z] = [body.pick([`-${x.text}`, x.text, `tanh(${x.text})`]), body.some(1)];
    const third = z && sameShape(z.shape, x.shape) ? [z.text] : [];
    const parts = [x.text, y, ...third];
    const whole = parts.slice(1).reduce<Size | undefined>((sum) => sum && size && add(sum, size), size);
    if (whole)
      body.name(
        `concat([${parts.join(', ')}], axis: ${axis - (body.integer(2) === 0 ? x.shape.length : 0)})`,
        x.shape.with(axis, whole),
      );
  },
  (body) => {
    const x = body.some(1);
    const count = body.pick([2, 3]);
    const axes = [...(x?.shape.keys() ?? [])].filter((at) => {
      const size = x?.shape[at];
      return size?.symbol === undefined && size !== undefined && size.constant % count === 0;
    });
    const axis = body.pick(axes);
    const size = x?.shape[axis];
    if (!x || size === undefined) return;
    const shape = x.shape.with(axis, number(size.constant / count));
    const list = `split(${x.text}, ${count}, axis: ${axis})`;
    if (body.integer(3) === 0) {
      body.name(`${list}[${count - 1}] * 0.5`, shape);
      return;
    }
    const names = Array.from({ length: count }, (_, at) => `p${body.lets.length}_${at}`);
    body.lets.push(`let [${names.join(', ')}] = ${list}`);
    const [first = '', ...others] = names;
    body.name(`tanh(${first}) * ${others.join(' + ')}`, shape);
  },
  (body) => {
    const x = body.some(1);
    if (!x) return;
    const axis = body.integer(x.shape.length);
    const keep = body.integer(2) === 0;
    const call = `${body.pick(['mean', 'amax', 'amin', 'sum'])}(tanh(${x.text}), axis: ${axis}${keep ? ', keep: true' : ''})`;
    const reduced = body.name(call, without(x.shape, axis, keep));
    if (keep && body.integer(2) === 0) body.name(`${x.text} - ${reduced.text}`, x.shape);
  },
  (body) => {
    const x = body.some(2);
    if (x) body.name(`sum(${x.text} / 8, axis: [0, ${x.shape.length - 1}])`, x.shape.slice(1, -1));
  },
  (body) => {
    const x = body.some(1);
    if (x) body.name(`softmax(${x.text}${body.pick(['', ', axis: 0', ', axis: -1'])})`, x.shape);
  },
  (body) => {
    const x = body.wide();
    const width = x?.shape.at(-1);
    if (!x || width === undefined) return;
    const outputs = body.pick(widths);
    const bias = body.pick(['', ', bias: false']);
    const field = body.field((name) => `${name} = ${body.library('Linear')}(${print(width)}, ${outputs}${bias})`);
    const calls = [`${field}(${x.text})`, `tanh(${field}(${x.text}))`, `${body.library('gelu')}(${field}(${x.text}))`];
    body.name(body.pick(calls), [...x.shape.slice(0, -1), number(outputs)]);
  },
  (body) => {
    // Two or three products of one input: the compiler packs them.
    const x = body.wide();
    const width = x?.shape.at(-1);
    if (!x || width === undefined) return;
    const outputs = number(body.pick(widths));
    for (let copies = 2 + body.integer(2); copies > 0; copies--) {
      const field = body.field(
        (name) => `${name} = ${body.library('Linear')}(${print(width)}, ${print(outputs)}) as "packed.${name}"`,
      );
      body.name(`tanh(${field}(${x.text}))`, [...x.shape.slice(0, -1), outputs]);
    }
  },
  (body) => {
    const x = body.wide();
    const width = x?.shape.at(-1);
    if (!x || width === undefined) return;
    const make = body.pick([
      `${body.library('LayerNorm')}(${print(width)}, 1e-2)`,
      `${body.library('RMSNorm')}(${print(width)}, 1e-2)`,
    ]);
    const field = body.field((name) => `${name} = ${make} as "norm ${name}"`);
    const other = body.some(1);
    const sum = other && sameShape(other.shape, x.shape) ? `${x.text} + ${other.text}` : x.text;
    body.name(`${field}(${sum})`, x.shape);
  },
  (body) => {
    const x = body.wide();
    const width = x?.shape.at(-1);
    if (!x || width === undefined) return;
    const gain = body.field((name) => `${name}: f32[${print(width)}] as "gain.${name}"`);
    body.name(
      body.pick([`${x.text} * ${gain}`, `${gain} + ${x.text}`, `rms_norm(${x.text}, ${gain}, eps: 0.1)`]),
      x.shape,
    );
  },
  (body) => {
    const x = body.some(2, 4);
    if (!x) return;
    const rank = x.shape.length;
    const order = x.shape.map((_, axis) => (axis === rank - 1 ? rank - 2 : axis === rank - 2 ? rank - 1 : axis));
    const rows = x.shape[rank - 2] ?? number(1);
    body.name(`tanh(matmul(${x.text}, transpose(${x.text}, [${order.join(', ')}])))`, [...x.shape.slice(0, -1), rows]);
  },
  (body) => {
    const flags = body.values.find(({ dtype }) => dtype === 'i32');
    if (!flags) return;
    const width = number(body.pick(widths));
    const rows = 2 + body.integer(5);
    const field = body.field(
      (name) => `${name} = ${body.library('Embedding')}(${rows}, ${print(width)}) as "table.${name}"`,
    );
    if (body.integer(4) === 0) body.name(`${field}(${body.integer(rows)})`, [width]);
    else body.name(`${field}(${flags.text})`, [...flags.shape, width]);
  },
  (body) => {
    if (!body.values.some(({ shape }) => shape.some(({ symbol: name }) => name === 'T'))) return;
    body.name(body.pick(['f32(iota(T)) / 9', 'cos(f32(iota(T)) * 0.3)', 'f32(iota(T)[:, new] - iota(T)[new]) * 0.1']), [
      symbol('T'),
    ]);
    const last = body.lets.at(-1) ?? '';
    if (last.includes('[new]'))
      body.values[body.values.length - 1] = {
        text: `v${body.lets.length - 1}`,
        dtype: 'f32',
        shape: [symbol('T'), symbol('T')],
      };
  },
  (body) => {
    const rows = body.values.filter(
      ({ dtype, shape }) =>
        dtype === 'f32' &&
        shape.length === 3 &&
        shape.slice(0, 2).map(print).join() === 'B,T' &&
        shape[2]?.symbol === undefined,
    );
    const x = rows[body.integer(rows.length)];
    const width = x?.shape[2]?.constant;
    if (!x || width === undefined) return;
    const heads = [8, 4, 3, 2, 1].filter((count) => width % count === 0)[body.integer(2)] ?? 1;
    const shared = heads % 2 === 0 && body.integer(2) === 0 ? heads / 2 : heads;
    const keys = (width / heads) * shared;
    const [q, k, v] = [width, keys, keys].map((outputs) =>
      body.field((name) => `${name} = ${body.library('Linear')}(${width}, ${outputs}) as "attention.${name}"`),
    );
    const flags = body.values.find(({ dtype, shape }) => dtype === 'i32' && shape.map(print).join() === 'B,T');
    const masks = [
      '',
      ', mask: causal',
      ...(flags ? [`, mask: padding(${flags.text})`, `, mask: causal and padding(${flags.text})`] : []),
    ];
    const kvHeads = shared === heads ? '' : `, kv_heads: ${shared}`;
    body.name(
      `attend(${q}(${x.text}), ${k}(${x.text}), ${v}(${x.text})) { heads: ${heads}${kvHeads}${body.pick(masks)} }`,
      x.shape,
    );
  },
  (body) => {
    const x = body.wide();
    if (!x || !body.makeBlock) return;
    const module = body.makeBlock(x.shape);
    const isRepeated = body.integer(3) > 0;
    const field = body.field((name) =>
      isRepeated ? `repeat ${name}[${1 + body.integer(3)}] = ${module}()` : `${name} = ${module}()`,
    );
    body.name(isRepeated && body.integer(3) === 0 ? `${field}[0](${x.text})` : `${field}(${x.text})`, x.shape);
  },
  (body) => {
    // Heads apart and together again, by a pattern.
    const x = body.some(2, 4);
    const width = x?.shape.at(-1);
    if (!x || width === undefined || width.symbol !== undefined) return;
    const count = [4, 3, 2, 1].find((one) => width.constant % one === 0) ?? 1;
    const axes = x.shape.slice(0, -1).map((_, at) => `a${at}`);
    const last = axes.at(-1) ?? '';
    const pattern = `${axes.join(' ')} (h d) -> ${[...axes.slice(0, -1), 'h', last, 'd'].join(' ')}`;
    const lengths = [...x.shape.slice(0, -2), number(count), ...x.shape.slice(-2, -1), number(width.constant / count)];
    body.name(`rearrange(${x.text}, "${pattern}", h: ${count})`, lengths);
  },
  (body) => {
    const x = body.some(2, 2);
    const [rows, columns] = x?.shape ?? [];
    if (!x || !rows || !columns) return;
    const [text, shape] = body.pick([
      [`einsum("ij,kj->ik", ${x.text}, tanh(${x.text}))`, [rows, rows]],
      [`einsum("ij,ik->jk", ${x.text}, ${x.text})`, [columns, columns]],
      [`einsum("ij->j", ${x.text})`, [columns]],
      [`einsum("ij,ij->i", ${x.text}, ${x.text})`, [rows]],
    ] as const);
    body.name(`tanh(${text})`, shape);
  },
  (body) => {
    const x = body.some(2);
    const axes = x?.shape.flatMap((size, at) => (print(size) === 'T' ? [at] : [])) ?? [];
    if (x && axes.length === 1) body.name(`mean(${x.text}, axis: T)`, without(x.shape, axes[0] ?? 0, false));
  },
  (body) => {
    const x = body.some();
    if (!x) return;
    const condition = body.pick(['true', 'false', '1 < 2 and not false', '"a" == "b"']);
    body.name(`if ${condition} { let t = sin(${x.text}) t + 1 } else { cos(${x.text}) }`, x.shape);
  },
];

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
