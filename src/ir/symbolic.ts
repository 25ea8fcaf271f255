/**
 * Symbolic dimension arithmetic.
 *
 * After config binding every dimension is an integer polynomial in the runtime dims (`B`, `T`, …). A polynomial is kept
 * in one canonical form, so equality is a comparison of keys; there is no solver. Division is exact or refused.
 * Coefficients stay in the safe integer range: arithmetic that leaves it throws `RangeError`, which lowering turns into
 * a diagnostic.
 *
 * Source of the idea: Relax (TVM) shape expressions; the restriction to polynomials is ours.
 */

/** `coefficient * factors[0] * factors[1] …`; factors are sorted, repeated for powers, empty for a constant. */
export interface Term {
  readonly coefficient: number;
  readonly factors: readonly string[];
}

export interface Dim {
  /** Sorted by factors, no zero coefficient, no two terms with the same factors; empty means 0. */
  readonly terms: readonly Term[];
  /** Canonical text; two dims are equal exactly when their keys are. Also what people see: `4*B*T + 1`. */
  readonly key: string;
}

/** What a runtime dim may be at run time, both ends included. */
export interface DimRange {
  readonly minimum: number;
  readonly maximum: number;
  /** The value is a multiple of this; 1 when nothing was declared. */
  readonly multiple: number;
}

function checked(value: number): number {
  if (!Number.isSafeInteger(value)) throw new RangeError('dimension arithmetic left the safe integer range');
  return value;
}

function printTerm(term: Term): string {
  if (term.factors.length === 0) return String(term.coefficient);
  const product = term.factors.join('*');
  if (term.coefficient === 1) return product;
  if (term.coefficient === -1) return `-${product}`;
  return `${term.coefficient}*${product}`;
}

function compareFactors(left: readonly string[], right: readonly string[]): number {
  // Higher degree first, constants last, then alphabetical: `T*T + 2*T + 1`.
  if (left.length !== right.length) return right.length - left.length;
  const a = left.join('*');
  const b = right.join('*');
  return a < b ? -1 : a > b ? 1 : 0;
}

function normalize(terms: Iterable<Term>): Dim {
  const byFactors = new Map<string, Term>();
  for (const term of terms) {
    const factors = [...term.factors].sort();
    const key = factors.join('*');
    const coefficient = checked((byFactors.get(key)?.coefficient ?? 0) + term.coefficient);
    byFactors.set(key, { coefficient, factors });
  }
  const kept = [...byFactors.values()]
    .filter((term) => term.coefficient !== 0)
    .sort((left, right) => compareFactors(left.factors, right.factors));
  const key = kept.length === 0 ? '0' : kept.map(printTerm).join(' + ').replaceAll('+ -', '- ');
  return { terms: kept, key };
}

/** Index arithmetic makes the same few constants over and over: they are made once. */
const constants = new Map<number, Dim>();
const maximumKeptConstants = 4096;

export function constantDim(value: number): Dim {
  const kept = constants.get(value);
  if (kept) return kept;
  const dim: Dim =
    checked(value) === 0
      ? { terms: [], key: '0' }
      : { terms: [{ coefficient: value, factors: [] }], key: String(value) };
  if (constants.size < maximumKeptConstants) constants.set(value, dim);
  return dim;
}

export function symbolDim(name: string): Dim {
  return { terms: [{ coefficient: 1, factors: [name] }], key: name };
}

export function addDims(left: Dim, right: Dim): Dim {
  if (left.terms.length === 0) return right;
  if (right.terms.length === 0) return left;
  const a = constantValue(left);
  const b = constantValue(right);
  if (a !== undefined && b !== undefined) return constantDim(a + b);
  return normalize([...left.terms, ...right.terms]);
}

export function negateDim(dim: Dim): Dim {
  return normalize(dim.terms.map((term) => ({ ...term, coefficient: -term.coefficient })));
}

export function subtractDims(left: Dim, right: Dim): Dim {
  return addDims(left, negateDim(right));
}

export function multiplyDims(left: Dim, right: Dim): Dim {
  const a = constantValue(left);
  const b = constantValue(right);
  if (a === 1) return right;
  if (b === 1) return left;
  if (a !== undefined && b !== undefined) return constantDim(a * b);
  return normalize(
    left.terms.flatMap((a) =>
      right.terms.map((b) => ({
        coefficient: checked(a.coefficient * b.coefficient),
        factors: [...a.factors, ...b.factors],
      })),
    ),
  );
}

export function productOfDims(dims: readonly Dim[]): Dim {
  return dims.reduce(multiplyDims, constantDim(1));
}

