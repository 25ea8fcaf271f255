/**
 * Chat templates: messages to the prompt that a model was trained on. Templates are Jinja, by `@huggingface/jinja`.
 */
import { Template } from '@huggingface/jinja';
import { SoraError } from '../runtime/error.ts';
import { specialToken, specialTokenFields, type TokenizerConfig } from './config.ts';

export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  readonly [field: string]: unknown;
}

export interface ChatTemplateOptions {
  /** Ends the prompt where the model's answer begins; yes unless said otherwise. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables of the template: `tools`, `documents`, `enable_thinking`, …. */
  readonly [variable: string]: unknown;
}

export interface ChatTemplate {
  /** A prompt for `encode(…, { addSpecialTokens: false })`: the template writes the special tokens itself. */
  render(messages: readonly ChatMessage[], options?: ChatTemplateOptions): string;
}

/**
 * The template of a `tokenizer_config.json`; of several named ones the one called `name`.
 *
 * @errors SORA7019 when there is none, when it is no Jinja, and from `render` when it refuses the messages
 */
export function chatTemplate(config: TokenizerConfig, name = 'default'): ChatTemplate {
  const template = parse(templateText(config.chat_template, name));
  const tokens = Object.fromEntries(
    specialTokenFields.flatMap((field) => {
      const token = specialToken(config, field);
      return token === undefined ? [] : [[field, token]];
    }),
  );
  return {
    render(messages, { addGenerationPrompt = true, ...variables } = {}) {
      try {
        return template.render({
          ...tokens,
          ...variables,
          messages,
          add_generation_prompt: addGenerationPrompt,
        });
      } catch (cause) {
        throw new SoraError('SORA7019', `the chat template refuses these messages: ${messageOf(cause)}`, { cause });
      }
    },
  };
}

function templateText(field: unknown, name: string): string {
  if (typeof field === 'string') return field;
  const named: readonly unknown[] = Array.isArray(field) ? field : [];
  const found = named.find((each) => isRecord(each) && each.name === name);
  if (isRecord(found) && typeof found.template === 'string') return found.template;
  const names = named.flatMap((each) => (isRecord(each) ? [`\`${String(each.name)}\``] : []));
  const has = names.length === 0 ? 'no `chat_template`' : `the chat templates ${names.join(', ')}, not \`${name}\``;
  throw new SoraError('SORA7019', `the tokenizer config has ${has}`);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object';
}

function parse(text: string): Template {
  try {
    return new Template(text);
  } catch (cause) {
    throw new SoraError('SORA7019', `the chat template cannot be read: ${messageOf(cause)}`, { cause });
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
