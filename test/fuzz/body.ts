/**
 * What random models are made of: sizes and shapes of the generator's own, and a body that grows by one `let` after the other.
 */
/** coefficient * symbol + constant; a number has no symbol. */
export interface Size {
  readonly symbol: 'B' | 'T' | 'S' | undefined;
  readonly coefficient: number;
  readonly constant: number;
}

export type DType = 'f32' | 'i32' | 'bool';

export interface Known {
  /** An expression that needs no brackets. */
  readonly text: string;
  readonly dtype: DType;
  readonly shape: readonly Size[];
}

export const widths = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 24, 31];

export function number(constant: number): Size {
  return { symbol: undefined, coefficient: 0, constant };
}

export function symbol(name: 'B' | 'T' | 'S'): Size {
  return { symbol: name, coefficient: 1, constant: 0 };
}

export function print(size: Size): string {
  if (size.symbol === undefined) return String(size.constant);
  const product = size.coefficient === 1 ? size.symbol : `${size.coefficient} * ${size.symbol}`;
  return size.constant === 0 ? product : `${product} + ${size.constant}`;
}

export function same(left: Size, right: Size): boolean {
  return print(left) === print(right);
}

export function sameShape(left: readonly Size[], right: readonly Size[]): boolean {
  return left.length === right.length && left.every((size, axis) => same(size, right[axis] ?? number(0)));
}

/** The sum of two sizes where this form can say it. */
export function add(left: Size, right: Size): Size | undefined {
  if (left.symbol !== undefined && right.symbol !== undefined && left.symbol !== right.symbol) return undefined;
  return {
    symbol: left.symbol ?? right.symbol,
    coefficient: left.coefficient + right.coefficient,
    constant: left.constant + right.constant,
  };
}

export function broadcast(left: readonly Size[], right: readonly Size[]): readonly Size[] | undefined {
  const rank = Math.max(left.length, right.length);
  const shape: Size[] = [];
  for (let fromEnd = rank; fromEnd >= 1; fromEnd--) {
    const [a, b] = [left[left.length - fromEnd] ?? number(1), right[right.length - fromEnd] ?? number(1)];
    if (same(a, b) || print(b) === '1') shape.push(a);
    else if (print(a) === '1') shape.push(b);
    else return undefined;
  }
  return shape;
}

export function typeText(dtype: DType, shape: readonly Size[]): string {
  return shape.length === 0 ? dtype : `${dtype}[${shape.map(print).join(', ')}]`;
}

/** One body that grows: of the entry or of a module's `fn`. */
export class Body {
  readonly fields: string[] = [];
  readonly lets: string[] = [];
  readonly values: Known[];
  readonly imports: Set<string>;
  readonly next: () => number;
  /** Names a module of the file that keeps the type of its argument, made on demand. */
  readonly makeBlock: ((shape: readonly Size[]) => string) | undefined;

  constructor(
    values: readonly Known[],
    imports: Set<string>,
    next: () => number,
    makeBlock?: (shape: readonly Size[]) => string,
  ) {
    this.values = [...values];
    this.imports = imports;
    this.next = next;
    this.makeBlock = makeBlock;
  }

  integer(below: number): number {
    return Math.floor(this.next() * below);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.integer(items.length)] as Item;
  }

  /** A float tensor with at least `rank` axes; later ones are likelier, so that models get deep as well as wide. */
  some(rank = 0, most = 5): Known | undefined {
    const fitting = this.values.filter(
      ({ dtype, shape }) => dtype === 'f32' && shape.length >= rank && shape.length <= most,
    );
    return fitting[Math.max(this.integer(fitting.length), this.integer(fitting.length))];
  }

  /** One with a known last axis. */
  wide(rank = 1): Known | undefined {
    const fitting = this.values.filter(
      ({ dtype, shape }) => dtype === 'f32' && shape.length >= rank && shape.at(-1)?.symbol === undefined,
    );
    return fitting[Math.max(this.integer(fitting.length), this.integer(fitting.length))];
  }

  /** Writes the next `let`. */
  name(text: string, shape: readonly Size[], dtype: DType = 'f32'): Known {
    const name = `v${this.lets.length}`;
    this.lets.push(`let ${name} = ${text}`);
    const value: Known = { text: name, dtype, shape };
    this.values.push(value);
    return value;
  }

  field(text: (name: string) => string): string {
    const name = `f${this.fields.length}`;
    this.fields.push(text(name));
    return name;
  }

  library(name: string): string {
    this.imports.add(name);
    return name;
  }
}
