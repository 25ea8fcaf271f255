/**
 * Looking names up, and what to say about a name that is not there: the nearest name that is, or the import that is
 * missing.
 */
import type { Identifier, SourceTree } from '../../parser/ast.ts';
import type { Fix } from '../../support/diagnostic.ts';
import type { Span } from '../../support/source.ts';
import { closest } from '../../support/suggest.ts';
import { type Binding, poison } from './binding.ts';
import { type Context, report, reportOnce } from './context.ts';
import { foreignName } from './foreign-names.ts';
import { intrinsicNames } from './intrinsics.ts';
import { libraryNames } from './library.ts';
import { lookup, type Scope, shadowedModule, visibleNames } from './scope.ts';

/** Words of masks that are no built-in functions too (attend/masks.ts). */
const maskNames: readonly string[] = ['padding', 'causal'];

/** Edits that add `name` to the import of `from`, or a new import line at the top. */
function importFix(tree: SourceTree, name: string, from: string): Fix {
  const title = `import \`${name}\` from "${from}"`;
  const known = tree.imports.find((declaration) => declaration.from.text === from);
  const last = known?.names.at(-1);
  if (last) {
    const end = (last.alias ?? last.name).span.end;
    return { title, edits: [{ span: { file: tree.file, start: end, end }, text: `, ${name}` }] };
  }
  const start = tree.imports[0]?.span.start ?? 0;
  const text = `import { ${name} } from "${from}"\n`;
  return {
    title,
    edits: [{ span: { file: tree.file, start, end: start }, text: tree.imports.length > 0 ? text : `${text}\n` }],
  };
}

/** A config parameter in scope that has a field of this name. */
function configWith(scope: Scope, name: string): { readonly name: string; readonly field: Span } | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.parent) {
    for (const [owner, { binding }] of at.names) {
      if (binding.kind !== 'config') continue;
      const field = binding.declaration.fields.find((each) => each.name.text === name);
      if (field !== undefined) return { name: owner, field: field.name.span };
    }
  }
  return undefined;
}

/** Reports an unknown name, with the best guess at what was meant. */
export function reportUnknown(context: Context, name: string, span: Span, scope: Scope, what = 'name'): void {
  const message = `unknown ${what} \`${name}\``;
  if (maskNames.includes(name)) {
    report(context, 'SORA2001', `\`${name}\` stands only in the \`mask\` of \`attend\``, span, {
      help: `write \`attend(q, k, v) { mask: ${name === 'causal' ? name : 'padding(…)'} }\``,
    });
    return;
  }
  if (what === 'name' && name === 'KVCache') {
    const help = 'it is a kind of state, declared in the module: `state kv = KVCache(batch, heads, positions, width)`';
    reportOnce(context, name, 'SORA2001', message, span, { help });
    return;
  }
  const library = libraryNames();
  const tree = context.trees.find((candidate) => candidate.file === span.file);
  if (library.includes(name) && tree) {
    const statement = tree.imports.find((declaration) => declaration.from.text === 'sora:nn');
    reportOnce(context, name, 'SORA2001', message, span, {
      labels: statement ? [{ span: statement.span, text: `\`${name}\` is not in this import` }] : [],
      help: `\`${name}\` is in \`sora:nn\`: import it`,
      fixes: [importFix(tree, name, 'sora:nn')],
    });
    return;
  }
  const foreign = foreignName(name);
  if (foreign?.help !== undefined) {
    reportOnce(context, name, 'SORA2001', message, span, { help: foreign.help });
    return;
  }
  const owner = configWith(scope, name);
  if (owner !== undefined && foreign === undefined) {
    const whole = `${owner.name}.${name}`;
    reportOnce(context, name, 'SORA2001', message, span, {
      labels: [{ span: owner.field, text: `\`${name}\` is a field of this config` }],
      help: `did you mean \`${whole}\`?`,
      fixes: [{ title: `replace by \`${whole}\``, edits: [{ span, text: whole }] }],
    });
    return;
  }
  const guess = foreign?.replacement ?? closest(name, [...visibleNames(scope), ...intrinsicNames(), ...library]);
  if (guess === undefined) {
    reportOnce(context, name, 'SORA2001', message, span);
    return;
  }
  const seen = lookup(scope, guess);
  const fromLibrary = seen === undefined && library.includes(guess);
  reportOnce(context, name, 'SORA2001', message, span, {
    labels: seen?.span === undefined ? [] : [{ span: seen.span, text: `\`${guess}\` is declared here` }],
    help: fromLibrary ? `did you mean \`${guess}\` of \`sora:nn\`?` : `did you mean \`${guess}\`?`,
    fixes: [{ title: `replace by \`${guess}\``, edits: [{ span, text: guess }] }],
  });
}

/** As resolveName, where only a module makes sense: a config of the same name gives way. */
export function resolveModule(context: Context, name: string, span: Span, scope: Scope): Binding {
  const shadowed = lookup(scope, shadowedModule(name));
  const plain = lookup(scope, name);
  if (shadowed === undefined || plain?.binding.kind !== 'config') return resolveName(context, name, span, scope);
  // Both came under the one name.
  for (const entry of [plain, shadowed]) if (entry.declaration) context.used.add(entry.declaration);
  return shadowed.binding;
}

/** What a name stands for; unknown names are reported and give poison. */
export function resolveName(context: Context, name: string, span: Span, scope: Scope): Binding {
  const entry = lookup(scope, name);
  if (entry) {
    if (entry.declaration) context.used.add(entry.declaration);
    return entry.binding;
  }
  if (intrinsicNames().includes(name)) return { kind: 'intrinsic', name };
  reportUnknown(context, name, span, scope);
  return poison;
}

/** Names that a help lists: a library has more than anyone reads. */
const namesShown = 12;

/** Labels and help for a member that does not exist. */
export function nearMember(member: Identifier, names: Iterable<string>): { help?: string; fixes?: readonly Fix[] } {
  const all = [...names];
  const guess = closest(member.text, all);
  if (guess === undefined) {
    const list = all.slice(0, namesShown).map((name) => `\`${name}\``);
    const more = all.length > namesShown ? ` and ${all.length - namesShown} more` : '';
    return all.length === 0 ? {} : { help: `there is ${list.join(', ')}${more}` };
  }
  return {
    help: `did you mean \`${guess}\`?`,
    fixes: [{ title: `replace by \`${guess}\``, edits: [{ span: member.span, text: guess }] }],
  };
}
