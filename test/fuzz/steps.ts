/**
 * The steps by which a body of a random model grows: each finds values that fit it and writes a `let`, or does nothing.
 */
import { add, type Body, broadcast, number, print, type Size, sameShape, symbol, widths } from './body.ts';

type Step = (body: Body) => unknown;

const bounded = ['tanh', 'sin', 'cos', 'abs', 'erf'];
const activations = ['gelu', 'gelu_tanh', 'relu', 'sigmoid', 'silu', 'softplus', 'quick_gelu', 'mish'];

/** How a tensor begins; taken in turn, so that no random number is drawn for it. */
const beginnings = ['', ' init ones', ' init uniform(bound: 1 / sqrt(8))', ' init normal(std: 0.02, mean: 1)'];

/** A dim of the shape with its axis replaced, dropped or kept with length 1. */
function without(shape: readonly Size[], axis: number, keep: boolean): readonly Size[] {
  return keep ? shape.map((size, at) => (at === axis ? number(1) : size)) : shape.filter((_, at) => at !== axis);
}

export const steps: readonly Step[] = [
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
    if (x) body.name(`dropout(softmax(${x.text}${body.pick(['', ', axis: 0', ', axis: -1'])}), 0.1)`, x.shape);
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
    const begins = beginnings[body.fields.length % beginnings.length] ?? '';
    const gain = body.field((name) => `${name}: f32[${print(width)}] as "gain.${name}"${begins}`);
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
