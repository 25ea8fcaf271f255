/**
 * `cache: kv` in `attend`: keys and values of the call go behind those that the state holds, and the query looks at all of
 * them.
 *
 *   key' = append(kv.key, key, past)[:, 0 : past + T]      key j of row b is visible up to past[b] + t
 */
import type { RecordField } from '../../../parser/ast.ts';
import type { Span } from '../../../support/source.ts';
import type { State, Value } from '../../graph.ts';
import { addDims, constantDim, type Dim, dimBounds, multiplyDims, sameDim, symbolDim } from '../../symbolic.ts';
import { tensorType } from '../../types.ts';
import { type Binding, describe, type StateBinding } from '../binding.ts';
import { type Context, rangeLabels, report } from '../context.ts';
import { hiddenInput, makeEntrySession, roomOf, sessionDims, tensorsOf } from '../entry-session.ts';
import { evaluate } from '../expressions.ts';
import { emitLeaf, emitNode } from '../nodes.ts';
import { dimWithNumber, originLabels, writtenType } from '../origin.ts';
import { convert, emitTogether, reshapeTo } from '../tensors.ts';
import type { Building } from './building.ts';
import { keyPositions } from './positions.ts';

/** The state, when the call fits it (reported). */
function fittingState(building: Building, binding: Binding, span: Span): StateBinding | undefined {
  const { context, query, key, value, kvHeads } = building;
  if (binding.kind === 'poison') return undefined;
  if (binding.kind !== 'state') {
    report(context, 'SORA2120', `\`cache\` takes a state, found ${describe(binding)}`, span, {
      help: 'declare one in the module: `state kv = KVCache(B, heads, positions, width)`',
    });
    return undefined;
  }
  const labels = [{ span: binding.field.span, text: 'the state' }];
  const refuse = (message: string, dims: readonly (Dim | undefined)[] = []): undefined => {
    report(context, 'SORA2120', message, span, { labels: [...labels, ...originLabels(dims, [span])] });
  };
  if ([query, key, value].some((tensor) => tensor.type.shape.length !== 3)) {
    return refuse(`with a cache, \`attend\` takes [batch, T, width], found \`${writtenType(query.type)}\``);
  }
  const [batch, steps] = key.type.shape as readonly [Dim, Dim, Dim];
  if (!sameDim(batch, binding.batch)) {
    return refuse(`the state has ${dimWithNumber(binding.batch)} rows, the key ${dimWithNumber(batch)}`, [batch]);
  }
  if (!sameDim(steps, query.type.shape[1] ?? steps)) {
    return refuse('with a cache, query and key have the same positions', [steps, query.type.shape[1]]);
  }
  if (kvHeads !== binding.heads) {
    return refuse(`the state has ${binding.heads} heads, the key has ${kvHeads}`);
  }
  for (const [name, tensor, each] of [
    ['key', key, binding.width],
    ['value', value, binding.valueWidth],
  ] as const) {
    const width = tensor.type.shape[2];
    const wanted = multiplyDims(constantDim(binding.heads), constantDim(each));
    if (width && !sameDim(width, wanted)) {
      return refuse(`the state holds ${binding.heads} heads of ${each}, the ${name} is ${dimWithNumber(width)} wide`, [
        width,
      ]);
    }
  }
  return binding;
}

/** Whether the entry may append here; says so when not. */
function mayAppend(context: Context, state: StateBinding, steps: Dim, span: Span): boolean {
  const session = context.site?.session;
  if (session === undefined) return false;
  const earlier = session.appended.get(state.path);
  if (earlier) {
    report(context, 'SORA2121', `the state \`${state.path}\` is the cache of two attentions`, span, {
      labels: earlier === span ? [] : [{ span: earlier, text: 'the first one' }],
      help: 'give each attention a state of its own',
    });
    return false;
  }
  const { maximum } = dimBounds(steps, context.ranges);
  if (maximum > state.positions) {
    const message = `a call has up to ${maximum} positions, the state holds ${state.positions}`;
    report(context, 'SORA2122', message, span, {
      labels: [{ span: state.field.span, text: 'the state' }, ...rangeLabels(context, steps)],
    });
    return false;
  }
  const batch = session.batch ?? state.batch;
  if (!sameDim(batch, state.batch)) {
    const message = `the states of an entry have one batch: ${dimWithNumber(batch)} and ${dimWithNumber(state.batch)}`;
    report(context, 'SORA2123', message, span, { labels: [{ span: state.field.span, text: 'the state' }] });
    return false;
  }
  if (session.steps !== undefined && !sameDim(session.steps, steps)) {
    const message = `an entry appends as many positions to each state: ${dimWithNumber(session.steps)} and ${dimWithNumber(steps)}`;
    report(context, 'SORA2123', message, span, { labels: [{ span: state.field.span, text: 'the state' }] });
    return false;
  }
  session.batch = state.batch;
  session.steps = steps;
  session.appended.set(state.path, span);
  return true;
}

