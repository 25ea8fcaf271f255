/**
 * Concrete to abstract syntax, declarations. Expressions are build-expressions.ts. Tolerant: declarations that recovery
 * left without a name are dropped, absent expressions become `missing`; whatever is absent was reported before.
 */
import type { CstNode, IToken } from 'chevrotain';
import { type Diagnostic, diagnose } from '../support/diagnostic.ts';
import { joinSpans, type SourceFile, type Span } from '../support/source.ts';
import { closest } from '../support/suggest.ts';
import type {
  ConfigDeclaration,
  ConfigField,
  ConfigType,
  Declaration,
  DerivedEntry,
  DimDeclaration,
  EntryMember,
  Expression,
  FunctionMember,
  FunctionParameter,
  Identifier,
  Import,
  InitClause,
  Member,
  ModuleDeclaration,
  ModuleParameter,
  SourceTree,
  StateField,
  SubmoduleField,
  TensorField,
  TiedClause,
} from './ast.ts';
import { buildArguments, buildBlock, buildExpression, buildTensorType } from './build-expressions.ts';
import { buildUse } from './build-uses.ts';
import { type Builder, docTexts, makeBuilder } from './cst.ts';

const configTypes: readonly string[] = ['int', 'float', 'bool', 'string'];

function isConfigType(name: string): name is ConfigType {
  return configTypes.includes(name);
}

function buildImport(builder: Builder, node: CstNode): Import | undefined {
  const span = builder.span(node, builder.whole);
  const items = builder.nodes(node, 'importedName');
  builder.requireCommas(items, 'names');
  const from = builder.string(node, 'StringLiteral');
  if (from === undefined) return undefined;
  const names = items.flatMap((item) => {
    const [name, alias] = builder.tokens(item, 'Identifier');
    const identifier = (token: IToken) => ({ text: token.image, span: builder.tokenSpan(token) });
    return name === undefined ? [] : [{ name: identifier(name), alias: alias && identifier(alias) }];
  });
  return { kind: 'import', names, from, span };
}

function buildDims(builder: Builder, node: CstNode): DimDeclaration[] {
  const lineDoc = builder.doc(builder.span(node, builder.whole).start);
  const items = builder.nodes(node, 'dimItem');
  builder.requireCommas(items, 'dims', 'lines');
  return items.flatMap((item, index) => {
    const name = builder.identifier(item, 'Identifier');
    if (name === undefined) return [];
    const span = builder.span(item, builder.whole);
    const multiple = builder.node(item, 'multiple');
    return [
      {
        kind: 'dim',
        name,
        minimum: buildExpression(builder, builder.node(item, 'minimum'), span),
        maximum: buildExpression(builder, builder.node(item, 'maximum'), span),
        multiple: multiple && buildExpression(builder, multiple, span),
        doc: builder.doc(span.start) ?? (index === 0 ? lineDoc : undefined),
        span,
        continued: index > 0,
      },
    ];
  });
}

function buildConfig(builder: Builder, node: CstNode): ConfigDeclaration | undefined {
  const name = builder.identifier(node, 'Identifier');
  if (name === undefined) return undefined;
  const span = builder.span(node, name.span);
  const fields = builder.nodes(node, 'configField').flatMap((field) => buildConfigField(builder, field) ?? []);
  return { kind: 'config', name, fields, doc: builder.doc(span.start), span };
}

