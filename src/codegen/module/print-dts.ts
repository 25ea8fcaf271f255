/**
 * The declarations of a generated module, from the same description as the JavaScript. They mention neither
 * `@webgpu/types` nor the DOM's `GPUDevice`: `lib.dom` and `@webgpu/types` clash, so a device is a small structural type
 * that both satisfy.
 */
import type { Artifact } from '../../runtime/artifact.ts';
import { propertyKey, stringLiteral } from '../../support/names.ts';
import type { EntryDescription, ModuleDescription, TensorDescription } from './describe.ts';
import { generationMethod, generationTypes } from './generation-types.ts';
import type { Data } from './literals.ts';
import { signatureData } from './signature.ts';
import { trainerMethod, trainingTypes } from './training-types.ts';

/** Structural stand-ins, so that neither the DOM's types nor Node's are needed. */
const shared = `/** A tensor: its elements in row-major order and its shape. */
export interface Tensor<Data, Shape extends readonly number[] = readonly number[]> {
  readonly data: Data;
  readonly shape: Shape;
}

/** What tells a WebGPU device apart; a \`GPUDevice\` of any typings fits. */
export interface DeviceLike {
  readonly queue: object;
  readonly limits: object;
  readonly lost: Promise<unknown>;
  createBuffer(descriptor: never): unknown;
}

/** \`navigator.gpu\`, or what \`create()\` of npm \`webgpu\` gives. */
export interface GpuLike {
  requestAdapter(options?: never): Promise<unknown>;
}

export interface SignalLike {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** The part of Blob and File that is used. */
export interface BlobLike {
  readonly size: number;
  slice(start?: number, end?: number): BlobLike;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** A path (Node) or an address of a \`.safetensors\` file, a Blob, or its bytes. */
export type WeightSource = string | { readonly href: string } | BlobLike | ArrayBuffer | ArrayBufferView;

export interface LoadOptions {
  /** The checkpoint: safetensors files, a \`*.index.json\`, in Node its folder. Tensor names are those of \`weights\`. */
  readonly weights@optional: WeightSource | readonly WeightSource[];
  /** A device of yours; it is never destroyed by the model. */
  readonly device?: DeviceLike;
  /** Where to look for an adapter when no device is given. Default: \`navigator.gpu\`, in Node npm \`webgpu\`. */
  readonly gpu?: GpuLike;
  /** Which adapter to use when no device is given. Default \`auto\`: the best one found. */
  readonly adapter?: 'auto' | 'gpu' | 'lavapipe' | 'swiftshader' | 'cpu';
  /**
   * In Node, threads of lavapipe beside the one that work is handed to; 0: that one computes, which suits text with packed weights on few cores.
   * Default: one for each core. Nothing to a \`device\` or \`gpu\` of yours.
   */
  readonly driverThreads?: number;
  /**
   * Compile kernels in the driver while the weights are read, not in the first call that needs them: those of what generates
   * text, or else of every entry, for one row of a session and otherwise the greatest sizes; other sizes may need some more. The
   * kernels of the single steps of a text follow when the model is loaded, until the first call. Default: false.
   */
  readonly warmup?: boolean;
  readonly signal?: SignalLike;
  /** Told after each weight: bytes on the device so far, and of all. What is tied counts once. */
  readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
  /** Takes warning lines; default: stderr, or the console in browsers. */
  readonly warn?: (line: string) => void;
}

export interface CallOptions {
  readonly signal?: SignalLike;
}

export interface DeviceInfo {
  /** \`gpu\`, \`lavapipe\`, \`swiftshader\`, \`software\` (another software adapter) or \`cpu\` (the interpreter). */
  readonly kind: string;
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** Whether the caller brought the device. */
  readonly injected: boolean;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

export interface ModelStats {
  /** Pipelines created since \`load\`: does not grow when a dim changes. */
  readonly pipelines: number;
  /** Device buffers alive, and their bytes. */
  readonly buffers: number;
  readonly bytes: number;
  /** Calls begun. */
  readonly calls: number;
}

/** What \`load\` and every call reject with. */
export declare class SoraError extends Error {
  /** \`SORA\` and four digits, stable between versions. */
  readonly code: string;
  /** The exact next step, where there is one. */
  readonly help: string | undefined;
  constructor(code: string, message: string, options?: { readonly help?: string; readonly cause?: unknown });
}

declare global {
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}
`;

/** Only in modules with states. */
const sessionTypes = `export interface SessionOptions {
  /** Positions to make room for at first. The room grows by itself up to what the model declares. Default: 64. */
  readonly capacity?: number;
}

export interface SessionCallOptions extends CallOptions {
  /**
   * How many positions of each row are real, for rows padded on the right; the others leave no trace. Results of a row of 0
   * mean nothing. Default: all.
   */
  readonly lengths?: readonly number[] | Int32Array;
}
`;

function docComment(lines: readonly string[], indent: string): string {
  if (lines.length === 0) return '';
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join('\n')}\n${indent} */\n`;
}

function shapeType(rank: number): string {
  return `readonly [${Array.from({ length: rank }, () => 'number').join(', ')}]`;
}

function printTensors(name: string, doc: string, tensors: readonly TensorDescription[]): string {
  const members = tensors.map(
    (tensor) =>
      `${docComment(tensor.doc, '  ')}  readonly ${propertyKey(tensor.name)}${tensor.optional ? '?' : ''}: ` +
      `Tensor<${tensor.arrayType}, ${shapeType(tensor.rank)}>;`,
  );
  return `/** ${doc} */\nexport interface ${name} {\n${members.join('\n')}\n}\n`;
}

function printEntryTypes(entry: EntryDescription): string {
  return [
    printTensors(entry.inputsType, `Inputs of \`${entry.method}\`.`, entry.inputs),
    printTensors(entry.outputsType, `Outputs of \`${entry.method}\`.`, entry.outputs),
  ].join('\n');
}

