/**
 * Index arithmetic of kernels: sums of `coefficient * atom` with coefficients that are polynomials in the runtime dims,
 * where an atom is a variable, a quotient or a remainder. Sums are kept in one normal form, so two indices are equal
 * when their keys are, and linearising what was delinearised gives the first index back.
 *
 *   384 * ((i * 384 + j) / 384) + (i * 384 + j) % 384  =  i * 384 + j        when j < 384
 *
 * All values are non-negative integers (u32 in WGSL). Folding needs a proof from the atoms' extents and the declared
 * ranges of the dims; without one the quotient or remainder stays.
 *
 * Not here: text. The writer (writer.ts) prints an index and binds its quotients and remainders to names.
 */
import {
  addDims,
  constantDim,
  constantValue,
  type Dim,
  type DimRange,
  dimBounds,
  divideDim,
  multiplyDims,
  sameDim,
  subtractDims,
  symbolDim,
} from '../../ir/symbolic.ts';

export type Atom =
  | { readonly kind: 'variable'; readonly name: string; readonly extent: Dim | undefined; readonly key: string }
  | {
      readonly kind: 'quotient' | 'remainder';
      readonly of: Index;
      readonly by: Dim;
      readonly extent: Dim | undefined;
      readonly key: string;
    };

export interface IndexTerm {
  readonly coefficient: Dim;
  readonly atom: Atom;
}

export interface Index {
  readonly terms: readonly IndexTerm[];
  readonly constant: Dim;
  readonly key: string;
}

const zero = constantDim(0);
const one = constantDim(1);

function gcd(a: number, b: number): number {
  return b === 0 ? Math.abs(a) : gcd(b, a % b);
}

/** Greatest integer that divides every coefficient; 0 for the zero polynomial. */
function content(dim: Dim): number {
  return dim.terms.reduce((common, term) => gcd(common, term.coefficient), 0);
}

/** A term by itself, with the key that tells it from others. */
function dimOf({ coefficient, factors }: Dim['terms'][number]): Dim {
  return factors.map(symbolDim).reduce(multiplyDims, constantDim(coefficient));
}

function makeIndex(terms: readonly IndexTerm[], constant: Dim): Index {
  const kept = terms
    .filter((term) => term.coefficient.terms.length > 0)
    .sort((a, b) => (a.atom.key < b.atom.key ? -1 : a.atom.key > b.atom.key ? 1 : 0));
  const parts = kept.map((term) => `(${term.coefficient.key})*${term.atom.key}`);
  return { terms: kept, constant, key: [...parts, constant.key].join(' + ') };
}

export function constantIndex(value: number | Dim): Index {
  return makeIndex([], typeof value === 'number' ? constantDim(value) : value);
}

/** A named value in `[0, extent)`; leave the extent out when nothing is known. */
export function variableIndex(name: string, extent?: Dim): Index {
  if (extent !== undefined && constantValue(extent) === 1) return constantIndex(0);
  return makeIndex([{ coefficient: one, atom: { kind: 'variable', name, extent, key: name } }], zero);
}

/** Adds terms with the same atom, then turns `c*d*(x / d) + c*(x % d)` into `c*x` until nothing changes. */
function normalize(terms: readonly IndexTerm[], constant: Dim): Index {
  const byKey = new Map<string, IndexTerm>();
  for (const term of terms) {
    const known = byKey.get(term.atom.key);
    byKey.set(term.atom.key, known ? { ...known, coefficient: addDims(known.coefficient, term.coefficient) } : term);
  }
  for (const { atom, coefficient } of byKey.values()) {
    if (atom.kind !== 'remainder' || coefficient.terms.length === 0) continue;
    const partner = byKey.get(atomKey('quotient', atom.of, atom.by));
    if (!partner || !sameDim(partner.coefficient, multiplyDims(coefficient, atom.by))) continue;
    byKey.delete(atom.key);
    byKey.delete(partner.atom.key);
    const whole = scaleIndex(atom.of, coefficient);
    return normalize([...byKey.values(), ...whole.terms], addDims(constant, whole.constant));
  }
  return makeIndex([...byKey.values()], constant);
}

function atomKey(kind: 'quotient' | 'remainder', of: Index, by: Dim): string {
  return `[${of.key}]${kind === 'quotient' ? '/' : '%'}(${by.key})`;
}

export function addIndices(...indices: readonly Index[]): Index {
  const constant = indices.reduce((sum, index) => addDims(sum, index.constant), zero);
  return normalize(
    indices.flatMap((index) => index.terms),
    constant,
  );
}

