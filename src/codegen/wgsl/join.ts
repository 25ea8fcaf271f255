/**
 * Kernels that do not wait for each other as one kernel: the first workgroups do the work of the first, those behind the
 * work of the others. A training step has many small kernels, and a dispatch costs as much as some of them.
 *
 * Which workgroup does what depends on its number alone, so barriers inside of a part are met by all or none.
 */
import { constantValue, type Dim } from '../../ir/symbolic.ts';
import { maxBindings } from '../../passes/index.ts';
import { unreachable } from '../../support/error.ts';
import type { GroupCount, Kernel } from './kernel.ts';
import { dimName } from './names.ts';
import {
  type Binding,
  type Field,
  type KernelSource,
  maxParams,
  printKernel,
  readerOf,
  readFirst,
  type WorkgroupVariable,
} from './writer.ts';

/** A kernel and, for each of its bindings, what is bound: equal words are one buffer. */
export interface Part {
  readonly kernel: Kernel;
  readonly buffers: readonly string[];
}

export interface Joined {
  readonly kernel: Kernel;
  /** For each binding the part and the place of a binding there that it stands for. */
  readonly origins: readonly { readonly part: number; readonly binding: number }[];
}

/** Names of the joined kernel that are taken. */
class Names {
  readonly #taken = new Set<string>();

  constructor(bodies: readonly string[]) {
    for (const body of bodies) for (const [word] of body.matchAll(/[A-Za-z_]\w*/g)) this.#taken.add(word);
  }

  /** The name itself for the first who asks, then others that stand nowhere. */
  claim(name: string, isFirst: boolean): string {
    if (isFirst) return name;
    for (let count = 2; ; count++) {
      const candidate = `${name}_p${count}`;
      if (this.#taken.has(candidate)) continue;
      this.#taken.add(candidate);
      return candidate;
    }
  }
}

function renamed(lines: readonly string[], names: ReadonlyMap<string, string>): readonly string[] {
  if (names.size === 0) return lines;
  // `dims.x` is a size, whose dot belongs to the word; what follows another dot is a component.
  return lines.map((line) => line.replace(/(?:\bdims\.|(?<![\w.]))[A-Za-z_]\w*/g, (word) => names.get(word) ?? word));
}

/** The sizes of all parts as fields of one struct. */
class Fields {
  readonly list: Field[] = [];

  nameOf(dim: Dim, wanted = dimName(dim)): string {
    const known = this.list.find((field) => field.dim.key === dim.key);
    if (known) return known.name;
    const isTaken = (name: string) => this.list.some((field) => field.name === name);
    let name = wanted;
    for (let count = 2; isTaken(name); count++) name = `${wanted}_${count}`;
    this.list.push({ name, dim });
    return name;
  }

  text(dim: Dim): string {
    const constant = constantValue(dim);
    return constant === undefined ? `dims.${this.nameOf(dim)}` : `${constant}u`;
  }

  groups(count: GroupCount): string {
    const factors = count.factors.map(({ size, divisor }) => {
      const constant = constantValue(size);
      if (constant !== undefined) return `${Math.ceil(constant / divisor)}u`;
      return divisor === 1 ? this.text(size) : `((${this.text(size)} + ${divisor - 1}u) / ${divisor}u)`;
    });
    return factors.length === 0 ? '1u' : factors.join(' * ');
  }
}

/** Whether the lanes of a workgroup wait for each other. */
function meets({ variables, body }: KernelSource): boolean {
  return variables.length > 0 || body.some((line) => line.includes('Barrier('));
}

/** Undefined when the parts do not fit one kernel. */
export function joinKernels(parts: readonly Part[]): Joined | undefined {
  const [first] = parts;
  if (!first) return undefined;
  const sources = parts.map(({ kernel }) => kernel.text.source);
  const workgroup = Math.max(...sources.map((source) => source.workgroup));
  // Lanes that a part has no work for stand aside, which they may not where others wait for them.
  if (sources.some((source) => source.workgroup < workgroup && meets(source))) return undefined;
  const names = new Names(sources.flatMap((source) => source.body));
  const fields = new Fields();
  const bindings: (Binding & { readonly buffer: string; readonly part: number; readonly at: number })[] = [];
  const variables: WorkgroupVariable[] = [];
  const bodies = parts.map(({ kernel, buffers }, part) => {
    const { source } = kernel.text;
    const changes = new Map<string, string>();
    for (const { name, dim } of source.fields) changes.set(`dims.${name}`, `dims.${fields.nameOf(dim, name)}`);
    kernel.text.bindings.forEach((binding, at) => {
      const buffer = buffers[at] ?? unreachable('a binding without a buffer');
      const known = bindings.find(
        (other) => other.buffer === buffer && other.access === binding.access && other.element === binding.element,
      );
      const isFree = !bindings.some((other) => other.name === binding.name) && part === 0;
      const name = known?.name ?? names.claim(binding.name, isFree);
      changes.set(binding.name, name);
      if (binding.access === 'p') changes.set(readerOf(binding.name), readerOf(name));
      if (!known) bindings.push({ ...binding, name, buffer, part, at });
    });
    // A workgroup runs one part only, so parts use the same workgroup memory.
    const taken = new Set<string>();
    for (const { name, type } of source.variables) {
      const shared = variables.find((other) => other.type === type && !taken.has(other.name));
      const own = shared?.name ?? names.claim(name, part === 0);
      taken.add(own);
      changes.set(name, own);
      if (!shared) variables.push({ name: own, type });
    }
    if (part > 0) changes.set('group', `group_${part}`);
    const body = renamed(source.body, changes);
    if (source.workgroup === workgroup) return body;
    return [`if (lane < ${source.workgroup}u) {`, ...body.map((line) => `  ${line}`), '}'];
  });
  if (bindings.length > maxBindings) return undefined;
  const body: string[] = [];
  parts.forEach(({ kernel }, part) => {
    const lines = bodies[part] ?? [];
    const from = part === 0 ? 'group' : `group_${part}`;
    const isLast = part === parts.length - 1;
    if (!isLast) body.push(`let end_${part} = ${fields.groups(kernel.groups)};`);
    if (!isLast) body.push(`if (${from} < end_${part}) {`, ...lines.map((line) => `  ${line}`), '  return;', '}');
    else body.push(...lines);
    if (!isLast) body.push(`let group_${part + 1} = ${from} - end_${part};`);
  });
  if (fields.list.length > maxParams) return undefined;
  const ordered = [...bindings].sort(readFirst);
  const source: KernelSource = {
    header: sources.flatMap((each, at) => [...(at === 0 ? [] : ['']), ...each.header]),
    fields: fields.list,
    variables,
    helpers: new Set(sources.flatMap((each) => [...each.helpers])),
    body,
    workgroup,
  };
  const counts = parts.map(({ kernel }) => kernel.groups);
  const [head, ...behind] = counts;
  return {
    kernel: {
      name: `${first.kernel.name}_and_${parts.length - 1}`,
      text: printKernel(
        source,
        ordered.map(({ key, name, element, access, vector }) => ({ key, name, element, access, vector })),
      ),
      groups: { factors: head?.factors ?? [], behind },
    },
    origins: ordered.map(({ part, at }) => ({ part, binding: at })),
  };
}
