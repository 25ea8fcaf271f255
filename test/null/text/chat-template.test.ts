import { describe, expect, test } from 'vitest';
import { chatTemplate } from '../../../src/text/index.ts';

const plain = `{%- for message in messages %}{{ bos_token + message.role + ': ' + message.content + eos_token }}
{% endfor %}{%- if add_generation_prompt %}{{ 'assistant:' }}{% endif %}{% if tools %} {{ tools | tojson }}{% endif %}`;

const config = { bos_token: '<s>', eos_token: { content: '</s>', lstrip: false }, chat_template: plain };
const hi = [{ role: 'user', content: 'hi' }];

describe('chatTemplate', () => {
  test('has messages, special tokens and variables', () => {
    expect(chatTemplate(config).render(hi)).toBe('<s>user: hi</s>\nassistant:');
    expect(chatTemplate(config).render(hi, { addGenerationPrompt: false })).toBe('<s>user: hi</s>\n');
    expect(chatTemplate(config).render(hi, { tools: ['x'] })).toMatch(/assistant: \["x"\]$/);
  });

  test('text of messages is no template', () => {
    const content = '{{ bos_token }}{% raise %}';
    expect(chatTemplate(config).render([{ role: 'user', content }])).toContain(`user: ${content}</s>`);
  });

  test('is chosen by name', () => {
    const several = {
      chat_template: [
        { name: 'default', template: 'one' },
        { name: 'tool_use', template: 'two' },
      ],
    };
    expect(chatTemplate(several).render([])).toBe('one');
    expect(chatTemplate(several, 'tool_use').render([])).toBe('two');
    expect(() => chatTemplate(several, 'rag')).toThrow(/`default`, `tool_use`, not `rag`/);
  });

  test.each([[{}], [{ chat_template: 7 }], [{ chat_template: '{% for %}' }], [{ chat_template: '{{ ' }]])(
    '%j is refused',
    (bad) => {
      expect(() => chatTemplate(bad)).toThrow(expect.objectContaining({ code: 'SORA7019' }));
    },
  );

  test('a template may refuse messages', () => {
    const picky = chatTemplate({ chat_template: "{{ raise_exception('roles must alternate') }}" });
    expect(() => picky.render(hi)).toThrow(
      expect.objectContaining({ code: 'SORA7019', message: expect.stringContaining('roles must alternate') }),
    );
  });
});
