/**
 * Writing nodes into the graph of the entry at hand, with the op's own refusal turned into a diagnostic.
 */

import { unreachable } from '../../support/error.ts';
import { limits } from '../../support/limits.ts';
import type { Span } from '../../support/source.ts';
import { createEmitter } from '../emit.ts';
import { type Attributes, type Graph, onlyOutput, type Value } from '../graph.ts';
import { isFailure } from '../op.ts';
import type { TensorType } from '../types.ts';
import { type Context, currentLabel, isLibraryFile, report } from './context.ts';
import { hasTooManyElements } from './elements.ts';
import { writtenType } from './origin.ts';

/** The place people know: the call in their file when the line itself is in the library. */
function placeOf(context: Context, span: Span): Span {
  if (!isLibraryFile(span.file)) return span;
  return context.frames.findLast((frame) => !isLibraryFile(frame.span.file))?.span ?? span;
}

/** Counts a node; undefined when the limit is crossed (reported). */
function countNode(context: Context, span: Span): boolean {
  if (context.site === undefined) return unreachable('a node outside of any graph');
  context.site.nodes += 1;
  if (context.site.nodes <= limits.expandedNodes) return true;
  report(context, 'SORA5002', `the model has more than ${limits.expandedNodes} operations`, span);
  return false;
}

/** A node with inferred type, or undefined when the op refuses its operands (reported at `span`). */
export function emitNode(
  context: Context,
  op: string,
  inputs: readonly Value[],
  attributes: Attributes,
  span: Span,
  operandSpans: readonly Span[] = [],
  region: Graph | undefined = undefined,
): Value | undefined {
  const site = context.site;
  if (site === undefined || !countNode(context, span)) return undefined;
  const emitter = createEmitter(
    site.builder,
    { ranges: context.ranges },
    { span: placeOf(context, span), label: currentLabel(context) },
  );
  let result: ReturnType<typeof emitter.tryEmit>;
  try {
    result = emitter.tryEmit(op, inputs, attributes, region);
  } catch (error) {
    // Sizes that are computed here are exact or refused (symbolic.ts).
    if (!(error instanceof RangeError)) throw error;
    report(context, 'SORA5002', 'the sizes of this tensor are too large to be exact (beyond 2^53)', span);
    return undefined;
  }
  if (!isFailure(result)) return hasTooManyElements(context, result.type.shape, span) ? undefined : result;
  const blamed = result.operand === undefined ? undefined : inputs[result.operand];
  const blamedSpan = result.operand === undefined ? undefined : operandSpans[result.operand];
  report(context, 'SORA2109', result.failure, blamedSpan ?? span, {
    labels: inputs.flatMap((input, at) => {
      const place = operandSpans[at];
      return place === undefined || input === blamed
        ? []
        : [{ span: place, text: `this is \`${writtenType(input.type)}\`` }];
    }),
    ...(result.help === undefined ? {} : { help: result.help }),
  });
  return undefined;
}

/** A leaf whose type is stated: `weight`. */
export function emitLeaf(
  context: Context,
  op: string,
  type: TensorType,
  attributes: Attributes,
  span: Span,
  label: string,
): Value {
  const { site } = context;
  if (site === undefined) return unreachable('a leaf outside of any graph');
  site.nodes += 1;
  return onlyOutput(site.builder.add(op, [], [type], { attributes, span: placeOf(context, span), label }));
}
