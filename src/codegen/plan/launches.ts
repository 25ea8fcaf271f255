/**
 * Which kernels share a dispatch: kernels near each other in the order that do not wait for each other (wgsl/join.ts).
 *
 * The order of the graph is kept otherwise, so that what is joined needs little more memory at once. What is written in place comes behind
 * everything that reads or writes the same buffer.
 */
import type { Node, Value } from '../../ir/graph.ts';
import { stringOf } from '../../ir/ops/shared.ts';
import { unreachable } from '../../support/error.ts';
import { joinKernels, type Part } from '../wgsl/join.ts';
import type { Kernel } from '../wgsl/kernel.ts';

/** One node with its kernels, or several with one kernel for all. */
export interface Launch {
  readonly nodes: readonly Node[];
  readonly kernels: readonly Kernel[];
  /** For each binding of a kernel the node and the key under which it stands for an operand or a result. */
  bindings(kernel: Kernel): readonly { readonly node: Node; readonly key: string }[];
}

/** Which kernels may share a dispatch: all, as in a training step, or those alone that take little more than the dispatch itself. */
export type Joins = 'all' | 'small' | 'none';

const small: ReadonlySet<string> = new Set(['map', 'row', 'append', 'selection']);

/** How far back a kernel may move. */
const reach = 4;
/** Kernels in one. */
const most = 4;

/** The operand or the result of a node that a kernel binds under `key`: `in0` or `out1`, say. */
export function valueAt(node: Node, key: string): Value {
  const operand = Number(key.replace(/^\D+/, ''));
  const value = key.startsWith('out') ? node.outputs[operand] : node.inputs[operand];
  return value ?? unreachable(`\`${node.label ?? node.op}\` has no ${key}`);
}

interface Draft {
  readonly members: { readonly node: Node; readonly kernels: readonly Kernel[] }[];
}

function isSmall(node: Node): boolean {
  return small.has(stringOf(node.attributes, 'skeleton'));
}

function plain(node: Node, kernels: readonly Kernel[]): Launch {
  return { nodes: [node], kernels, bindings: (kernel) => kernel.text.bindings.map(({ key }) => ({ node, key })) };
}

/** @param bufferOf the value in whose buffer a value lies: another one where it is written in place */
export function launchesOf(
  nodes: readonly Node[],
  kernelsOf: (node: Node) => readonly Kernel[],
  bufferOf: (value: Value) => Value,
  joins: Joins,
): readonly Launch[] {
  if (joins === 'none') return nodes.map((node) => plain(node, kernelsOf(node)));
  const numbers = new Map<Value, string>();
  const wordOf = (value: Value): string => {
    const known = numbers.get(value) ?? String(numbers.size);
    numbers.set(value, known);
    return known;
  };
  const partOf = (node: Node, kernel: Kernel): Part => ({
    kernel,
    buffers: kernel.text.bindings.map(({ key }) => wordOf(valueAt(node, key))),
  });
  const join = (members: Draft['members']) => {
    const parts = members.flatMap(({ node, kernels }) => {
      const [only, another] = kernels;
      const isPlain = only && !another && !only.when && only.scratch === undefined;
      return isPlain ? [partOf(node, only)] : [];
    });
    return parts.length === members.length ? joinKernels(parts) : undefined;
  };
  const drafts: Draft[] = [];
  const placeOf = new Map<Value, number>();
  /** The last launch so far that reads or writes a buffer. */
  const touched = new Map<Value, number>();
  for (const node of nodes) {
    const member = { node, kernels: kernelsOf(node) };
    const overwritten = node.outputs.map(bufferOf).filter((value) => !node.outputs.includes(value));
    const after = Math.max(
      -1,
      ...node.inputs.map((value) => placeOf.get(value) ?? -1),
      ...overwritten.map((value) => touched.get(value) ?? -1),
    );
    let place = drafts.length;
    const mayMove = joins === 'all' || isSmall(node);
    for (let at = drafts.length - 1; mayMove && at > after && at >= drafts.length - reach; at--) {
      const members = drafts[at]?.members ?? [];
      if (joins === 'small' && !members.every((other) => isSmall(other.node))) continue;
      if (members.length < most && join([...members, member])) {
        place = at;
        break;
      }
    }
    const draft = drafts[place];
    if (draft) draft.members.push(member);
    else drafts.push({ members: [member] });
    for (const output of node.outputs) placeOf.set(output, place);
    for (const value of [...node.inputs, ...node.outputs].map(bufferOf))
      touched.set(value, Math.max(touched.get(value) ?? -1, place));
  }
  return drafts.map(({ members }): Launch => {
    const [only, another] = members;
    if (only && !another) return plain(only.node, only.kernels);
    const joined = join(members) ?? unreachable('what was joined once fits');
    const origins = joined.origins.map(({ part, binding }) => {
      const member = members[part] ?? unreachable('a part of nothing');
      const key = member.kernels[0]?.text.bindings[binding]?.key ?? unreachable('a binding of nothing');
      return { node: member.node, key };
    });
    return { nodes: members.map(({ node }) => node), kernels: [joined.kernel], bindings: () => origins };
  });
}
