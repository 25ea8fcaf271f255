/**
 * The score map of an attention: `score`, `softcap`, `bias`, `temperature` and the soft part of `span`, one after the other.
 *
 * Their expressions are evaluated in a scratch graph in which the score is an input. When all are read, the scratch graph is
 * divided: what depends on the score, and elementwise work over all pairs of query and key, becomes the region of the node,
 * which kernels evaluate in registers; the rest moves to the graph of the entry and comes in as captured operands.
 */
import { unreachable } from '../../../support/error.ts';
import type { Span } from '../../../support/source.ts';
import { type Graph, GraphBuilder, type Node, onlyOutput, type Value } from '../../graph.ts';
import { hasTrait } from '../../ops/index.ts';
import { constantDim, constantValue } from '../../symbolic.ts';
import type { Shape } from '../../types.ts';
import { type Binding, tensorBinding } from '../binding.ts';
import { report } from '../context.ts';
import { convert, reshapeTo, tensorOf } from '../tensors.ts';
import { type Building, fullShape, geometryOf, type ScoreMap } from './building.ts';

/** Replaces the score by what `write` gives for it; false when something was reported. */
export function mapScore(building: Building, span: Span, write: (score: Binding) => Binding): boolean {
  const { context } = building;
  const { site: outer } = context;
  if (outer === undefined) return unreachable('an attention outside of any graph');
  const scores = building.scores ?? openScores(building, span);
  building.scores = scores;
  scores.site.nodes = outer.nodes;
  context.site = scores.site;
  try {
    const mapped = tensorOf(context, write(tensorBinding(scores.score)));
    const wide = mapped && convert(context, mapped, 'f32', span);
    if (wide) scores.score = wide;
    return wide !== undefined;
  } finally {
    outer.nodes = scores.site.nodes;
    context.site = outer;
  }
}

function openScores(building: Building, span: Span): ScoreMap {
  const { site } = building.context;
  if (site === undefined) return unreachable('an attention outside of any graph');
  const builder = new GraphBuilder();
  const input = builder.input('score', { dtype: 'f32', shape: fullShape(geometryOf(building)) }, span);
  return { site: { ...site, builder, weights: new Map(site.weights) }, input, score: input };
}

export interface FinishedScores {
  readonly region: Graph;
  readonly captured: readonly Value[];
}

/** Divides the scratch graph; undefined when the map looks beyond a single score (reported). */
export function finishScores(building: Building, scores: ScoreMap): FinishedScores | undefined {
  const division = new Division(building, scores);
  const result = division.inside(scores.score);
  if (result === undefined) return undefined;
  return {
    region: division.region.finish('score', [{ name: 'score', value: result }]),
    captured: division.captured,
  };
}

class Division {
  readonly region = new GraphBuilder();
  readonly captured: Value[] = [];
  readonly #building: Building;
  readonly #scores: ScoreMap;
  readonly #own: ReadonlySet<Node>;
  readonly #dependent = new Map<Node, boolean>();
  readonly #outside = new Map<Value, Value>();
  readonly #inside = new Map<Value, Value>();
  /** Inputs of the region by what is captured. */
  readonly #inputs = new Map<Value, Value>();

  constructor(building: Building, scores: ScoreMap) {
    this.#building = building;
    this.#scores = scores;
    this.#own = new Set(scores.site.builder.finish('scratch', []).nodes);
    this.#inside.set(scores.input, this.region.input('score', scores.input.type, scores.input.node.span));
  }

  /** The value as one of the region; undefined when it cannot be (reported). */
  inside(value: Value): Value | undefined {
    const known = this.#inside.get(value);
    if (known) return known;
    const { node } = value;
    const made = this.#belongs(value) ? this.#copyInside(node) : this.#capture(value);
    if (made) this.#inside.set(value, made);
    return made;
  }

  #copyInside(node: Node): Value | undefined {
    if (!hasTrait(node, 'elementwise') && !hasTrait(node, 'leaf') && node.op !== 'broadcast') {
      const message = 'a score is mapped by itself: this needs other scores than the one at hand';
      report(this.#building.context, 'SORA2117', message, node.span ?? this.#building.attend.span);
      return undefined;
    }
    const inputs = node.inputs.map((input) => this.inside(input));
    if (!inputs.every((input) => input !== undefined)) return undefined;
    const types = node.outputs.map((output) => output.type);
    return onlyOutput(this.region.add(node.op, inputs, types, { attributes: node.attributes, span: node.span }));
  }

  /** Whether the value is computed in the region. */
  #belongs({ node, type }: Value): boolean {
    if (node.op === 'constant' && type.shape.length === 0) return true;
    if (this.#dependsOnScore(node)) return true;
    if (!this.#own.has(node)) return false;
    if (hasTrait(node, 'leaf')) return node.op === 'dim_value';
    const isMovable = hasTrait(node, 'elementwise') || node.op === 'broadcast';
    return isMovable && (type.shape.length === 0 || this.#coversPairs(type.shape));
  }

  /** Whether a shape varies over queries and over keys. */
  #coversPairs(shape: Shape): boolean {
    return shape.length >= 2 && shape.slice(-2).every((dim) => constantValue(dim) !== 1);
  }

  #dependsOnScore(node: Node): boolean {
    if (node === this.#scores.input.node) return true;
    if (!this.#own.has(node)) return false;
    const known = this.#dependent.get(node);
    if (known !== undefined) return known;
    const answer = node.inputs.some((input) => this.#dependsOnScore(input.node));
    this.#dependent.set(node, answer);
    return answer;
  }

  /** A value of the entry's graph as an operand, under the rank of the scores. */
  #capture(value: Value): Value | undefined {
    const { context, attend } = this.#building;
    const rank = this.#scores.input.type.shape.length;
    const outer = this.#moveOut(value);
    const { shape } = outer.type;
    const ones = Array.from({ length: Math.max(0, rank - shape.length) }, () => constantDim(1));
    const full = reshapeTo(context, outer, [...ones, ...shape], value.node.span ?? attend.span);
    if (full === undefined) return undefined;
    const known = this.#inputs.get(full);
    if (known) return known;
    const input = this.region.input(`captured_${this.captured.length}`, full.type, value.node.span);
    this.captured.push(full);
    this.#inputs.set(full, input);
    return input;
  }

  /** The value in the graph of the entry. */
  #moveOut(value: Value): Value {
    if (!this.#own.has(value.node)) return value;
    const known = this.#outside.get(value);
    if (known) return known;
    const { site } = this.#building.context;
    if (site === undefined) return unreachable('an attention outside of any graph');
    const { node } = value;
    const path = node.op === 'weight' && Array.isArray(node.attributes.paths) ? String(node.attributes.paths[0]) : '';
    const leaf = site.weights.get(path);
    if (leaf) return leaf;
    const inputs = node.inputs.map((input) => this.#moveOut(input));
    const copy = site.builder.add(
      node.op,
      inputs,
      node.outputs.map((output) => output.type),
      {
        attributes: node.attributes,
        ...(node.region ? { region: node.region } : {}),
        span: node.span,
        label: node.label,
      },
    );
    if (path !== '') site.weights.set(path, onlyOutput(copy));
    for (const [at, output] of node.outputs.entries()) {
      const made = copy.outputs[at];
      if (made) this.#outside.set(output, made);
    }
    return this.#outside.get(value) ?? unreachable('copies have the same outputs');
  }
}
