/**
 * FEATURES.md is written by this test from the op registry, so that it cannot promise what is not there.
 * `npm run golden` rewrites it.
 */
import { expect, test } from 'vitest';
import { ops } from '../../src/ir/ops/index.ts';

const head = `# Features

What works, what works in part, what does not. The op table is generated from the registry (\`npm run golden\` rewrites this file).

## Language

| feature | state |
|---|---|
| runtime dims with bounds and \`multiple of\`; config dims; exact shape polynomials | works |
| \`config\` with defaults, Hugging Face keys, alternatives, \`count("key")\` | works |
| modules, submodules, \`repeat\` (also with an index), \`as "…"\`, \`tied … if missing\`, fields under \`if\` | works |
| \`init\`: how a tensor begins that no checkpoint gives (constants, uniform, normal, truncated, Kaiming, Xavier) | works |
| shape-polymorphic functions, \`...\` for any leading dims | works |
| \`if\` on config values, \`fail("…")\` | works |
| several entries, several results by name, parameters with defaults, \`entry x = y with T = 1\` | works |
| \`rearrange\` and \`einsum\` with patterns checked when compiling; reductions by axis or runtime dim | works |
| \`attend\`: heads, grouped heads, scale, masks (padding, causal, window, any boolean tensor), dropout | works |
| \`attend\`: score functions, bias, softcap, temperature, sinks, gates, norms of heads, rotary positions (linear, NTK, YaRN, Llama 3) | works |
| \`attend\`: adaptive spans, entmax (1.5, known and learned alpha) | works, forward and backward |
| \`attend\`: \`cache\` with positions counted per row of a batch (\`positions\`, \`last\`) | works |
| \`state\`: caches per session that grow, fork, reset; stored as f32 or f16 | works |
| \`generate Model.entry\`: greedy and sampled text, batches, stop tokens, abort, going on | works |
| \`train\`: losses (cross entropy with smoothing, class weights and an ignored class, next token, binary, squared, absolute, CTC, contrastive), sums of them; SGD, Adam, AdamW, Lion; schedules; freezing, learning rates and weight decay by weight, clipping, micro-batches | works: \`trainer()\` of the module, \`sorac train\` |
| \`trainer()\`: steps, micro-batches, evaluation, runs that go on bit for bit, weights drawn, saved and applied; on devices and the interpreter | works |
| \`train\`: \`ema\`, a moving average of the weights, evaluated, applied and written on demand | works |
| \`train\`: \`recompute\`, activations of layers computed again in the backward part instead of kept | works, where a person asks for it; nothing is chosen by memory yet |
| \`train\`: \`precision: f16\`, what products read and give lies as f16, with a dynamic scale of the loss | works on devices; rows of a length that is no known multiple of 4 stay f32, kernels compute in f32, the interpreter stores f32 |
| \`adapter\`: LoRA beside matrices, alone trained, merged on export; weights that train in full beside them | works |
| \`adapter\`: bottlenecks behind parts (Houlsby) | works; they are weights of the model, in every entry and in exports |
| \`prune\`: heads and neurons by part and share or budget, followed through fused projections, gates, rotary positions, caches | works: smaller matrices; what cannot be followed is an error |
| \`prune\`: whole layers of a stack | works: those that stay lie evenly and keep their names |
| \`prune\`: rows of tables of embeddings, and of what scores them, by norm or by how often a sample looks them up | works: ids and scores that callers see stay what they were; not for models that train |
| \`prune\`: n:m, a share of each matrix, at once or along a cubic schedule, by magnitude or movement | works in training: zeros stay zeros under every optimizer |
| \`prune\`: n:m weights packed on the device (1:2, 1:4, 2:4, 1:8, 1:16), values and places | works; 4:8 and denser patterns stay dense, with a warning that says why |
| \`quantize\`: int8, int4 (symmetric or with zero points, in groups) and f16 weights, f16 and int8 states | kernels read packed weights; loaded from floats or packed files; not for models that train |
| \`sorac compress\`: recipes (blocks, files, words), calibration (percentile, squared error, GPTQ), report, sweep with Pareto front | works; predicted times are a roofline for two stated machines |
| \`golden\` | checked against the model (names, weights, values); no effect yet |
| \`rng(shape, seed)\`: uniform numbers, the same on every device | works |
| \`dropout\`, also of attention weights | in training steps, the same bits on every device; nothing in entries |

## Devices

| device | state |
|---|---|
| lavapipe (Mesa 25) and SwiftShader, Node 20 | tested on every change |
| CPU interpreter (\`sorac/cpu\`) | tested on every change |
| GPUs through Dawn, browsers through \`navigator.gpu\` | same code and a plan of their own (\`gpu\` profile), whose kernels are tested on the software drivers; not measured on hardware |
| devices without \`var<immediate>\` | works, through a uniform buffer |
| f16 storage on the device | states, packed two to a word, on every device; weights of f16 and bf16 checkpoints are held as f32 |
| f16 arithmetic on the device | not yet |
| one weight over 128 MiB | split by rows over several buffers where it is a table of lookups or a factor of products; else refused when compiling |

## Models

| model | file |
|---|---|
| BERT, sequence classification | \`models/bert/sequence-classification.sora\` |
| BERT, question answering | \`models/bert/question-answering.sora\` |
| MiniLM sentence embeddings | \`models/minilm/minilm.sora\` |
| Vision transformer, image classification | \`models/vit/vit.sora\` |
| Vision transformer for digits, trained here, with its weights | \`models/vit-mnist/vit-mnist.sora\` |
| GPT-2 | \`models/gpt2/gpt2.sora\` |
| Llama, Mistral, Qwen2, Qwen3 | \`models/llama/llama.sora\`, \`mistral.sora\`, \`qwen2.sora\`, \`qwen3.sora\` |
| characters: a small language model that is trained on a text | \`models/characters/characters.sora\`, with learned spans \`spans.sora\` |
| adaptive attention alone: spans, entmax, gates, temperatures | \`models/adaptive/adaptive.sora\` |

Entries are called from a generated module, or from \`compileModule\` (source in memory, \`import { compileModule } from 'sorac'\`), which trains too.

## Files

Checkpoints: safetensors with f32, f16, bf16, f64, integers; from a path, URL, Blob or bytes, in one file, in shards with an index
(\`*.index.json\`), or as a folder of Hugging Face. \`sorac check --weights\` compares names, shapes and types before anything is loaded.
\`sorac weights convert\` makes safetensors with the names of Hugging Face of llama2.c files (legacy, \`ak42\` version 1, llama2.ts) and of ONNX
initializers (f32, f16, bf16; 8-bit weights dequantized to f32; files of external data). Not: 4-bit blocks, quantized \`ak42\`.

## Training data

What \`sorac train\` reads, through \`read\` items of a \`train\` block.

| feature | state |
|---|---|
| CSV, TSV, JSON Lines, Parquet, safetensors, IDX (packed too), text; rows in any order without holding the file | works |
| folders of PNG, JPEG, WAV or text files with a subfolder per class; parts \`train\`, \`validation\`, \`test\`; shards | works; progressive and CMYK JPEG as far as \`jpeg-js\` reads them; sounds are not resampled |
| padding, bucketing by length, label maps, masked tokens, windows over a text, characters as tokens | works |
| pairs of texts with segments, columns of numbers, lists of labels | works |
| labels per word, for tokens of a tokenizer | not yet |
| shuffling by seed and epoch, splits, going on from any batch | works |
| accuracy, F1, perplexity; TensorBoard event files; best and last checkpoint | works |

## Text

| feature | state |
|---|---|
| \`tokenizer.json\` (through \`@huggingface/tokenizers\`), \`tokenizer.bin\` of llama2.c | works |
| streamed text, chat templates (through \`@huggingface/jinja\`) | works |
| \`tokenizer.model\` of SentencePiece | not yet: take the \`tokenizer.json\` beside it |

## Diagnostics

| feature | state |
|---|---|
| a stable code per mistake, labels across files, edits that mend it (\`check --fix\`) | works |
| \`--reporter pretty\\|concise\\|json\\|github\\|sarif\`, \`--max-errors\` | works |
| \`sorac explain CODE\`: a page per code with a wrong and a right program | works |

## Ops

| op | level | kernel | meaning |
|---|---|---|---|
`;

test('FEATURES.md says what the op registry holds', async () => {
  const rows = [...ops.values()]
    .sort((left, right) => (left.name < right.name ? -1 : 1))
    .map((op) => {
      const sentence = op.doc.replace(/\s+/g, ' ').split(/(?<=\.)\s/)[0] ?? '';
      return `| \`${op.name}\` | ${op.level} | ${op.skeleton} | ${sentence.replaceAll('|', '\\|')} |`;
    });
  await expect(`${head}${rows.join('\n')}\n`).toMatchFileSnapshot('../../FEATURES.md');
});
