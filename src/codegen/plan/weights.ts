/**
 * Weights of the artifact: one per distinct `weight` node, with the layout that its readers like.
 */
import type { Node, Program, Weight } from '../../ir/graph.ts';
import { numberOf, numbersOf, stringsOf } from '../../ir/ops/shared.ts';
import { placeBits, slicedPaths } from '../../ir/pruning.ts';
import { constantValue, type Dim } from '../../ir/symbolic.ts';
import { isTable } from '../../passes/index.ts';
import type {
  NmFormat,
  NmLayout,
  PackedFormat,
  WeightLayout,
  WeightSource,
  WeightSpec,
} from '../../runtime/artifact.ts';
import { unreachable } from '../../support/error.ts';
import { packedVectors, panelWidth } from './schedules.ts';

const rowMajor: WeightLayout = { kind: 'row-major' };

/** Paths and rows: each key is one buffer. */
export function weightKey(node: Node): string {
  const rows = node.attributes.first === undefined ? [] : [`${firstRow(node)} ${node.outputs[0]?.type.shape[0]?.key}`];
  return [...stringsOf(node.attributes, 'paths'), ...rows].join('\n');
}

function firstRow(node: Node): number {
  return node.attributes.first === undefined ? 0 : numberOf(node.attributes, 'first');
}

function numbers(shape: readonly Dim[]): readonly number[] {
  return shape.map((dim) => constantValue(dim) ?? unreachable(`a weight of shape \`${dim.key}\``));
}

/**
 * How a fused node reads an operand: as the [N, K] side of products that sum over K, row by row as the table of lookups, or
 * in some other way. Panels are made for the first; the second reads few elements, so it can read either layout.
 */
type Use = 'columns' | 'table' | 'other';

function useOf(node: Node, operand: number): Use {
  const input = node.region?.inputs[operand];
  const value = input?.outputs[0];
  if (value === undefined || value.type.shape.length !== 2) return 'other';
  if (node.region?.results.some((result) => result.value === value)) return 'other';
  const users = node.region?.nodes.filter((user) => user.inputs.includes(value)) ?? [];
  const asColumns = (user: Node) =>
    user.op === 'dot_general' &&
    user.inputs[1] === value &&
    user.inputs[0] !== value &&
    numbersOf(user.attributes, 'rhs_contract').join() === '1' &&
    numbersOf(user.attributes, 'rhs_batch').length === 0;
  const asTable = (user: Node) => user.inputs.every((other, at) => other !== value || isTable(user, at));
  if (users.length > 0 && users.every(asColumns)) return 'columns';
  return users.length > 0 && users.every(asTable) ? 'table' : 'other';
}

/** Where the parts of a packed weight begin, in words, and how many of each a panel has. */
export interface PackedPlaces {
  /** Outputs of a panel. */
  readonly width: number;
  /** Outputs and inputs. */
  readonly rows: number;
  readonly columns: number;
  /** Numbers in a word. */
  readonly perWord: number;
  /** Words of a row, … */
  readonly words: number;
  /** … and how many of them follow each other: those that 32 steps of a sum take (wgsl/packed-eights.ts). */
  readonly run: number;
  readonly groups: number;
  readonly scales: number;
  readonly zeros: number;
  readonly end: number;
}

export function packedPlaces(shape: readonly number[], format: PackedFormat): PackedPlaces {
  const [first = 1, ...rest] = shape;
  const others = rest.reduce((product, size) => product * size, 1);
  const [rows, columns] = format.transposed ? [others, first] : [first, others];
  const perWord = format.kind === 'int8' ? 4 : 8;
  const words = Math.ceil(columns / perWord);
  const groups = format.group === undefined ? 1 : Math.max(1, Math.ceil(columns / format.group));
  const width = panelWidth * packedVectors(rows);
  // A panel of one vector for each lane is in that order as it is.
  const run = width > panelWidth && words % (32 / perWord) === 0 ? 32 / perWord : 1;
  const padded = Math.ceil(rows / width) * width;
  const scales = padded * words;
  const zeros = scales + padded * groups;
  const end = zeros + (format.asymmetric ? (padded * groups) / 4 : 0);
  return { width, rows, columns, perWord, words, run, groups, scales, zeros, end };
}

function packedLayout(shape: readonly number[], format: PackedFormat): WeightLayout {
  const { width, run, end } = packedPlaces(shape, format);
  return { kind: 'packed', width, run, format, words: end };
}

/** Where the parts of an n:m weight begin, in words, and how many of each a panel has. */
export interface NmPlaces {
  /** Outputs and groups of inputs. */
  readonly rows: number;
  readonly groups: number;
  /** Bits of a group's places, and groups whose places share a word. */
  readonly bits: number;
  readonly perWord: number;
  /** Words of places of a row. */
  readonly words: number;
  readonly places: number;
  readonly end: number;
}

