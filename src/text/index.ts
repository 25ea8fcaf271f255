/**
 * `sorac/text`: text to token ids and back, and chat prompts. Runs in browsers too; generated modules do not need it.
 */
export { type ChatMessage, type ChatTemplate, type ChatTemplateOptions, chatTemplate } from './chat-template.ts';
export type { TokenizerConfig } from './config.ts';
export { type LoadTokenizerOptions, loadTokenizer, loadTokenizerConfig } from './load.ts';
export type { DecodeOptions, EncodedPair, EncodeOptions, TextStream, Tokenizer } from './tokenizer.ts';
