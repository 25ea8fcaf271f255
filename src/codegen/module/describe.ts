/**
 * The description of a generated module: every name it will have, decided once, from which both the JavaScript and the
 * declarations are printed.
 */
import type { Artifact, DimSpec, ElementType, EntrySpec, SizeExpression, TensorSpec } from '../../runtime/artifact.ts';
import { commentLine, commentLines, scriptNames } from '../../support/names.ts';
import { generationNames } from './generation-types.ts';
import { trainingNames } from './training-types.ts';

export interface TensorDescription {
  /** The name in the model, a property of the inputs or outputs object. */
  readonly name: string;
  readonly arrayType: string;
  readonly rank: number;
  readonly optional: boolean;
  readonly doc: readonly string[];
}

export interface EntryDescription {
  readonly name: string;
  readonly method: string;
  readonly inputsType: string;
  readonly outputsType: string;
  readonly inputs: readonly TensorDescription[];
  readonly outputs: readonly TensorDescription[];
  readonly doc: readonly string[];
  /** It is a method of sessions, not of the model. */
  readonly needsSession: boolean;
}

export interface TrainingDescription {
  /** Inputs of the entry and targets. */
  readonly batch: readonly TensorDescription[];
  /** Type of what the trained entry gives. */
  readonly outputsType: string;
}

export interface ModuleDescription {
  readonly className: string;
  /** Class of sessions; undefined for a model without states. */
  readonly sessionName: string | undefined;
  /** Whether sessions generate text. */
  readonly generates: boolean;
  /** What a trainer takes and tells; undefined for a model without a train block. */
  readonly training: TrainingDescription | undefined;
  /** Whether `load` needs weights. */
  readonly needsWeights: boolean;
  readonly header: readonly string[];
  readonly doc: readonly string[];
  readonly entries: readonly EntryDescription[];
}

/** Typed array of each element type at the module's border. f16 and bool cross as what JavaScript has. */
const arrayTypes: Readonly<Record<ElementType, string>> = {
  f32: 'Float32Array',
  f16: 'Float32Array',
  i32: 'Int32Array',
  u32: 'Uint32Array',
  bool: 'Uint32Array',
};

/**
 * Members of every model class that an entry's name must not hide. A `then` would make `await load()` call it.
 */
const modelMembers = [
  ...['close', 'device', 'lost', 'stats'],
  ...['constructor', 'hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', 'toJSON', 'toLocaleString', 'toString'],
  ...['then', 'valueOf'],
];

/** The same of every session class. */
const sessionMembers = ['capacity', 'close', 'fork', 'generate', 'lengths', 'reset'];

/** Names at the top of every module and its declarations. */
const moduleNames = [
  ...[
    'BlobLike',
    'CallOptions',
    'Config',
    'DeviceInfo',
    'DeviceLike',
    'GpuLike',
    'Inputs',
    'LoadOptions',
    'ModelStats',
  ],
  ...['Outputs', 'SessionCallOptions', 'SessionOptions', 'SignalLike', 'SoraError', 'Tensor', 'WeightSource'],
  ...['artifact', 'kernels', 'load', 'program', 'runtime', 'signature', 'weights'],
];

/** Globals that the runtime and the declarations use: a class of such a name would hide them. A test compares. */
export const usedGlobals = [
  ...[
    'Array',
    'ArrayBuffer',
    'ArrayBufferView',
    'BigInt',
    'BigInt64Array',
    'BigUint64Array',
    'Boolean',
    'Date',
    'Reflect',
    'WeakRef',
    'Response',
    'Blob',
    'DataView',
    'Error',
  ],
  ...[
    'Float32Array',
    'Float64Array',
    'Infinity',
    'Int16Array',
    'Int32Array',
    'Int8Array',
    'JSON',
    'Map',
    'Math',
    'NaN',
  ],
  ...['Number', 'Object', 'Promise', 'RangeError', 'Readonly', 'Record', 'RegExp', 'Set', 'String', 'Symbol'],
  ...[
    'SymbolConstructor',
    'TextDecoder',
    'TextEncoder',
    'Uint16Array',
    'Uint32Array',
    'Uint8Array',
    'WeakMap',
    'WeakSet',
    'console',
  ],
  ...[
    'Atomics',
    'SharedArrayBuffer',
    'fetch',
    'globalThis',
    'navigator',
    'performance',
    'process',
    'setImmediate',
    'setTimeout',
    'undefined',
  ],
];

