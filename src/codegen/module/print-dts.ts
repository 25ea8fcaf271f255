/**
 * The declarations of a generated module, from the same description as the JavaScript. They mention neither
 * `@webgpu/types` nor the DOM's `GPUDevice`: `lib.dom` and `@webgpu/types` clash, so a device is a small structural type
 * that both satisfy.
 */
import type { Artifact } from '../../runtime/artifact.ts';
import { propertyKey, stringLiteral } from '../../support/names.ts';
import type { EntryDescription, ModuleDescription, TensorDescription } from './describe.ts';
import type { Data } from './literals.ts';
import { signatureData } from './signature.ts';

const shared = `/** A tensor: its elements in row-major order and its shape. */
export interface Tensor<Data, Shape extends readonly number[] = readonly number[]> {
  readonly data: Data;
  readonly shape: Shape;
}

/** What a WebGPU device must have; a \`GPUDevice\` of any typings fits. */
export interface DeviceLike {
  readonly queue: object;
  readonly limits: object;
  readonly features: { has(name: string): boolean };
  createBuffer(descriptor: never): object;
  createShaderModule(descriptor: never): object;
}

/** A path or URL of a \`.safetensors\` file, or its bytes. */
export type WeightSource = string | { readonly href: string } | ArrayBuffer | Uint8Array | { arrayBuffer(): Promise<ArrayBuffer>; readonly size: number };

export interface LoadOptions {
  /** The checkpoint. Tensor names are those of \`weights\`. */
  readonly weights: WeightSource;
  /** A device of yours; it is never destroyed by the model. */
  readonly device?: DeviceLike;
  /** Which adapter to use when no device is given. Default \`auto\`: the best one found. */
  readonly adapter?: 'auto' | 'gpu' | 'lavapipe' | 'swiftshader' | 'cpu';
  /** Compiles every kernel before \`load\` resolves instead of at its first use. */
  readonly warmup?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface DeviceInfo {
  /** \`gpu\`, \`lavapipe\`, \`swiftshader\`, \`cpu\` or \`injected\`. */
  readonly kind: string;
  readonly name: string;
}

export interface ModelStats {
  /** Pipelines created since \`load\`: does not grow when a dim changes. */
  readonly pipelines: number;
  readonly buffers: number;
  readonly bytes: number;
}

declare global {
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
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

export function printDeclarations(artifact: Artifact, module: ModuleDescription): string {
  const methods = module.entries.map(
    (entry) =>
      `${docComment(entry.doc, '  ')}  ${entry.method}(inputs: ${entry.inputsType}, options?: CallOptions): Promise<${entry.outputsType}>;`,
  );
  const kernelNames = Object.keys(artifact.kernels).map(stringLiteral).join(' | ') || 'never';
  return [
    module.header.map((line) => `// ${line}`).join('\n'),
    '',
    shared,
    ...module.entries.map(printEntryTypes),
    `/**\n * A loaded model. Made by \`load\`.\n${module.doc.map((line) => ` * ${line}\n`).join('')} */`,
    `export declare class ${module.className} {`,
    '  private constructor();',
    ...methods,
    '  readonly device: DeviceInfo;',
    '  /** Resolves when the device is lost; never rejects. */',
    '  readonly lost: Promise<unknown>;',
    '  stats(): ModelStats;',
    '  /** Frees every buffer. Later calls reject. */',
    '  close(): Promise<void>;',
    '  [Symbol.asyncDispose](): Promise<void>;',
    '}',
    '',
    '/** Finds a device, loads the weights and makes the pipelines. */',
    `export declare function load(options: LoadOptions): Promise<${module.className}>;`,
    'export default load;',
    '',
    '/** Names, element types and shapes of every entry. */',
    `export declare const signature: ${literalType(signatureData(artifact), '')};`,
    '',
    '/** Tensors that the checkpoint must hold. */',
    'export declare const weights: readonly { readonly name: string; readonly shape: readonly number[]; readonly dtype: string }[];',
    '',
    '/** WGSL by kernel name. */',
    `export declare const kernels: Readonly<Record<${kernelNames}, string>>;`,
    '',
  ].join('\n');
}
