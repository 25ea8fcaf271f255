/**
 * The tables of grammar/sora.md that come from the code: built-in functions from src/ir/lower/intrinsics.ts, initializers from
 * initializers.ts, the library from models/nn, limits from src/support/limits.ts. What a built-in does is written here; the names and parameters are not.
 */
import { initializerParameters } from '../../src/ir/lower/initializers.ts';
import { intrinsicParameters } from '../../src/ir/lower/intrinsics.ts';
import type { Declaration, FunctionParameter, TensorTypeSyntax } from '../../src/parser/ast.ts';
import { parse } from '../../src/parser/index.ts';
import { library } from '../../src/parser/library.generated.ts';
import { limits } from '../../src/support/limits.ts';

/** Per built-in: what it takes to what it gives, and a sentence. */
const meaning: Readonly<Record<string, readonly [string, string]>> = {
  exp: ['[…] → […]', 'e to the power of `x`; also of config numbers, as all functions of one number'],
  log: ['[…] → […]', 'natural logarithm'],
  sqrt: ['[…] → […]', 'square root'],
  rsqrt: ['[…] → […]', '1 / square root'],
  abs: ['[…] → […]', 'absolute value'],
  sin: ['[…] → […]', 'sine, in radians'],
  cos: ['[…] → […]', 'cosine, in radians'],
  tanh: ['[…] → […]', 'hyperbolic tangent'],
  floor: ['[…] → […]', 'greatest integer not above'],
  ceil: ['[…] → […]', 'least integer not below'],
  round: ['[…] → […]', 'nearest integer, halves to even'],
  sign: ['[…] → […]', '-1, 0 or 1'],
  erf: ['[…] → […]', 'error function; tensors only'],
  min: ['[…], […] → […]', 'the smaller of two, element by element; they broadcast'],
  max: ['[…], […] → […]', 'the greater of two, element by element; they broadcast'],
  pow: ['[…], […] → […]', '`a ** b`'],
  where: ['bool […], […], […] → […]', '`a` where the condition holds, else `b`; all three broadcast'],
  sum: [
    '[…] → […]',
    'sum over one axis or a list of axes, by number or by runtime dim (`axis: T`); `keep: true` leaves them with length 1',
  ],
  mean: ['[…] → […]', 'mean over axes, as `sum`'],
  amax: ['[…] → […]', 'greatest value over axes, as `sum`'],
  amin: ['[…] → […]', 'least value over axes, as `sum`'],
  argmax: [
    '[…] → i32 […]',
    'index of the greatest value along an axis, the last one when left out; the lowest of equals, and NaN is the greatest',
  ],
  top_k: [
    '[…, N] → list of […, k], i32 […, k]',
    'the `k` greatest values of the last axis in descending order, and their indices: `let [values, ids] = top_k(x, 5)`; equals and NaN as `argmax`; `k` is at most 256',
  ],
  softmax: ['[…] → […]', 'exp(x) divided by its sum over the axis; the last one when left out'],
  linear: ['[…, I], [O, I], [O] → […, O]', '`x` times the transposed weight, plus the bias'],
  matmul: ['[…, M, K], […, K, N] → […, M, N]', 'product of matrices; leading axes broadcast'],
  gather: ['[N, …w], i32 […i] → […i, …w]', 'rows of a table by index; a wrong index is an error of the call'],
  take_along: [
    '[…N…], i32 […k…] → […k…]',
    'elements by index along an axis, the last one when left out; all other axes are equal',
  ],
  conv: [
    '[B, I, …s], [O, I / groups, …k], [O] → [B, O, …]',
    'convolution over the axes after the second, as PyTorch has it; stride, padding and dilation are a number or a list',
  ],
  conv_transpose: [
    '[B, I, …s], [I, O / groups, …k], [O] → [B, O, …]',
    'transposed convolution, which makes axes `stride` times as long',
  ],
  pad: ['[…] → […]', 'more elements, all `value`, before and after an axis or a list of axes'],
  window: [
    '[…] → […, …size]',
    'sliding windows of an axis or a list of axes, which stand at the end: `amax(window(x, 1, 2, stride: 2), -1)` is max pooling',
  ],
  flip: ['[…] → […]', 'an axis or a list of axes from the end to the start'],
  layer_norm: [
    '[…, D], [D], [D] → […, D]',
    'mean 0 and variance 1 over the last axis, times gain, plus bias; `eps` is 1e-5',
  ],
  rms_norm: ['[…, D], [D] → […, D]', 'root mean square 1 over the last axis, times gain; `eps` is 1e-5'],
  positions: [
    '→ i32 [batch, length]',
    'place of every position in its row; goes on where the last call of a session ended, and starts at 0 without states',
  ],
  last: [
    '[B, T, …] → [B, …]',
    'the last real position of every row: the last one of all but for padded rows of a session',
  ],
  iota: ['→ i32 [length]', '0, 1, 2, …; the length is a dim'],
  f32: ['[…] → f32 […]', 'conversion'],
  f16: ['[…] → f16 […]', 'conversion'],
  i32: ['[…] → i32 […]', 'conversion, towards zero'],
  u32: ['[…] → u32 […]', 'conversion, towards zero'],
  bool: ['[…] → bool […]', 'true where `x` is not 0'],
  reshape: ['[…] → [shape]', 'the same elements in another shape: `reshape(x, [B * T, 4])`'],
  transpose: ['[…] → […]', 'axes in another order: `transpose(x, [0, 2, 1])`'],
  concat: ['list of […] → […]', 'one after the other along an axis; the last one when left out'],
  split: [
    '[…] → list of […]',
    'equal parts along an axis, the last one when left out: `let [a, b] = split(x, 2)`, or parts of given sizes: `split(x, [8, 4])`',
  ],
  rearrange: [
    '[…] → […]',
    'axes apart, in another order, together: `rearrange(x, "b t (h d) -> b h t d", h: 8)`; `1` is an axis of length 1, `...` any axes',
  ],
  einsum: ['[…], […] → […]', 'sum of products with a letter per axis: `einsum("bqd,bkd->bqk", q, k)`'],
  tensor: ['→ […]', 'known numbers: `tensor([[1, 0], [0, 1]])`; `f32` when one of them is no integer, else `i32`'],
  full: ['→ [shape]', 'one number everywhere: `full([B, T], 0.0)`'],
  dropout: [
    '[…] → […]',
    '`x` as it is; a training step drops elements with probability `p` and divides the others by 1 - p. Every place has random numbers of its own; places of one `seed` drop alike',
  ],
  rng: [
    '→ f32 [shape]',
    'uniform numbers in [0, 1) that depend on the place and the seed alone, an `i32`: `rng([B, T], seed)`; the same on every device',
  ],
  fail: ['', 'refuses the config with a message: for the `else` of an `if` that covers what is built'],
};

