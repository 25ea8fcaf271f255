// Tokens of a session as text on a terminal, with the speed at the end. Shared by examples/stories and examples/chat.

/**
 * Generates from `ids` and writes each piece of text as soon as it is certain.
 *
 * @param {{
 *   session: { generate(ids: number[], options: object): AsyncIterable<{ token: number }> },
 *   tokenizer: import('sorac/text').Tokenizer,
 *   ids: number[],
 *   options: { maxTokens: number, stop: number[], signal: AbortSignal, temperature?: number, topK?: number, topP?: number, seed?: number },
 *   write: (text: string) => void,
 * }} request
 */
export async function streamText({ session, tokenizer, ids, options, write }) {
  const stream = tokenizer.stream(ids);
  const tokens = [];
  const start = performance.now();
  let firstAt = start;
  let text = '';
  const show = (piece) => {
    text += piece;
    write(piece);
  };
  try {
    for await (const { token } of session.generate(ids, options)) {
      if (tokens.length === 0) firstAt = performance.now();
      tokens.push(token);
      show(stream.push(token));
    }
  } catch (error) {
    // Ctrl-C: what was written stays.
    if (!options.signal.aborted) throw error;
  }
  show(stream.end());
  return { text, tokens, firstMilliseconds: firstAt - start, restMilliseconds: performance.now() - firstAt };
}

/** `42 tokens, first after 35 ms (7 tokens of prompt), then 118.2 tokens/s`. */
export function describeSpeed({ tokens, firstMilliseconds, restMilliseconds }, promptTokens) {
  if (tokens.length === 0) return 'no tokens';
  const first = `first after ${firstMilliseconds.toFixed(0)} ms (${promptTokens} tokens of prompt)`;
  const rest = tokens.length - 1;
  const speed = rest > 0 ? `, then ${((rest * 1000) / restMilliseconds).toFixed(1)} tokens/s` : '';
  return `${tokens.length} tokens, ${first}${speed}`;
}

/** Calls `run` with a signal that Ctrl-C aborts; before and after, Ctrl-C ends the process as usual. */
export async function untilInterrupted(run) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  process.once('SIGINT', abort);
  try {
    return await run(controller.signal);
  } finally {
    process.off('SIGINT', abort);
  }
}

/** The options that both examples have, of `parseArgs`. */
export const generationOptions = {
  device: { type: 'string', default: 'auto' },
  tokens: { type: 'string', default: '256' },
  temperature: { type: 'string', default: '0' },
  'top-k': { type: 'string' },
  'top-p': { type: 'string' },
  seed: { type: 'string' },
};

/** `parseArgs` gives texts; `generate` takes numbers. */
export function numbersOf(values) {
  const number = (name) => {
    if (values[name] === undefined) return undefined;
    const value = Number(values[name]);
    if (values[name].trim() !== '' && Number.isFinite(value)) return value;
    console.error(`--${name} ${values[name]} is no number`);
    process.exit(2);
  };
  const all = {
    maxTokens: number('tokens'),
    temperature: number('temperature'),
    topK: number('top-k'),
    topP: number('top-p'),
    seed: number('seed'),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
