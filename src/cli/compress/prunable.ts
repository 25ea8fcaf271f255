/**
 * What words of recipes are about: all parts of a model that heads or neurons can be taken out of, and the weights that are no
 * matrices although they have several axes.
 */
import type { Program, Weight } from '../../ir/graph.ts';
import { hasTrait } from '../../ir/ops/index.ts';
import { stringsOf } from '../../ir/ops/shared.ts';
import type { UnitKind } from '../../ir/pruning.ts';
import { planOf, tableRows } from '../../passes/index.ts';

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
      const { value, diagnostics } = planOf({
        ...program,
        prune: { units: [unit], rows: [], layers: [], weights: [] },
      });
      if (diagnostics.length === 0 && value.sets.length > 0) return [child];
      return find(child);
    });
  return find('');
}

/** The parts of the largest table that entries look tokens up in, and of what scores as many classes; none where rows cannot be taken out. */
export function rowParts(program: Program): readonly string[] {
  const [span] = program.entries.flatMap((entry) => entry.span ?? []);
  if (!span) return [];
  const matrices = program.weights.filter(({ type, tied }) => type.shape.length === 2 && tied === undefined);
  const plan = (parts: readonly string[], by: 'activation' | 'l2' = 'activation') => {
    const rule = { parts, keep: 0.5, by, span } as const;
    return planOf({ ...program, prune: { units: [], rows: [rule], layers: [], weights: [] } });
  };
  const partOf = ({ path }: Weight): string => path.slice(0, Math.max(0, path.lastIndexOf('.')));
  const named = matrices.filter((weight) => partOf(weight) !== '');
  const tables = named.filter((weight) => plan([partOf(weight)]).diagnostics.length === 0);
  const [largest] = tables.toSorted((a, b) => tableRows(b) - tableRows(a));
  if (!largest) return [];
  // What only scores as many classes, and is not looked up itself.
  const isScoring = (part: string): boolean => {
    const { value, diagnostics } = plan([part], 'l2');
    return diagnostics.length === 0 && value.sets.every(({ rows }) => rows?.lookups.length === 0);
  };
  const alike = named.filter((weight) => weight !== largest && tableRows(weight) === tableRows(largest)).map(partOf);
  const fits = (part: string): boolean => isScoring(part) && plan([partOf(largest), part]).diagnostics.length === 0;
  return [partOf(largest), ...alike.filter(fits)];
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
