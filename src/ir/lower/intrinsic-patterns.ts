/**
 * `rearrange(x, "b t (h d) -> b h t d", h: 12)` and `einsum("bqd,bkd->bqk", q, k)`: patterns to reshape, transpose,
 * reduce and dot_general. Source: einops (Rogozhnikov 2022).
 */
import { closest } from '../../support/suggest.ts';
import type { Value } from '../graph.ts';
import { constantDim, type Dim, divideDim, productOfDims, sameDim } from '../symbolic.ts';
import type { EvaluatedArgument } from './arguments.ts';
import {
  type EinsumTerm,
  type Pattern,
  type PatternGroup,
  patternError,
  readEinsum,
  readRearrange,
} from './axis-patterns.ts';
import { type Binding, describe, poison } from './binding.ts';
import { type Context, report } from './context.ts';
import { argument, type Call, type Intrinsic, wrap } from './intrinsic-call.ts';
import { emitNode } from './nodes.ts';
import { dimWithNumber, originLabels, withOrigin, writtenType } from './origin.ts';
import { asTensor, broadcastTo, type Operand, reshapeTo } from './tensors.ts';

function patternOf(context: Context, operand: Operand, name: string): Pattern | undefined {
  const { binding, span } = operand;
  if (binding.kind === 'string') return { text: binding.value, span };
  if (binding.kind !== 'poison') {
    report(context, 'SORA2006', `the pattern of \`${name}\` is a string, found ${describe(binding)}`, span);
  }
  return undefined;
}

function transposed(context: Context, value: Value, permutation: readonly number[], call: Call): Value | undefined {
  if (permutation.every((axis, at) => axis === at)) return value;
  return emitNode(context, 'transpose', [value], { permutation }, call.span);
}

/** Sizes that stand in the call by the name of their axis. */
function givenSizes(context: Context, sizes: readonly EvaluatedArgument[], known: ReadonlySet<string>) {
  const found = new Map<string, Dim>();
  let failed = false;
  for (const { name, binding, span } of sizes) {
    if (binding.kind === 'poison') {
      failed = true;
      continue;
    }
    if (name === undefined) {
      report(context, 'SORA2007', 'a size stands under the name of its axis: `h: 4`', span);
      failed = true;
      continue;
    }
    if (!known.has(name.text)) {
      const guess = closest(name.text, [...known]);
      report(context, 'SORA2007', `the pattern has no axis \`${name.text}\``, name.span, {
        ...(guess === undefined ? {} : { help: `did you mean \`${guess}\`?` }),
      });
      failed = true;
    } else if (binding.kind !== 'int') {
      report(context, 'SORA2006', `the size of \`${name.text}\` is an integer, found ${describe(binding)}`, span);
      failed = true;
    } else found.set(name.text, binding.origin ? withOrigin(binding.dim, binding.origin) : binding.dim);
  }
  return failed ? undefined : found;
}

interface Rearranged {
  readonly context: Context;
  readonly pattern: Pattern;
  readonly x: Value;
  readonly operand: Operand;
  readonly sizes: Map<string, Dim>;
}

/** Finds the sizes of the axes in one group from the size of the whole; false when they do not fit (reported). */
function solveGroup(state: Rearranged, group: PatternGroup, whole: Dim): boolean {
  const { context, pattern, sizes, operand } = state;
  const labels = [{ span: operand.span, text: `this is \`${writtenType(state.x.type)}\`` }];
  const named = group.axes.filter((axis) => axis.name !== '1');
  const unknown = named.filter((axis) => !sizes.has(axis.name));
  const [free, second] = unknown;
  if (second) {
    const names = unknown.map((axis) => `\`${axis.name}\``).join(' and ');
    const help = `give the size of all but one: \`${second.name}: …\``;
    patternError(context, pattern, `the sizes of ${names} are not known`, group.span, help);
    return false;
  }
  const known = named.flatMap((axis) => sizes.get(axis.name) ?? []);
  const rest = productOfDims(known);
  if (free) {
    const size = divideDim(whole, rest);
    if (size === undefined) {
      const message = `${dimWithNumber(whole)} does not divide into parts of ${rest.key}`;
      report(context, 'SORA2101', message, group.span, {
        labels: [...labels, ...originLabels([whole, ...known], [operand.span])],
      });
      return false;
    }
    sizes.set(free.name, named.length === 1 ? whole : size);
    return true;
  }
  if (sameDim(rest, whole)) return true;
  report(
    context,
    'SORA2101',
    `this axis is ${dimWithNumber(whole)}, but the pattern makes it ${rest.key}`,
    group.span,
    {
      labels: [...labels, ...originLabels([whole, ...known], [operand.span])],
    },
  );
  return false;
}

