/**
 * Llama checkpoints of the llama2.c family: f32 tensors one after the other, each stacked over the layers, behind a short
 * header. Three layouts:
 *
 *   legacy     7 x i32 (a negative vocabulary: the head is not shared), tensors, two tables of rotary angles, the head
 *   ak42       magic `ak42`, version 1, the same 7 x i32, u8 "head is shared", padded to 256 bytes; norms come first
 *   llama2.ts  u8 1, i32 length and name `llama`, 7 x i32, u8, padded to 256 bytes; then the vocabulary, gate before down
 *
 * Sources: `export.py` and `run.c` of github.com/karpathy/llama2.c; github.com/clebert/llama2.ts.
 *
 * All three turn neighbouring pairs (0,1), (2,3), … of a head; Hugging Face turns halves (0, d/2), (1, d/2 + 1), …. The rows of
 * the query and key projections are reordered so that both give equal scores, as its own converter does. Angles are those of
 * base 10000: `run.c` computes them and ignores the tables of the file.
 */
import type { ByteSource } from '../../runtime/source.ts';
import { SoraError } from '../../support/error.ts';
import { limits } from '../../support/limits.ts';
import { type Conversion, type ConvertedTensor, readRuns, readWhole, withBlocks } from './conversion.ts';
import { readVocabulary } from './vocabulary.ts';

interface Sizes {
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabulary: number;
  readonly positions: number;
  readonly isShared: boolean;
}

interface Header {
  readonly layout: string;
  readonly sizes: Sizes;
  /** Where the tensors begin. */
  readonly start: number;
  readonly tokenizer?: Uint8Array;
}

/** One stack of the file: per layer, or once. */
interface Stack {
  /** `#` is the layer; undefined: nothing of the model. */
  readonly name: string | undefined;
  readonly shape: readonly number[];
  readonly isPerLayer: boolean;
  /** Heads whose rows are turned pair by pair. */
  readonly turnedHeads?: number;
}

const paddedHeaderBytes = 256;
const legacyHeaderBytes = 28;

/** Whether the first bytes may be such a file. */
export async function isLlama2c(source: ByteSource): Promise<boolean> {
  try {
    await readHeader(source);
    return true;
  } catch {
    return false;
  }
}

export async function readLlama2c(source: ByteSource): Promise<Conversion> {
  const header = await readHeader(source);
  const { sizes } = header;
  const tensors: ConvertedTensor[] = [];
  let at = header.start;
  for (const stack of stacksOf(header.layout, sizes)) {
    const bytes = 4 * stack.shape.reduce((product, size) => product * size, 1);
    for (let layer = 0; layer < (stack.isPerLayer ? sizes.layers : 1); layer++) {
      const offset = at;
      at += bytes;
      if (stack.name === undefined) continue;
      const turned = stack.turnedHeads;
      tensors.push({
        name: stack.name.replace('#', String(layer)),
        dtype: 'F32',
        shape: stack.shape,
        chunks:
          turned === undefined
            ? () => readRuns(source, offset, bytes)
            : () => halvesFromPairs(source, offset, bytes, stack.shape, turned),
      });
    }
  }
  if (at !== source.size) throw wrongLength(source, header.layout, at);
  return {
    format: `llama2.c, ${header.layout} layout`,
    tensors,
    config: configOf(sizes),
    files: new Map(header.tokenizer === undefined ? [] : [['tokenizer.bin', header.tokenizer]]),
    notes: [],
    close: async () => {},
  };
}

function wrongLength(source: ByteSource, layout: string, end: number): SoraError {
  const { name, size } = source;
  if (size < end)
    return new SoraError('SORA7013', `\`${name}\` has ${size} bytes, its ${layout} header asks for ${end}`);
  return new SoraError('SORA7013', `\`${name}\` has ${size - end} bytes after its last tensor`, {
    help: `if the file holds more than the model, name the model's part: --bytes 0:${end}`,
  });
}

async function readHeader(source: ByteSource): Promise<Header> {
  if (source.size < legacyHeaderBytes) throw refuse(source, `${source.size} bytes are no header`);
  const bytes = await source.read(0, Math.min(source.size, paddedHeaderBytes));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isPadded = bytes.byteLength === paddedHeaderBytes;
  if (isPadded && view.getUint32(0, true) === 0x616b3432) {
    const version = view.getInt32(4, true);
    if (version !== 1)
      throw refuse(source, `version ${version} of the ak42 layout`, 'only version 1 (f32) can be read');
    return { layout: 'ak42', sizes: readSizes(source, view, 8, view.getUint8(36) !== 0), start: paddedHeaderBytes };
  }
  if (isPadded && view.getUint8(0) === 1 && view.getInt32(1, true) === 5) {
    if (new TextDecoder().decode(bytes.subarray(5, 10)) === 'llama') {
      const sizes = readSizes(source, view, 10, view.getUint8(38) !== 0, true);
      const { tokenizer, end } = await readVocabulary(withBlocks(source), paddedHeaderBytes, sizes.vocabulary);
      return { layout: 'llama2.ts', sizes, start: end, tokenizer };
    }
  }
  return { layout: 'legacy', sizes: readSizes(source, view, 0, undefined), start: legacyHeaderBytes };
}

