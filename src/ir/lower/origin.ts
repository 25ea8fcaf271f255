/**
 * Where a dim of a shape was written.
 *
 * Ops pass dims through by identity, so the place is kept beside the object: a dim made from a type annotation is a fresh
 * object with an entry here, and every shape inferred from it leads back to the text. Messages print shapes both as
 * written (`[B, T, c.hidden]`) and with numbers (`[B, T, 384]`).
 */
import type { Label } from '../../support/diagnostic.ts';
import type { Span } from '../../support/source.ts';
import type { Dim } from '../symbolic.ts';
import { printShape, printType, type Shape, type TensorType } from '../types.ts';

export interface Origin {
  readonly text: string;
  readonly span: Span;
}

const origins = new WeakMap<Dim, Origin>();

/** The same dim as a new object that remembers where it was written. */
export function withOrigin(dim: Dim, origin: Origin): Dim {
  const marked: Dim = { ...dim };
  origins.set(marked, origin);
  return marked;
}

export function originOf(dim: Dim | undefined): Origin | undefined {
  return dim === undefined ? undefined : origins.get(dim);
}

/** `c.hidden` where that is how it was written, else `384`. */
export function writtenDim(dim: Dim): string {
  return originOf(dim)?.text ?? dim.key;
}

/** `c.hidden = 384`, or `384` when it was written so. */
export function dimWithNumber(dim: Dim): string {
  const written = writtenDim(dim);
  return written === dim.key ? `\`${written}\`` : `\`${written}\` = ${dim.key}`;
}

/** `f32[B, T, c.hidden]` */
export function writtenType(type: TensorType): string {
  return type.shape.length === 0 ? type.dtype : `${type.dtype}[${type.shape.map(writtenDim).join(', ')}]`;
}

/** A note with both types in numbers, when that says more than the names; `expected` as text with numbers put in. */
export function numberNotes(expected: TensorType | string, found: TensorType): readonly string[] {
  const numbers = typeof expected === 'string' ? expected : printType(expected);
  const isPlain = typeof expected === 'string' || writtenType(expected) === numbers;
  if (isPlain && writtenType(found) === printType(found)) return [];
  return [`with numbers: expected \`${numbers}\`, found \`${printType(found)}\``];
}

/** The dims of two types that keep them apart: by axis, or with other ranks those that only one of them has. */
export function clashingDims(expected: Shape, found: Shape): readonly Dim[] {
  if (expected.length !== found.length) {
    const only = (shape: Shape, other: Shape) => shape.filter((dim) => other.every((each) => each.key !== dim.key));
    return [...only(expected, found), ...only(found, expected)];
  }
  return expected.flatMap((dim, axis) => {
    const other = found[axis];
    return other === undefined || other.key === dim.key ? [] : [dim, other];
  });
}

export function shapeNote(shape: Shape): string {
  const written = `[${shape.map(writtenDim).join(', ')}]`;
  const numbers = printShape(shape);
  return written === numbers ? `\`${numbers}\`` : `\`${written}\` = \`${numbers}\``;
}

function sameSpan(left: Span, right: Span): boolean {
  return left.file === right.file && left.start === right.start && left.end === right.end;
}

/** Labels at the places two clashing dims were written; `taken` are spans that need no second label. */
export function originLabels(dims: readonly (Dim | undefined)[], taken: readonly Span[]): readonly Label[] {
  const labels: Label[] = [];
  for (const dim of dims) {
    const origin = originOf(dim);
    if (dim === undefined || origin === undefined) continue;
    if ([...taken, ...labels.map((label) => label.span)].some((span) => sameSpan(span, origin.span))) continue;
    labels.push({ span: origin.span, text: `${dimWithNumber(dim)} comes from here` });
  }
  return labels;
}
