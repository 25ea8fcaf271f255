/**
 * `attend(q, k, v) { heads: …, kv_heads: …, scale: …, mask: … }`.
 *
 * query [batch…, T, heads*D], key [batch…, S, kv_heads*D], value [batch…, S, kv_heads*E]. `heads` is 1 and `kv_heads` is
 * `heads` when not given, `scale` is 1/sqrt(D). Every other modifier is a row of the table in attend/modifiers.ts.
 */
import type { RecordField } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import { closest } from '../../support/suggest.ts';
import type { Attributes, Value } from '../graph.ts';
import type { Attend, Building } from './attend/building.ts';
import { hideUnheld } from './attend/cache.ts';
import { chosenField } from './attend/choice.ts';
import { maskWords } from './attend/masks.ts';
import { modifierNames, modifiersAfter, modifiersBefore, sizeModifiers } from './attend/modifiers.ts';
import { finishScores } from './attend/scores.ts';
import { headCount, headWidth, scaleOf } from './attend/sizes.ts';
import { type Binding, poison, tensorBinding } from './binding.ts';
import { type Context, report } from './context.ts';
import { streamOf } from './dropout.ts';
import { evaluate } from './expressions.ts';
import { emitNode } from './nodes.ts';
import { writtenType } from './origin.ts';
import type { Scope } from './scope.ts';
import { asTensor, type Operand } from './tensors.ts';

/** Modifiers by name; unknown and repeated ones are reported. */
function readModifiers(context: Context, attend: Attend, scope: Scope): ReadonlyMap<string, RecordField> | undefined {
  const found = new Map<string, RecordField>();
  let failed = false;
  for (const modifier of attend.modifiers) {
    const { text, span } = modifier.name;
    const earlier = found.get(text);
    if (!modifierNames.includes(text)) {
      const isMask = maskWords.includes(text);
      const guess = isMask ? undefined : closest(text, modifierNames);
      report(context, 'SORA2111', `\`attend\` has no modifier \`${text}\``, span, {
        help: isMask
          ? `it is a word of \`mask\`: \`mask: ${text}${text === 'causal' ? '' : '(…)'}\``
          : guess === undefined
            ? `there is ${modifierNames.map((name) => `\`${name}\``).join(', ')}`
            : `did you mean \`${guess}\`?`,
        ...(guess === undefined
          ? {}
          : { fixes: [{ title: `replace by \`${guess}\``, edits: [{ span, text: guess }] }] }),
      });
      failed = true;
    } else if (earlier) {
      report(context, 'SORA2002', `\`${text}\` is given twice`, span, {
        labels: [{ span: earlier.name.span, text: 'first here' }],
      });
      failed = true;
    }
    const chosen = sizeModifiers.includes(text) || failed ? modifier : chosenField(context, modifier, scope);
    if (chosen === undefined) failed = true;
    else if (chosen !== 'none') found.set(text, chosen);
  }
  return failed ? undefined : found;
}

export function attendExpression(context: Context, attend: Attend, scope: Scope): Binding {
  const modifiers = readModifiers(context, attend, scope);
  const operands: Operand[] = [attend.query, attend.key, attend.value].map((expression) => ({
    binding: evaluate(context, expression, scope),
    span: expression.span,
  }));
  const [query, key, value] = operands.map((operand) => asTensor(context, operand));
  if (!query || !key || !value || !modifiers) return poison;
  for (const [at, tensor] of [query, key, value].entries()) {
    if (tensor.type.shape.length >= 2) continue;
    report(
      context,
      'SORA2102',
      `\`attend\` needs [..., T, width], found \`${writtenType(tensor.type)}\``,
      operands[at]?.span ?? attend.span,
    );
    return poison;
  }
  const heads = headCount(context, modifiers.get('heads'), 1, scope);
  if (heads === undefined) return poison;
  const kvHeads = headCount(context, modifiers.get('kv_heads'), heads, scope);
  if (kvHeads === undefined) return poison;
  const headsSpan = modifiers.get('heads')?.value.span ?? attend.span;
  const kvSpan = modifiers.get('kv_heads')?.value.span ?? headsSpan;
  if (heads % kvHeads !== 0) {
    report(context, 'SORA2108', `${heads} heads are no multiple of ${kvHeads} key and value heads`, kvSpan, {
      labels: [{ span: headsSpan, text: `${heads} heads` }],
    });
    return poison;
  }
  const queryWidth = headWidth(context, {
    name: 'query',
    value: query,
    span: attend.query.span,
    count: heads,
    counted: 'heads',
    countSpan: headsSpan,
  });
  if (queryWidth === undefined) return poison;
  for (const [name, tensor, span] of [
    ['key', key, attend.key.span],
    ['value', value, attend.value.span],
  ] as const) {
    const counted = modifiers.has('kv_heads') ? 'key and value heads' : 'heads';
    if (headWidth(context, { name, value: tensor, span, count: kvHeads, counted, countSpan: kvSpan }) === undefined)
      return poison;
  }
  const scale = scaleOf(context, modifiers.get('scale'), queryWidth, scope, attend.span);
  if (scale === undefined) return poison;

  const building: Building = {
    context,
    scope,
    attend,
    heads,
    kvHeads,
    width: queryWidth,
    query,
    key,
    value,
    offsets: undefined,
    state: undefined,
    causal: false,
    window: 0,
    normalize: 'softmax',
    dropout: 0,
    scores: undefined,
    extras: [],
  };
  for (const modifier of modifiersBefore) {
    const field = modifiers.get(modifier.name);
    if (field && !modifier.apply(building, field)) return poison;
  }
  if (!hideUnheld(building)) return poison;
  let result = attentionNode(
    building,
    scale,
    operands.map((operand) => operand.span),
  );
  for (const modifier of modifiersAfter) {
    const field = modifiers.get(modifier.name);
    if (field && result) result = modifier.apply(building, field, result);
  }
  return result === undefined ? poison : tensorBinding(result);
}

/** The node, with everything that the modifiers left. */
function attentionNode(building: Building, scale: number, spans: readonly Span[]): Value | undefined {
  const { context, attend, heads, kvHeads, query, key, value, offsets } = building;
  const mapped = building.scores && finishScores(building, building.scores);
  if (building.scores && !mapped) return undefined;
  const captured = (mapped?.captured ?? []).map((each) => ({
    role: 'captured' as const,
    value: each,
    span: each.node.span ?? attend.span,
  }));
  const extras = [
    ...building.extras,
    ...captured,
    ...(offsets === undefined ? [] : [{ role: 'offsets' as const, value: offsets, span: attend.span }]),
  ];
  const attributes: Attributes = {
    heads,
    kv_heads: kvHeads,
    scale,
    ...(extras.length === 0 ? {} : { extras: extras.map((extra) => extra.role) }),
    ...(building.causal ? { causal: true } : {}),
    ...(building.window === 0 ? {} : { window: building.window }),
    ...(building.normalize === 'softmax' ? {} : { normalize: building.normalize }),
    ...(building.dropout === 0 ? {} : { dropout: building.dropout, stream: streamOf(context) }),
  };
  return emitNode(
    context,
    'attention',
    [query, key, value, ...extras.map((extra) => extra.value)],
    attributes,
    attend.span,
    [...spans, ...extras.map((extra) => extra.span)],
    mapped?.region,
  );
}