function refuse(source: ByteSource, what: string, help?: string): SoraError {
  const options = help === undefined ? {} : { help };
  return new SoraError('SORA7012', `\`${source.name}\` is not a usable llama2.c file: ${what}`, options);
}

/** 7 x i32. The llama2.ts order is width, hidden, positions, vocabulary, layers, heads, key/value heads. */
function readSizes(
  source: ByteSource,
  view: DataView,
  offset: number,
  isShared: boolean | undefined,
  isLlama2ts = false,
): Sizes {
  const [first = 0, second = 0, ...rest] = Array.from({ length: 7 }, (_, index) =>
    view.getInt32(offset + 4 * index, true),
  );
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = rest;
  const [layers, heads, kvHeads, signed, positions] = isLlama2ts ? [c, d, e, b, a] : [a, b, c, d, e];
  // Without a flag of its own the sign of the vocabulary tells whether the head is shared.
  const vocabulary = isShared === undefined ? Math.abs(signed) : signed;
  const sizes: Sizes = {
    width: first,
    hidden: second,
    layers,
    heads,
    kvHeads,
    vocabulary,
    positions,
    isShared: isShared ?? signed > 0,
  };
  for (const [name, value] of Object.entries(sizes)) {
    // 2^24 is far above every real model; four such numbers cannot overflow what a double holds exactly when checked below.
    if (typeof value === 'number' && !(value >= 1 && value <= 2 ** 24)) throw refuse(source, `${name} = ${value}`);
  }
  if (layers > limits.repeatCount) throw refuse(source, `${layers} layers`);
  if (sizes.width % heads !== 0 || heads % kvHeads !== 0 || (sizes.width / heads) % 2 !== 0) {
    throw refuse(source, `${heads} heads and ${kvHeads} key/value heads do not divide a width of ${sizes.width}`);
  }
  return sizes;
}

function stacksOf(layout: string, sizes: Sizes): readonly Stack[] {
  const { width, hidden, vocabulary, positions, heads, kvHeads } = sizes;
  const kvWidth = (width / heads) * kvHeads;
  const once = (name: string | undefined, ...shape: number[]): Stack => ({ name, shape, isPerLayer: false });
  const layer = (name: string, ...shape: number[]): Stack => ({
    name: `model.layers.#.${name}.weight`,
    shape,
    isPerLayer: true,
  });
  const embedding = once('model.embed_tokens.weight', vocabulary, width);
  const attentionNorm = layer('input_layernorm', width);
  const hiddenNorm = layer('post_attention_layernorm', width);
  const attention = [
    { ...layer('self_attn.q_proj', width, width), turnedHeads: heads },
    { ...layer('self_attn.k_proj', kvWidth, width), turnedHeads: kvHeads },
    layer('self_attn.v_proj', kvWidth, width),
    layer('self_attn.o_proj', width, width),
  ];
  const gate = layer('mlp.gate_proj', hidden, width);
  const down = layer('mlp.down_proj', width, hidden);
  const up = layer('mlp.up_proj', hidden, width);
  const norm = once('model.norm.weight', width);
  const head = sizes.isShared ? [] : [once('lm_head.weight', vocabulary, width)];
  if (layout === 'ak42') return [attentionNorm, hiddenNorm, norm, embedding, ...attention, gate, down, up, ...head];
  if (layout === 'llama2.ts') {
    return [embedding, attentionNorm, ...attention, hiddenNorm, gate, up, down, norm, ...head];
  }
  const angles = once(undefined, positions, width / heads / 2);
  return [embedding, attentionNorm, ...attention, hiddenNorm, gate, down, up, norm, angles, angles, ...head];
}

/**
 * Rows of each head from pair order 0 1 | 2 3 | … to half order 0 2 … | 1 3 …: new row `j * half + i` is old row `2 * i + j`.
 */
async function* halvesFromPairs(
  source: ByteSource,
  offset: number,
  bytes: number,
  shape: readonly number[],
  heads: number,
): AsyncIterable<Uint8Array> {
  const [rows = 0] = shape;
  const pairs = await readWhole(source, offset, bytes);
  const rowBytes = bytes / rows;
  const half = rows / heads / 2;
  const halves = new Uint8Array(bytes);
  for (let row = 0; row < rows; row++) {
    const head = Math.floor(row / (2 * half));
    const inHead = row % (2 * half);
    const from = head * 2 * half + 2 * (inHead % half) + Math.floor(inHead / half);
    halves.set(pairs.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  }
  yield halves;
}

/** The constants that `run.c` has in its text. */
function configOf(sizes: Sizes): Readonly<Record<string, unknown>> {
  return {
    architectures: ['LlamaForCausalLM'],
    attention_bias: false,
    bos_token_id: 1,
    dtype: 'float32',
    eos_token_id: 2,
    head_dim: sizes.width / sizes.heads,
    hidden_act: 'silu',
    hidden_size: sizes.width,
    intermediate_size: sizes.hidden,
    max_position_embeddings: sizes.positions,
    mlp_bias: false,
    model_type: 'llama',
    num_attention_heads: sizes.heads,
    num_hidden_layers: sizes.layers,
    num_key_value_heads: sizes.kvHeads,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: sizes.isShared,
    vocab_size: sizes.vocabulary,
  };
}
