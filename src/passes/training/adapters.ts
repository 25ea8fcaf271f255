/**
 * Low-rank adapters beside the matrices of a model: y + alpha / rank B (A x). Hu et al. 2021; names and beginnings as in peft.
 *
 * A matrix of which parts are read (query, key and value of `in_proj_weight`) has none to stand beside: there the parts are read of
 * W + alpha / rank B A, as in peft's layer for `nn.MultiheadAttention`.
 */
import { createEmitter } from '../../ir/emit.ts';
import type { Adapter, AdapterParts, GraphBuilder, Initializer, Node, Value, Weight } from '../../ir/graph.ts';
import type { InferContext } from '../../ir/op.ts';
import { calculus } from '../../ir/ops/calculus.ts';
import { constantDim, constantValue, type Dim } from '../../ir/symbolic.ts';
import type { Span } from '../../support/source.ts';
import { definitionOf, hasTrait } from '../pass.ts';

/** A weight that cannot carry an adapter. */
export class NoAdapter extends Error {
  readonly adapter: Adapter;

  constructor(adapter: Adapter, why: string) {
    super(why);
    this.name = 'NoAdapter';
    this.adapter = adapter;
  }
}

/** Names as peft saves them. */
function adapterPath(path: string, part: 'A' | 'B'): string {
  return `base_model.model.${path.replace(/\.weight$/, '')}.lora_${part}.weight`;
}

/** What the writer has of the graph that is being written. */
export interface AdapterSite {
  readonly builder: GraphBuilder;
  readonly context: InferContext;
  /** The next number by which dropped elements are told apart. */
  nextStream(): number;
  /** The weight that a node reads from the checkpoint, under the path that it trains under. */
  matrixOf(node: Node): Weight | undefined;
  ownPath(path: string): string;
  /** Whether what reads the matrix sums over its first axis. */
  isTransposed(path: string): boolean;
  /** The leaf of a parameter in the graph, made when first asked for. */
  leafOf(weight: Weight, span: Span): Value;
}

export class AdapterWriter {
  /** The matrices of the adapters, in the order of their places in the graph. */
  readonly weights: Weight[] = [];
  readonly #site: AdapterSite;
  readonly #adapters: ReadonlyMap<string, Adapter>;
  readonly #parts = new Map<Adapter, AdapterParts>();
  /** Matrices with what is added to them. */
  readonly #whole = new Map<Adapter, Value>();

  constructor(adapters: readonly Adapter[], site: AdapterSite) {
    this.#site = site;
    this.#adapters = new Map(adapters.map((adapter) => [site.ownPath(adapter.path), adapter]));
  }

  get parts(): readonly AdapterParts[] {
    return [...this.#parts.values()];
  }

  /**
   * The operands of a node in the new graph, matrices of which it shows a part with what their adapters add.
   *
   * @throws NoAdapter when something of the input would have to be dropped
   */
  operands(node: Node, inputs: readonly Value[]): readonly Value[] {
    if (!hasTrait(node, 'view')) return inputs;
    return inputs.map((input, at) => {
      const own = this.#carrier(node, at);
      return own ? this.#added(node, own.weight, own.adapter, input) : input;
    });
  }

  /** The weight that an operand is, with its adapter. */
  #carrier(node: Node, at: number): { readonly weight: Weight; readonly adapter: Adapter } | undefined {
    const source = node.inputs[at]?.node;
    const weight = source && this.#site.matrixOf(source);
    const adapter = weight && this.#adapters.get(weight.path);
    return weight && adapter ? { weight, adapter } : undefined;
  }

  #added(node: Node, own: Weight, adapter: Adapter, matrix: Value): Value {
    const known = this.#whole.get(adapter);
    if (known) return known;
    if (adapter.dropout > 0)
      throw new NoAdapter(
        adapter,
        `parts of \`${own.path}\` are read, so there is no input to drop something of: leave out \`dropout\``,
      );
    const emitter = createEmitter(this.#site.builder, this.#site.context, { span: node.span, label: node.label });
    const isTransposed = this.#site.isTransposed(own.path);
    const [a, b] = this.#matrices(own, adapter, isTransposed);
    const turned = emitter.emit('transpose', [a], { permutation: [1, 0] });
    const product = emitter.emit('linear', isTransposed ? [turned, b] : [b, turned]);
    const whole = emitter.emit('add', [matrix, calculus(emitter).scale(product, adapter.alpha / adapter.rank)]);
    this.#whole.set(adapter, whole);
    return whole;
  }

  /**
   * `output` with what the adapters of the node's matrices add to it; `inputs` are the node's operands in the new graph.
   *
   * @throws NoAdapter when a weight with an adapter is read as something else than a matrix
   */
  beside(node: Node, inputs: readonly Value[], output: Value): Value {
    let value = output;
    if (hasTrait(node, 'view')) return value;
    for (const at of node.inputs.keys()) {
      const own = this.#carrier(node, at);
      if (!own) continue;
      const { weight, adapter } = own;
      const place = definitionOf(node).mapsLastAxis?.(inputs, node.attributes, at);
      if (!place) throw new NoAdapter(adapter, `\`${weight.path}\` is read by \`${node.op}\`, not as a matrix alone`);
      const added = this.#lowRank(node, weight, adapter, place);
      const emitter = createEmitter(this.#site.builder, this.#site.context, { span: node.span, label: node.label });
      value = emitter.emit('add', [value, added]);
    }
    return value;
  }

  #lowRank(
    node: Node,
    own: Weight,
    adapter: Adapter,
    { x, isTransposed }: { readonly x: Value; readonly isTransposed: boolean },
  ): Value {
    const emitter = createEmitter(this.#site.builder, this.#site.context, { span: node.span, label: node.label });
    const [a, b] = this.#matrices(own, adapter, isTransposed);
    const { dropout } = adapter;
    const stream = dropout === 0 ? 0 : this.#site.nextStream();
    const kept = dropout === 0 ? x : emitter.emit('dropout', [x], { p: dropout, stream });
    const low = emitter.emit('linear', [emitter.emit('linear', [kept, a]), b]);
    return calculus(emitter).scale(low, adapter.alpha / adapter.rank);
  }

  /** A [rank, inputs] and B [outputs, rank]. */
  #matrices(own: Weight, adapter: Adapter, isTransposed: boolean): readonly [Value, Value] {
    const rank = constantDim(adapter.rank);
    const [outputs = rank, columns = rank] = isTransposed ? [...own.type.shape].reverse() : own.type.shape;
    // As peft begins: what is added is 0 at first.
    const bound = 1 / Math.sqrt(constantValue(columns) ?? 1);
    const down = this.#matrix(adapter, adapterPath(own.path, 'A'), [rank, columns], {
      kind: 'uniform',
      low: -bound,
      high: bound,
    });
    const up = this.#matrix(adapter, adapterPath(own.path, 'B'), [outputs, rank], { kind: 'constant', value: 0 });
    const factor = adapter.alpha / adapter.rank;
    this.#parts.set(adapter, { path: own.path, down: down.path, up: up.path, factor, isTransposed });
    return [down, up].map((weight) => this.#site.leafOf(weight, adapter.span)) as [Value, Value];
  }

  #matrix(adapter: Adapter, path: string, shape: readonly Dim[], initial: Initializer): Weight {
    const known = this.weights.find((weight) => weight.path === path);
    if (known) return known;
    const weight: Weight = { path, type: { dtype: 'f32', shape }, span: adapter.span, doc: undefined, initial };
    this.weights.push(weight);
    return weight;
  }
}
