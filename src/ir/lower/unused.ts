/**
 * The unused lint, for the root file: imports, dims, modules, functions, fields, lets. A name that starts with `_` is
 * meant to be unused. It runs only on models without mistakes: a mistake hides uses.
 */
import type { Expression, Identifier, ModuleDeclaration, SourceTree } from '../../parser/ast.ts';
import { type Context, report } from './context.ts';

function warn(context: Context, what: string, name: Identifier): void {
  if (name.text.startsWith('_')) return;
  report(context, 'SORA3001', `${what} \`${name.text}\` is never used`, name.span);
}

/** Every let of a body, blocks inside blocks included. */
function letNames(expression: Expression): readonly Identifier[] {
  switch (expression.kind) {
    case 'block':
      return [
        ...expression.lets.flatMap((each) => [...letNames(each.value), ...each.names]),
        ...letNames(expression.result),
      ];
    case 'if':
      return [expression.then, ...(expression.otherwise ? [expression.otherwise] : [])].flatMap(letNames);
    default:
      return [];
  }
}

function checkBody(context: Context, body: Expression): void {
  for (const name of letNames(body)) if (!context.used.has(name)) warn(context, '`let`', name);
}

function checkModule(context: Context, declaration: ModuleDeclaration): void {
  for (const member of declaration.members) {
    if (member.kind === 'function' || member.kind === 'entry') checkBody(context, member.body);
    else if (member.kind !== 'derived-entry' && !context.used.has(member))
      warn(context, member.kind === 'state' ? 'state' : 'field', member.name);
  }
}

/** `reached` holds what the model uses, before unreached declarations were tried. */
export function checkUnused(context: Context, tree: SourceTree, reached: ReadonlySet<object>): void {
  for (const statement of tree.imports) {
    for (const { name, alias } of statement.names) {
      if (!context.used.has(alias ?? name)) warn(context, 'import', alias ?? name);
    }
  }
  for (const declaration of tree.declarations) {
    switch (declaration.kind) {
      case 'dim':
        if (!context.used.has(declaration)) warn(context, 'dim', declaration.name);
        break;
      case 'function':
        if (!reached.has(declaration)) warn(context, 'function', declaration.name);
        checkBody(context, declaration.body);
        break;
      case 'module':
        if (!reached.has(declaration)) warn(context, 'module', declaration.name);
        checkModule(context, declaration);
        break;
      case 'model':
        checkModule(context, declaration);
        break;
      default:
    }
  }
}
