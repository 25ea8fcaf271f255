/**
 * What words of recipes are about: all parts of a model that heads or neurons can be taken out of, and the weights that are no
 * matrices although they have several axes.
 */
import type { Program } from '../../ir/graph.ts';
import { hasTrait } from '../../ir/ops/index.ts';
import { stringsOf } from '../../ir/ops/shared.ts';
import type { UnitKind } from '../../ir/pruning.ts';
import { planOf } from '../../passes/index.ts';

/** Names above those of weights, the outermost first. */
function childrenOf(paths: readonly string[], part: string): readonly string[] {
  const prefix = part === '' ? '' : `${part}.`;
  const own = paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
  const names = own.flatMap((rest) => (rest.includes('.') ? [rest.slice(0, rest.indexOf('.'))] : []));
  return [...new Set(names)].map((name) => `${prefix}${name}`);
}

/** The largest parts that a rule about all of their units may name. */
export function prunableParts(program: Program, kind: UnitKind): readonly string[] {
  const paths = program.weights.map(({ path }) => path);
  const [span] = program.entries.flatMap((entry) => entry.span ?? []);
  const find = (part: string): readonly string[] =>
    childrenOf(paths, part).flatMap((child) => {
      if (!span) return [];
      const unit = { kind, parts: [child], keep: 0.5, isBudget: false, by: 'l2', span } as const;
      const { value, diagnostics } = planOf({ ...program, prune: { units: [unit], layers: [], weights: [] } });
      if (diagnostics.length === 0 && value.sets.length > 0) return [child];
      return find(child);
    });
  return find('');
}

/** Weights of several axes that nothing multiplies and no row of which is looked up: positions that are added, first tokens. */
export function otherTensors(program: Program): readonly string[] {
  const read = new Set<string>();
  for (const { graph } of program.entries) {
    for (const node of graph.nodes) {
      if (!hasTrait(node, 'contraction') && node.op !== 'gather') continue;
      for (const input of node.inputs) for (const path of pathsBehind(input.node)) read.add(path);
    }
  }
  return program.weights
    .filter(({ path, type }) => type.dtype === 'f32' && type.shape.length > 1 && !read.has(path))
    .map(({ path }) => path);
}

type Node = Program['entries'][number]['graph']['nodes'][number];

/** The weights that a value shows, through views of them. */
function pathsBehind(node: Node): readonly string[] {
  if (node.op === 'weight') return stringsOf(node.attributes, 'paths');
  return hasTrait(node, 'view') ? node.inputs.flatMap((input) => pathsBehind(input.node)) : [];
}

/** Parts whose children are numbered: `encoder.layer` of `encoder.layer.0.…`. */
export function stacksOf(program: Program): readonly string[] {
  const parts = program.weights.flatMap(({ path }) => /^(.*?)\.\d+\./.exec(path)?.[1] ?? []);
  return [...new Set(parts)];
}
