/**
 * Which products of one row compute their left operand themselves, instead of reading what another kernel has stored: a norm or an
 * activation that nothing else reads (wgsl/staged-row.ts). With more rows both kernels run as ever.
 *
 * A step of stories15M on lavapipe with two cores takes 43 µs a dispatch beside the work itself, most of it threads that wake up.
 */
import { type Graph, GraphBuilder, type Node, onlyOutput, usersOf, type Value } from '../../ir/graph.ts';
import { stringOf } from '../../ir/ops/shared.ts';
import { constantDim, constantValue, type Dim, productOfDims, sameDim } from '../../ir/symbolic.ts';
import { maxBindings } from '../../passes/index.ts';
import { underViews } from '../../passes/pass.ts';
import { type Condition, type Kernel, unlimited } from '../wgsl/kernel.ts';
import { mergeRegions } from './merge.ts';

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
const maxRepeated = 32_768;

/** Kernel families that a product may compute before its sum. */
const producers: ReadonlySet<string> = new Set(['row', 'map']);

function isFloatRow({ type }: Value): boolean {
  const length = constantValue(type.shape.at(-1) ?? constantDim(0));
  return type.dtype === 'f32' && length !== undefined && length > 0 && length % 4 === 0 && length <= maxLength;
}

const rowsOf = ({ type }: Value): Dim => productOfDims(type.shape.slice(0, -1));

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
  const value = underViews(dot.inputs[0]);
  return value?.node.op === 'input' ? value.node : undefined;
}

/** One region of both: results are those of the product. */
function merge(producer: Node, product: Node): Merged {
  const names = product.region?.results.map(({ name }) => name) ?? [];
  const results = product.outputs.map((value, at) => ({ name: names[at] ?? '', value }));
  const { region, inputs, inside } = mergeRegions([producer, product], results);
  const { attributes, label, span } = product;
  const types = product.outputs.map(({ type }) => type);
  const node = new GraphBuilder().add('fused', inputs, types, { attributes, region, label, span });
  return { node, staged: inside(onlyOutput(producer)) };
}

interface Kernels {
  of(node: Node): readonly Kernel[];
  /** The kernel of a merged node for one row; undefined when none can be written. */
  ofMerged(merged: Merged): Kernel | undefined;
}

/** The product with its left operand as one node, where it may be so and is worth it. */
function mergedWith(
  producer: Node,
  product: Node,
  kernels: Kernels,
): (Merged & { readonly kernel: Kernel }) | undefined {
  const value = onlyOutput(producer);
  const { region, inputs } = product;
  if (!region || stringOf(product.attributes, 'skeleton') !== 'contraction') return undefined;
  const left = leftInput(region);
  const place = inputs.indexOf(value);
  const isReadElsewhere = region.nodes.filter((node) => node.inputs.some((input) => input.node === left)).length > 1;
  if (!left || region.inputs[place] !== left || inputs.lastIndexOf(value) !== place || isReadElsewhere)
    return undefined;
  const rows = rowsOf(value);
  const single = oneRow(kernels.of(product));
  if (!single || !sameDim(single.when.value, rows)) return undefined;
  const groups = groupsOfRow(single, rows);
  const length = constantValue(value.type.shape.at(-1) ?? constantDim(1)) ?? 1;
  if (groups === undefined || groups * length > maxRepeated) return undefined;
  const merged = merge(producer, product);
  if (merged.node.inputs.length + merged.node.outputs.length > maxBindings) return undefined;
  const kernel = kernels.ofMerged(merged);
  return kernel && { ...merged, kernel };
}

/** A kernel whose one result may be computed on the spot. */
function isProducer(node: Node, isResult: (value: Value) => boolean, kernels: readonly Kernel[]): boolean {
  const [value, another] = node.outputs;
  const [own, second] = kernels;
  const isPlain = own && !second && !own.when && !own.scratch;
  const skeleton = stringOf(node.attributes, 'skeleton');
  return (
    value !== undefined &&
    !another &&
    !isResult(value) &&
    isFloatRow(value) &&
    isPlain === true &&
    producers.has(skeleton)
  );
}

/** @param isResult whether a value leaves the entry */
export function stagedRows(nodes: readonly Node[], isResult: (value: Value) => boolean, kernels: Kernels): StagedRows {
  const users = usersOf({ nodes });
  const products = new Map<Node, Merged & { readonly kernel: Kernel }>();
  const conditions = new Map<Node, Condition>();
  for (const producer of nodes) {
    if (!isProducer(producer, isResult, kernels.of(producer))) continue;
    const value = onlyOutput(producer);
    const found = (users.get(value) ?? []).map((product) => {
      const merged = products.has(product) ? undefined : mergedWith(producer, product, kernels);
      return { product, merged };
    });
    // One reader that needs the row as it is stored, and it is stored for all.
    if (found.length === 0 || found.some(({ merged }) => merged === undefined)) continue;
    for (const { product, merged } of found) if (merged) products.set(product, merged);
    conditions.set(producer, { value: rowsOf(value), minimum: 2, maximum: unlimited });
  }
  return { products, conditions };
}
