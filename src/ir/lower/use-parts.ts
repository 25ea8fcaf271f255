/**
 * Parts of a model in use blocks: what stands above the weights, such as `encoder.layer.0`, and `recompute` of a `train` block,
 * which selects parts whose activations are not kept.
 */
import type { UseSetting } from '../../parser/ast.ts';
import { describe, type Instance } from './binding.ts';
import { evaluate } from './expressions.ts';
import type { Scope } from './scope.ts';
import { select } from './use-globs.ts';
import { type UseSite, wrongValue } from './use-methods.ts';

/** The names above weights: heads and neurons belong to a part of the model, and so do activations. */
export function partsOf(paths: readonly string[]): readonly string[] {
  const parts = new Set<string>();
  for (const path of paths) {
    for (let end = path.lastIndexOf('.'); end > 0; end = path.lastIndexOf('.', end - 1)) parts.add(path.slice(0, end));
  }
  return [...parts];
}

/** The copies of every `repeat` that stands in no other one. */
function repeatedParts(scope: Scope): readonly string[] {
  const found = new Set<string>();
  const seen = new Set<Instance>();
  const visit = (own: Scope): void => {
    for (const { binding } of own.names.values()) {
      if (binding.kind === 'repeat') for (const { path } of binding.instances) found.add(path.join('.'));
      if (binding.kind !== 'module' || seen.has(binding.instance)) continue;
      seen.add(binding.instance);
      visit(binding.instance.scope);
    }
  };
  visit(scope);
  return [...found];
}

/** Parts that `recompute: true` or `recompute: "encoder.layer.*"` selects; undefined for what is neither (reported). */
export function readRecompute(
  site: UseSite,
  setting: UseSetting | undefined,
  paths: readonly string[],
  model: string,
): readonly string[] | undefined {
  const [first, second] = setting?.values ?? [];
  if (first === undefined || first.value.kind === 'missing') return [];
  const { span } = first.value;
  const binding = evaluate(site.context, first.value, site.scope);
  if (binding.kind === 'poison') return undefined;
  if (binding.kind === 'bool' && second === undefined) {
    if (!binding.value) return [];
    const parts = repeatedParts(site.scope);
    if (parts.length > 0) return parts;
    wrongValue(site, `\`${model}\` repeats no module`, span, 'name its parts, as `recompute: "encoder.*"`');
    return undefined;
  }
  const parts = partsOf(paths);
  const chosen = new Set<string>();
  for (const { value } of setting?.values ?? []) {
    if (value.kind !== 'string') {
      const found = value === first.value ? `, found ${describe(binding)}` : '';
      wrongValue(site, `\`recompute\` is true or takes names of parts in quotes${found}`, value.span);
      return undefined;
    }
    for (const part of select(site.context, { text: value.value, span: value.span }, parts, 'part', model))
      chosen.add(part);
  }
  return [...chosen];
}
