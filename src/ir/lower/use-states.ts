/**
 * `quantize Model { state "**.kv": f16 }`: how states are stored. It has to be known before entries are lowered, so it is read
 * here and checked with the rest of the block in uses.ts, which says what is wrong with it.
 */
import type { ModuleDeclaration, SourceTree, UseRule } from '../../parser/ast.ts';
import { type Context, report } from './context.ts';
import { matchesGlob } from './use-globs.ts';

function isHalf(rule: UseRule): boolean {
  const { value } = rule.value;
  return value.kind === 'name' && value.name === 'f16';
}

/** The rules of blocks about this model; a later one overrides an earlier one. */
export function chooseStateFormats(context: Context, root: SourceTree, model: ModuleDeclaration): void {
  for (const block of root.uses) {
    if (block.use !== 'quantize' || block.model.text !== model.name.text) continue;
    for (const rule of block.items) {
      if (rule.kind !== 'rule' || rule.about?.text !== 'state') continue;
      for (const [path, state] of context.states) {
        if (!rule.globs.some((glob) => matchesGlob(glob.text, path))) continue;
        state.dtype = isHalf(rule) ? 'f16' : 'f32';
        const odd = [state.width, state.valueWidth].find((width) => (width * state.heads) % 2 !== 0);
        if (odd === undefined || state.dtype === 'f32') continue;
        const message = `two numbers of f16 share a word, but a row of \`${path}\` has ${odd * state.heads}`;
        report(context, 'SORA2124', message, rule.value.span, {
          labels: [{ span: state.field.span, text: 'the state' }],
        });
      }
    }
  }
}