/** Before rotary positions, which count from where the rows are. */
export function openCache(building: Building, field: RecordField): boolean {
  const { context } = building;
  const { span } = field.value;
  const state = fittingState(building, evaluate(context, field.value, building.scope), span);
  const { site } = context;
  if (state === undefined || site === undefined) return false;
  // Code that no entry calls has no entry to ask.
  site.session ??= makeEntrySession([]);
  if (!mayAppend(context, state, building.key.type.shape[1] as Dim, span)) return false;
  building.state = state;
  building.offsets = hiddenInput(context, 'past', state.batch);
  return building.offsets !== undefined;
}

/** New rows as the state holds them. */
function storedRows(context: Context, rows: Value, state: StateBinding, width: number, span: Span): Value | undefined {
  if (state.dtype !== 'int8') return convert(context, rows, state.dtype, span);
  const numbers = convert(context, rows, 'f32', span);
  const [batch = constantDim(1), steps = constantDim(1)] = rows.type.shape;
  const heads = [batch, steps, constantDim(state.heads), constantDim(width)];
  const apart = numbers && reshapeTo(context, numbers, heads, span);
  const sizes = apart && emitNode(context, 'abs', [apart], {}, span);
  const greatest = sizes && emitNode(context, 'reduce', [sizes], { kind: 'max', axes: [3], keep: false }, span);
  return greatest && emitNode(context, 'quantize_rows', [numbers, greatest], { width }, span);
}

/** After them. */
export function appendToCache(building: Building, field: RecordField): boolean {
  const { context, state, offsets } = building;
  if (state === undefined || offsets === undefined) return false;
  const { span } = field.value;
  const steps = building.key.type.shape[1] as Dim;
  const dims = sessionDims(context);
  const held = addDims(symbolDim(dims.past), steps);
  const grown = (part: State | undefined, rows: Value, width: number): Value | undefined => {
    if (part === undefined) return undefined;
    const type = tensorType(part.dtype, [state.batch, roomOf(dims, steps), part.width]);
    const leaf = emitLeaf(context, 'state', type, { path: part.path }, span, part.path);
    const stored = storedRows(context, rows, state, width, span);
    const whole = stored && emitNode(context, 'append', [leaf, stored, offsets], {}, span);
    const seen = whole && emitNode(context, 'slice', [whole], { axis: 1, start: constantDim(0), size: held }, span);
    if (seen === undefined || state.dtype !== 'int8') return seen && convert(context, seen, rows.type.dtype, span);
    const numbers = emitNode(context, 'dequantize_rows', [seen], { width }, span);
    return numbers && convert(context, numbers, rows.type.dtype, span);
  };
  const [keys, values] = tensorsOf(state);
  const key = grown(keys, building.key, state.width);
  const value = key && grown(values, building.value, state.valueWidth);
  if (key === undefined || value === undefined) return false;
  building.key = key;
  building.value = value;
  return true;
}

/**
 * With a cache, keys behind the real positions of a row are what a longer row needs or an earlier call left. A causal mask
 * hides them from all real queries; without one they are hidden here: key j is visible when j < past[b] + lengths[b].
 */
export function hideUnheld(building: Building): boolean {
  const { context, offsets, attend, extras } = building;
  if (offsets === undefined || building.causal) return true;
  const { span } = attend;
  const [batch = constantDim(1)] = offsets.type.shape;
  const one = constantDim(1);
  const lengths = hiddenInput(context, 'lengths', batch);
  const ends = lengths && emitNode(context, 'add', [offsets, lengths], {}, span);
  const end = ends && reshapeTo(context, ends, [batch, one, one, one], span);
  const place = end && keyPositions(building, span);
  const held = place && emitTogether(context, 'less', [place, end], span);
  const at = extras.findIndex((extra) => extra.role === 'mask');
  const given = extras[at]?.value;
  const mask = held && given ? emitTogether(context, 'and', [given, held], span) : held;
  if (mask === undefined) return false;
  extras.splice(at < 0 ? 0 : at, at < 0 ? 0 : 1, { role: 'mask', value: mask, span });
  return true;
}
