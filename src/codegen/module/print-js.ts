/**
 * The JavaScript of a generated module: a class with one method per entry, another for sessions where there are states,
 * kernels and plan as data, the runtime.
 * It has no import statement and touches nothing when it is imported.
 *
 * What a person reads first, the class and `load`, is printed by ts-morph from one bulk structure; adding statements one at a
 * time costs forty times as much (dsherret/ts-morph#159). The data after it is printed by literals.ts: having ts-morph parse
 * half a megabyte of literals would take longer than compiling the model.
 */
import { IndentationText, Project, type StatementStructures, StructureKind } from 'ts-morph';
import type { Artifact } from '../../runtime/artifact.ts';
import { objectKey, stringLiteral, templateLiteral } from '../../support/names.ts';
import type { ModuleDescription } from './describe.ts';
import { type Data, printData, verbatim } from './literals.ts';
import { signatureData, weightsData } from './signature.ts';

/** The runtime's bundle ends with one export statement; inside the module it becomes a function's result. */
export function runtimeExpression(bundle: string): string {
  const match = /\nexport \{([^}]*)\};\s*$/.exec(`\n${bundle}`);
  if (!match) throw new Error('the runtime bundle does not end with an export statement');
  const body = `\n${bundle}`.slice(0, match.index).trim();
  const names = (match[1] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .map((name) => {
      const [local, exported = local] = name.split(/\s+as\s+/);
      return local === exported ? `${local}` : `${exported}: ${local}`;
    });
  return `/* @__PURE__ */ (() => {\n${body}\nreturn { ${names.join(', ')} };\n})()`;
}

function kernelTexts(artifact: Artifact): string {
  const lines = Object.entries(artifact.kernels).map(
    ([name, kernel]) => `  ${objectKey(name)}: ${templateLiteral(`\n${kernel.code.trim()}\n`)},`,
  );
  return `{\n${lines.join('\n')}\n}`;
}

function artifactData(artifact: Artifact): Data {
  const kernels = Object.fromEntries(
    Object.entries(artifact.kernels).map(([name, kernel]) => [
      name,
      { ...kernel, code: verbatim(`kernels[${stringLiteral(name)}]`) },
    ]),
  );
  return { ...(artifact as unknown as { [key: string]: Data }), kernels, program: verbatim('program') };
}

function constant(name: string, initializer: string, isExported: boolean, doc: string): string {
  return `/** ${doc} */\n${isExported ? 'export ' : ''}const ${name} = ${initializer};\n`;
}

function entryMethods(module: ModuleDescription, ofSession: boolean, field: string) {
  return module.entries
    .filter((entry) => entry.needsSession === ofSession)
    .map((entry) => ({
      name: entry.method,
      parameters: [{ name: 'inputs' }, { name: 'options' }],
      statements: [`return this.${field}.call(${stringLiteral(entry.name)}, inputs, options);`],
      ...(entry.doc.length === 0 ? {} : { docs: [entry.doc.join('\n')] }),
    }));
}

function sessionClass(module: ModuleDescription, name: string): StatementStructures {
  return {
    kind: StructureKind.Class,
    name,
    isExported: true,
    docs: ['What a model remembers of one text, or of a batch of texts. Made by `session`.'],
    properties: [{ name: '#session' }],
    ctors: [{ parameters: [{ name: 'session' }], statements: ['this.#session = session;'] }],
    getAccessors: [
      { name: 'lengths', statements: ['return this.#session.lengths;'] },
      { name: 'capacity', statements: ['return this.#session.capacity;'] },
    ],
    methods: [
      ...entryMethods(module, true, '#session'),
      ...(module.generates
        ? [
            {
              name: 'generate',
              parameters: [{ name: 'ids' }, { name: 'options' }],
              statements: ['return this.#session.generate(ids, options);'],
              docs: ['Text that follows these tokens, token by token.'],
            },
          ]
        : []),
      { name: 'reset', statements: ['this.#session.reset();'] },
      { name: 'fork', isAsync: true, statements: [`return new ${name}(await this.#session.fork());`] },
      { name: 'close', statements: ['return this.#session.close();'] },
      {
        name: '[Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]',
        statements: ['return this.#session.close();'],
      },
    ],
  };
}

/** The classes and `load`. */
function printHead(module: ModuleDescription): string {
  const statements: StatementStructures[] = [
    {
      kind: StructureKind.Class,
      name: module.className,
      isExported: true,
      docs: ['A loaded model. Made by `load`.'],
      properties: [{ name: '#model' }],
      ctors: [{ parameters: [{ name: 'model' }], statements: ['this.#model = model;'] }],
      getAccessors: [
        { name: 'device', statements: ['return this.#model.device;'] },
        { name: 'lost', statements: ['return this.#model.lost;'] },
      ],
      methods: [
        ...entryMethods(module, false, '#model'),
        ...(module.sessionName === undefined
          ? []
          : [
              {
                name: 'session',
                parameters: [{ name: 'options' }],
                statements: [`return new ${module.sessionName}(this.#model.session(options));`],
                docs: ['A text to go on with, apart from all other sessions of the model.'],
              },
            ]),
        ...(module.training
          ? [
              {
                name: 'trainer',
                parameters: [{ name: 'options' }],
                statements: ['return this.#model.trainer(options);'],
                docs: ['A run of training, apart from all others of the model.'],
              },
            ]
          : []),
        { name: 'stats', statements: ['return this.#model.stats();'] },
        { name: 'close', statements: ['return this.#model.close();'] },
        {
          name: '[Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]',
          statements: ['return this.#model.close();'],
        },
      ],
    },
    ...(module.sessionName === undefined ? [] : [sessionClass(module, module.sessionName)]),
    {
      kind: StructureKind.Function,
      name: 'load',
      isExported: true,
      isAsync: true,
      parameters: [{ name: 'options' }],
      statements: [`return new ${module.className}(await runtime.createModel(artifact, options));`],
      docs: ['Finds a device, loads the weights and makes the pipelines.'],
    },
  ];
  const project = new Project({
    useInMemoryFileSystem: true,
    skipLoadingLibFiles: true,
    manipulationSettings: { indentationText: IndentationText.TwoSpaces },
  });
  return project.createSourceFile('module.js', { statements }).getFullText();
}

export function printJavaScript(artifact: Artifact, module: ModuleDescription, runtimeText: string): string {
  return [
    `${module.header.map((line) => `// ${line}`).join('\n')}\n`,
    printHead(module),
    'export default load;\n',
    constant('signature', printData(signatureData(artifact)), true, 'Names, element types and shapes of every entry.'),
    constant('weights', printData(weightsData(artifact)), true, 'Tensors that the checkpoint must hold.'),
    constant('kernels', kernelTexts(artifact), true, 'WGSL by kernel name.'),
    constant(
      'program',
      templateLiteral(`\n${artifact.program.trim()}\n`),
      false,
      'What the interpreter runs where there is no adapter.',
    ),
    constant('artifact', printData(artifactData(artifact)), false, 'Dispatches, buffers and weights as data.'),
    constant('runtime', runtimeExpression(runtimeText), false, 'The runtime of sorac.'),
    constant('SoraError', 'runtime.SoraError', true, 'What `load` and every call reject with; `code` is stable.'),
  ].join('\n');
}
