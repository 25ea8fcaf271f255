/**
 * A `.sora` file from a stranger never becomes code: hostile texts in every place where a name or a string can stand give a diagnostic,
 * or a module whose tree is the planned one, whose WGSL declares only names from the allow-list, and which sets nothing when
 * it is imported.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Node, Project, type SourceFile, SyntaxKind } from 'ts-morph';
import { afterAll, describe, expect, test } from 'vitest';
import { describeModule, usedGlobals } from '../../src/codegen/module/describe.ts';
import { emitModule } from '../../src/codegen/module/index.ts';
import { checkSource, compile } from '../../src/compile.ts';
import type { Artifact } from '../../src/runtime/artifact.ts';
import { hasErrors } from '../../src/support/diagnostic.ts';
import { isReservedInWgsl } from '../../src/support/names.ts';
import { renderDiagnostics } from '../../src/support/render.ts';
import { hostileTexts } from '../support/hostile-texts.ts';

const folder = mkdtempSync(join(tmpdir(), 'sorac-injection-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Source {
  readonly text: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly fileName?: string;
}

/** A string literal of the language that holds the text. */
function quoted(text: string): string {
  const escaped = [...text].map((character) => {
    if (character === '"' || character === '\\') return `\\${character}`;
    return /[ -~]/.test(character) ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`;
  });
  return `"${escaped.join('')}"`;
}

function file(members: string, before = '', parameters = ''): Source {
  return { text: `dim B in 1..4\n${before}\nmodel Plain${parameters} {\n${members}\n}\n` };
}

const run = (body: string): string => `entry run(x: f32[B, 4]) -> y: f32[B, 4] { ${body} }`;
const chain = (names: readonly string[], call: (name: string, at: number) => string): string =>
  names.reduce((inner, name, at) => call(name, at).replace('#', () => inner), 'x');

/** Entries that append to a state each, so that a session has them. */
function stateful(states: readonly string[], entries: readonly string[]): Source {
  const attends = states.map((name) => `attend(x, x, x) { mask: causal, cache: ${name} }`).join(' + ');
  const members = [
    ...states.map((name) => `state ${name} = KVCache(B, 1, 8, 4)`),
    ...entries.map((name) => `entry ${name}(x: f32[B, T, 4]) -> y: f32[B, T, 4] { ${attends} }`),
  ];
  return { text: `dim B in 1..4, T in 1..8\nmodel Plain {\n${members.join('\n')}\n}\n` };
}

/** An entry with these targets. */
function trained(targets: readonly string[]): Source {
  const losses = targets.map((name) => `mse(z, ${name})`).join(' + ');
  const { text } = file(`w: f32[4]\n${run('x * w').replace('y:', 'z:')}`);
  const declared = targets.map((name) => `target ${name}: f32[B, 4]`).join('\n');
  return { text: `${text}train Plain.run {\n${declared}\nloss: ${losses}\noptimizer: sgd(lr: 0.1)\n}\n` };
}

/** Places of names; each source holds all the names in the same place. */
const namePlaces: Readonly<Record<string, (names: readonly string[]) => Source>> = {
  model: ([name = '']) => ({ text: file(run('x + 1')).text.replace('Plain', () => name) }),
  module: (names) =>
    file(
      `${names.map((name, at) => `m${at} = ${name}() as "p${at}"`).join('\n')}\n${run(chain(names, (_, at) => `m${at}(#)`))}`,
      names.map((name) => `module ${name}() { w: f32[4] fn (x: f32[B, 4]) -> f32[B, 4] = x * w }`).join('\n'),
    ),
  'tensor field': (names) =>
    file(`${names.map((name) => `${name}: f32[4]`).join('\n')}\n${run(chain(names, (name) => `(# * ${name})`))}`),
  'module field': (names) =>
    file(
      `${names.map((name) => `${name} = Inner()`).join('\n')}\n${run(chain(names, (name) => `${name}(#)`))}`,
      'module Inner() { w: f32[4] fn (x: f32[B, 4]) -> f32[B, 4] = x * w }',
    ),
  entry: (names) => file(names.map((name) => `entry ${name}(x: f32[B, 4]) -> y: f32[B, 4] = x + 1`).join('\n')),
  state: (names) => stateful(names, ['run']),
  'entry of a session': (names) => stateful(['kv'], names),
  parameter: (names) =>
    file(
      `entry run(${names.map((name) => `${name}: f32[B, 4]`).join(', ')}) -> y: f32[B, 4] { ${names.join(' + ')} + 1 }`,
    ),
  result: (names) =>
    file(
      `entry run(x: f32[B, 4]) -> { ${names.map((name) => `${name}: f32[B, 4]`).join(', ')} } { { ${names
        .map((name, at) => `${name}: x + ${at}`)
        .join(', ')} } }`,
    ),
  let: (names) => file(run(`${names.map((name) => `let ${name} = x * 2`).join('\n')}\n${names.join(' + ')}`)),
  dim: (names) => ({
    text: `${names.map((name) => `dim ${name} in 1..4`).join('\n')}\nmodel Plain {\n${names
      .map((name, at) => `entry e${at}(x: f32[${name}, 4], y: f32[2 * ${name}]) -> z: f32[${name}, 4] = x + 1`)
      .join('\n')}\n}\n`,
  }),
  config: (names) =>
    file(
      run(chain(names, (_, at) => `(# + c${at}.v)`)),
      names.map((name) => `config ${name} { v: int = 1 }`).join('\n'),
      `(${names.map((name, at) => `c${at}: ${name}`).join(', ')})`,
    ),
  'config field': (names) =>
    file(
      run(chain(names, (name) => `(# + c.${name})`)),
      `config Sizes { ${names.map((name) => `${name}: int = 1`).join('\n')} }`,
      '(c: Sizes)',
    ),
  function: (names) =>
    file(
      run(chain(names, (name) => `${name}(#)`)),
      names.map((name) => `fn ${name}(x: f32[B, 4]) -> f32[B, 4] = x + 1`).join('\n'),
    ),
  'function parameter': (names) =>
    file(
      run(chain(names, (_, at) => `call${at}(#)`)),
      names.map((name, at) => `fn call${at}(${name}: f32[B, 4]) -> f32[B, 4] = ${name} + 1`).join('\n'),
    ),
  target: trained,
  'imported name': (names) => ({
    text: `${names.map((name) => `import { relu as ${name} } from "sora:nn"`).join('\n')}\n${file(run(chain(names, (name) => `${name}(#)`))).text}`,
  }),
};

/** Places of strings. */
const textPlaces: Readonly<Record<string, (texts: readonly string[]) => Source>> = {
  'weight path': (texts) =>
    file(
      `${texts.map((text, at) => `w${at}: f32[4] as ${quoted(`${at}.${text}`)}`).join('\n')}\n${run(chain(texts, (_, at) => `(# * w${at})`))}`,
    ),
  'path of a module': (texts) =>
    file(
      `${texts.map((text, at) => `m${at} = Inner() as ${quoted(text)}`).join('\n')}\n${run(chain(texts, (_, at) => `m${at}(#)`))}`,
      'module Inner() { w: f32[4] fn (x: f32[B, 4]) -> f32[B, 4] = x * w }',
    ),
  'config key': (texts) => ({
    ...file(
      run(chain(texts, (_, at) => `(# + c.k${at})`)),
      `config Sizes { ${texts.map((text, at) => `k${at}: int = 1 from ${quoted(text)} or count(${quoted(text)})`).join('\n')} }`,
      '(c: Sizes)',
    ),
    config: Object.fromEntries(texts.map((text, at) => [text, at])),
  }),
  'config string': (texts) =>
    file(
      run(texts.map((text, at) => `if c.k${at} == ${quoted(text)} { x + 1 } else { x }`).join(' + ')),
      `config Sizes { ${texts.map((text, at) => `k${at}: string = ${quoted(text)}`).join('\n')} }`,
      '(c: Sizes)',
    ),
  'value of config.json': (texts) => ({
    ...file(
      run(texts.map((_, at) => `if c.k${at} == "a" { x } else { x + 1 }`).join(' + ')),
      `config Sizes { ${texts.map((_, at) => `k${at}: string from "k${at}"`).join('\n')} }`,
      '(c: Sizes)',
    ),
    config: Object.fromEntries(texts.map((text, at) => [`k${at}`, text])),
  }),
  'doc comment': (texts) => ({
    text: texts
      .map((text, at) => {
        const doc = `/// ${text.replace(/[\r\n]/g, ' ')}`;
        return `${doc}\nentry e${at}(\n${doc}\nx: f32[B, 4]\n) -> y: f32[B, 4] = x + 1`;
      })
      .join('\n')
      .replace(/^/, `dim B in 1..4\n/// ${(texts[0] ?? '').replace(/[\r\n]/g, ' ')}\nmodel Plain {\n`)
      .concat('\n}\n'),
  }),
  'file name': (texts) => ({ ...file(run('x + 1')), fileName: `${texts.join(' ')}.sora` }),
};

const names: readonly string[] = [...new Set(hostileTexts.map((text) => text.trim()))];

/** Texts that a place takes alone, in groups; the others were refused with a diagnostic. */
function accepted(
  make: (texts: readonly string[]) => Source,
  texts: readonly string[],
  size: number,
): readonly (readonly string[])[] {
  const taken = texts.filter((text) => {
    const { text: source, config } = make([text]);
    const { value, diagnostics } = checkSource({
      file: { path: 'test.sora', text: source },
      ...(config ? { config } : {}),
    });
    expect(value !== undefined, text.slice(0, 80)).toBe(!hasErrors(diagnostics));
    return value !== undefined;
  });
  return Array.from({ length: Math.ceil(taken.length / size) }, (_, at) => taken.slice(at * size, (at + 1) * size));
}

const project = new Project({
  useInMemoryFileSystem: true,
  skipLoadingLibFiles: true,
  compilerOptions: { allowJs: true },
});

function parse(text: string, name: string): SourceFile {
  const source = project.createSourceFile(name, text, { overwrite: true });
  const broken = (source.compilerNode as unknown as { readonly parseDiagnostics: readonly unknown[] }).parseDiagnostics;
  expect(broken.length).toBe(0);
  return source;
}

const runtimeStart = '/** The runtime of sorac. */\n';
const plainModule = emitModule(compiled(file(run('x + 1'))), { fileName: 'plain.sora' });
const sessionModule = emitModule(compiled(stateful(['kv'], ['run'])), { fileName: 'plain.sora' });
const trainedModule = emitModule(compiled(trained(['y'])), { fileName: 'plain.sora' });
const referenceOf = (artifact: Artifact) =>
  artifact.training ? trainedModule : artifact.session === undefined ? plainModule : sessionModule;

function compiled(source: Source): Artifact {
  const { value, diagnostics } = compile({
    file: { path: 'test.sora', text: source.text },
    ...(source.config ? { config: source.config } : {}),
  });
  if (value === undefined) {
    throw new Error(
      `refused together:\n${renderDiagnostics(diagnostics.slice(0, 3), { format: 'pretty', color: false })}`,
    );
  }
  return value.artifact;
}

const dataKinds = new Set([
  ...[SyntaxKind.ObjectLiteralExpression, SyntaxKind.ArrayLiteralExpression, SyntaxKind.PropertyAssignment],
  ...[SyntaxKind.StringLiteral, SyntaxKind.NumericLiteral, SyntaxKind.NoSubstitutionTemplateLiteral],
  ...[
    SyntaxKind.TrueKeyword,
    SyntaxKind.FalseKeyword,
    SyntaxKind.PrefixUnaryExpression,
    SyntaxKind.ComputedPropertyName,
  ],
]);

/** Only literals, `kernels["…"]` and `program` below a constant. */
function expectData(source: SourceFile, name: string): void {
  for (const node of source.getVariableDeclarationOrThrow(name).getInitializerOrThrow().getDescendants()) {
    if (!Node.isNode(node) || node.getKind() === SyntaxKind.SyntaxList || node.getKind() < SyntaxKind.FirstLiteralToken)
      continue;
    if (Node.isIdentifier(node)) {
      const parent = node.getParentOrThrow();
      const isKey = Node.isPropertyAssignment(parent) && parent.getNameNode() === node;
      if (!isKey) expect(['kernels', 'program', 'undefined'], name).toContain(node.getText());
    } else if (Node.isElementAccessExpression(node)) expect(node.getText()).toMatch(/^kernels\["/);
    else if (!dataKinds.has(node.getKind()) && !/Token$/.test(node.getKindName()))
      throw new Error(`${name}: ${node.getKindName()}`);
  }
}

function expectScript(js: string, artifact: Artifact, fileName: string): void {
  const reference = referenceOf(artifact);
  const runtime = reference.js.slice(reference.js.indexOf(runtimeStart));
  expect(js.endsWith(runtime)).toBe(true);
  const source = parse(js.slice(0, -runtime.length), 'module.js');
  const planned = describeModule(artifact, fileName);
  const statements = source.getStatements().map((statement) =>
    Node.isVariableStatement(statement)
      ? statement
          .getDeclarations()
          .map((declaration) => declaration.getName())
          .join()
      : Node.isClassDeclaration(statement) || Node.isFunctionDeclaration(statement)
        ? statement.getName()
        : statement.getKindName(),
  );
  const data = ['signature', 'weights', 'kernels', 'program', 'artifact'];
  const classes = [planned.className, ...(planned.sessionName ? [planned.sessionName] : [])];
  expect(statements).toEqual([...classes, 'load', 'ExportAssignment', ...data]);
  for (const name of data) expectData(source, name);
  const own = (ofSession: boolean) => planned.entries.filter((entry) => entry.needsSession === ofSession);
  const expectMethods = (className: string, entries: typeof planned.entries, others: readonly string[]): void => {
    const methods = source.getClassOrThrow(className).getMethods();
    const names = [...entries.map((entry) => entry.method), ...others];
    expect(methods.slice(0, -1).map((method) => method.getName())).toEqual(names);
    entries.forEach((entry, at) => {
      const call = methods[at]?.getStatements();
      expect(call?.length).toBe(1);
      const text = call?.[0]?.getText() ?? '';
      const literal = /^return this\.#(?:model|session)\.call\((".*"), inputs, options\);$/.exec(text)?.[1] ?? '""';
      expect(JSON.parse(literal)).toBe(entry.name);
    });
  };
  expectMethods(planned.className, own(false), [
    ...(planned.sessionName ? ['session'] : []),
    ...(planned.training ? ['trainer'] : []),
    ...['stats', 'close'],
  ]);
  if (planned.sessionName) expectMethods(planned.sessionName, own(true), ['reset', 'fork', 'close']);
  const entries = planned.entries.map((entry) => entry.method);
  // Names of classes, methods and types stand outside of strings: they are plain and none is a word of the language.
  for (const name of [...classes, ...entries]) expect(name).toMatch(/^[A-Za-z_][A-Za-z0-9_]{0,80}$/);
}

function expectDeclarations(dts: string, artifact: Artifact, fileName: string): void {
  const source = parse(dts, 'module.d.ts');
  const planned = describeModule(artifact, fileName);
  const shared = parse(referenceOf(artifact).dts, 'reference.d.ts');
  const names = (declarations: SourceFile): string[] => [
    ...declarations.getInterfaces().map((declaration) => declaration.getName()),
    ...declarations.getClasses().map((declaration) => declaration.getName() ?? ''),
    ...declarations.getFunctions().map((declaration) => declaration.getName() ?? ''),
    ...declarations.getVariableDeclarations().map((declaration) => declaration.getName()),
    ...declarations.getTypeAliases().map((declaration) => declaration.getName()),
    ...declarations.getModules().map((declaration) => declaration.getName()),
  ];
  const own = planned.entries.flatMap((entry) => [entry.inputsType, entry.outputsType]);
  const common = names(shared).filter((name) => !['RunInputs', 'RunOutputs', 'Plain', 'PlainSession'].includes(name));
  const classes = [planned.className, ...(planned.sessionName ? [planned.sessionName] : [])];
  expect(names(source).sort()).toEqual([...common, ...own, ...classes].sort());
  expect(source.getStatements().length).toBe(names(source).length + 1);
}

function expectShaders(artifact: Artifact): void {
  for (const { code } of Object.values(artifact.kernels)) {
    expect(code).toMatch(/^[\t\n -~]*$/);
    const plain = code.replace(/\/\/.*$/gm, '');
    expect(plain).not.toMatch(/["'`$\\#]|\/\*/);
    expect(plain.match(/\bfn \w+/g)?.filter((text) => text === 'fn main').length).toBe(1);
    const declared = [...plain.matchAll(/\b(?:var(?:<[^>]*>)?|let|const|fn|struct|alias)\s+([^\s:=(]+)/g)].map(
      ([, name]) => name ?? '',
    );
    expect(declared.length).toBeGreaterThan(1);
    for (const name of declared) {
      expect(name).toMatch(/^[A-Za-z][A-Za-z0-9_]{0,160}$/);
      expect(!isReservedInWgsl(name) || ['main', 'dims', 'lane', 'group'].includes(name), name).toBe(true);
    }
  }
}

function expectClassName(artifact: Artifact): void {
  const { className } = describeModule(artifact, 'plain.sora');
  expect(className).toMatch(/^[A-Za-z_][A-Za-z0-9_]{0,80}$/);
  expect(parse(`export class ${className} {}\n`, 'name.js').getClasses()[0]?.getName()).toBe(className);
  expect(usedGlobals).not.toContain(className);
}

let modules = 0;

async function expectHarmless(source: Source): Promise<void> {
  const artifact = compiled(source);
  const fileName = source.fileName ?? 'plain.sora';
  const { js, dts } = emitModule(artifact, { fileName });
  expectScript(js, artifact, fileName);
  expectDeclarations(dts, artifact, fileName);
  expectShaders(artifact);
  const path = join(folder, `module-${modules++}.mjs`);
  writeFileSync(path, js);
  const module = (await import(path)) as { readonly weights: readonly { readonly name: string }[] };
  const names = new Set(artifact.weights.flatMap((weight) => weight.sources.map((one) => one.path)));
  expect(new Set(module.weights.map(({ name }) => name))).toEqual(names);
  expect('soraCanary' in globalThis).toBe(false);
}

test('there are at least 300 hostile texts and 12 places', () => {
  expect(new Set(hostileTexts).size).toBeGreaterThanOrEqual(300);
  expect(names.length).toBeGreaterThanOrEqual(300);
  expect(Object.keys(namePlaces).length).toBeGreaterThanOrEqual(12);
});

describe('a hostile name', () => {
  test.each(Object.entries(namePlaces))('as %s', async (place, make) => {
    const isStateful = /KVCache|train Plain/.test(make(['name']).text);
    const groups = accepted(make, names, place === 'model' ? 1 : isStateful ? 24 : 120);
    // Most reserved words of the targets are good names here; code never is.
    expect(groups.flat().length).toBeGreaterThan(100);
    for (const text of groups.flat()) expect(text).toMatch(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/);
    // A file has one model: its name alone is looked at for all, the module for some.
    const artifact = compiled(make(groups[0] ?? []));
    if (place === 'model') for (const [name = ''] of groups) expectClassName({ ...artifact, name });
    // Attention takes long to compile, so of sessions some modules are enough too.
    const each = place === 'model' ? 25 : isStateful ? 4 : 1;
    const whole = groups.filter((_, at) => at % each === 0);
    for (const group of whole) await expectHarmless(make(group));
  });
});

describe('a hostile text', () => {
  test.each(Object.entries(textPlaces))('as %s', async (_place, make) => {
    const groups = accepted(make, hostileTexts, 120);
    expect(groups.flat().length).toBeGreaterThan(250);
    for (const group of groups) await expectHarmless(make(group));
  });

  test('as the message of `fail`, and in messages about it, controls no terminal', () => {
    for (const text of hostileTexts) {
      for (const body of [
        `fail(${quoted(text)})`,
        `x + ${quoted(text)}`,
        `${quoted(text)}(x)`,
        `x + ${text.slice(0, 200)}`,
      ]) {
        const { diagnostics } = checkSource({ file: { path: 'test.sora', text: file(run(body)).text } });
        for (const format of ['pretty', 'concise'] as const) {
          const shown = renderDiagnostics(diagnostics, { format, color: false });
          expect(
            /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(shown),
            JSON.stringify(text),
          ).toBe(false);
        }
      }
    }
  });
});
