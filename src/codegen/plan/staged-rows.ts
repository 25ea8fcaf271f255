/**
 * Which products of one row compute their left operand themselves, instead of reading what another kernel has stored: a norm or an
 * activation that nothing else reads (wgsl/staged-row.ts). With more rows both kernels run as ever.
 *
 * A step of stories15M on lavapipe with two cores takes 43 µs a dispatch beside the work itself, most of it threads that wake up.
 */
import { type Graph, GraphBuilder, type Node, onlyOutput, type Value } from '../../ir/graph.ts';
import { hasTrait } from '../../ir/ops/index.ts';
import { stringOf } from '../../ir/ops/shared.ts';
import { constantDim, constantValue, type Dim, productOfDims, sameDim } from '../../ir/symbolic.ts';
import { maxBindings } from '../../passes/index.ts';
import { copyNode } from '../../passes/pass.ts';
import { unreachable } from '../../support/error.ts';
import type { Condition, Kernel } from '../wgsl/kernel.ts';

/** A product with what computes its left operand, as one node. */
export interface Merged {
  /** Its outputs stand for those of the product. */
  readonly node: Node;
  /** The left operand in the node's region. */
  readonly staged: Value;
}

export interface StagedRows {
  /** For products: the merged node, and its kernel for one row in the place of the product's own. */
  readonly products: ReadonlyMap<Node, Merged & { readonly kernel: Kernel }>;
  /** For nodes that only these products read: when they still run. */
  readonly conditions: ReadonlyMap<Node, Condition>;
}

/** Longest row: 8 KiB of the 16 that every device has for a workgroup. */
const maxLength = 2048;
/** Most elements that all workgroups together may compute anew. Sums also take a tenth longer from workgroup memory than from a buffer. */
const maxRepeated = 65_536;

/** Largest u32: no limit. */
const unlimited = 2 ** 32 - 1;

function isFloatRow({ type }: Value): boolean {
  const length = constantValue(type.shape.at(-1) ?? constantDim(0));
  return type.dtype === 'f32' && length !== undefined && length > 0 && length % 4 === 0 && length <= maxLength;
}

/** The kernel for one row, where there is one beside others. */
function oneRow(kernels: readonly Kernel[]): (Kernel & { readonly when: Condition }) | undefined {
  for (const kernel of kernels) {
    const { when } = kernel;
    if (when && when.minimum <= 1 && when.maximum === 1) return { ...kernel, when };
  }
  return undefined;
}

/** Workgroups of one row, where that is known. */
function groupsOfRow({ groups }: Kernel, rows: Dim): number | undefined {
  const counts = groups.factors.map(({ size, divisor }) => {
    const count = sameDim(size, rows) ? 1 : constantValue(size);
    return count === undefined ? Number.NaN : Math.ceil(count / divisor);
  });
  const product = counts.reduce((whole, count) => whole * count, 1);
  return Number.isNaN(product) || groups.behind ? undefined : product;
}

/** The input of the region that the left operand of its one product is, under views. */
function leftInput(region: Graph): Node | undefined {
  const [dot, another] = region.nodes.filter(({ op }) => op === 'dot_general');
  if (!dot || another) return undefined;
  let value = dot.inputs[0];
  while (value && hasTrait(value.node, 'view') && value.node.op !== 'input') value = value.node.inputs[0];
  return value?.node.op === 'input' ? value.node : undefined;
}

