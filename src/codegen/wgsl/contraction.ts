/**
 * The contraction skeleton: one `dot_general` with what is fused before and after it.
 *
 * The product is seen as batch x rows x columns x sum; operands are pulled at (batch, row, sum) and (batch, column, sum),
 * so views of them cost index arithmetic only, and whatever follows is pulled from the accumulators. Which tile computes
 * what is said by the schedule (plan/schedules.ts).
 *
 * Regions without a contraction of this form go to the map skeleton.
 */
import { type Node, onlyOutput } from '../../ir/graph.ts';
import { constantValue, type Dim, dimBounds } from '../../ir/symbolic.ts';
import type { DType } from '../../ir/types.ts';
import { unreachable } from '../../support/error.ts';
import { type ContractionSchedules, contractionSchedules, type Schedule, tileFor } from '../plan/schedules.ts';
import type { Index } from './index-algebra.ts';
import {
  type Draft,
  elements,
  type Kernel,
  type KernelRequest,
  probe,
  regionOf,
  unlimited,
  type Written,
  writeKernel,
} from './kernel.ts';
import { mapKernels } from './map.ts';
import { packedRight } from './packed-sums.ts';
import { type DotShape, dotShape } from './regions.ts';
import { finisher, type Target, targetsOf } from './results.ts';
import { wgslType } from './scalars.ts';
import { sparseRight } from './sparse-sums.ts';
import { writeRegisterTile } from './tile-registers.ts';
import { writeSharedTile } from './tile-shared.ts';
import { writeSlicedTile } from './tile-sliced.ts';
import type { Expression, IndexVector } from './values.ts';

/** A contraction being written: extents, operands at matrix indices, and where its results go. */
export interface Product {
  readonly draft: Draft;
  readonly dot: Node;
  readonly shape: DotShape;
  readonly batch: Dim;
  readonly rows: Dim;
  readonly columns: Dim;
  readonly depth: Dim;
  readonly dtype: DType;
  /** Type of four accumulators. */
  readonly vector: string;
  /** The same product in another draft. */
  inDraft(draft: Draft): Product;
  /** The row operand at (batch, row, sum). */
  left(batch: Index, row: Index, at: Index): Expression;
  /** The column operand at (batch, column, sum). */
  right(batch: Index, column: Index, at: Index): Expression;
  /** Computes what follows the contraction from an accumulator and stores it. */
  finish(batch: Index, row: Index, column: Index, accumulator: Expression): void;
}

export function makeProduct(draft: Draft, dot: Node, targets: readonly Target[]): Product {
  const shape = dotShape(dot);
  const { walker } = draft;
  const { algebra } = walker;
  const dotIndex = (batch: Index, row: Index, column: Index): IndexVector => [
    ...algebra.delinearize(batch, shape.batch),
    ...algebra.delinearize(row, shape.rows),
    ...algebra.delinearize(column, shape.columns),
  ];
  const summed = (at: Index) => algebra.delinearize(at, shape.contracted);
  const finishAt = finisher(draft, dot, targets);
  const { dtype } = onlyOutput(dot).type;
  return {
    draft,
    dot,
    shape,
    batch: elements(shape.batch),
    rows: elements(shape.rows),
    columns: elements(shape.columns),
    depth: elements(shape.contracted),
    dtype,
    vector: wgslType(dtype, 4),
    inDraft: (other) => makeProduct(other, dot, targets),
    left: (batch, row, at) => {
      const output = [...algebra.delinearize(batch, shape.batch), ...algebra.delinearize(row, shape.rows)];
      return walker.at(shape.left, shape.leftIndex(output, summed(at)));
    },
    right: (batch, column, at) => {
      const rows = shape.rows.map(() => batch);
      const output = [
        ...algebra.delinearize(batch, shape.batch),
        ...rows,
        ...algebra.delinearize(column, shape.columns),
      ];
      return walker.at(shape.right, shape.rightIndex(output, summed(at)));
    },
    finish: (batch, row, column, accumulator) => finishAt(dotIndex(batch, row, column), accumulator),
  };
}

function fits(schedule: Schedule, rows: Dim, request: KernelRequest): boolean {
  const { minimum, maximum } = dimBounds(rows, request.ranges);
  return maximum >= schedule.minimum && minimum <= (schedule.maximum ?? Number.POSITIVE_INFINITY);
}

function variantOf({ maximum }: Schedule): Pick<Written, 'variant'> {
  return maximum === undefined ? {} : { variant: maximum === 1 ? 'one_row' : 'few_rows' };
}

/** Sides of a product below this keep a large tile from being filled. */
const slim = 32;

/** The schedule for any number of rows: that of large tiles, or for slim products one that compiles in a third of the time. */
function singleOf(schedules: readonly Schedule[], shape: DotShape): Schedule {
  const sides = [shape.rows, shape.columns, shape.contracted].map((side) => constantValue(elements(side)));
  const isSlim = sides.some((side) => side !== undefined && side <= slim);
  const [last, before] = [...schedules].reverse();
  const chosen = isSlim ? (before ?? last) : last;
  return chosen ?? unreachable('a profile without schedules');
}

function writeProduct(product: Product, schedule: Schedule): Written {
  switch (schedule.tile.kind) {
    case 'registers':
      return writeRegisterTile(product, tileFor(schedule.tile, constantValue(product.columns)));
    case 'shared':
      return writeSharedTile(product, schedule.tile);
    case 'sliced':
      return writeSlicedTile(product, schedule.tile);
  }
}

/** Which schedules a product of two matrices has: weights of which a lane reads several steps at once have their own. */
function kindOf(product: Product): keyof ContractionSchedules {
  if (sparseRight(product) !== undefined) return 'sparse';
  return packedRight(product) === undefined ? 'single' : 'packed';
}

export function contractionKernels(request: KernelRequest): readonly Kernel[] {
  const region = regionOf(request.node);
  const dots = region.nodes.filter((node) => node.op === 'dot_general');
  const [dot] = dots;
  if (!dot || dots.length !== 1) return mapKernels(request);
  const targets = targetsOf(region, dot);
  if (!targets) return mapKernels(request);
  const shape = dotShape(dot);
  const rows = elements(shape.rows);
  const isBatched = constantValue(elements(shape.batch)) !== 1;
  const kind = isBatched ? 'batched' : kindOf(makeProduct(probe(request), dot, targets));
  const schedules = contractionSchedules[request.profile][kind];
  const isAsked = ({ maximum }: Schedule) => request.staged === undefined || maximum === 1;
  const fitting = schedules.filter((schedule) => fits(schedule, rows, request) && isAsked(schedule));
  const chosen = request.isSingle ? [singleOf(schedules, shape)] : fitting;
  return chosen.map((schedule) =>
    writeKernel(request, (draft) => {
      const written = writeProduct(makeProduct(draft, dot, targets), schedule);
      if (chosen.length === 1 && request.staged === undefined) return written;
      const when = { value: rows, minimum: schedule.minimum, maximum: schedule.maximum ?? unlimited };
      return { ...written, when, ...variantOf(schedule) };
    }),
  );
}
