/**
 * Globs over weight names: `*` is any text without a dot, `**` any text, `**.x` is also `x` alone. Matching takes time in
 * proportion to both lengths, whatever the glob.
 */
import type { StringValue } from '../../parser/ast.ts';
import { closest } from '../../support/suggest.ts';
import { type Context, report } from './context.ts';

export function matchesGlob(glob: string, path: string): boolean {
  // reach[i]: the part of the glob that was read matches the first i characters of the path.
  let reach: boolean[] = Array.from({ length: path.length + 1 }, (_, at) => at === 0);
  for (let at = 0; at < glob.length; ) {
    const isDeep = glob.startsWith('**', at);
    const isOptional = glob.startsWith('**.', at);
    const character = glob[at];
    const next: boolean[] = Array.from({ length: path.length + 1 }, () => false);
    if (isOptional) {
      let isInside = false;
      for (let i = 0; i <= path.length; i++) {
        // Nothing at all, or any text that ends with a dot.
        if (reach[i]) next[i] = true;
        if (isInside && path[i - 1] === '.') next[i] = true;
        isInside ||= reach[i] === true;
      }
    } else if (character === '*') {
      let isInside = false;
      for (let i = 0; i <= path.length; i++) {
        if (!isDeep && path[i - 1] === '.') isInside = false;
        isInside ||= reach[i] === true;
        next[i] = isInside;
      }
    } else for (let i = 1; i <= path.length; i++) next[i] = reach[i - 1] === true && path[i - 1] === character;
    reach = next;
    at += isOptional ? 3 : isDeep ? 2 : 1;
  }
  return reach[path.length] === true;
}

/** The glob with the first segment that no path has replaced by the nearest one, when it then selects something. */
function corrected(glob: string, paths: readonly string[]): string | undefined {
  const segments = [...new Set(paths.flatMap((path) => path.split('.')))];
  const parts = glob.split('.');
  for (const [at, part] of parts.entries()) {
    if (part.includes('*') || segments.includes(part)) continue;
    const guess = closest(part, segments);
    if (guess === undefined) continue;
    const changed = parts.with(at, guess).join('.');
    if (paths.some((path) => matchesGlob(changed, path))) return changed;
  }
  const deep = `**.${glob}`;
  return paths.some((path) => matchesGlob(deep, path)) ? deep : closest(glob, paths);
}

/** The paths that a glob selects; says so when there are none. `what` is `weight` or `state`. */
export function select(
  context: Context,
  glob: StringValue,
  paths: readonly string[],
  what: string,
  owner: string,
): readonly string[] {
  const found = paths.filter((path) => matchesGlob(glob.text, path));
  if (found.length > 0) return found;
  const guess = corrected(glob.text, paths);
  const [first] = paths;
  report(context, 'SORA2302', `"${glob.text}" selects no ${what} of \`${owner}\``, glob.span, {
    notes: guess !== undefined ? [] : [first === undefined ? `it has no ${what}` : `a ${what} is named \`${first}\``],
    ...(guess === undefined
      ? {}
      : {
          help: `did you mean "${guess}"?`,
          fixes: [{ title: `replace by "${guess}"`, edits: [{ span: glob.span, text: JSON.stringify(guess) }] }],
        }),
  });
  return [];
}
