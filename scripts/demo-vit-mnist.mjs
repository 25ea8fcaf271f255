// `npm run demo:vit-mnist [-- NUMBERS OF TEST IMAGES… | --all]`: compiles the model, then starts the app of examples/vit-mnist.
import { at, sorac } from './prepare-example.mjs';

const compiled = sorac('compile', at('models/vit-mnist/vit-mnist.sora'), '-o', at('examples/vit-mnist/generated'));
const { compile, emit } = compiled.milliseconds;
console.error(`compiled vit-mnist.sora in ${(compile + emit).toFixed(0)} ms`);
await import('../examples/vit-mnist/main.mjs');
