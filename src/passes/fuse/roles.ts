/**
 * What fusion needs to know about a node, asked from traits so that a new op needs no change here.
 */
import { type Node, onlyOutput, type Value } from '../../ir/graph.ts';
import { productOfDims, sameDim } from '../../ir/symbolic.ts';
import { unreachable } from '../../support/error.ts';
import { definitionOf, isScalarConstant } from '../pass.ts';

/** Kernel families that a fused node may have. */
export type KernelSkeleton = 'map' | 'row' | 'append' | AnchorSkeleton;

/** Families that are built around one node of their own. */
export type AnchorSkeleton = 'contraction' | 'attention' | 'selection' | 'ordering' | 'segments' | 'recurrence';

const anchorSkeletons: readonly string[] = [
  'contraction',
  'attention',
  'selection',
  'ordering',
  'segments',
  'recurrence',
] satisfies AnchorSkeleton[];

function isAnchorSkeleton(skeleton: string): skeleton is AnchorSkeleton {
  return anchorSkeletons.includes(skeleton);
}

/** The family of an anchor. */
export function anchorSkeleton(anchor: Node): AnchorSkeleton {
  const { skeleton } = definitionOf(anchor);
  return isAnchorSkeleton(skeleton) ? skeleton : unreachable(`\`${anchor.op}\` is no anchor`);
}

/**
 * - `stored`: lies in a buffer already (graph inputs, weights, states, constant tensors).
 * - `inline`: a leaf that a kernel computes itself (scalars, iota, dim values).
 * - `view`, `elementwise`: as the traits say.
 * - `lookup`: an element comes from one input element at a computed place (gather, concat).
 * - `reduction`, `anchor`: what a row kernel, and a contraction or attention kernel, is built around.
 * - `update`: writes an operand's buffer, whether somebody reads it or not (append, assign).
 * - `foreign`: no kernel can hold it.
 */
export type Role =
  | 'stored'
  | 'inline'
  | 'view'
  | 'elementwise'
  | 'lookup'
  | 'reduction'
  | 'anchor'
  | 'update'
  | 'foreign';

/** Nodes are immutable, and fusion asks for roles all the time. */
const roles = new WeakMap<Node, Role>();

export function roleOf(node: Node): Role {
  const known = roles.get(node);
  if (known !== undefined) return known;
  const role = findRole(node);
  roles.set(node, role);
  return role;
}

function findRole(node: Node): Role {
  const definition = definitionOf(node);
  if (node.outputs.length !== 1) return 'foreign';
  const traits = definition.traits;
  if (traits.includes('leaf')) {
    if (traits.includes('stated')) return 'stored';
    return node.op === 'constant' && !isScalarConstant(onlyOutput(node)) ? 'stored' : 'inline';
  }
  if (definition.updates !== undefined) return 'update';
  if (traits.includes('view')) return 'view';
  if (traits.includes('elementwise')) return 'elementwise';
  if (traits.includes('reduction') && definition.level === 'tensor') return 'reduction';
  if (isAnchorSkeleton(definition.skeleton)) return 'anchor';
  if (traits.includes('movement') || definition.skeleton === 'indexed') return 'lookup';
  return 'foreign';
}

/** An update of a whole buffer, element by element: it may share its kernel with others. */
export function isElementwiseUpdate(node: Node): boolean {
  return roleOf(node) === 'update' && definitionOf(node).traits.includes('elementwise');
}

/** What an update overwrites. */
export function overwritten(update: Node): Node {
  const { updates } = definitionOf(update);
  const operand = updates === undefined ? undefined : update.inputs[updates];
  return operand?.node ?? unreachable(`\`${update.op}\` is no update`);
}

/** What a kernel is built around, so that few of them fit into one. */
export function isHeavy(node: Node): boolean {
  const role = roleOf(node);
  return role === 'anchor' || role === 'reduction' || role === 'foreign';
}

const bijections = new WeakMap<Node, boolean>();

/** A view that shows every element exactly once: it can be undone by storing elsewhere. */
export function isBijectiveView(node: Node): boolean {
  const [input] = node.inputs;
  if (!input || roleOf(node) !== 'view') return false;
  const known = bijections.get(node);
  if (known !== undefined) return known;
  const isBijective =
    !definitionOf(node).traits.includes('overlapping') &&
    sameDim(productOfDims(input.type.shape), productOfDims(onlyOutput(node).type.shape));
  bijections.set(node, isBijective);
  return isBijective;
}

/** What a contraction can do while it loads an operand: a cast, say. */
export function isConversion(node: Node): boolean {
  return definitionOf(node).traits.includes('conversion');
}

/** Tables of lookups by index are read at computed places, so they must lie in a buffer. */
export function isTable(reader: Node, operand: number): boolean {
  return definitionOf(reader).operands[operand] === 'table';
}

/** Operands that the kernel of an anchor reads tile by tile: nothing but views and conversions may stand before them. */
export function isTileOperand(anchor: Node, operand: number): boolean {
  return operand < (definitionOf(anchor).tileOperands ?? Number.POSITIVE_INFINITY);
}

export function outputOf(node: Node): Value {
  return onlyOutput(node);
}
