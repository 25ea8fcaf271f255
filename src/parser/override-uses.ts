/**
 * Settings from outside of a file in place of those of its use blocks: `sorac train --optimizer adam` is a `train` block with one
 * setting. Everything else of the file's blocks stays.
 */
import type { Argument, Expression, SourceTree, UseBlock, UseSetting } from './ast.ts';

/** The argument that an optimizer cannot do without: the file's stands when none is given. */
const rate = 'lr';

function rateOf(expression: Expression | undefined): Argument | undefined {
  if (expression?.kind !== 'call') return undefined;
  const { arguments: given } = expression;
  return given.find(({ name }) => name?.text === rate) ?? given.find(({ name }) => name === undefined);
}

/** `adam` and `adam(beta1: 0.8)` keep the learning rate of the setting that they replace. */
function withRate(setting: UseSetting, replaced: UseSetting): UseSetting {
  const [value, ...rest] = setting.values;
  const kept = rateOf(replaced.values[0]?.value);
  if (value === undefined || kept === undefined || rateOf(value.value) !== undefined) return setting;
  const { span } = value;
  const argument: Argument = { name: { text: rate, span }, value: kept.value };
  const call = (callee: Expression, given: readonly Argument[]): Expression => ({
    kind: 'call',
    callee,
    arguments: [...given, argument],
    span,
  });
  const written = value.value;
  if (written.kind === 'name') return { ...setting, values: [{ ...value, value: call(written, []) }, ...rest] };
  if (written.kind !== 'call') return setting;
  return { ...setting, values: [{ ...value, value: call(written.callee, written.arguments) }, ...rest] };
}

function overrideBlock(block: UseBlock, given: UseBlock): UseBlock {
  const settings = given.items.flatMap((item) => (item.kind === 'setting' ? [item] : []));
  const replaced = settings.map((setting) => {
    const old = block.items.find((item) => item.kind === 'setting' && item.name.text === setting.name.text);
    return old?.kind === 'setting' && setting.name.text === 'optimizer' ? withRate(setting, old) : setting;
  });
  const names = new Set(settings.map(({ name }) => name.text));
  const kept = block.items.filter((item) => item.kind !== 'setting' || !names.has(item.name.text));
  return { ...block, items: [...kept, ...replaced] };
}

/** `root` with the settings of the blocks of `given` in its blocks of the same kind. */
export function overrideUses(root: SourceTree, given: SourceTree): SourceTree {
  const uses = root.uses.map((block) =>
    given.uses.reduce((whole, other) => (other.use === block.use ? overrideBlock(whole, other) : whole), block),
  );
  return { ...root, uses };
}
