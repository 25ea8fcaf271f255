/**
 * `quantize Model { state "**.kv": f16 }`: how states are stored. It has to be known before entries are lowered, so it is read
 * here and checked with the rest of the block in uses.ts, which says what is wrong with it.
 */
import type { ModuleDeclaration, SourceTree, UseRule } from '../../parser/ast.ts';
import type { StateBinding, StateFormat } from './binding.ts';
import { type Context, report } from './context.ts';
import { matchesGlob } from './use-globs.ts';
import { stateFormats } from './use-methods.ts';

function isFormat(name: string): name is StateFormat {
  return Object.hasOwn(stateFormats, name);
}

function formatOf(rule: UseRule): StateFormat {
  const { value } = rule.value;
  return value.kind === 'name' && isFormat(value.name) ? value.name : 'f32';
}

/** What keeps the rows of a state from being stored so. */
function misfit({ dtype, heads, width, valueWidth, path }: StateBinding): string | undefined {
  const odd = (multiple: number, sizes: readonly number[]) => sizes.find((size) => size % multiple !== 0);
  if (dtype === 'f16') {
    const row = odd(2, [width * heads, valueWidth * heads]);
    return row === undefined ? undefined : `two numbers of f16 share a word, but a row of \`${path}\` has ${row}`;
  }
  const head = dtype === 'int8' ? odd(4, [width, valueWidth]) : undefined;
  return head === undefined ? undefined : `four numbers of int8 share a word, but a head of \`${path}\` has ${head}`;
}

/** The rules of blocks about this model; a later one overrides an earlier one. */
export function chooseStateFormats(context: Context, root: SourceTree, model: ModuleDeclaration): void {
  for (const block of root.uses) {
    if (block.use !== 'quantize' || block.model.text !== model.name.text) continue;
    for (const rule of block.items) {
      if (rule.kind !== 'rule' || rule.about?.text !== 'state') continue;
      for (const [path, state] of context.states) {
        if (!rule.globs.some((glob) => matchesGlob(glob.text, path))) continue;
        state.dtype = formatOf(rule);
        const message = misfit(state);
        if (message === undefined) continue;
        // What is wrong is said once; the rest of the model is checked as if the state were stored plainly.
        state.dtype = 'f32';
        report(context, 'SORA2124', message, rule.value.span, {
          labels: [{ span: state.field.span, text: 'the state' }],
          help: formatOf(rule) === 'int8' ? 'store it as `f16`, or leave it as it is' : 'leave it as it is',
        });
      }
    }
  }
}