function printMap(
  name: string,
  doc: string,
  entries: readonly EntryDescription[],
  typeOf: (entry: EntryDescription) => string,
): string {
  const members = entries.map((entry) => `  readonly ${propertyKey(entry.method)}: ${typeOf(entry)};`);
  return `/** ${doc} */\nexport interface ${name} {\n${members.join('\n')}\n}\n`;
}

/** A literal type: `as const` spelled out. */
function literalType(data: Data, indent: string): string {
  if (typeof data === 'string') return stringLiteral(data);
  if (typeof data === 'number' || typeof data === 'boolean') return String(data);
  if (data === undefined) return 'undefined';
  if (Array.isArray(data)) return `readonly [${data.map((item: Data) => literalType(item, indent)).join(', ')}]`;
  const inner = `${indent}  `;
  const members = Object.entries(data).map(
    ([key, value]) => `${inner}readonly ${propertyKey(key)}: ${literalType(value as Data, inner)};`,
  );
  return members.length === 0 ? '{}' : `{\n${members.join('\n')}\n${indent}}`;
}

function sessionMethod(sessionName: string): readonly string[] {
  return [
    '  /** A text to go on with, apart from all other sessions; weights and scratch memory are shared. */',
    `  session(options?: SessionOptions): ${sessionName};`,
  ];
}

function sessionLines(name: string, methods: readonly string[]): readonly string[] {
  return [
    '/**',
    ' * What the model remembers of one text, or of a batch of texts. Made by `session`. Calls of one session run one after the',
    ' * other; a call that fails or is aborted leaves the session as it was.',
    ' */',
    `export declare class ${name} {`,
    '  private constructor();',
    ...methods,
    '  /** Positions that each row holds; empty before the first call. */',
    '  readonly lengths: readonly number[];',
    '  /** Positions that fit before the memory has to grow. */',
    '  readonly capacity: number;',
    '  /** Forgets all positions, when calls under way are done; the next call may have another batch. */',
    '  reset(): void;',
    '  /** A session that starts with what this one holds after the calls made so far. Both go on by themselves. */',
    `  fork(): Promise<${name}>;`,
    '  /** Frees the memory. Calls under way and later ones reject. */',
    '  close(): Promise<void>;',
    '  [Symbol.asyncDispose](): Promise<void>;',
    '}',
    '',
  ];
}

export function printDeclarations(artifact: Artifact, module: ModuleDescription): string {
  const methods = (ofSession: boolean, options: string) =>
    module.entries
      .filter((entry) => entry.needsSession === ofSession)
      .map(
        (entry) =>
          `${docComment(entry.doc, '  ')}  ${entry.method}(inputs: ${entry.inputsType}, options?: ${options}): Promise<${entry.outputsType}>;`,
      );
  const { sessionName, training } = module;
  const kernelNames = Object.keys(artifact.kernels).map(stringLiteral).join(' | ') || 'never';
  return [
    module.header.map((line) => `// ${line}`).join('\n'),
    '',
    shared.replace('@optional', module.needsWeights ? '' : '?'),
    ...(sessionName === undefined ? [] : [sessionTypes]),
    ...(module.generates ? [generationTypes] : []),
    ...module.entries.map(printEntryTypes),
    ...(training
      ? [
          printTensors('TrainBatch', 'A batch to train with: inputs of the entry, and targets.', training.batch),
          trainingTypes(training.outputsType),
        ]
      : []),
    printMap('Inputs', 'Inputs by entry.', module.entries, (entry) => entry.inputsType),
    printMap('Outputs', 'Outputs by entry.', module.entries, (entry) => entry.outputsType),
    `/**\n * A loaded model. Made by \`load\`.\n${module.doc.map((line) => ` * ${line}\n`).join('')} */`,
    `export declare class ${module.className} {`,
    '  private constructor();',
    ...methods(false, 'CallOptions'),
    ...(sessionName === undefined ? [] : sessionMethod(sessionName)),
    ...(training ? trainerMethod : []),
    '  readonly device: DeviceInfo;',
    '  /** Resolves when the device is lost; never rejects. */',
    '  readonly lost: Promise<SoraError>;',
    '  stats(): ModelStats;',
    '  /** Frees every buffer. Later calls reject. */',
    '  close(): Promise<void>;',
    '  [Symbol.asyncDispose](): Promise<void>;',
    '}',
    '',
    ...(sessionName === undefined
      ? []
      : sessionLines(sessionName, [
          ...methods(true, 'SessionCallOptions'),
          ...(module.generates ? generationMethod : []),
        ])),
    '/** Finds a device, loads the weights and makes the pipelines. */',
    `export declare function load(options${module.needsWeights ? '' : '?'}: LoadOptions): Promise<${module.className}>;`,
    'export default load;',
    '',
    '/** Names, element types and shapes of every entry. */',
    `export declare const signature: ${literalType(signatureData(artifact), '')};`,
    '',
    '/** The config values that the model was compiled with. */',
    "export type Config = (typeof signature)['config'];",
    '',
    '/** Tensors that the checkpoint must hold. */',
    'export declare const weights: readonly { readonly name: string; readonly shape: readonly number[]; readonly dtype: string }[];',
    '',
    '/** WGSL by kernel name. */',
    `export declare const kernels: Readonly<Record<${kernelNames}, string>>;`,
    '',
  ].join('\n');
}