function buildConfigField(builder: Builder, node: CstNode): ConfigField | undefined {
  const name = builder.identifier(node, 'Identifier');
  if (name === undefined) return undefined;
  const span = builder.span(node, name.span);
  const typeName = builder.identifier(node, 'type');
  if (typeName !== undefined && !isConfigType(typeName.text)) {
    const near = closest(typeName.text, configTypes);
    const help =
      near === undefined ? 'a config field is `int`, `float`, `bool` or `string`' : `did you mean \`${near}\`?`;
    builder.report(diagnose('SORA1013', `unknown type \`${typeName.text}\``, typeName.span, { help }));
  }
  const initial = builder.node(node, 'expression');
  const from = builder.nodes(node, 'configKey').flatMap((source) => {
    const key = builder.string(source, 'StringLiteral');
    const kind = builder.token(source, 'CountWord') === undefined ? ('key' as const) : ('count' as const);
    return key === undefined ? [] : [{ kind, key }];
  });
  return {
    name,
    type: typeName !== undefined && isConfigType(typeName.text) ? typeName.text : 'int',
    typeSpan: typeName?.span ?? name.span,
    initial: initial && buildExpression(builder, initial, span),
    from,
    doc: builder.doc(span.start),
    span,
  };
}

function buildModule(builder: Builder, node: CstNode): ModuleDeclaration | undefined {
  const name = builder.identifier(node, 'Identifier');
  if (name === undefined) return undefined;
  const span = builder.span(node, name.span);
  const parameters = builder.nodes(node, 'moduleParameter');
  builder.requireCommas(parameters, 'parameters');
  return {
    kind: builder.token(node, 'ModelWord') === undefined ? 'module' : 'model',
    name,
    parameters: parameters.flatMap((parameter) => buildModuleParameter(builder, parameter) ?? []),
    members: builder.nodes(node, 'member').flatMap((member) => buildMember(builder, member) ?? []),
    doc: builder.doc(span.start),
    span,
  };
}

function buildModuleParameter(builder: Builder, node: CstNode): ModuleParameter | undefined {
  const name = builder.identifier(node, 'Identifier');
  const type = builder.identifier(node, 'type');
  if (name === undefined || type === undefined) return undefined;
  const span = builder.span(node, name.span);
  const initial = builder.node(node, 'expression');
  return { name, type, initial: initial && buildExpression(builder, initial, span), span };
}

function buildMember(builder: Builder, node: CstNode): Member | undefined {
  const span = builder.span(node, builder.whole);
  const repeat = builder.node(node, 'repeatMember');
  if (repeat) {
    const count = buildExpression(builder, builder.node(repeat, 'expression'), span);
    const index = builder.identifier(repeat, 'index');
    return buildSubmodule(builder, repeat, builder.node(repeat, 'submodule'), count, index);
  }
  const state = builder.node(node, 'stateMember');
  if (state) return buildState(builder, state);
  const derived = builder.node(node, 'derivedEntry');
  if (derived) return buildDerivedEntry(builder, derived);
  const entry = builder.node(node, 'entryMember');
  if (entry) return buildEntry(builder, entry);
  const fn = builder.node(node, 'functionDeclaration');
  if (fn) return buildFunction(builder, fn);
  const field = builder.node(node, 'field');
  if (field === undefined) return undefined;
  const tensor = builder.node(field, 'tensorField');
  return tensor === undefined
    ? buildSubmodule(builder, field, builder.node(field, 'submodule'), undefined)
    : buildTensorField(builder, field, tensor);
}

function buildClauses(
  builder: Builder,
  node: CstNode,
  near: Span,
): Pick<TensorField, 'as' | 'init' | 'tied' | 'condition'> {
  const clauses = builder.node(node, 'fieldClauses');
  const condition = clauses && builder.node(clauses, 'expression');
  const init = clauses && builder.node(clauses, 'initClause');
  const ties = clauses === undefined ? [] : builder.nodes(clauses, 'tiedClause');
  return {
    as: clauses && builder.string(clauses, 'StringLiteral'),
    init: init && buildInit(builder, init, near),
    tied: ties.flatMap((tie) => buildTied(builder, tie, near) ?? []),
    condition: condition && buildExpression(builder, condition, near),
  };
}

