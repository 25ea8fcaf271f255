// What a side measures, and MiniLM's work: one sentence of 128 tokens, without padding. One JSON line per process.
export const batch = 1;
export const tokens = 128;

/** [1, 128] ids between the special tokens of the BERT vocabulary; which words they are does not matter. */
export const ids = Int32Array.from({ length: tokens }, (_, index) => {
  if (index === 0) return 101;
  return index === tokens - 1 ? 102 : 1000 + ((index * 7919) % 20000);
});

const now = () => performance.now();

/**
 * Runs `call` once cold and then warm until `runs` are done; prints the line that run.mjs reads.
 * `call` resolves to the numbers on the host ([1, 128, 384] hidden states), `summarize` to the vector that sides are compared by,
 * `finish` does what is not measured any more.
 */
export async function measure({ peer, adapter, loadMilliseconds, call, runs, summarize = meanOfTokens, finish }) {
  const firstStart = now();
  let hidden = await call();
  const first = now() - firstStart;
  // performance.now() counts from the start of the process: imports, device and weights are in it.
  const coldStart = now();
  const warm = [];
  // One more call before counting: drivers finish lazy work in the second one.
  if (runs > 0) await call();
  for (let run = 0; run < runs; run++) {
    const start = now();
    hidden = await call();
    warm.push(now() - start);
  }
  await finish?.();
  const embedding = summarize(hidden);
  console.log(JSON.stringify({ peer, adapter, load: loadMilliseconds, first, coldStart, warm, embedding }));
}

/** Unit sentence embedding [384] of hidden states [128, 384]: what the two sides are compared by. */
function meanOfTokens(hidden) {
  const width = hidden.length / tokens;
  const sums = Array.from({ length: width }, (_, column) => {
    let sum = 0;
    for (let token = 0; token < tokens; token++) sum += hidden[token * width + column];
    return sum / tokens;
  });
  const norm = Math.hypot(...sums);
  return sums.map((value) => value / norm);
}
