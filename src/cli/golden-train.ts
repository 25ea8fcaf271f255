/**
 * Runner `train`: a recorded run of PyTorch, repeated by the trainer that the compiler makes of a `train` block. The block is
 * written from what `case.json` says of the run.
 */
import type { Entry } from '../ir/graph.ts';
import { printType } from '../ir/types.ts';

/** What `case.json` says under `train`. */
export interface RecordedRun {
  readonly kind: 'classify' | 'lm';
  readonly optimizer: string;
  readonly lr: number;
  readonly steps: number;
  readonly momentum?: number;
  readonly weight_decay?: number;
  readonly label_smoothing?: number;
  /** Steps, not a share; the rate then falls to 0 along a cosine. */
  readonly warmup?: number;
  readonly clip?: number;
  readonly lora?: { readonly r: number; readonly alpha: number; readonly targets: readonly string[] };
}

/** Blocks that train `entry` of `model` as the run did. `vectors` are the weights of one axis: they never decayed. */
export function usesOf(run: RecordedRun, model: string, entry: Entry, vectors: readonly string[]): string {
  const [tokens] = entry.parameters;
  const [logits] = entry.results;
  if (!tokens || !logits) throw new RangeError(`\`${entry.name}\` has no parameters or no results`);
  const smoothing = run.label_smoothing === undefined ? '' : `, smoothing: ${run.label_smoothing}`;
  const isLanguage = run.kind === 'lm';
  const loss = isLanguage
    ? `next_token(${logits.name}, ${tokens.name})`
    : `cross_entropy(${logits.name}, labels${smoothing})`;
  const target = isLanguage
    ? ''
    : `target labels: ${printType({ dtype: 'i32', shape: logits.type.shape.slice(0, -1) })}`;
  const rate = run.warmup === undefined ? `${run.lr}` : `cosine(peak: ${run.lr}, warmup: ${run.warmup / run.steps})`;
  const settings = [
    `lr: ${rate}`,
    ...(run.momentum === undefined ? [] : [`momentum: ${run.momentum}`]),
    ...(run.weight_decay === undefined ? [] : [`weight_decay: ${run.weight_decay}`]),
  ];
  const names = vectors.map((path) => JSON.stringify(path)).join(', ');
  const adapters = (run.lora?.targets ?? []).map(
    (name) => `"**.${name}.weight": lora(rank: ${run.lora?.r}, alpha: ${run.lora?.alpha})`,
  );
  return [
    `train ${model}.${entry.name} {`,
    ...(target === '' ? [] : [target]),
    `loss: ${loss}`,
    `optimizer: ${run.optimizer}(${settings.join(', ')})`,
    ...(run.clip === undefined ? [] : [`clip_norm: ${run.clip}`]),
    ...((run.weight_decay ?? 0) > 0 && vectors.length > 0 ? [`no_decay: ${names}`] : []),
    '}',
    ...(adapters.length === 0 ? [] : [`adapter ${model} {`, ...adapters, '}']),
    '',
  ].join('\n');
}