/** Per initializer: what it gives. */
const beginnings: Readonly<Record<string, string>> = {
  zeros: '0 everywhere',
  ones: '1 everywhere',
  constant: '`value` everywhere',
  uniform: 'numbers from -`bound` to `bound`, or from `low` to `high`',
  normal: 'normal numbers of mean `mean`, 0 when left out, and standard deviation `std`',
  truncated_normal: 'the same, drawn again when more than two deviations from the mean',
  kaiming_uniform: 'uniform, of variance 2 / ((1 + slope²) fan_in); `slope`, of a leaky ReLU, is 0 when left out',
  kaiming_normal: 'normal, of the same variance',
  xavier_uniform: 'uniform, of variance 2 gain² / (fan_in + fan_out); `gain` is 1 when left out',
  xavier_normal: 'normal, of the same variance',
};

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

export function builtInTable(): string {
  const rows = [...intrinsicParameters()].map(([name, parameters]) => {
    const [shapes = '', sentence = ''] = meaning[name] ?? [];
    return `| \`${name}(${parameters.join(', ')})\` | ${cell(shapes)} | ${cell(sentence)} |\n`;
  });
  return `| function | shapes | |\n|---|---|---|\n${rows.join('')}`;
}

export function initializerTable(): string {
  const rows = [...initializerParameters()].map(([name, parameters]) => {
    const list = parameters.length === 0 ? '' : `(${parameters.join(', ')})`;
    return `| \`${name}${list}\` | ${cell(beginnings[name] ?? '')} |\n`;
  });
  return `| initializer | the tensor begins with |\n|---|---|\n${rows.join('')}`;
}

