/**
 * What the formats of a model are to its training: what a step computes with, or nothing.
 */
import type { SourceTree, UseBlock } from '../../parser/ast.ts';
import type { WeightFormat } from '../graph.ts';
import { type Context, report } from './context.ts';
import { evaluate } from './expressions.ts';
import type { Scope } from './scope.ts';
import type { ChosenFormat } from './use-formats.ts';

/** Number formats by weight. */
type Formats = ReadonlyMap<string, ChosenFormat | undefined> | undefined;

/** Whether a block says something about the formats of the model. */
function quantizes(root: SourceTree, model: string): boolean {
  return root.uses.some(({ use, model: { text }, items }) => use === 'quantize' && text === model && items.length > 0);
}

/** The formats that a step computes with: those of the model where the `train` block says `quantization_aware: true`. */
export function quantizationOf(
  context: Context,
  root: SourceTree,
  block: UseBlock | undefined,
  scope: Scope,
  formats: Formats,
): ReadonlyMap<string, WeightFormat> {
  const setting = block?.items.find((item) => item.kind === 'setting' && item.name.text === 'quantization_aware');
  const value = setting?.kind === 'setting' ? setting.values[0]?.value : undefined;
  if (value === undefined || block === undefined) return new Map();
  const binding = evaluate(context, value, scope);
  if (binding.kind !== 'bool' || !binding.value) return new Map();
  const chosen = [...(formats ?? [])].flatMap(([path, each]): (readonly [string, WeightFormat])[] =>
    each === undefined ? [] : [[path, each.format]],
  );
  // Rules that give no weight a format, not even f32, are wrong, and that is said.
  const areRulesWrong = formats?.size === 0 && quantizes(root, block.model.text);
  if (chosen.length === 0 && !areRulesWrong) {
    report(
      context,
      'SORA2305',
      '`quantization_aware` without a format: no `quantize` block gives a weight one',
      value.span,
      {
        help: `write \`quantize ${block.model.text} { "weights": int8 }\``,
      },
    );
  }
  return new Map(chosen);
}

/** A model that trains has its weights as they are: that formats are for other modules must not be found out by their size. */
export function reportIneffective(
  context: Context,
  root: SourceTree,
  training: UseBlock | undefined,
  formats: Formats,
): void {
  const block = root.uses.findLast(({ use, model }) => use === 'quantize' && model.text === training?.model.text);
  if (!training || !block || ![...(formats?.values() ?? [])].some((each) => each !== undefined)) return;
  const { text } = block.model;
  report(
    context,
    'SORA3003',
    `\`${text}\` trains, so its weights stay f32: formats of this block have no effect`,
    block.useSpan,
    {
      labels: [{ span: training.useSpan, text: 'it trains by this block' }],
      help:
        '`sorac compile --recipe` and `sorac compress` make modules that do not train; `quantization_aware: true` in the `train` block ' +
        'trains for the formats',
    },
  );
}
