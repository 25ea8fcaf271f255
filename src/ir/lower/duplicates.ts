/**
 * Names declared twice in one place: a file, a config, a module, a parameter list. Blocks and records are checked where
 * they are evaluated.
 */
import type { Declaration, Identifier, ModuleDeclaration, SourceTree } from '../../parser/ast.ts';
import { type Context, report } from './context.ts';

function checkNames(context: Context, names: readonly Identifier[], where: string): void {
  const first = new Map<string, Identifier>();
  for (const name of names) {
    const earlier = first.get(name.text);
    if (earlier === undefined) {
      first.set(name.text, name);
      continue;
    }
    report(context, 'SORA2002', `\`${name.text}\` is declared twice in ${where}`, name.span, {
      labels: [{ span: earlier.span, text: 'first here' }],
    });
  }
}

function checkModule(context: Context, declaration: ModuleDeclaration): void {
  const where = `${declaration.kind} \`${declaration.name.text}\``;
  const { members } = declaration;
  const plain = members.flatMap((member) =>
    member.kind === 'entry' || member.kind === 'derived-entry' || member.name === undefined ? [] : [member.name],
  );
  checkNames(context, [...declaration.parameters.map((parameter) => parameter.name), ...plain], where);
  const entries = members.flatMap((member) =>
    member.kind === 'entry' || member.kind === 'derived-entry' ? [member] : [],
  );
  checkNames(
    context,
    entries.map((entry) => entry.name),
    where,
  );
  const [, second] = members.filter((member) => member.kind === 'function' && member.name === undefined);
  if (second)
    report(context, 'SORA2002', `${where} has two unnamed functions`, second.span, { help: 'give one a name' });
  for (const member of members) {
    if (member.kind === 'function' || member.kind === 'entry') {
      const name = member.name?.text ?? 'fn';
      checkNames(
        context,
        member.parameters.map((parameter) => parameter.name),
        `the parameters of \`${name}\``,
      );
    }
    if (member.kind === 'entry') {
      checkNames(
        context,
        member.results.flatMap((result) => result.name ?? []),
        `the results of \`${member.name.text}\``,
      );
    }
  }
}

export function checkDuplicates(context: Context, tree: SourceTree): void {
  const imported = tree.imports.flatMap((statement) => statement.names.map(({ name, alias }) => alias ?? name));
  // A module may bear the name of a config: `model Llama(c: Llama)`.
  const isConfig = (declaration: Declaration): boolean => declaration.kind === 'config';
  const isModule = ({ kind }: Declaration): boolean => kind === 'module' || kind === 'model';
  const named = (keep: (declaration: Declaration) => boolean): readonly Identifier[] => [
    ...imported,
    ...tree.declarations.flatMap((declaration) => (keep(declaration) ? [declaration.name] : [])),
  ];
  checkNames(
    context,
    named((declaration) => !isModule(declaration)),
    'this file',
  );
  checkNames(
    context,
    named((declaration) => !isConfig(declaration)),
    'this file',
  );
  for (const declaration of tree.declarations) {
    if (declaration.kind === 'config') {
      checkNames(
        context,
        declaration.fields.map((field) => field.name),
        `config \`${declaration.name.text}\``,
      );
    } else if (declaration.kind === 'function') {
      const where = `the parameters of \`${declaration.name.text}\``;
      checkNames(
        context,
        declaration.parameters.map((parameter) => parameter.name),
        where,
      );
    } else if (declaration.kind !== 'dim') checkModule(context, declaration);
  }
}
