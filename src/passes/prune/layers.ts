/**
 * Dropping whole layers of a stack: `layers "encoder.layer": keep 0.5`.
 *
 * A stack is a chain of values x0 -> x1 -> … of one type in which each layer computes the same of its own weights. It is found by that
 * alone: what layer 0 makes of x0 is compared, node by node, with what the others make. Those that stay lie evenly, the first and
 * the last among them, as in Sanh et al. 2019 and Fan et al. 2020; they keep their names, so a dense checkpoint fits.
 */
import { type Graph, GraphBuilder, type Node, type Program, usersOf, type Value } from '../../ir/graph.ts';
import { stringOf, stringsOf } from '../../ir/ops/shared.ts';
import { printGraph } from '../../ir/print.ts';
import type { LayerRule } from '../../ir/pruning.ts';
import { sameType } from '../../ir/types.ts';
import { type Diagnostic, diagnose, type Stage } from '../../support/diagnostic.ts';
import { unreachable } from '../../support/error.ts';
import { attributesKey, copyNode } from '../pass.ts';

/** A part and its numbered layers, ascending. */
interface Layers {
  readonly part: string;
  readonly numbers: readonly number[];
}

function layersUnder(program: Program, part: string): Layers {
  const numbers = program.weights.flatMap(({ path }) => {
    const [first = ''] = path.startsWith(`${part}.`) ? path.slice(part.length + 1).split('.') : [];
    return /^\d+$/.test(first) ? Number(first) : [];
  });
  return { part, numbers: [...new Set(numbers)].sort((a, b) => a - b) };
}

/** Places of `keep` among `count`, evenly, both ends among them. */
export function spreadEvenly(count: number, keep: number): readonly number[] {
  if (keep === 1) return [0];
  return Array.from({ length: keep }, (_, at) => Math.round((at * (count - 1)) / (keep - 1)));
}

/** Name of what a leaf reads from the file or the session. */
function nameOf(node: Node): string | undefined {
  if (node.op === 'weight') return stringsOf(node.attributes, 'paths').join();
  return node.op === 'state' ? stringOf(node.attributes, 'path') : undefined;
}

/** What the attributes of a node say; which random numbers a layer draws is its own affair. */
function shapeOf({ attributes }: Node): string {
  const { stream: _, ...others } = attributes;
  return attributesKey(others);
}

/** A stack in one graph. */
class Stack {
  readonly #graph: Graph;
  readonly #layers: Layers;
  /** The last layer that a node depends on, by place; -1: none. */
  readonly #stages = new Map<Node, number>();
  readonly #users: ReadonlyMap<Value, readonly Node[]>;

  constructor(graph: Graph, layers: Layers) {
    this.#graph = graph;
    this.#layers = layers;
    this.#users = usersOf(graph);
    for (const node of graph.nodes) {
      const inputs = node.inputs.map((value) => this.stage(value.node));
      this.#stages.set(node, Math.max(this.#layerOf(nameOf(node)), ...inputs, -1));
    }
  }

  stage(node: Node): number {
    return this.#stages.get(node) ?? -1;
  }

  /** Whether the graph runs through the stack. */
  get isUsed(): boolean {
    return this.#graph.nodes.some((node) => this.stage(node) >= 0);
  }

  #prefix(at: number): string {
    return `${this.#layers.part}.${this.#layers.numbers[at]}.`;
  }

  #layerOf(name: string | undefined): number {
    return name === undefined ? -1 : this.#layers.numbers.findIndex((_, at) => name.startsWith(this.#prefix(at)));
  }

  /** Whether `b` is made in layer `at` of `inputs[1]` as `a` is made in layer 0 of `inputs[0]`. */
  #isAlike(a: Value, b: Value, at: number, inputs: readonly [Value, Value], pairs: Map<Node, Node>): boolean {
    if (a === inputs[0]) return b === inputs[1];
    if (this.stage(a.node) < 0) return a === b || this.#isSameLeaf(a, b);
    const known = pairs.get(a.node);
    if (known) return known === b.node && a.output === b.output;
    if (a.node.op !== b.node.op || a.output !== b.output || a.node.inputs.length !== b.node.inputs.length) return false;
    if (!sameType(a.type, b.type)) return false;
    const [left, right] = [nameOf(a.node), nameOf(b.node)];
    const isSame =
      left !== undefined && right !== undefined
        ? left.startsWith(this.#prefix(0)) &&
          right.startsWith(this.#prefix(at)) &&
          left.slice(this.#prefix(0).length) === right.slice(this.#prefix(at).length)
        : shapeOf(a.node) === shapeOf(b.node);
    if (!isSame) return false;
    const regions = [a.node.region, b.node.region].map((region) => region && printGraph(region));
    if (regions[0] !== regions[1]) return false;
    pairs.set(a.node, b.node);
    return a.node.inputs.every((value, index) => {
      const other = b.node.inputs[index];
      return other !== undefined && this.#isAlike(value, other, at, inputs, pairs);
    });
  }

  /** Leaves and what is made of them alone are written anew for each layer. */
  #isSameLeaf(a: Value, b: Value): boolean {
    if (a.node.op !== b.node.op || a.output !== b.output || this.stage(b.node) >= 0) return false;
    if (nameOf(a.node) !== nameOf(b.node) || a.node.op === 'input') return false;
    if (attributesKey(a.node.attributes) !== attributesKey(b.node.attributes)) return false;
    if (a.node.region || b.node.region || a.node.inputs.length !== b.node.inputs.length) return false;
    return a.node.inputs.every((value, at) => {
      const other = b.node.inputs[at];
      return other !== undefined && (value === other || this.#isSameLeaf(value, other));
    });
  }

  #outputsAt(stage: number): readonly Value[] {
    return this.#graph.nodes.flatMap((node) => (this.stage(node) === stage ? node.outputs : []));
  }

  /** Values that a node of a later stage reads. */
  #crossing(from: number): readonly Value[] {
    const values =
      from < 0
        ? this.#graph.nodes.filter((node) => this.stage(node) < 0).flatMap(({ outputs }) => outputs)
        : this.#outputsAt(from);
    return values.filter((value) => (this.#users.get(value) ?? []).some((node) => this.stage(node) > from));
  }

  /** x0, x1, … up to the output of the last layer; undefined when the layers are no such chain. */
  chain(): readonly Value[] | undefined {
    const { length } = this.#layers.numbers;
    for (const second of this.#crossing(0)) {
      for (const first of this.#crossing(-1)) {
        if (!sameType(first.type, second.type)) continue;
        const chain = [first, second];
        for (let at = 1; at < length; at++) {
          const input = chain[at] ?? first;
          const found = this.#outputsAt(at).find((value) =>
            this.#isAlike(second, value, at, [first, input], new Map()),
          );
          if (!found) break;
          chain.push(found);
        }
        if (chain.length === length + 1) return chain;
      }
    }
    return undefined;
  }

  /** Nodes between the input and the output of a layer; undefined when something else reads them. */
  inner(at: number, input: Value, output: Value): ReadonlySet<Node> | undefined {
    const nodes = new Set<Node>();
    const pending = [output];
    for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
      if (value === input || nodes.has(value.node) || this.stage(value.node) < at) continue;
      nodes.add(value.node);
      pending.push(...value.node.inputs);
    }
    for (const node of nodes) {
      for (const value of node.outputs) {
        const isResult = this.#graph.results.some((result) => result.value === value);
        const isRead = (this.#users.get(value) ?? []).some((user) => !nodes.has(user));
        if (value !== output && (isResult || isRead)) return undefined;
      }
    }
    return nodes;
  }
}

