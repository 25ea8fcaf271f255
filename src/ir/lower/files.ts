/**
 * File scopes: what each file declares and imports. Files come in dependency order, so an import always finds its file
 * done. Runtime dims belong to the whole program: two files may declare the same dim only with the same range.
 */
import type { Declaration, DimDeclaration, Expression, Import, SourceTree } from '../../parser/ast.ts';
import { resolveImportPath } from '../../parser/index.ts';
import { limits } from '../../support/limits.ts';
import { closest } from '../../support/suggest.ts';
import { constantValue, type DimRange, symbolDim } from '../symbolic.ts';
import { type Binding, describe, poison } from './binding.ts';
import { bindConfig } from './config.ts';
import { type Context, report } from './context.ts';
import { evaluate } from './expressions.ts';
import { nearMember } from './names.ts';
import { childScope, type Scope, shadowedModule } from './scope.ts';

function importNames(context: Context, tree: SourceTree, statement: Import, scope: Scope): void {
  const path = resolveImportPath(tree.file.path, statement.from.text);
  const target = context.trees.find((candidate) => candidate.file.path === path);
  const exported = target && context.fileScopes.get(target.file);
  for (const { name, alias } of statement.names) {
    const local = alias ?? name;
    const declared = target?.declarations.find((declaration) => declaration.name.text === name.text);
    const entry = declared && exported?.names.get(name.text);
    if (target && entry === undefined) {
      const names = target.declarations.map((declaration) => declaration.name.text);
      report(context, 'SORA2003', `"${statement.from.text}" has no \`${name.text}\``, name.span, {
        labels: [{ span: statement.from.span, text: 'imported from here' }],
        ...nearMember(name, names),
      });
      // Whoever mistypes a name in the import writes it right below: that use is no second mistake.
      const meant = closest(name.text, names);
      if (meant !== undefined && alias === undefined) {
        scope.names.set(meant, { binding: poison, span: undefined, declaration: undefined });
      }
    }
    if (entry?.declaration) context.used.add(entry.declaration);
    // A file that could not be read was reported with the import: its names stay silent.
    scope.names.set(local.text, { binding: entry?.binding ?? poison, span: local.span, declaration: local });
    const shadowed = exported?.names.get(shadowedModule(name.text));
    if (shadowed) scope.names.set(shadowedModule(local.text), { ...shadowed, span: local.span, declaration: local });
  }
}

function rangeEnd(context: Context, expression: Expression, scope: Scope): number | undefined {
  const binding = evaluate(context, expression, scope);
  if (binding.kind === 'poison') return undefined;
  const value = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
  if (value === undefined) {
    report(context, 'SORA2206', `a range of a dim needs known integers, found ${describe(binding)}`, expression.span);
    return undefined;
  }
  if (value >= 1 && value <= limits.dim) return value;
  report(context, 'SORA2206', `a dim is between 1 and ${limits.dim}, found ${value}`, expression.span);
  return undefined;
}

function dimRange(context: Context, declaration: DimDeclaration, scope: Scope): DimRange | undefined {
  const minimum = rangeEnd(context, declaration.minimum, scope);
  const maximum = rangeEnd(context, declaration.maximum, scope);
  const multiple = declaration.multiple ? rangeEnd(context, declaration.multiple, scope) : 1;
  if (minimum === undefined || maximum === undefined || multiple === undefined) return undefined;
  if (minimum > maximum) {
    report(
      context,
      'SORA2206',
      `the range of \`${declaration.name.text}\` is empty: ${minimum} is more than ${maximum}`,
      declaration.maximum.span,
      {
        labels: [{ span: declaration.minimum.span, text: 'starts here' }],
      },
    );
    return undefined;
  }
  if (Math.floor(maximum / multiple) * multiple < minimum && declaration.multiple) {
    report(
      context,
      'SORA2206',
      `no multiple of ${multiple} lies between ${minimum} and ${maximum}`,
      declaration.multiple.span,
    );
    return undefined;
  }
  return { minimum, maximum, multiple };
}

function declareDim(context: Context, declaration: DimDeclaration, scope: Scope): Binding {
  const name = declaration.name.text;
  const range = dimRange(context, declaration, scope);
  const known = context.ranges.get(name);
  const place = context.dimPlaces.get(name);
  if (range && known && place && place.file !== declaration.span.file) {
    const same =
      known.minimum === range.minimum && known.maximum === range.maximum && known.multiple === range.multiple;
    if (!same) {
      report(context, 'SORA2206', `dim \`${name}\` has another range in an imported file`, declaration.name.span, {
        labels: [{ span: place, text: `${known.minimum}..${known.maximum} here` }],
        help: 'declare it in one file and import it',
      });
    }
  }
  if (!range) context.badDims.add(name);
  // A dim whose range is a mistake still is a dim: what uses it is checked as far as possible.
  if (!known) context.ranges.set(name, range ?? { minimum: 1, maximum: limits.dim, multiple: 1 });
  if (!place) context.dimPlaces.set(name, declaration.name.span);
  return { kind: 'int', dim: symbolDim(name), literal: false };
}

function declarationBinding(declaration: Declaration, scope: Scope): Binding {
  switch (declaration.kind) {
    case 'module':
    case 'model':
      return { kind: 'module-type', declaration, scope };
    case 'function':
      return { kind: 'function', declaration, scope, owner: undefined };
    default:
      return poison;
  }
}

/** The scope of every file, configs bound and dims declared. */
export function declareFiles(context: Context): void {
  for (const tree of context.trees) {
    const scope = childScope(undefined);
    context.fileScopes.set(tree.file, scope);
    for (const statement of tree.imports) importNames(context, tree, statement, scope);
    const configs = new Set(
      tree.declarations.flatMap((declaration) => (declaration.kind === 'config' ? [declaration.name.text] : [])),
    );
    const declare = (declaration: Declaration, binding: Binding): void => {
      const { text } = declaration.name;
      const isModule = declaration.kind === 'module' || declaration.kind === 'model';
      const name = isModule && configs.has(text) ? shadowedModule(text) : text;
      // The first of two declarations stays; duplicates.ts reports the second.
      if (scope.names.has(name)) return;
      scope.names.set(name, { binding, span: declaration.name.span, declaration });
    };
    // Functions and modules first: a default of a config may call a function that stands below it.
    for (const declaration of tree.declarations) {
      if (declaration.kind !== 'dim' && declaration.kind !== 'config')
        declare(declaration, declarationBinding(declaration, scope));
    }
    for (const declaration of tree.declarations) {
      if (declaration.kind !== 'config') continue;
      const binding = bindConfig(context, declaration, scope);
      declare(declaration, binding);
      // The person's own file is checked whole.
      if (tree === context.trees.at(-1)) void binding.values;
    }
    for (const declaration of tree.declarations) {
      if (declaration.kind === 'dim') declare(declaration, declareDim(context, declaration, scope));
    }
  }
}