function buildInit(builder: Builder, node: CstNode, near: Span): InitClause {
  const span = builder.span(node, near);
  const value = builder.node(node, 'expression');
  if (value === undefined && builder.isWhole(node)) {
    const help = 'write `init zeros` or `init normal(std: 0.02)`';
    builder.report(diagnose('SORA1002', 'expected how the tensor begins', span, { help }));
  }
  return { value: buildExpression(builder, value, span), span };
}

function buildTied(builder: Builder, node: CstNode, near: Span): TiedClause | undefined {
  const [first, ...rest] = builder.tokens(node, 'Identifier');
  if (first === undefined) return undefined;
  const start = builder.tokenSpan(first);
  let target: Expression = { kind: 'name', name: first.image, span: start };
  for (const token of rest) {
    const member = { text: token.image, span: builder.tokenSpan(token) };
    target = builder.grown({ kind: 'member', object: target, member, span: joinSpans(start, member.span) }, [target]);
  }
  return { target, span: builder.span(node, near) };
}

function buildState(builder: Builder, node: CstNode): StateField | undefined {
  const name = builder.identifier(node, 'Identifier');
  const type = builder.identifier(node, 'type');
  if (name === undefined || type === undefined) return undefined;
  const span = builder.span(node, name.span);
  const call = builder.node(node, 'callArguments');
  const given = call === undefined ? [] : buildArguments(builder, call);
  return { kind: 'state', name, type, arguments: given, doc: builder.doc(span.start), span };
}

function buildDerivedEntry(builder: Builder, node: CstNode): DerivedEntry | undefined {
  const name = builder.identifier(node, 'Identifier');
  const base = builder.identifier(node, 'base');
  if (name === undefined || base === undefined) return undefined;
  const span = builder.span(node, name.span);
  const sizes = builder.nodes(node, 'substitution').flatMap((item) => {
    const dim = builder.identifier(item, 'Identifier');
    if (dim === undefined) return [];
    return [{ dim, value: buildExpression(builder, builder.node(item, 'expression'), dim.span) }];
  });
  return { kind: 'derived-entry', name, base, sizes, doc: builder.doc(span.start), span };
}

function buildSubmodule(
  builder: Builder,
  node: CstNode,
  submodule: CstNode | undefined,
  count: Expression | undefined,
  index?: Identifier,
): SubmoduleField | undefined {
  const name = builder.identifier(node, 'Identifier');
  const module = submodule && builder.identifier(submodule, 'Identifier');
  if (name === undefined || submodule === undefined || module === undefined) return undefined;
  const span = builder.span(node, name.span);
  const call = builder.node(submodule, 'callArguments');
  return {
    kind: 'submodule',
    name,
    index,
    count,
    module,
    arguments: call === undefined ? [] : buildArguments(builder, call),
    ...buildClauses(builder, submodule, span),
    doc: builder.doc(span.start),
    span,
  };
}

function buildTensorField(builder: Builder, node: CstNode, tensor: CstNode): TensorField | undefined {
  const name = builder.identifier(node, 'Identifier');
  const type = buildTensorType(builder, builder.node(tensor, 'tensorType'));
  if (name === undefined || type === undefined) return undefined;
  const span = builder.span(node, name.span);
  return { kind: 'tensor', name, type, ...buildClauses(builder, tensor, span), doc: builder.doc(span.start), span };
}

function buildParameters(builder: Builder, node: CstNode | undefined): FunctionParameter[] {
  if (node === undefined) return [];
  const items = builder.nodes(node, 'functionParameter');
  builder.requireCommas(items, 'parameters');
  return items.flatMap((item) => {
    const name = builder.identifier(item, 'Identifier');
    const written = buildTensorType(builder, builder.node(item, 'tensorType'));
    if (name === undefined || written === undefined) return [];
    const span = builder.span(item, name.span);
    const scalar = written.dtype.text;
    const type =
      written.dims.length === 0 && isConfigType(scalar)
        ? { kind: 'scalar-type' as const, name: scalar, span: written.span }
        : written;
    const initial = builder.node(item, 'expression');
    return [
      { name, type, initial: initial && buildExpression(builder, initial, span), doc: builder.doc(span.start), span },
    ];
  });
}