export function scaleIndex(index: Index, factor: Dim | number): Index {
  const by = typeof factor === 'number' ? constantDim(factor) : factor;
  return normalize(
    index.terms.map((term) => ({ atom: term.atom, coefficient: multiplyDims(term.coefficient, by) })),
    multiplyDims(index.constant, by),
  );
}

/** Whether the index mentions the variable, also inside quotients and remainders. */
export function mentions(index: Index, name: string): boolean {
  return index.terms.some(({ atom }) => (atom.kind === 'variable' ? atom.name === name : mentions(atom.of, name)));
}

/** The coefficient of a variable and what is left, when the variable stands in no quotient or remainder. */
export function splitLinear(index: Index, name: string): { coefficient: Dim; rest: Index } | undefined {
  const own = index.terms.find((term) => term.atom.kind === 'variable' && term.atom.name === name);
  const rest = makeIndex(
    index.terms.filter((term) => term !== own),
    index.constant,
  );
  return mentions(rest, name) ? undefined : { coefficient: own?.coefficient ?? zero, rest };
}

export function constantOf(index: Index): number | undefined {
  return index.terms.length === 0 ? constantValue(index.constant) : undefined;
}

export interface IndexAlgebra {
  /** `index / by`, rounded down. */
  quotient(index: Index, by: Dim): Index;
  remainder(index: Index, by: Dim): Index;
  /** Row-major position of an index vector. */
  linearize(indices: readonly Index[], shape: readonly Dim[]): Index;
  /** The index vector of a row-major position. */
  delinearize(position: Index, shape: readonly Dim[]): readonly Index[];
  substitute(index: Index, name: string, value: Index): Index;
  /** The greatest value it can have, as a polynomial; undefined when nothing is known. */
  maximum(index: Index): Dim | undefined;
  /** Whether `index < bound` for all values that the ranges allow. */
  isBelow(index: Index, bound: Dim): boolean;
}

