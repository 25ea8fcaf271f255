/**
 * Code generation: fused nodes to kernels, entries to plans, the whole to one artifact.
 *
 * Kernels with equal text are one kernel, across layers, entries and profiles.
 *
 * Not here: the text of the generated module (module/).
 */
import type { Entry, EntryParameter, Node, Program, State, Training, Value } from '../ir/graph.ts';
import { opNamed } from '../ir/ops/index.ts';
import { stringsOf } from '../ir/ops/shared.ts';
import { printGraph, printProgram } from '../ir/print.ts';
import { constantValue, dimBounds } from '../ir/symbolic.ts';
import { type ProfileName, profileNames } from '../ir/target.ts';
import { printType, type TensorType } from '../ir/types.ts';
import { bytesOfType, bytesOfWeight, contextOf, maxBindingBytes, maxBindings } from '../passes/index.ts';
import { underViews } from '../passes/pass.ts';
import type {
  Artifact,
  EntryPlan,
  EntrySpec,
  HiddenSpec,
  KernelSpec,
  StateSpec,
  TensorSpec,
} from '../runtime/artifact.ts';
import { type Diagnostic, diagnose, type Stage } from '../support/diagnostic.ts';
import { InternalError } from '../support/error.ts';
import type { Span } from '../support/source.ts';
import { layoutOf, type Planned, planEntry } from './plan/entry.ts';
import { halveStored } from './plan/halves.ts';
import type { Joins } from './plan/launches.ts';
import { bytesOf, sizeOf } from './plan/sizes.ts';
import { arenaPlaces, piecesOf, trainingSpec } from './plan/training.ts';
import { type WeightTable, weightTable } from './plan/weights.ts';
import { kernelsFor } from './wgsl/index.ts';
import type { InputLayout, Kernel } from './wgsl/kernel.ts';
import { UnsupportedOp } from './wgsl/regions.ts';
import { maxParams } from './wgsl/writer.ts';

export interface GenerateInput {
  /** Unoptimized: inputs, results, dims, weights and the text for the interpreter. */
  readonly program: Program;
  readonly perProfile: Readonly<Record<ProfileName, Program>>;
  readonly compiler: string;
  /** Hash of source and config. */
  readonly source: string;
  /** What a binding holds; that of every device when left out. */
  readonly bindingBytes?: number;
}

/** Limits that every WebGPU device has (the default limits of the specification). */
const limits = { storageBuffers: maxBindings, immediates: maxParams };

const nowhere: Span = { file: { path: '', text: '' }, start: 0, end: 0 };

class KernelTable {
  readonly kernels = new Map<string, KernelSpec>();
  /** By the text below the head comment. */
  readonly #names = new Map<string, string>();

  register(kernel: Kernel, profile: ProfileName): string {
    const { code } = kernel.text;
    // The comment at the head names one place in the model; the same kernel may serve several.
    const body = code.replace(/^(\/\/.*\n)+/, '');
    const known = this.#names.get(body);
    if (known !== undefined) return known;
    let name = kernel.name;
    if (this.kernels.has(name) && profile === 'gpu') name = `${kernel.name}_gpu`;
    const taken = name;
    for (let count = 2; this.kernels.has(name); count++) name = `${taken}_${count}`;
    this.#names.set(body, name);
    const bindings = kernel.text.bindings.map((binding) => binding.access).join('');
    this.kernels.set(name, { code, bindings, params: kernel.text.params.length });
    return name;
  }
}

function kernelProblems(node: Node, kernel: Kernel, span: Span): readonly Diagnostic[] {
  const { bindings, params } = kernel.text;
  const over: string[] = [];
  if (bindings.length > limits.storageBuffers) {
    over.push(`kernel \`${kernel.name}\` binds ${bindings.length} buffers; a device promises ${limits.storageBuffers}`);
  }
  if (params.length > limits.immediates) {
    over.push(
      `kernel \`${kernel.name}\` takes ${params.length} runtime sizes; at most ${limits.immediates} are passed`,
    );
  }
  return over.map((message) => diagnose('SORA5002', message, node.span ?? span));
}