export function sameDim(left: Dim, right: Dim): boolean {
  return left.key === right.key;
}

/** The number a constant dim stands for; undefined when it depends on a runtime dim. */
export function constantValue(dim: Dim): number | undefined {
  if (dim.terms.length === 0) return 0;
  const [only] = dim.terms;
  return dim.terms.length === 1 && only && only.factors.length === 0 ? only.coefficient : undefined;
}

function termQuotient(term: Term, divisor: Term): Term | undefined {
  if (term.coefficient % divisor.coefficient !== 0) return undefined;
  const rest = [...term.factors];
  for (const factor of divisor.factors) {
    const at = rest.indexOf(factor);
    if (at < 0) return undefined;
    rest.splice(at, 1);
  }
  return { coefficient: term.coefficient / divisor.coefficient, factors: rest };
}

/**
 * `dim / divisor` when it is a polynomial for every value of the runtime dims, else undefined. The divisor must be a
 * single term. `ranges` lets a declared `multiple of` prove divisibility of a lone symbol times a constant: such a
 * quotient is not a polynomial with integer coefficients, so it is still refused here; use `isDivisible` to ask.
 */
export function divideDim(dim: Dim, divisor: Dim): Dim | undefined {
  const [single] = divisor.terms;
  if (divisor.terms.length !== 1 || !single) return sameDim(dim, divisor) ? constantDim(1) : undefined;
  const quotients = dim.terms.map((term) => termQuotient(term, single));
  return quotients.every((term) => term !== undefined) ? normalize(quotients) : undefined;
}

/** Whether `dim` is provably a multiple of `divisor` for all values the ranges allow. */
export function isDivisible(dim: Dim, divisor: number, ranges: ReadonlyMap<string, DimRange>): boolean {
  return dim.terms.every((term) => {
    const known = term.factors.reduce(
      (gcd, name) => gcd * (ranges.get(name)?.multiple ?? 1),
      Math.abs(term.coefficient),
    );
    return known % divisor === 0;
  });
}

/** Least and greatest value over the ranges, by interval arithmetic (dims are never negative). */
export function dimBounds(dim: Dim, ranges: ReadonlyMap<string, DimRange>): { minimum: number; maximum: number } {
  let minimum = 0;
  let maximum = 0;
  for (const term of dim.terms) {
    let low = 1;
    let high = 1;
    for (const name of term.factors) {
      const range = ranges.get(name);
      low *= range?.minimum ?? 0;
      high *= range?.maximum ?? Number.POSITIVE_INFINITY;
    }
    const ends = [low * term.coefficient, high * term.coefficient];
    minimum += Math.min(...ends);
    maximum += Math.max(...ends);
  }
  return { minimum, maximum };
}

export function evaluateDim(dim: Dim, values: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const term of dim.terms) {
    let product = term.coefficient;
    for (const name of term.factors) {
      const value = values.get(name);
      if (value === undefined) throw new RangeError(`no value for dim ${name}`);
      product *= value;
    }
    sum += product;
  }
  return checked(sum);
}

/** Replaces symbols by dims: `decode = prefill with T = 1`, shape variables of polymorphic functions. */
export function substituteDim(dim: Dim, bindings: ReadonlyMap<string, Dim>): Dim {
  return dim.terms.reduce((sum, term) => {
    const product = term.factors.reduce(
      (value, name) => multiplyDims(value, bindings.get(name) ?? symbolDim(name)),
      constantDim(term.coefficient),
    );
    return addDims(sum, product);
  }, constantDim(0));
}

/** Names of the runtime dims it depends on, sorted. */
export function symbolsOfDim(dim: Dim): readonly string[] {
  return [...new Set(dim.terms.flatMap((term) => term.factors))].sort();
}

/** Reads the canonical text back: `4*B*T - 2*T + 1`. Returns undefined when the text is not a polynomial. */
export function parseDim(text: string): Dim | undefined {
  const terms: Term[] = [];
  const pattern = /\s*([+-]?)\s*([A-Za-z0-9_*]+)/gy;
  let at = 0;
  while (at < text.trimEnd().length) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (!match || (terms.length > 0 && match[1] === '')) return undefined;
    let coefficient = match[1] === '-' ? -1 : 1;
    const factors: string[] = [];
    for (const part of (match[2] ?? '').split('*')) {
      if (/^[0-9]+$/.test(part)) coefficient *= Number(part);
      else if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) factors.push(part);
      else return undefined;
    }
    if (!Number.isSafeInteger(coefficient)) return undefined;
    terms.push({ coefficient, factors });
    at = pattern.lastIndex;
  }
  return terms.length === 0 ? undefined : normalize(terms);
}
