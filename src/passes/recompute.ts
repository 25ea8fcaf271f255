/**
 * Values of the forward part that the backward part computes again instead of keeping them.
 *
 *   chains       a chain of elementwise ops and views over one value is computed again from that value
 *   segments     a part of the model, such as each layer of a `repeat`, is computed again from what flows into it
 *
 * Barriers stand between, or the two computations would be found equal. Those of a segment have a *phase*, a number that grows
 * as the backward part goes on: kernels of one phase are not merged with those of another (fuse/phases.ts), so a segment is
 * computed again when its gradients are due, not before.
 *
 * Source: Chen et al. 2016, "Training deep nets with sublinear memory cost"; torch.utils.checkpoint.
 */
import type { GraphBuilder, Node, Value } from '../ir/graph.ts';
import type { Emitter } from '../ir/op.ts';
import { copyNode, hasTrait } from './pass.ts';

type Emitting = (node: Node | undefined) => Emitter;
type Again = (value: Value) => Value;

/** Chains: a value that is computed element by element from one kept value, computed again from that. */
export function recomputedChains(builder: GraphBuilder, emitter: Emitting): Again {
  const isChained = (node: Node) => hasTrait(node, 'elementwise') || hasTrait(node, 'view');
  const sources = new Map<Value, ReadonlySet<Value>>();
  /** What is kept so that the value can be computed from it; weights, inputs and numbers are there anyway. */
  const sourcesOf = (value: Value): ReadonlySet<Value> => {
    const known = sources.get(value);
    if (known) return known;
    const { node } = value;
    const own = new Set<Value>();
    if (!hasTrait(node, 'leaf')) {
      if (isChained(node)) for (const input of node.inputs) for (const source of sourcesOf(input)) own.add(source);
      else own.add(value);
    }
    const found = own.size > 1 ? new Set([value]) : own;
    sources.set(value, found);
    return found;
  };
  const rebuilt = new Map<Value, Value>();
  const rebuild = (value: Value): Value => {
    const known = rebuilt.get(value);
    if (known) return known;
    const { node } = value;
    const isSource = sourcesOf(value).has(value);
    const made = isSource
      ? emitter(node).emit('barrier', [value])
      : hasTrait(node, 'leaf')
        ? value
        : (copyNode(builder, node, node.inputs.map(rebuild)).outputs[value.output] ?? value);
    rebuilt.set(value, made);
    return made;
  };
  return (value) => (sourcesOf(value).size === 1 && !sourcesOf(value).has(value) ? rebuild(value) : value);
}

/** The part of a model that a node belongs to, when that is computed again. */
export type SegmentOf = (node: Node) => string | undefined;

/** Nodes below one of these paths, by their labels; of parts in parts the outer one counts. */
export function segmentsAt(parts: readonly string[]): SegmentOf {
  const chosen = new Set(parts);
  const known = new Map<string, string | undefined>();
  const find = (label: string): string | undefined => {
    for (let end = label.indexOf('.'); end >= 0; end = label.indexOf('.', end + 1))
      if (chosen.has(label.slice(0, end))) return label.slice(0, end);
    return chosen.has(label) ? label : undefined;
  };
  return ({ label }) => {
    if (label === undefined) return undefined;
    if (!known.has(label)) known.set(label, find(label));
    return known.get(label);
  };
}

/**
 * Segments: for a node of the forward part, how its rule finds values of the node's own segment. What flows in from elsewhere is
 * kept; weights and numbers are there anyway.
 */
export function recomputedSegments(
  builder: GraphBuilder,
  emitter: Emitting,
  segmentOf: SegmentOf,
): (node: Node) => Again {
  const segments = new Map<string, Again>();
  const make = (segment: string): Again => {
    const phase = segments.size + 1;
    const values = new Map<Value, Value>();
    const again = (value: Value): Value => {
      const known = values.get(value);
      if (known) return known;
      const { node } = value;
      let made = value;
      if (segmentOf(node) === segment && !hasTrait(node, 'leaf')) {
        made = copyNode(builder, node, node.inputs.map(again)).outputs[value.output] ?? value;
      } else if (!hasTrait(node, 'leaf') || node.op === 'input')
        made = emitter(node).emit('barrier', [value], { phase });
      values.set(value, made);
      return made;
    };
    return again;
  };
  return (node) => {
    const segment = segmentOf(node);
    if (segment === undefined) return (value) => value;
    const again = segments.get(segment) ?? make(segment);
    segments.set(segment, again);
    return again;
  };
}
