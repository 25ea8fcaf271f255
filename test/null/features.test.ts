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
| shape-polymorphic functions, \`...\` for any leading dims | works |
| \`if\` on config values, \`fail("…")\` | works |
| several entries, several results by name, parameters with defaults, \`entry x = y with T = 1\` | works |
| \`rearrange\` and \`einsum\` with patterns checked when compiling; reductions by axis or runtime dim | works |
| \`attend\`: heads, grouped heads, scale, masks (padding, causal, window, any boolean tensor), dropout | works |
| \`attend\`: score functions, bias, softcap, temperature, sinks, gates, norms of heads, rotary positions (linear, NTK, YaRN, Llama 3) | works |
| \`attend\`: adaptive spans, entmax (1.5, known and learned alpha) | works, forward |
| \`attend\`: cache | not yet: a diagnostic says so |
| \`state\` | declared and checked; nothing can use it yet |
| \`train\`, \`quantize\`, \`prune\`, \`adapter\`, \`golden\` blocks | checked against the model (names, weights, values, losses); no effect yet |
| \`dropout\` | the identity, as entries need it; \`rng\` is refused |

## Devices

| device | state |
|---|---|
| lavapipe (Mesa 25) and SwiftShader, Node 20 | tested on every change |
| CPU interpreter (\`sorac/cpu\`) | tested on every change |
| GPUs through Dawn, browsers through \`navigator.gpu\` | same code and a plan of their own (\`gpu\` profile), whose kernels are tested on the software drivers; not measured on hardware |
| devices without \`var<immediate>\` | works, through a uniform buffer |
| f16 arithmetic and storage on the device | not yet: f16 and bf16 checkpoints are read and held as f32 |
| one weight over 128 MiB | not yet: refused when compiling |

## Models

| model | file |
|---|---|
| BERT, sequence classification | \`models/bert/sequence-classification.sora\` |
| BERT, question answering | \`models/bert/question-answering.sora\` |
| adaptive attention (spans, entmax, gates, temperatures) | \`models/adaptive/adaptive.sora\` |
| MiniLM sentence embeddings | \`models/minilm/minilm.sora\` |
| Vision transformer, image classification | \`models/vit/vit.sora\` |

## Files

Checkpoints: safetensors with f32, f16, bf16, f64, integers; from a path, URL, Blob or bytes, in one file, in shards with an index
(\`*.index.json\`), or as a folder of Hugging Face. \`sorac check --weights\` compares names, shapes and types before anything is loaded.

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