function withoutLayers(graph: Graph, layers: Layers, dropped: readonly number[]): Graph | undefined {
  const stack = new Stack(graph, layers);
  if (!stack.isUsed) return graph;
  const chain = stack.chain();
  if (!chain) return undefined;
  const gone = new Set<Node>();
  const instead = new Map<Value, Value>();
  for (const at of dropped) {
    const [input, output] = [chain[at], chain[at + 1]];
    const inner = input && output && stack.inner(at, input, output);
    if (!inner) return undefined;
    for (const node of inner) gone.add(node);
    instead.set(output, input);
  }
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const mapped = (value: Value): Value => {
    const other = instead.get(value);
    return other ? mapped(other) : (values.get(value) ?? unreachable(`\`${value.node.op}\` is not mapped`));
  };
  for (const node of graph.nodes) {
    if (gone.has(node)) continue;
    const copy = copyNode(builder, node, node.inputs.map(mapped));
    node.outputs.forEach((output, at) => {
      values.set(output, copy.outputs[at] ?? unreachable('a copy has the same outputs'));
    });
  }
  return builder.finish(
    graph.name,
    graph.results.map(({ name, value }) => ({ name, value: mapped(value) })),
  );
}

/** The program without the layers that a rule drops. */
function dropLayers(program: Program, rule: LayerRule): Stage<Program> {
  let current = program;
  const refuse = (diagnostic: Diagnostic): Stage<Program> => ({ value: program, diagnostics: [diagnostic] });
  for (const part of rule.parts) {
    const layers = layersUnder(current, part);
    const count = layers.numbers.length;
    if (count < 2) {
      const help = 'name what comes before the numbers: `layers "encoder.layer": keep 0.5`';
      return refuse(diagnose('SORA2312', `"${part}" holds no layers`, rule.span, { help }));
    }
    const keep = Math.round(count * rule.keep);
    if (keep < 1 || keep >= count) {
      const message = `\`keep ${rule.keep}\` leaves ${keep < 1 ? 'none' : 'all'} of the ${count} layers of "${part}"`;
      return refuse(diagnose('SORA2313', message, rule.span, { help: `keep 1 to ${count - 1} of ${count}` }));
    }
    const kept = spreadEvenly(count, keep);
    const dropped = layers.numbers.flatMap((_, at) => (kept.includes(at) ? [] : at));
    const graphs = current.entries.map(({ graph }) => withoutLayers(graph, layers, dropped));
    const failed = graphs.indexOf(undefined);
    if (failed >= 0) {
      const message = `layers of "${part}" cannot be taken out: in \`${current.entries[failed]?.name}\` they do not feed one into the next alike`;
      return refuse(
        diagnose('SORA2311', message, rule.span, { help: 'each has to compute the same of its own weights' }),
      );
    }
    const isGone = (path: string) => dropped.some((at) => path.startsWith(`${part}.${layers.numbers[at]}.`));
    current = {
      ...current,
      weights: current.weights.filter(({ path }) => !isGone(path)),
      states: current.states.filter(({ path }) => !isGone(path)),
      entries: current.entries.map((entry, at) => ({ ...entry, graph: graphs[at] ?? entry.graph })),
    };
  }
  return { value: current, diagnostics: [] };
}

/** All rules about layers, in order. */
export function pruneLayers(program: Program): Stage<Program> {
  let value = program;
  for (const rule of program.prune?.layers ?? []) {
    const stage = dropLayers(value, rule);
    if (stage.diagnostics.length > 0) return stage;
    value = stage.value;
  }
  return { value, diagnostics: [] };
}