export function nmPlaces(shape: readonly number[], format: NmFormat): NmPlaces {
  const [first = 1, second = 1] = shape;
  const [rows, columns] = format.transposed ? [second, first] : [first, second];
  const groups = columns / format.of;
  const bits = placeBits(format);
  const perWord = 32 / bits;
  const words = Math.ceil(groups / perWord);
  const padded = Math.ceil(rows / panelWidth) * panelWidth;
  const places = padded * groups * format.keep;
  return { rows, groups, bits, perWord, words, places, end: places + padded * words };
}

function nmLayout(shape: readonly number[], format: NmFormat): NmLayout {
  const { bits, end } = nmPlaces(shape, format);
  return { kind: 'nm', width: panelWidth, format, bits, words: end };
}

export interface WeightTable {
  readonly specs: readonly WeightSpec[];
  /** Index of a `weight` node's spec. */
  indexOf(node: Node): number;
}

type Declared = ReadonlyMap<string, { readonly weight: Weight; readonly at: number }>;

/** The key of the same rows of the weight that this one may be tied to. */
function tieKey(node: Node, declared: Declared): string | undefined {
  const [path, another] = stringsOf(node.attributes, 'paths');
  const tied = path === undefined || another !== undefined ? undefined : declared.get(path)?.weight.tied;
  return tied === undefined ? undefined : weightKey({ ...node, attributes: { ...node.attributes, paths: [tied] } });
}

/** All weights that some kernel reads, in the order of the program's declarations. */
export function weightTable(program: Program, perProfile: readonly Program[]): WeightTable {
  const nodes = new Map<string, Node>();
  const uses = new Map<string, Set<Use>>();
  const use = (node: Node, how: Use) =>
    uses.set(weightKey(node), (uses.get(weightKey(node)) ?? new Set<Use>()).add(how));
  for (const graph of perProfile.flatMap((profile) => profile.entries.map((entry) => entry.graph))) {
    for (const node of graph.nodes) if (node.op === 'weight') nodes.set(weightKey(node), node);
    for (const node of graph.nodes) {
      for (const [operand, value] of node.inputs.entries()) {
        if (value.node.op === 'weight') use(value.node, useOf(node, operand));
      }
    }
    for (const { value } of graph.results) if (value.node.op === 'weight') use(value.node, 'other');
  }
  const declared = new Map(program.weights.map((weight, at) => [weight.path, { weight, at }]));
  const sliced = slicedPaths(program.pruned);
  const order = (node: Node) => declared.get(stringsOf(node.attributes, 'paths')[0] ?? '')?.at ?? 0;
  const sorted = [...nodes].sort(
    ([a, left], [b, right]) => order(left) - order(right) || firstRow(left) - firstRow(right) || (a < b ? -1 : 1),
  );
  const wantsPanels = (key: string) => uses.get(key)?.has('columns') === true && !uses.get(key)?.has('other');
  /** Tables that a product's weight may be tied to lie as that weight does, so that one buffer serves both. */
  const tiedPanels = new Set(
    sorted
      .flatMap(([key, node]) => (wantsPanels(key) ? [tieKey(node, declared)] : []))
      .filter((key) => key !== undefined),
  );
  const inPanels = (key: string) =>
    wantsPanels(key) || (tiedPanels.has(key) && [...(uses.get(key) ?? [])].every((how) => how === 'table'));
  const specs = sorted.map(([key, node]): WeightSpec => {
    const type = node.outputs[0]?.type ?? unreachable('a weight without a type');
    const paths = stringsOf(node.attributes, 'paths');
    const sources = paths.map((path): WeightSource => {
      const own = declared.get(path)?.weight;
      return {
        path,
        shape: numbers(own?.type.shape ?? type.shape),
        ...(own?.tied === undefined ? {} : { tied: own.tied }),
        ...(sliced.has(path) ? { sliced: true } : {}),
        // Only what trains begins without a checkpoint.
        ...(program.training && own?.initial ? { initial: own.initial } : {}),
      };
    });
    const shape = numbers(type.shape);
    const { format, sparse } = declared.get(paths[0] ?? '')?.weight ?? {};
    const plain: WeightLayout = inPanels(key) ? { kind: 'panels', width: panelWidth } : rowMajor;
    const layout =
      format === undefined || format.kind === 'f16'
        ? sparse
          ? nmLayout(shape, sparse)
          : plain
        : packedLayout(shape, { ...format, kind: format.kind });
    const dtype = format?.kind === 'f16' ? 'f16' : type.dtype;
    const first = firstRow(node);
    return { sources, shape, ...(first === 0 ? {} : { first }), dtype, layout };
  });
  const index = new Map(sorted.map(([key], at) => [key, at]));
  return { specs, indexOf: (node) => index.get(weightKey(node)) ?? unreachable(`no weight ${weightKey(node)}`) };
}