function buildBody(builder: Builder, node: CstNode | undefined, near: Span): Expression {
  if (node === undefined) return builder.missing(near);
  const block = builder.node(node, 'block');
  return block === undefined
    ? buildExpression(builder, builder.node(node, 'expression'), near)
    : buildBlock(builder, block, near);
}

function buildFunction(builder: Builder, node: CstNode): FunctionMember {
  const span = builder.span(node, builder.whole);
  return {
    kind: 'function',
    name: builder.identifier(node, 'Identifier'),
    parameters: buildParameters(builder, builder.node(node, 'functionParameters')),
    result: buildTensorType(builder, builder.node(node, 'tensorType')),
    body: buildBody(builder, builder.node(node, 'body'), span),
    doc: builder.doc(span.start),
    span,
  };
}

function buildEntry(builder: Builder, node: CstNode): EntryMember | undefined {
  const name = builder.identifier(node, 'Identifier');
  if (name === undefined) return undefined;
  const span = builder.span(node, name.span);
  const results = builder.node(node, 'entryResults');
  const named = results === undefined ? [] : builder.nodes(results, 'namedResult');
  builder.requireCommas(named, 'results', 'lines');
  if (results === undefined && builder.isWhole(node)) {
    builder.report(
      diagnose('SORA1002', `entry \`${name.text}\` does not say what it gives`, name.span, {
        help: 'write `-> f32[…]`, or `-> { name: f32[…] }`, after the parameters',
      }),
    );
  }
  const single = results && buildTensorType(builder, builder.node(results, 'tensorType'));
  return {
    kind: 'entry',
    name,
    parameters: buildParameters(builder, builder.node(node, 'functionParameters')),
    results:
      single !== undefined
        ? [{ name: undefined, type: single }]
        : named.flatMap((result) => {
            const type = buildTensorType(builder, builder.node(result, 'tensorType'));
            return type === undefined ? [] : [{ name: builder.identifier(result, 'Identifier'), type }];
          }),
    body: buildBody(builder, builder.node(node, 'body'), span),
    doc: builder.doc(span.start),
    span,
  };
}

function buildOutermostFunction(builder: Builder, node: CstNode): Declaration | undefined {
  const fn = buildFunction(builder, node);
  if (fn.name !== undefined) return { ...fn, name: fn.name };
  if (builder.isWhole(node)) {
    const span = { ...fn.span, end: fn.span.start + 2 };
    builder.report(
      diagnose('SORA1002', 'a function outside a module needs a name', span, { help: 'write `fn name(…)`' }),
    );
  }
  return undefined;
}

export function buildTree(
  file: SourceFile,
  root: CstNode,
  tokens: readonly IToken[],
  comments: readonly IToken[],
): { readonly tree: SourceTree; readonly diagnostics: Diagnostic[] } {
  const diagnostics: Diagnostic[] = [];
  const builder = makeBuilder(file, docTexts(tokens, comments), diagnostics);
  const imports = builder.nodes(root, 'importDeclaration').flatMap((node) => buildImport(builder, node) ?? []);
  const declarations: Declaration[] = [
    ...builder.nodes(root, 'dimDeclaration').flatMap((node) => buildDims(builder, node)),
    ...builder.nodes(root, 'configDeclaration').flatMap((node) => buildConfig(builder, node) ?? []),
    ...builder.nodes(root, 'moduleDeclaration').flatMap((node) => buildModule(builder, node) ?? []),
    ...builder.nodes(root, 'functionDeclaration').flatMap((node) => buildOutermostFunction(builder, node) ?? []),
  ].sort((left, right) => left.span.start - right.span.start);
  const uses = builder.nodes(root, 'useBlock').flatMap((node) => buildUse(builder, node) ?? []);
  return { tree: { file, imports, declarations, uses }, diagnostics };
}
