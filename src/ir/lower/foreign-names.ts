/**
 * Names that people bring from Python, PyTorch and TypeScript, and what they are here. Asked only for names that nothing declares.
 */

/** The name of the same thing here. */
const replacements: ReadonlyMap<string, string> = new Map([
  ['True', 'true'],
  ['False', 'false'],
  ['cat', 'concat'],
  ['concatenate', 'concat'],
  ['stack', 'concat'],
  ['chunk', 'split'],
  ['view', 'reshape'],
  ['permute', 'transpose'],
  ['arange', 'iota'],
  ['mm', 'matmul'],
  ['bmm', 'matmul'],
  ['dot', 'matmul'],
  ['float', 'f32'],
  ['float32', 'f32'],
  ['float16', 'f16'],
  ['half', 'f16'],
  ['int', 'i32'],
  ['int32', 'i32'],
  ['embedding', 'gather'],
  ['take', 'gather'],
  ['index_select', 'gather'],
  ['maximum', 'max'],
  ['minimum', 'min'],
  ['rmsnorm', 'rms_norm'],
  ['layernorm', 'layer_norm'],
]);

const direct = 'the fields and functions of a module are named directly';
const nothing = 'there is no such value; a parameter with a default may be left out';
const ofOneValue = 'write `full([B, T], 0.0)`';
const axisOfOne = 'an axis of length 1 is `x[:, new]`';
const attention = 'attention is `attend(q, k, v) { heads: …, mask: … }`';

/** What to write instead, where that is no name. */
const advice: ReadonlyMap<string, string> = new Map([
  ['self', direct],
  ['this', direct],
  ['None', nothing],
  ['null', nothing],
  ['undefined', nothing],
  ['zeros', ofOneValue],
  ['ones', ofOneValue],
  ['unsqueeze', axisOfOne],
  ['squeeze', 'an index drops its axis: `x[:, 0]`'],
  ['clamp', 'write `min(max(x, low), high)`'],
  ['clip', 'write `min(max(x, low), high)`'],
  ['len', 'a size is a dim of the type'],
  ['scaled_dot_product_attention', attention],
  ['attention', attention],
]);

export function foreignName(name: string): { readonly replacement?: string; readonly help?: string } | undefined {
  const replacement = replacements.get(name);
  if (replacement !== undefined) return { replacement };
  const help = advice.get(name);
  return help === undefined ? undefined : { help };
}

/** Members that tensors have elsewhere. */
export function foreignMember(name: string): string | undefined {
  if (['shape', 'size', 'ndim', 'dim', 'length'].includes(name))
    return 'the sizes of a tensor are the dims of its type';
  if (name === 'T') return 'write `transpose(x, [1, 0])`';
  const replacement = replacements.get(name);
  return replacement === undefined ? advice.get(name) : `write \`${replacement}(x, …)\``;
}