/** `B*T`, `ceil(T/8)`: an expression as people read it. */
export function printSize(size: SizeExpression): string {
  if (typeof size === 'number') return String(size);
  if (typeof size === 'string') return size;
  const [operator, ...operands] = size;
  const texts = operands.map(printSize);
  if (operator === 'max') return `max(${texts.join(', ')})`;
  if (operator === 'ceil') return `ceil(${texts.join(' / ')})`;
  return operator === '*' ? texts.join('*') : texts.join(` ${operator} `);
}

export function printTensorType(tensor: Pick<TensorSpec, 'dtype' | 'shape'>): string {
  return tensor.shape.length === 0 ? tensor.dtype : `${tensor.dtype}[${tensor.shape.map(printSize).join(', ')}]`;
}

function describeTensor(tensor: TensorSpec): TensorDescription {
  const facts = [`\`${printTensorType(tensor)}\``];
  if (tensor.range) facts.push(`values ${tensor.range[0]} to ${tensor.range[1]}`);
  if (tensor.initial !== undefined) facts.push(`${tensor.initial} everywhere when left out`);
  return {
    name: tensor.name,
    arrayType: arrayTypes[tensor.dtype],
    rank: tensor.shape.length,
    optional: tensor.initial !== undefined,
    doc: [...(tensor.doc === undefined ? [] : commentLines(tensor.doc)), commentLine(facts.join(', '))],
  };
}

function capitalized(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

function pascalCase(name: string): string {
  return name
    .split(/[^A-Za-z0-9]+/)
    .filter((part) => part !== '')
    .map(capitalized)
    .join('');
}

/** The dims that callers know; those of sessions have no meaning to them. */
export function shownDims(artifact: Artifact): readonly (readonly [string, DimSpec])[] {
  const { session } = artifact;
  return Object.entries(artifact.dims).filter(([name]) => name !== session?.past && name !== session?.slack);
}

export function describeModule(artifact: Artifact, fileName: string): ModuleDescription {
  const { session, training } = artifact;
  const types = scriptNames([
    ...moduleNames,
    ...(artifact.generation ? generationNames : []),
    ...(training ? trainingNames : []),
    ...usedGlobals,
  ]);
  const methods = scriptNames([...modelMembers, ...(session ? ['session'] : []), ...(training ? ['trainer'] : [])]);
  const sessionMethods = scriptNames([...modelMembers, ...sessionMembers]);
  const className = types.take(artifact.name);
  const sessionName = session && types.take(`${artifact.name}Session`);
  const describeEntry = (entry: EntrySpec): EntryDescription => ({
    name: entry.name,
    method: (entry.steps === undefined ? methods : sessionMethods).take(entry.name),
    inputsType: types.take(`${pascalCase(entry.name)}Inputs`),
    outputsType: types.take(`${pascalCase(entry.name)}Outputs`),
    inputs: entry.inputs.map(describeTensor),
    outputs: entry.results.map(describeTensor),
    doc: entry.doc === undefined ? [] : commentLines(entry.doc),
    needsSession: entry.steps !== undefined,
  });
  const entries = artifact.entries.filter((entry) => entry.internal !== true).map(describeEntry);
  return {
    className,
    sessionName,
    generates: artifact.generation !== undefined,
    training: describeTraining(artifact, entries),
    needsWeights: needsWeights(artifact),
    header: [
      commentLine(`Generated by ${artifact.compiler} from ${fileName} (fingerprint ${artifact.source}).`),
      'Do not edit: change the .sora file and compile it again.',
    ],
    doc: shownDims(artifact).map(([name, dim]) =>
      commentLine(
        `${name}: ${dim.minimum} to ${dim.maximum}${dim.multiple === 1 ? '' : `, a multiple of ${dim.multiple}`}`,
      ),
    ),
    entries,
  };
}

function describeTraining(artifact: Artifact, entries: readonly EntryDescription[]): TrainingDescription | undefined {
  const { training } = artifact;
  const trained = entries.find(({ name }) => name === training?.entry);
  const gradients = artifact.entries.find(({ name }) => name === training?.gradients);
  if (!trained || !gradients) return undefined;
  return { batch: gradients.inputs.map(describeTensor), outputsType: trained.outputsType };
}

/** A model that trains may begin without any, where every one says how. */
function needsWeights({ weights, training }: Artifact): boolean {
  if (!training) return weights.length > 0;
  const sources = weights.flatMap((spec) => spec.sources);
  const drawn = new Set(
    [...sources, ...training.groups.flatMap((group) => group.parameters)].flatMap(({ path, initial }) =>
      initial === undefined ? [] : [path],
    ),
  );
  return sources.some(({ path, tied }) => !drawn.has(path) && !(tied !== undefined && drawn.has(tied)));
}