/** One region of both: results are those of the product. */
function merge(producer: Node, product: Node): Merged {
  const builder = new GraphBuilder();
  const inputs: Value[] = [];
  const given = new Map<Value, Value>();
  const inputFor = (value: Value): Value => {
    const known = given.get(value);
    if (known) return known;
    const input = builder.input(`i${inputs.length}`, value.type);
    inputs.push(value);
    given.set(value, input);
    return input;
  };
  const copyRegion = (node: Node, inputOf: (value: Value) => Value): ReadonlyMap<Value, Value> => {
    const region = node.region ?? unreachable('a kernel without a region');
    const copies = new Map<Value, Value>();
    for (const inner of region.nodes) {
      if (inner.op === 'input') {
        const outer = node.inputs[region.inputs.indexOf(inner)] ?? unreachable('a region input without a value');
        copies.set(onlyOutput(inner), inputOf(outer));
        continue;
      }
      const copy = copyNode(
        builder,
        inner,
        inner.inputs.map((value) => copies.get(value) ?? unreachable('in order')),
      );
      inner.outputs.forEach((output, at) => {
        copies.set(output, copy.outputs[at] ?? unreachable('copies have the same outputs'));
      });
    }
    return copies;
  };
  const before = copyRegion(producer, inputFor);
  const [made] = producer.region?.results ?? [];
  const staged = (made && before.get(made.value)) ?? unreachable('a kernel without a result');
  const after = copyRegion(product, (value) => (value === onlyOutput(producer) ? staged : inputFor(value)));
  const results = (product.region?.results ?? []).map(({ name, value }) => ({
    name,
    value: after.get(value) ?? unreachable('results are copied'),
  }));
  const outer = new GraphBuilder();
  const { attributes, label, span } = product;
  const types = product.outputs.map(({ type }) => type);
  const node = outer.add('fused', inputs, types, {
    attributes,
    region: builder.finish('region', results),
    label,
    span,
  });
  return { node, staged };
}

/**
 * @param isResult whether a value leaves the entry
 * @param kernelOf the kernel of a merged node for one row; undefined when none can be written
 */
export function stagedRows(
  nodes: readonly Node[],
  isResult: (value: Value) => boolean,
  kernelsOf: (node: Node) => readonly Kernel[],
  kernelOf: (merged: Merged) => Kernel | undefined,
): StagedRows {
  const readers = new Map<Value, Node[]>();
  for (const node of nodes)
    for (const value of new Set(node.inputs)) readers.set(value, [...(readers.get(value) ?? []), node]);
  const products = new Map<Node, Merged & { readonly kernel: Kernel }>();
  const conditions = new Map<Node, Condition>();
  for (const producer of nodes) {
    const [value, another] = producer.outputs;
    const skeleton = stringOf(producer.attributes, 'skeleton');
    if (!value || another || isResult(value) || !isFloatRow(value) || !['row', 'map'].includes(skeleton)) continue;
    const [own, second] = kernelsOf(producer);
    if (!own || second || own.when || own.scratch) continue;
    const rows = productOfDims(value.type.shape.slice(0, -1));
    const found = (readers.get(value) ?? []).map((product) => mergedWith(producer, product, rows));
    const merged = found.flatMap((each) => (each ? [each] : []));
    if (merged.length === 0 || merged.length < found.length) continue;
    for (const { product, ...rest } of merged) products.set(product, rest);
    conditions.set(producer, { value: rows, minimum: 2, maximum: unlimited });
  }
  return { products, conditions };

  function mergedWith(
    producer: Node,
    product: Node,
    rows: Dim,
  ): (Merged & { readonly product: Node; readonly kernel: Kernel }) | undefined {
    const value = onlyOutput(producer);
    const { region, inputs } = product;
    if (!region || stringOf(product.attributes, 'skeleton') !== 'contraction' || products.has(product))
      return undefined;
    const left = leftInput(region);
    const place = inputs.indexOf(value);
    const readsElsewhere = region.nodes.filter((node) => node.inputs.some((input) => input.node === left)).length > 1;
    if (!left || region.inputs[place] !== left || inputs.lastIndexOf(value) !== place || readsElsewhere)
      return undefined;
    const single = oneRow(kernelsOf(product));
    if (!single || !sameDim(single.when.value, rows)) return undefined;
    const groups = groupsOfRow(single, rows);
    const length = constantValue(value.type.shape.at(-1) ?? constantDim(1)) ?? 1;
    if (groups === undefined || groups * length > maxRepeated) return undefined;
    const merged = merge(producer, product);
    if (merged.node.inputs.length + merged.node.outputs.length > maxBindings) return undefined;
    const kernel = kernelOf(merged);
    return kernel && { ...merged, product, kernel };
  }
}
