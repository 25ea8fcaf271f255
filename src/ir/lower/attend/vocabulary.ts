/**
 * Words that mean something in the modifiers of `attend` and nowhere else, unless the model gives them a meaning.
 */
export const attendWords: ReadonlySet<string> = new Set([
  ...['padding', 'causal', 'window'],
  ...['none', 'rotary', 'adaptive', 'entmax'],
  ...['linear', 'ntk', 'dynamic', 'yarn', 'llama3'],
]);