export const rearrange: Intrinsic = {
  parameters: ['x', 'pattern', 'sizes…'],
  apply(context, call) {
    const operand = argument(call, 0);
    const x = asTensor(context, operand);
    const pattern = patternOf(context, argument(call, 1), 'rearrange');
    const sides = pattern && readRearrange(context, pattern);
    if (x === undefined || pattern === undefined || sides === undefined) return poison;
    const { from, to } = sides;
    const namesOf = (groups: readonly PatternGroup[]) =>
      new Map(groups.flatMap((group) => group.axes.map((axis) => [axis.name, axis] as const)));
    const [left, right] = [namesOf(from.groups), namesOf(to.groups)];
    for (const [names, others, message] of [
      [left, right, 'is lost on the right side'],
      [right, left, 'is not on the left side'],
    ] as const) {
      const odd = [...names.values()].find((axis) => axis.name !== '1' && !others.has(axis.name));
      if (odd === undefined) continue;
      const help = names === left ? 'sum or index it first' : 'a new axis is `1`';
      patternError(context, pattern, `the axis \`${odd.name}\` ${message}`, odd.span, help);
      return poison;
    }
    const sizes = givenSizes(
      context,
      call.more ?? [],
      new Set([...left.keys()].filter((name) => /^[A-Za-z_]/.test(name))),
    );
    if (sizes === undefined) return poison;

    // `...` becomes axes with names that no pattern can have.
    const fixed = from.groups.filter((group) => group.axes[0]?.name !== '...').length;
    const isOpen = fixed < from.groups.length;
    const spare = x.type.shape.length - fixed;
    if (isOpen ? spare < 0 : spare !== 0) {
      report(context, 'SORA2102', `this pattern has ${fixed} axes, the tensor ${x.type.shape.length}`, from.span, {
        labels: [{ span: operand.span, text: `this is \`${writtenType(x.type)}\`` }],
      });
      return poison;
    }
    const leading = Array.from({ length: isOpen ? spare : 0 }, (_, at) => `...${at}`);
    const spread = (groups: readonly PatternGroup[]): readonly PatternGroup[] =>
      groups.flatMap((group) =>
        group.axes[0]?.name === '...'
          ? leading.map((name) => ({ axes: [{ name, span: group.span }], span: group.span }))
          : [group],
      );
    const state: Rearranged = { context, pattern, x, operand, sizes };
    const [before, after] = [spread(from.groups), spread(to.groups)];
    for (const [axis, group] of before.entries()) {
      if (!solveGroup(state, group, x.type.shape[axis] ?? constantDim(1))) return poison;
    }
    const sizeOf = (name: string): Dim => sizes.get(name) ?? constantDim(1);
    const order = (groups: readonly PatternGroup[]): readonly string[] =>
      groups.flatMap((group) => group.axes.flatMap((axis) => (axis.name === '1' ? [] : [axis.name])));
    const [axes, wanted] = [order(before), order(after)];
    const apart = reshapeTo(context, x, axes.map(sizeOf), call.span);
    const permutation = wanted.map((name) => axes.indexOf(name));
    const moved = apart && transposed(context, apart, permutation, call);
    const shape = after.map((group) => {
      const [only] = group.axes;
      return group.axes.length === 1 && only
        ? sizeOf(only.name)
        : productOfDims(group.axes.map((axis) => sizeOf(axis.name)));
    });
    return wrap(moved && reshapeTo(context, moved, shape, call.span));
  },
};

/** A tensor with a letter per axis. */
interface Term {
  readonly value: Value;
  readonly letters: readonly string[];
}

/** Sums over the axes whose letter nobody needs. */
function sumUnneeded(context: Context, term: Term, needed: ReadonlySet<string>, call: Call): Term | undefined {
  const axes = term.letters.flatMap((letter, axis) => (needed.has(letter) ? [] : [axis]));
  if (axes.length === 0) return term;
  const value = emitNode(context, 'reduce', [term.value], { kind: 'sum', axes, keep: false }, call.span);
  return value && { value, letters: term.letters.filter((letter) => needed.has(letter)) };
}

/** Two terms as one: letters of both that nobody needs are summed over. */
function joinTerms(
  context: Context,
  left: Term,
  right: Term,
  needed: ReadonlySet<string>,
  call: Call,
): Term | undefined {
  const shared = left.letters.filter((letter) => right.letters.includes(letter));
  const batch = shared.filter((letter) => needed.has(letter));
  const contract = shared.filter((letter) => !needed.has(letter));
  const free = (term: Term): readonly string[] => term.letters.filter((letter) => !shared.includes(letter));
  const letters = [...batch, ...free(left), ...free(right)];
  if (contract.length > 0) {
    const axes = (term: Term, names: readonly string[]) => names.map((name) => term.letters.indexOf(name));
    const attributes = {
      lhs_batch: axes(left, batch),
      rhs_batch: axes(right, batch),
      lhs_contract: axes(left, contract),
      rhs_contract: axes(right, contract),
    };
    const value = emitNode(context, 'dot_general', [left.value, right.value], attributes, call.span);
    return value && { value, letters };
  }
  // Nothing is summed: a product element by element over the axes of both.
  const sizeOf = (letter: string): Dim => {
    const term = left.letters.includes(letter) ? left : right;
    return term.value.type.shape[term.letters.indexOf(letter)] ?? constantDim(1);
  };
  const shape = letters.map(sizeOf);
  const spread = (term: Term): Value | undefined => {
    const own = letters.filter((letter) => term.letters.includes(letter));
    const ordered = transposed(
      context,
      term.value,
      own.map((letter) => term.letters.indexOf(letter)),
      call,
    );
    const ones = letters.map((letter) => (own.includes(letter) ? sizeOf(letter) : constantDim(1)));
    const aligned = ordered && reshapeTo(context, ordered, ones, call.span);
    return aligned && broadcastTo(context, aligned, shape, call.span);
  };
  const [a, b] = [spread(left), spread(right)];
  const value = a && b && emitNode(context, 'mul', [a, b], {}, call.span);
  return value && { value, letters };
}