/** Weights larger than a binding that their readers cannot take in parts, inputs and results that never fit one. */
function sizeProblems({ program, perProfile, bindingBytes = maxBindingBytes }: GenerateInput): readonly Diagnostic[] {
  const context = contextOf(program);
  const whole = new Set(
    profileNames.flatMap((profile) =>
      perProfile[profile].entries.flatMap(({ graph }) =>
        graph.nodes
          .filter((node) => node.op === 'weight' && bytesOfWeight(node, context) > bindingBytes)
          .flatMap((node) => stringsOf(node.attributes, 'paths')),
      ),
    ),
  );
  const mebibytes = (bytes: number) => `${Math.ceil(bytes / 1024 / 1024)} MiB`;
  const weights = program.weights.flatMap((weight) => {
    if (!whole.has(weight.path)) return [];
    const size = `${printType(weight.type)}, ${mebibytes(bytesOfType(weight.type))}`;
    const message = `weight \`${weight.path}\` is ${size}; a binding holds at most ${mebibytes(bindingBytes)}`;
    return [
      diagnose('SORA5002', message, weight.span ?? nowhere, {
        notes: ['it is split by rows where it is read only as the table of lookups or as a factor of products'],
      }),
    ];
  });
  // Larger sizes of the dims may fit no device either; the runtime says so before it runs anything.
  const tensors = program.entries.flatMap((entry) =>
    [...entry.parameters, ...entry.results].flatMap(({ name, type }) => {
      const least = dimBounds(bytesOf(type), program.dims).minimum;
      if (least <= bindingBytes) return [];
      const size = `${printType(type)}, at least ${mebibytes(least)}`;
      const message = `\`${name}\` of \`${entry.name}\` is ${size}; a binding holds at most ${mebibytes(bindingBytes)}`;
      return [diagnose('SORA5002', message, entry.span ?? nowhere)];
    }),
  );
  return [...weights, ...tensors];
}

function tensorSpec(name: string, type: TensorType, rest: Partial<TensorSpec>): TensorSpec {
  return { name, dtype: type.dtype, shape: type.shape.map(sizeOf), ...rest };
}

/** Least and greatest index allowed for inputs that index tables directly. */
function indexRange(entry: Entry, name: string): readonly [number, number] | undefined {
  let most = Number.POSITIVE_INFINITY;
  for (const node of entry.graph.nodes) {
    const rows = opNamed(node.op).indexedExtent?.(
      node.inputs.map((input) => input.type),
      node.attributes,
    );
    if (rows === undefined) continue;
    const source = underViews(node.inputs[1]);
    if (source?.node.op !== 'input' || source.node.attributes.name !== name) continue;
    const size = constantValue(rows);
    if (size !== undefined) most = Math.min(most, size - 1);
  }
  return Number.isFinite(most) ? [0, most] : undefined;
}

/** What an input may hold, where that is known. */
function allowed(entry: Entry, { name, classes }: EntryParameter): Pick<TensorSpec, 'range' | 'except'> {
  if (classes) {
    const { count, ignore } = classes;
    return { range: [0, count - 1], ...(ignore === undefined ? {} : { except: ignore }) };
  }
  const range = indexRange(entry, name);
  return range === undefined ? {} : { range };
}

function stateSpec({ path, dtype, width }: State): StateSpec {
  return { path, dtype, width };
}

function entrySpec(
  entry: Entry,
  plans: Readonly<Record<ProfileName, EntryPlan>>,
  training: Training | undefined,
): EntrySpec {
  const pieces = training ? piecesOf(entry, training) : [];
  const inputs = entry.parameters.flatMap((parameter): TensorSpec[] => {
    if (parameter.role !== undefined) return [];
    const range = allowed(entry, parameter);
    const rest = {
      ...(parameter.doc === undefined ? {} : { doc: parameter.doc }),
      ...(parameter.initial === undefined ? {} : { initial: parameter.initial }),
      ...range,
    };
    return [tensorSpec(parameter.name, parameter.type, rest)];
  });
  const hidden = entry.parameters.flatMap(({ name, type, role }): HiddenSpec[] =>
    role === undefined ? [] : [{ ...tensorSpec(name, type, {}), role }],
  );
  const results = entry.results.flatMap(({ name, type, isLazy, piece }) =>
    piece === undefined ? [tensorSpec(name, type, isLazy ? { lazy: true } : {})] : [],
  );
  return {
    name: entry.name,
    ...(entry.doc === undefined ? {} : { doc: entry.doc }),
    inputs,
    ...(hidden.length === 0 ? {} : { hidden }),
    results,
    ...(entry.steps === undefined ? {} : { steps: sizeOf(entry.steps) }),
    ...(entry.isHidden ? { internal: true } : {}),
    ...(pieces.length === 0 ? {} : { pieces }),
    plans,
  };
}

/** Which kernels of an entry share dispatches. */
function joinsOf({ name }: Entry, training: Training | undefined): Joins {
  if (name === training?.gradients) return 'all';
  const others = training ? [training.evaluate, training.accumulate, training.update] : [];
  return others.includes(name) ? 'none' : 'small';
}

/** Plans of all entries, with what the plan checker needs; `generate` without the artifact around it. */
export interface PlannedEntries {
  readonly kernels: ReadonlyMap<string, KernelSpec>;
  readonly weights: WeightTable;
  readonly entries: readonly { readonly entry: Entry; readonly planned: Readonly<Record<ProfileName, Planned>> }[];
}

