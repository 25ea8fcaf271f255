/**
 * What `sora:nn` exports, for "import it" hints in files that do not import it yet. A test compares the list with
 * models/nn/nn.sora.
 */
const names: readonly string[] = [
  'Linear',
  'Embedding',
  'LayerNorm',
  'RMSNorm',
  'activation',
  'gelu',
  'gelu_tanh',
  'mean_pool',
  'normalize',
  'quick_gelu',
  'relu',
  'sigmoid',
  'silu',
];

export function libraryNames(): readonly string[] {
  return names;
}