/** Whether the operands have the axes that the pattern gives them. */
function checkOperands(
  context: Context,
  pattern: Pattern,
  terms: readonly EinsumTerm[],
  operands: readonly { readonly value: Value; readonly span: Operand['span'] }[],
): boolean {
  const seen = new Map<string, { readonly dim: Dim; readonly span: Operand['span'] }>();
  for (const [at, { value, span }] of operands.entries()) {
    const term = terms[at];
    if (term === undefined) return false;
    const { shape } = value.type;
    if (term.letters.length !== shape.length) {
      const message = `this term has ${term.letters.length} axes, the tensor ${shape.length}`;
      report(context, 'SORA2102', message, term.span, {
        labels: [{ span, text: `this is \`${writtenType(value.type)}\`` }],
      });
      return false;
    }
    if (value.type.dtype !== operands[0]?.value.type.dtype || value.type.dtype === 'bool') {
      report(context, 'SORA2103', `\`einsum\` needs numbers of one type, found \`${writtenType(value.type)}\``, span);
      return false;
    }
    for (const [axis, letter] of term.letters.entries()) {
      const dim = shape[axis] ?? constantDim(1);
      const earlier = seen.get(letter.name);
      if (earlier && !sameDim(earlier.dim, dim)) {
        const message = `\`${letter.name}\` is ${dimWithNumber(earlier.dim)} before and ${dimWithNumber(dim)} here`;
        report(context, 'SORA2101', message, letter.span, {
          labels: [
            { span: earlier.span, text: `${dimWithNumber(earlier.dim)} here` },
            { span, text: `this is \`${writtenType(value.type)}\`` },
            ...originLabels([earlier.dim, dim], [span, pattern.span]),
          ],
        });
        return false;
      }
      if (!earlier) seen.set(letter.name, { dim, span: letter.span });
    }
  }
  return true;
}

export const einsum: Intrinsic = {
  parameters: ['pattern', 'tensors…'],
  apply(context, call): Binding {
    const pattern = patternOf(context, argument(call, 0), 'einsum');
    const terms = pattern && readEinsum(context, pattern);
    const given = call.more ?? [];
    const named = given.find((operand) => operand.name !== undefined);
    if (named?.name) {
      report(context, 'SORA2007', '`einsum` takes its tensors without names', named.name.span);
      return poison;
    }
    const operands = given.flatMap((operand) => {
      const value = asTensor(context, operand);
      return value === undefined ? [] : [{ value, span: operand.span }];
    });
    if (pattern === undefined || terms === undefined || operands.length !== given.length) return poison;
    if (terms.operands.length !== operands.length) {
      const message = `the pattern has ${terms.operands.length} terms, but \`einsum\` gets ${operands.length} tensors`;
      patternError(context, pattern, message, pattern.span);
      return poison;
    }
    if (!checkOperands(context, pattern, terms.operands, operands)) return poison;
    const result = terms.result.letters.map((letter) => letter.name);
    const all: readonly Term[] = operands.map(({ value }, at) => ({
      value,
      letters: terms.operands[at]?.letters.map((letter) => letter.name) ?? [],
    }));
    /** Letters that the result or a later term has. */
    const neededAfter = (at: number) => new Set([...result, ...all.slice(at + 1).flatMap((term) => term.letters)]);
    let joined: Term | undefined;
    for (const [at, term] of all.entries()) {
      const needed = neededAfter(at);
      const others = new Set([...needed, ...(joined?.letters ?? [])]);
      const own = sumUnneeded(context, term, others, call);
      const before = joined && sumUnneeded(context, joined, new Set([...needed, ...term.letters]), call);
      if (own === undefined || (joined && !before)) return poison;
      joined = before ? joinTerms(context, before, own, needed, call) : own;
      if (joined === undefined) return poison;
    }
    const whole = joined && sumUnneeded(context, joined, new Set(result), call);
    if (whole === undefined) return poison;
    return wrap(
      transposed(
        context,
        whole.value,
        result.map((letter) => whole.letters.indexOf(letter)),
        call,
      ),
    );
  },
};