export function planProgram(input: GenerateInput): Stage<PlannedEntries> {
  const { program, perProfile } = input;
  const diagnostics: Diagnostic[] = [];
  const table = new KernelTable();
  const weights = weightTable(
    program,
    profileNames.map((name) => perProfile[name]),
  );
  const arenas = arenaPlaces(program);
  const made = new Map<string, readonly Kernel[]>();
  /** Layers repeat: nodes with the same region, operand layouts and profile get the kernels of the first of them. */
  const kernelsOnce = (
    node: Node,
    profile: ProfileName,
    layouts: readonly InputLayout[],
    isSingle: boolean,
    staged?: Value,
  ): readonly Kernel[] => {
    const region = node.region ? printGraph(node.region, { labels: false }) : '';
    // An operand that stands twice is bound once, so which ones are the same belongs to the key.
    const operands = node.inputs.map((value) => node.inputs.indexOf(value));
    const key = [
      profile,
      isSingle,
      staged?.node.id,
      String(node.attributes.skeleton),
      JSON.stringify([layouts, operands]),
      region,
    ].join('\n');
    const known = made.get(key);
    if (known) return known;
    const kernels = kernelsFor({
      node,
      profile,
      ranges: program.dims,
      layouts,
      isSingle,
      ...(staged ? { staged } : {}),
    });
    made.set(key, kernels);
    return kernels;
  };
  const plan = (profile: ProfileName, entry: Entry): Planned => {
    const own = perProfile[profile].entries.find((other) => other.name === entry.name);
    if (!own) throw new InternalError(`no entry \`${entry.name}\` under profile \`${profile}\``);
    const isStep = entry.name === program.training?.gradients;
    const layoutsOf = (node: Node) => node.inputs.map((value) => layoutOf(value, weights));
    /** None for what cannot be written. */
    const tryKernels = (...given: Parameters<typeof kernelsOnce>): readonly Kernel[] => {
      try {
        return kernelsOnce(...given);
      } catch (error) {
        if (error instanceof UnsupportedOp) return [];
        throw error;
      }
    };
    const canWrite = (node: Node): boolean => tryKernels(node, profile, layoutsOf(node), true).length > 0;
    const isHalf = isStep && program.training?.block.precision === 'f16';
    const stored = isHalf ? { ...own, graph: halveStored(own.graph, program.dims, canWrite) } : own;
    return planEntry(stored, {
      ranges: program.dims,
      weights,
      states: program.states.map((state) => state.path),
      arenas,
      joins: joinsOf(entry, program.training),
      kernelsOf(node: Node, layouts: readonly InputLayout[]) {
        try {
          const kernels = kernelsOnce(node, profile, layouts, isStep);
          for (const kernel of kernels) diagnostics.push(...kernelProblems(node, kernel, entry.span ?? nowhere));
          return kernels;
        } catch (error) {
          if (!(error instanceof UnsupportedOp)) throw error;
          const span = error.node.span ?? node.span ?? entry.span ?? nowhere;
          const message = `not supported on devices: ${error.message}`;
          // Both profiles may meet it.
          if (!diagnostics.some((known) => known.message === message && known.span === span))
            diagnostics.push(diagnose('SORA5001', message, span));
          return [];
        }
      },
      ...(profile === 'software' && !isStep
        ? {
            mergedKernelOf: (node: Node, layouts: readonly InputLayout[], staged?: Value) =>
              tryKernels(node, profile, layouts, false, staged)[0],
          }
        : {}),
      register: (kernel) => table.register(kernel, profile),
    });
  };
  const entries = program.entries.map((entry) => ({
    entry,
    planned: { software: plan('software', entry), gpu: plan('gpu', entry) },
  }));
  return { value: { kernels: table.kernels, weights, entries }, diagnostics };
}

export function generate(input: GenerateInput): Stage<Artifact> {
  const { program } = input;
  const planned = planProgram(input);
  const artifact: Artifact = {
    format: 1,
    name: program.name,
    compiler: input.compiler,
    source: input.source,
    config: program.config,
    dims: Object.fromEntries(program.dims),
    weights: planned.value.weights.specs,
    ...(program.states.length > 0 ? { states: program.states.map(stateSpec) } : {}),
    ...(program.session ? { session: program.session } : {}),
    kernels: Object.fromEntries(planned.value.kernels),
    entries: planned.value.entries.map(({ entry, planned: plans }) =>
      entrySpec(entry, { software: plans.software.plan, gpu: plans.gpu.plan }, program.training),
    ),
    ...(program.generation ? { generation: program.generation } : {}),
    ...(program.training ? { arenas: program.training.arenas, training: trainingSpec(program.training) } : {}),
    program: printProgram(program),
  };
  return { value: artifact, diagnostics: [...sizeProblems(input), ...planned.diagnostics] };
}