/** Source of a node, on one line. */
function written(text: string, span: { readonly start: number; readonly end: number }): string {
  return text.slice(span.start, span.end).replace(/\s+/g, ' ');
}

function signature(text: string, declaration: Declaration): string | undefined {
  if (declaration.kind === 'module') {
    const parameters = declaration.parameters.map((parameter) => written(text, parameter.span));
    const call = declaration.members.find((member) => member.kind === 'function' && member.name === undefined);
    const tail = call?.kind === 'function' ? callSignature(text, call.parameters, call.result) : '';
    return `${declaration.name.text}(${parameters.join(', ')})\`${tail === '' ? '' : `, called as \`${tail}`}`;
  }
  if (declaration.kind === 'function') {
    return `${declaration.name.text}${callSignature(text, declaration.parameters, declaration.result)}`;
  }
  return undefined;
}

function callSignature(
  text: string,
  parameters: readonly FunctionParameter[],
  result: TensorTypeSyntax | undefined,
): string {
  const list = parameters.map((parameter) => written(text, parameter.span)).join(', ');
  return `(${list})${result === undefined ? '' : ` -> ${written(text, result.span)}`}`;
}

export function libraryTable(): string {
  return [...library]
    .map(([name, text]) => {
      const { declarations } = parse({ path: name, text }).value;
      const rows = declarations.flatMap((declaration) => {
        const shown = signature(text, declaration);
        if (shown === undefined) return [];
        // An example in a doc comment is for readers of the source; a table cell has no room.
        const [sentence = ''] = (declaration.doc ?? '').split('```');
        const doc = sentence.replace(/\s+/g, ' ').trim();
        return [`| \`${cell(shown)}\` | ${cell(doc)} |\n`];
      });
      return `\`"${name}"\`:\n\n| | |\n|---|---|\n${rows.join('')}`;
    })
    .join('\n');
}

const limitRows: readonly (readonly [keyof typeof limits, string])[] = [
  ['sourceLength', 'characters of a file'],
  ['identifierLength', 'characters of a name'],
  ['nesting', 'brackets inside brackets, branches of one `if`'],
  ['expressionDepth', 'depth of one expression, chains like `a + b + …` included'],
  ['importDepth', 'files that import each other in a row'],
  ['files', 'files of one compilation'],
  ['rank', 'axes of a tensor'],
  ['dim', 'greatest dim'],
  ['elements', 'elements of a tensor, at the least sizes'],
  ['repeatCount', 'copies that one `repeat` makes'],
  ['callDepth', 'functions or modules inside each other'],
  ['elaboratedCalls', 'calls that one model makes'],
  ['expandedNodes', 'operations of one model, and module instances'],
];

export function limitTable(): string {
  const spaced = (value: number): string => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ' ');
  const rows = limitRows.map(([name, text]) => `| ${text} | ${spaced(limits[name])} |\n`);
  return `| what | at most |\n|---|---|\n${rows.join('')}`;
}

const sections: Readonly<Record<string, () => string>> = {
  'built-in functions': builtInTable,
  initializers: initializerTable,
  library: libraryTable,
  limits: limitTable,
};

/** The reference with its generated sections made anew; what people wrote stays. */
export function refreshReference(text: string): string {
  const missing = Object.keys(sections).filter((name) => !text.includes(`<!-- generated: ${name} -->`));
  if (missing.length > 0) throw new Error(`grammar/sora.md has no section ${missing.join(', ')}`);
  return text.replace(
    /(<!-- generated: ([\w -]+) -->\n)[\s\S]*?(<!-- end -->)/g,
    (whole, open: string, name: string, close: string) => {
      const make = sections[name];
      return make === undefined ? whole : `${open}\n${make()}\n${close}`;
    },
  );
}
