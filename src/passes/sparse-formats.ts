/**
 * Weights of which a `prune` rule keeps `keep` of `of` neighbours: which of them a device holds packed, and that it is worth it.
 *
 * A group is its `keep` numbers and their places, log2(of) bits each, rounded up to a power of two so that the places of a group
 * lie in one word.
 */
import type { Program, SparseFormat, Weight } from '../ir/graph.ts';
import { nmWords, type Sparsity, type WeightRule } from '../ir/pruning.ts';
import { transposedMatrices } from '../ir/summed-axis.ts';
import { constantValue } from '../ir/symbolic.ts';
import { diagnose, type Stage } from '../support/diagnostic.ts';

type Pattern = Pick<SparseFormat, 'keep' | 'of'>;

/** Sizes of groups that kernels know. */
const sizes: readonly number[] = [2, 4, 8, 16];

/** Of the bytes of the dense matrix at most this may be left. */
const mostBytes = 0.75;

/**
 * Comparisons that spread a group out, per step of the sum, at most. Processor time of a product of one, four and 64 rows with
 * 8192 x 3072 numbers on lavapipe, the dense one 1.0: 1 of 4 (one comparison) 0.7, 1.1, 1.1; 2 of 4 (1.5) 0.95, 0.8, 1.2; in an earlier
 * form 4 of 8 (2.5) 1.8, 8 of 16 (4.5) 1.9.
 */
const mostComparisons = 1.75;

const percent = (share: number) => `${Math.round(share * 1000) / 10} %`;

/** What speaks against holding such weights packed; undefined: nothing. */
function obstacle({ keep, of }: Pattern): string | undefined {
  if (!sizes.includes(of)) return `there are kernels for groups of ${sizes.join(', ')}, not of ${of}`;
  const share = nmWords({ keep, of }) / of;
  const bits = keep * Math.log2(of);
  const numbers = keep === 1 ? 'one number' : `${keep} numbers`;
  if (share > mostBytes)
    return `${numbers} and ${bits} bits of places are ${percent(share)} of ${of} numbers, more than ${percent(mostBytes)}`;
  // Places rise: number i may be at keep - i steps from the end, and no nearer.
  const comparisons = (keep * (of - keep + 1)) / of;
  if (comparisons <= mostComparisons) return undefined;
  return `finding ${numbers} among ${of} takes ${comparisons} comparisons for each of them, and up to ${mostComparisons} pay`;
}

function patternOf(sparsity: Sparsity): Pattern | undefined {
  return sparsity.kind === 'nm' ? sparsity : undefined;
}

/** The form on a device; undefined where the weight stays as it is. */
function sparsityOf(weight: Weight, { keep, of }: Pattern, isTransposed: boolean): SparseFormat | undefined {
  const { type, format } = weight;
  const inputs = type.shape[isTransposed ? 0 : 1];
  const size = inputs && constantValue(inputs);
  const isMatrix = type.dtype === 'f32' && type.shape.length === 2 && format === undefined;
  if (!isMatrix || size === undefined || size % Math.max(of, 4) !== 0) return undefined;
  return { keep, of, ...(isTransposed ? { transposed: true } : {}) };
}

/** The program with packed forms of weights that an n:m rule is the last to name. A model that trains has all of its weights as they are. */
export function chooseSparseFormats(program: Program): Stage<Program> {
  if (program.train) return { value: program, diagnostics: [] };
  const rules: readonly WeightRule[] = program.prune?.weights ?? [];
  const diagnostics = rules.flatMap(({ sparsity, span }) => {
    const pattern = patternOf(sparsity);
    const why = pattern && obstacle(pattern);
    if (!pattern || why === undefined) return [];
    const message = `weights of \`nm(${pattern.keep}, ${pattern.of})\` are held as dense ones: ${why}`;
    return [diagnose('SORA3002', message, span, { help: '`nm(2, 4)` and `nm(1, 4)` are held packed' })];
  });
  if (!rules.some(({ sparsity }) => patternOf(sparsity))) return { value: program, diagnostics };
  const transposed = transposedMatrices(program.entries.map(({ graph }) => graph));
  const byPath = new Map(
    rules.flatMap(({ paths, sparsity }) => paths.map((path) => [path, patternOf(sparsity)] as const)),
  );
  const weights = program.weights.map((weight): Weight => {
    const pattern = byPath.get(weight.path);
    const isPacked = pattern && obstacle(pattern) === undefined;
    const sparse = isPacked ? sparsityOf(weight, pattern, transposed.has(weight.path)) : undefined;
    return sparse ? { ...weight, sparse } : weight;
  });
  return { value: { ...program, weights }, diagnostics };
}
