/**
 * `tied embed.weight if missing`: which weights of a field fall back to which tensor of the checkpoint.
 *
 * The tie belongs to the weight of the field that ends in the same segment as the target (`weight`, `bias`), or to the
 * only one. Nothing is shared in the graph: the loader reads the other tensor when the checkpoint has none of the name.
 */
import { sameType } from '../types.ts';
import { describe, type Tie } from './binding.ts';
import { type Context, report } from './context.ts';
import { evaluate } from './expressions.ts';
import { numberNotes, writtenType } from './origin.ts';
import type { Scope } from './scope.ts';

function lastSegment(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

export function applyTie(context: Context, tie: Tie, scope: Scope): void {
  const { target } = tie.clause;
  const binding = evaluate(context, target, scope);
  if (binding.kind === 'poison' || tie.weights.length === 0) return;
  const name = `\`${tie.field.name.text}\``;
  if (binding.kind !== 'weight') {
    const help =
      binding.kind === 'module' || binding.kind === 'repeat' ? { help: 'name its tensor, as in `embed.weight`' } : {};
    report(context, 'SORA2112', `a field is tied to a tensor, found ${describe(binding)}`, target.span, help);
    return;
  }
  const { weight } = binding;
  const alike = tie.weights.filter((path) => lastSegment(path) === lastSegment(weight.path));
  const chosen = alike.length > 0 ? alike : tie.weights.length === 1 ? tie.weights : [];
  if (chosen.length === 0) {
    const list = tie.weights.map((path) => `\`${path}\``).join(', ');
    report(context, 'SORA2112', `none of the tensors of ${name} is named like \`${weight.path}\``, target.span, {
      notes: [`${name} has ${list}`],
    });
    return;
  }
  for (const path of chosen) {
    const record = context.weights.get(path);
    if (record === undefined) continue;
    if (path === weight.path) {
      report(context, 'SORA2112', `${name} is tied to itself`, target.span);
      return;
    }
    const known = context.weights.get(weight.path);
    const other = known?.weight.tied;
    if (record.weight.tied !== undefined || other !== undefined) {
      const message = other === undefined ? `\`${path}\` is tied twice` : `\`${weight.path}\` is tied itself`;
      report(context, 'SORA2112', message, target.span, { help: 'tie to the tensor that every checkpoint has' });
      return;
    }
    const { type } = record.weight;
    if (!sameType(type, weight.type)) {
      report(
        context,
        'SORA2112',
        `\`${path}\` is \`${writtenType(type)}\`, but \`${weight.path}\` is \`${writtenType(weight.type)}\``,
        target.span,
        {
          labels: known ? [{ span: known.field, text: 'the tensor it is tied to' }] : [],
          notes: numberNotes(type, weight.type),
        },
      );
      return;
    }
    context.weights.set(path, { ...record, weight: { ...record.weight, tied: weight.path } });
  }
}
