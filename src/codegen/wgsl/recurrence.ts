/**
 * The recurrence skeleton: sums over paths, frame by frame (`ctc_paths`). A workgroup takes a row; its lanes share the states
 * of a frame, and the states of the frame before lie in workgroup memory beside those that are being written, so one barrier per
 * frame is enough.
 *
 * Rows are few and frames follow each other, so this is no kernel that fills a GPU; a row of 1,500 frames and 200 states is
 * some million logarithms.
 */
import { constantDim } from '../../ir/symbolic.ts';
import { greatest } from '../plan/sizes.ts';
import { type Draft, type Kernel, type KernelRequest, regionOf, type Written, writeKernel } from './kernel.ts';
import { operandOf } from './regions.ts';
import { anchorOf, finisher } from './results.ts';

const lanes = 64;

function writeRecurrence(draft: Draft): Written {
  const { writer, walker, request } = draft;
  const { anchor, targets } = anchorOf(regionOf(request.node), 'recurrence');
  const [x, skips] = [operandOf(anchor, 0), operandOf(anchor, 1)];
  const [rows = constantDim(1), frames = constantDim(1), states = constantDim(1)] = x.type.shape;
  const most = Math.max(1, greatest(states, request.ranges));
  const finish = finisher(draft, anchor, targets);
  const none = writer.fresh('none');
  const sums = writer.workgroupVariable('sums', `array<f32, ${2 * most}>`);
  // Nothing is possible: see src/ir/ops/ctc.ts.
  writer.line(`let ${none} = f32(-1e30);`);
  const row = writer.variable('row', rows, 'group');
  writer.open(`if (group < ${writer.dim(rows)})`);
  const frame = writer.fresh('frame');
  writer.open(`for (var ${frame} = 0u; ${frame} < ${writer.dim(frames)}; ${frame}++)`);
  const now = writer.let('now', `(${frame} & 1u) * ${most}u`);
  const before = writer.let('before', `${most}u - ${now}`);
  const state = writer.fresh('state');
  writer.open(`for (var ${state} = lane; ${state} < ${writer.dim(states)}; ${state} += ${lanes}u)`);
  const at = [row, writer.variable(frame, frames), writer.variable(state, states)] as const;
  const own = writer.let('own', walker.at(x, at).text);
  const value = writer.fresh('value');
  writer.line(`var ${value} = select(${none}, ${own}, ${state} < 2u);`);
  writer.open(`if (${frame} > 0u)`);
  const isSkip = writer.let('may_skip', `(${state} > 1u) & ${walker.at(skips, [at[0], at[2]]).text}`);
  const from = (steps: number): string => `${sums}[${before} + max(${state}, ${steps}u) - ${steps}u]`;
  const stay = writer.let('stay', `${sums}[${before} + ${state}]`);
  const step = writer.let('step', `select(${none}, ${from(1)}, ${state} > 0u)`);
  const skip = writer.let('skip', `select(${none}, ${from(2)}, ${isSkip})`);
  const top = writer.let('top', `max(${stay}, max(${step}, ${skip}))`);
  const powers = [stay, step, skip].map((part) => `exp(${part} - ${top})`).join(' + ');
  writer.line(`${value} = ${own} + ${top} + log(${powers});`);
  writer.close();
  writer.line(`${sums}[${now} + ${state}] = ${value};`);
  finish(at, { text: value, lanes: 1, dtype: 'f32' });
  writer.close();
  writer.line('workgroupBarrier();');
  writer.close();
  writer.close();
  return {
    workgroup: lanes,
    groups: { factors: [{ size: rows, divisor: 1 }] },
    note: `recurrence: ${lanes} lanes share the states of a row, frame by frame`,
  };
}

export function recurrenceKernels(request: KernelRequest): readonly Kernel[] {
  return [writeKernel(request, writeRecurrence)];
}
