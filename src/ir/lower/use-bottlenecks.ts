/**
 * `adapter Model { after "encoder.layer.*.output": bottleneck(size: 64) }`: which parts have one. It has to be known before entries are
 * lowered, so these rules are read here; the rest of the block is read in uses.ts.
 */
import type { ModuleDeclaration, SourceTree } from '../../parser/ast.ts';
import { type Instance, numberOf, poison } from './binding.ts';
import { type Activation, activations } from './bottlenecks.ts';
import { type Context, report } from './context.ts';
import { select } from './use-globs.ts';
import { bottlenecks, checkMethod, checkPlain } from './use-methods.ts';
import { partsOf } from './use-parts.ts';

/** The rules of blocks about this model; a later one overrides an earlier one. */
export function chooseBottlenecks(
  context: Context,
  root: SourceTree,
  declaration: ModuleDeclaration,
  model: Instance,
): void {
  const site = { context, scope: model.scope };
  const parts = partsOf([...context.weights.keys()]);
  for (const block of root.uses) {
    if (block.use !== 'adapter' || block.model.text !== declaration.name.text) continue;
    for (const rule of block.items) {
      if (rule.kind !== 'rule' || rule.about?.text !== 'after') continue;
      const chosen = rule.globs.flatMap((glob) => select(context, glob, parts, 'part', declaration.name.text));
      if (!checkPlain(site, rule.value, block.use)) continue;
      const found = checkMethod(site, bottlenecks, rule.value.value, 'adapter behind a part');
      const size = numberOf(found?.values.get('size') ?? poison);
      if (size === undefined) continue;
      const named = found?.values.get('activation');
      const activation: Activation =
        activations.find((each) => named?.kind === 'string' && named.value === each) ?? 'gelu';
      for (const part of chosen)
        context.bottlenecks.set(part, { size, activation, span: rule.value.span, weights: undefined });
    }
  }
}

/** Says which parts no entry calls: nothing of theirs has an output that an adapter could stand behind. */
export function checkBottlenecks(context: Context): void {
  for (const [part, { weights, span }] of context.bottlenecks) {
    if (weights !== undefined) continue;
    report(context, 'SORA2304', `\`${part}\` is no module that an entry calls: it has no output`, span, {
      help: 'name modules with a `fn` of their own, such as a `Linear`',
    });
    return;
  }
}
