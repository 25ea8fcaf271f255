/**
 * Numbers in the words of packed weights. A number is masked and not moved: what is too large by a power of two is paid for by the other
 * factor of its product, once for all outputs. The last number of a word is moved down, since words are unsigned and numbers there are not.
 */

/** A power of two as WGSL. */
export function powerOfTwo(exponent: number): string {
  return `${2 ** exponent}${exponent >= 0 ? '.0' : ''}f`;
}

/** Four outputs' numbers at a step of a vector of words, too large by 2^`excess`. */
export function numbersAt(
  words: string,
  step: number,
  perWord: number,
): { readonly text: string; readonly excess: number } {
  const bits = 32 / perWord;
  if (step === perWord - 1) return { text: `vec4<f32>(vec4<i32>(${words} >> vec4<u32>(${32 - bits}u)))`, excess: 0 };
  const mask = (2 ** bits - 1) * 2 ** (bits * step);
  return { text: `vec4<f32>(vec4<i32>(${words} & vec4<u32>(${mask}u)))`, excess: bits * step };
}

/** Name of the function that adds products with a vector of words of so many numbers. */
export const wordHelper = (perWord: number): string => `sora_add_${perWord === 4 ? 'bytes' : 'nibbles'}`;

/** Text of that function: a step's factor is smaller by what its numbers are too large by. */
export function addWord(perWord: number): string {
  const steps = Array.from({ length: perWord }, (_, step) => step);
  const vectors = Array.from({ length: perWord / 4 }, (_, at) => `left_${at}: vec4<f32>`);
  const lines = steps.map((step) => {
    const factor = `left_${step >> 2}.${'xyzw'[step % 4]}`;
    return `  total = fma(vec4<f32>(${factor}), ${numbersAt('words', step, perWord).text}, total);`;
  });
  return [
    `fn ${wordHelper(perWord)}(sum: vec4<f32>, words: vec4<u32>, ${vectors.join(', ')}) -> vec4<f32> {`,
    '  var total = sum;',
    ...lines,
    '  return total;',
    '}',
  ].join('\n');
}
