/**
 * The fields of `tokenizer_config.json` that are read here. Unknown fields pass on to the tokenizer and to chat templates.
 */

export interface TokenizerConfig {
  readonly [field: string]: unknown;
}

export const specialTokenFields = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const;

/** A special token stands as its text, or as an object with its text and how it is matched. */
export function specialToken(config: TokenizerConfig, field: (typeof specialTokenFields)[number]): string | undefined {
  const value = config[field];
  if (typeof value === 'string') return value;
  if (value === null || typeof value !== 'object' || !('content' in value)) return undefined;
  return typeof value.content === 'string' ? value.content : undefined;
}
