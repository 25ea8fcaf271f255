/**
 * Runner `causal`: the whole sequence at once, then greedy decoding with a cache, then the same prompt in chunks.
 *
 * Which entry does what is read off the entries: the one without session that gives `logits` of every position; the ones with
 * a session that give `logits` [B, V], of which the one that takes a single position makes the steps.
 */
import type { EntrySpec } from '../runtime/artifact.ts';
import { maskOf } from './compare.ts';
import type { OpenModel, OpenSession } from './execute.ts';
import type { GoldenVariant } from './golden-case.ts';
import { runForward } from './golden-plain.ts';
import { comparedRow, failedRow, type Place, type Row } from './golden-rows.ts';
import type { FileTensor, HostTensor } from './tensor-file.ts';

/** An odd number, so that the last chunk of most prompts is shorter. */
const chunkLength = 3;

interface Decoder {
  /** Takes any number of positions … */
  readonly prompt: EntrySpec;
  /** … and one. */
  readonly step: EntrySpec;
  /** The parameter with the token ids. */
  readonly ids: string;
}

export async function runCausal(
  place: Place,
  variant: GoldenVariant,
  entries: readonly EntrySpec[],
  model: OpenModel,
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  if (variant.outputs.has('logits')) {
    const stateless = entries.filter((entry) => entry.steps === undefined);
    rows.push(...(await runForward(place, variant, ['logits'], stateless, model)));
  }
  const tokens = variant.outputs.get('greedy_tokens');
  const logits = variant.outputs.get('step_logits');
  if (tokens === undefined || logits === undefined) return rows;
  const decoder = decoderOf(entries, variant);
  if (decoder === undefined) return [...rows, failedRow(place, 'no entry with a session gives `logits` [B, V]')];
  const ids = variant.inputs.get(decoder.ids);
  if (ids === undefined) return [...rows, failedRow(place, `the case has no \`${decoder.ids}\``)];
  const mask = maskOf(variant.inputs);
  if (mask !== undefined && Array.from(mask.values).some((value) => value === 0))
    return [...rows, { ...place, result: 'greedy_tokens', outcome: 'not supported yet', detail: 'padded prompts' }];
  return [...rows, ...(await runGreedy(place, decoder, ids, tokens, logits, model))];
}

function decoderOf(entries: readonly EntrySpec[], variant: GoldenVariant): Decoder | undefined {
  const candidates = entries.filter((entry) => {
    const result = entry.results.find(({ name }) => name === 'logits');
    return entry.steps !== undefined && result?.shape.length === 2;
  });
  const prompt = candidates.find((entry) => typeof entry.steps !== 'number');
  const required = prompt?.inputs.filter((input) => input.initial === undefined) ?? [];
  const [ids] = required;
  if (prompt === undefined || ids === undefined || required.length > 1 || !variant.inputs.has(ids.name))
    return undefined;
  return { prompt, step: candidates.find((entry) => entry.steps === 1) ?? prompt, ids: ids.name };
}

async function runGreedy(
  place: Place,
  decoder: Decoder,
  ids: FileTensor,
  wantTokens: FileTensor,
  wantLogits: FileTensor,
  model: OpenModel,
): Promise<readonly Row[]> {
  const [batch = 0, length = 0] = ids.shape;
  const [, steps = 0, vocabulary = 0] = wantLogits.shape;
  const prompt = ids.read('i32') as Int32Array;
  const want = wantLogits.read('f32') as Float32Array;
  const tokens = new Int32Array(batch * steps);
  const logits = new Float32Array(batch * steps * vocabulary);
  const session = model.session();
  try {
    let input: HostTensor = { data: prompt, shape: [batch, length] };
    for (let step = 0; step < steps; step++) {
      const row = await call(session, step === 0 ? decoder.prompt : decoder.step, decoder.ids, input);
      const chosen = new Int32Array(batch);
      for (let b = 0; b < batch; b++) {
        const scores = row.subarray(b * vocabulary, (b + 1) * vocabulary);
        logits.set(scores, (b * steps + step) * vocabulary);
        chosen[b] = indexOfGreatest(scores);
        tokens[b * steps + step] = chosen[b] ?? 0;
      }
      input = { data: chosen, shape: [batch, 1] };
    }
  } finally {
    await session.close();
  }
  const first = new Float32Array(batch * vocabulary);
  for (let b = 0; b < batch; b++) {
    first.set(want.subarray(b * steps * vocabulary, (b * steps + 1) * vocabulary), b * vocabulary);
  }
  const chunked = await promptInChunks(decoder, prompt, batch, length, model);
  return [
    comparedRow(place, 'greedy_tokens', { data: tokens, shape: [batch, steps] }, wantTokens),
    comparedRow(place, 'step_logits', { data: logits, shape: [batch, steps, vocabulary] }, wantLogits),
    comparedRow(
      place,
      `step_logits, prompt in chunks of ${chunkLength}`,
      { data: chunked, shape: [batch, vocabulary] },
      { data: first, shape: [batch, vocabulary] },
    ),
  ];
}

/** The scores behind the last chunk. */
async function promptInChunks(
  decoder: Decoder,
  prompt: Int32Array,
  batch: number,
  length: number,
  model: OpenModel,
): Promise<Float32Array> {
  const session = model.session();
  let scores = new Float32Array();
  try {
    for (let start = 0; start < length; start += chunkLength) {
      const size = Math.min(chunkLength, length - start);
      const chunk = new Int32Array(batch * size);
      for (let b = 0; b < batch; b++)
        chunk.set(prompt.subarray(b * length + start, b * length + start + size), b * size);
      scores = Float32Array.from(
        await call(session, decoder.prompt, decoder.ids, { data: chunk, shape: [batch, size] }),
      );
    }
  } finally {
    await session.close();
  }
  return scores;
}

async function call(session: OpenSession, entry: EntrySpec, ids: string, input: HostTensor): Promise<Float32Array> {
  const { logits } = Object.fromEntries(await session.call(entry.name, { [ids]: input }));
  if (!(logits?.data instanceof Float32Array)) throw new TypeError(`\`${entry.name}\` gave no f32 logits`);
  return logits.data;
}

/** Of equal scores the first, as `torch.argmax`. */
function indexOfGreatest(scores: Float32Array): number {
  let best = 0;
  for (let at = 1; at < scores.length; at++) if ((scores[at] ?? 0) > (scores[best] ?? 0)) best = at;
  return best;
}
