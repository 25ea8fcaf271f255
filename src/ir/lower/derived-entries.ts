/**
 * `entry decode = prefill with T = 1`: the graph of another entry with runtime dims replaced by numbers.
 *
 * Every proof that lowering made for the declared range of a dim holds for each size in it, so the graph is copied with
 * its dims substituted and nothing is elaborated again.
 */
import type { DerivedEntry } from '../../parser/ast.ts';
import { closest } from '../../support/suggest.ts';
import type { Entry } from '../graph.ts';
import { type Sizes, substituteGraph, substituteType } from '../substitute.ts';
import { constantDim, constantValue, type Dim, substituteDim } from '../symbolic.ts';
import { describe, type Instance } from './binding.ts';
import { type Context, report } from './context.ts';
import { symbolsOfGraph } from './entries.ts';
import { isHiddenDim } from './entry-session.ts';
import { evaluate } from './expressions.ts';
import { withOrigin } from './origin.ts';

/** The sizes that are filled in; undefined when one does not fit (reported). */
function readSizes(context: Context, member: DerivedEntry, base: Entry, model: Instance): Sizes | undefined {
  const free = new Set([...symbolsOfGraph(base.graph)].filter((name) => !isHiddenDim(context, name)));
  const sizes = new Map<string, Dim>();
  let failed = false;
  for (const { dim, value } of member.sizes) {
    const fails = (code: 'SORA2001' | 'SORA2002' | 'SORA2204' | 'SORA2206', message: string, details = {}): void => {
      report(context, code, message, code === 'SORA2001' || code === 'SORA2002' ? dim.span : value.span, details);
      failed = true;
    };
    const range = context.ranges.get(dim.text);
    if (!free.has(dim.text) || range === undefined) {
      const guess = closest(dim.text, [...free]);
      const list = [...free].map((name) => `\`${name}\``).join(', ');
      fails('SORA2001', `\`${base.name}\` has no dim \`${dim.text}\``, {
        labels: base.span ? [{ span: member.base.span, text: 'the entry that is taken' }] : [],
        ...(guess ? { help: `did you mean \`${guess}\`?` } : free.size > 0 ? { help: `it has ${list}` } : {}),
      });
      continue;
    }
    if (sizes.has(dim.text)) {
      fails('SORA2002', `\`${dim.text}\` is given twice`);
      continue;
    }
    const binding = evaluate(context, value, model.scope);
    const size = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
    const place = context.dimPlaces.get(dim.text);
    const labels = place ? [{ span: place, text: `\`${dim.text}\` is ${range.minimum} to ${range.maximum}` }] : [];
    if (size === undefined) {
      if (binding.kind !== 'poison') fails('SORA2204', `a size must be a known integer, found ${describe(binding)}`);
      failed = true;
    } else if (size < range.minimum || size > range.maximum) {
      fails('SORA2206', `${size} is outside the range of \`${dim.text}\``, { labels });
    } else if (size % range.multiple !== 0) {
      fails('SORA2206', `${size} is no multiple of ${range.multiple}, as \`${dim.text}\` must be`, { labels });
    } else sizes.set(dim.text, withOrigin(constantDim(size), { text: dim.text, span: value.span }));
  }
  return failed ? undefined : sizes;
}

/** `entries` are those that lowered so far; a base that did not is silent, its mistake was told. */
export function deriveEntry(
  context: Context,
  member: DerivedEntry,
  entries: readonly Entry[],
  model: Instance,
): Entry | undefined {
  const base = entries.find((entry) => entry.name === member.base.text);
  if (base === undefined) {
    const known = model.declaration.members.flatMap((other) =>
      (other.kind === 'entry' || other.kind === 'derived-entry') && other !== member ? [other.name.text] : [],
    );
    const isLater = model.declaration.members.some(
      (other) => other.kind === 'derived-entry' && other.name.text === member.base.text,
    );
    if (known.includes(member.base.text) && !isLater) return undefined;
    const guess = closest(member.base.text, known);
    const message = isLater
      ? `\`${member.base.text}\` is made from another entry itself`
      : `unknown entry \`${member.base.text}\``;
    report(context, 'SORA2001', message, member.base.span, {
      ...(isLater
        ? { help: 'name the entry that has a body' }
        : guess === undefined
          ? {}
          : { help: `did you mean \`${guess}\`?` }),
    });
    return undefined;
  }
  const sizes = readSizes(context, member, base, model);
  if (sizes === undefined) return undefined;
  const rename = (name: string): string => (name === base.name ? member.name.text : name);
  const graph = substituteGraph(base.graph, member.name.text, sizes);
  const isUnnamed = base.results.length === 1;
  return {
    name: member.name.text,
    doc: member.doc ?? base.doc,
    parameters: base.parameters.map((parameter) => ({ ...parameter, type: substituteType(parameter.type, sizes) })),
    results: base.results.map((result) => ({
      name: isUnnamed ? rename(result.name) : result.name,
      type: substituteType(result.type, sizes),
    })),
    graph: isUnnamed
      ? { ...graph, results: graph.results.map((result) => ({ ...result, name: rename(result.name) })) }
      : graph,
    span: member.span,
    ...(base.steps === undefined ? {} : { steps: substituteDim(base.steps, sizes) }),
  };
}