export function indexAlgebra(ranges: ReadonlyMap<string, DimRange>): IndexAlgebra {
  const isNonNegative = (dim: Dim) => dimBounds(dim, ranges).minimum >= 0;

  const maximum = (index: Index): Dim | undefined => {
    let sum = index.constant;
    for (const { coefficient, atom } of index.terms) {
      if (!isNonNegative(coefficient) || atom.extent === undefined) return undefined;
      sum = addDims(sum, multiplyDims(coefficient, subtractDims(atom.extent, one)));
    }
    return sum;
  };

  const isBelow = (index: Index, bound: Dim): boolean => {
    const greatest = maximum(index);
    return greatest !== undefined && isNonNegative(subtractDims(subtractDims(bound, greatest), one));
  };

  /** `index = by * whole + rest` with a rest that is no sum of multiples of `by`; undefined when the rest may be negative. */
  const split = (index: Index, by: Dim): { whole: Index; rest: Index } | undefined => {
    const whole: IndexTerm[] = [];
    const rest: IndexTerm[] = [];
    for (const term of index.terms) {
      const quotient = divideDim(term.coefficient, by);
      if (quotient) whole.push({ atom: term.atom, coefficient: quotient });
      else rest.push(term);
    }
    let wholeConstant = zero;
    let restConstant = zero;
    const divisor = constantValue(by);
    for (const term of index.constant.terms) {
      const single = dimOf(term);
      const quotient = divideDim(single, by);
      if (quotient) wholeConstant = addDims(wholeConstant, quotient);
      else if (divisor !== undefined && term.factors.length === 0 && term.coefficient > 0) {
        wholeConstant = addDims(wholeConstant, constantDim(Math.floor(term.coefficient / divisor)));
        restConstant = addDims(restConstant, constantDim(term.coefficient % divisor));
      } else restConstant = addDims(restConstant, single);
    }
    if (!isNonNegative(restConstant) || !rest.every((term) => isNonNegative(term.coefficient))) return undefined;
    return { whole: normalize(whole, wholeConstant), rest: normalize(rest, restConstant) };
  };

  /**
   * `rest = g * coarse + small` with `g` a divisor of `by` and `small < g`: then `rest / by = coarse / (by / g)` and
   * `rest % by = g * (coarse % (by / g)) + small`.
   */
  const coarsen = (rest: Index, by: Dim): { factor: number; coarse: Index; small: Index } | undefined => {
    const limit = content(by);
    const candidates = [limit, ...rest.terms.map((term) => gcd(limit, content(term.coefficient)))];
    for (const factor of [...new Set(candidates)].sort((a, b) => b - a)) {
      if (factor <= 1) return undefined;
      const isCoarse = (dim: Dim) => content(dim) % factor === 0;
      const coarse = rest.terms.filter((term) => isCoarse(term.coefficient));
      const fixed = rest.constant.terms.filter((term) => term.coefficient % factor === 0);
      const loose = rest.constant.terms.filter((term) => term.coefficient % factor !== 0);
      if (coarse.length + fixed.length === 0) continue;
      const asDim = (terms: Dim['terms']) => terms.reduce((sum, term) => addDims(sum, dimOf(term)), zero);
      const small = normalize(
        rest.terms.filter((term) => !isCoarse(term.coefficient)),
        asDim(loose),
      );
      if (!isNonNegative(asDim(fixed)) || !isBelow(small, constantDim(factor))) continue;
      const shrink = (dim: Dim) => divideDim(dim, constantDim(factor)) ?? dim;
      const terms = coarse.map((term) => ({ atom: term.atom, coefficient: shrink(term.coefficient) }));
      return { factor, coarse: normalize(terms, shrink(asDim(fixed))), small };
    }
    return undefined;
  };

  const quotientExtent = (of: Index, by: Dim): Dim | undefined => {
    const greatest = maximum(of);
    if (greatest === undefined) return undefined;
    const [top, divisor] = [constantValue(greatest), constantValue(by)];
    if (top !== undefined && divisor !== undefined) return constantDim(Math.floor(top / divisor) + 1);
    return divideDim(addDims(greatest, one), by);
  };

  const divide = (kind: 'quotient' | 'remainder', of: Index, by: Dim): Index => {
    const extent = kind === 'remainder' ? by : quotientExtent(of, by);
    return makeIndex([{ coefficient: one, atom: { kind, of, by, extent, key: atomKey(kind, of, by) } }], zero);
  };

  const quotient = (index: Index, by: Dim): Index => {
    if (constantValue(by) === 1) return index;
    const parts = split(index, by);
    if (!parts) return divide('quotient', index, by);
    if (isBelow(parts.rest, by)) return parts.whole;
    const coarser = coarsen(parts.rest, by);
    const rest = coarser
      ? quotient(coarser.coarse, divideDim(by, constantDim(coarser.factor)) ?? by)
      : divide('quotient', parts.rest, by);
    return addIndices(parts.whole, rest);
  };

  const remainder = (index: Index, by: Dim): Index => {
    if (constantValue(by) === 1) return constantIndex(0);
    const parts = split(index, by);
    if (!parts) return divide('remainder', index, by);
    if (isBelow(parts.rest, by)) return parts.rest;
    const coarser = coarsen(parts.rest, by);
    if (!coarser) return divide('remainder', parts.rest, by);
    const inner = remainder(coarser.coarse, divideDim(by, constantDim(coarser.factor)) ?? by);
    return addIndices(scaleIndex(inner, coarser.factor), coarser.small);
  };

  const linearize = (indices: readonly Index[], shape: readonly Dim[]): Index => {
    let stride = one;
    const parts: Index[] = [];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      parts.push(scaleIndex(indices[axis] ?? constantIndex(0), stride));
      stride = multiplyDims(stride, shape[axis] ?? one);
    }
    return addIndices(...parts);
  };

  const delinearize = (position: Index, shape: readonly Dim[]): readonly Index[] => {
    // The outermost axis that is not 1 takes the whole quotient: positions are in range, so a remainder says nothing.
    const outermost = shape.findIndex((dim) => constantValue(dim) !== 1);
    const indices: Index[] = shape.map(() => constantIndex(0));
    let left = position;
    for (let axis = shape.length - 1; axis > outermost; axis--) {
      const dim = shape[axis] ?? one;
      indices[axis] = remainder(left, dim);
      left = quotient(left, dim);
    }
    if (outermost >= 0) indices[outermost] = left;
    return indices;
  };

  const substitute = (index: Index, name: string, value: Index): Index => {
    const parts = index.terms.map(({ atom, coefficient }) => {
      if (atom.kind === 'variable') {
        if (atom.name === name) return scaleIndex(value, coefficient);
        return makeIndex([{ atom, coefficient }], zero);
      }
      if (!mentions(atom.of, name)) return makeIndex([{ atom, coefficient }], zero);
      const of = substitute(atom.of, name, value);
      return scaleIndex(atom.kind === 'quotient' ? quotient(of, atom.by) : remainder(of, atom.by), coefficient);
    });
    return addIndices(constantIndex(index.constant), ...parts);
  };

  return { quotient, remainder, linearize, delinearize, substitute, maximum, isBelow };
}
