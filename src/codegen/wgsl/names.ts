/**
 * Names in generated WGSL: from the model's words, safe in every position, without layer numbers, so that the kernels of
 * equal layers have equal text.
 */
import type { Dim } from '../../ir/symbolic.ts';
import { isReservedInWgsl, maximumIdentifierLength } from '../../support/names.ts';

/** A WGSL identifier made of the letters and digits of a text; never a keyword, never starting with a digit. */
export function identifier(text: string): string {
  const word = text
    .replace(/[^A-Za-z0-9]+/g, '_')
    .replace(/^[_0-9]+/, '')
    .slice(0, 2 * maximumIdentifierLength)
    .replace(/_+$/, '');
  if (word === '') return 'value';
  return isReservedInWgsl(word) || word.startsWith('sora_') ? `${word}_` : word;
}

/** `encoder.layer.0.attention.query` to `encoder_layer_attention_query`; the last three words are kept. */
export function kernelName(label: string | undefined, fallback: string): string {
  const words = (label ?? '').split(/[^A-Za-z0-9]+/).filter((word) => word !== '' && !/^[0-9]+$/.test(word));
  const kept = words.slice(-3).join('_');
  return identifier(kept === '' ? fallback : kept);
}

/** Name of a polynomial of runtime dims as a field of `Dims`: `B*T*384` is `B_T_384`, `T - 1` is `T_minus_1`. */
export function dimName(dim: Dim): string {
  const text = dim.terms
    .map((term, at) => {
      const size = Math.abs(term.coefficient);
      const words = [...term.factors, ...(size === 1 && term.factors.length > 0 ? [] : [String(size)])].join('_');
      const sign = term.coefficient < 0 ? 'minus_' : at > 0 ? 'plus_' : '';
      return `${sign}${words}`;
    })
    .join('_');
  return /^[A-Z]/.test(text) ? identifier(text) : `n_${text}`;
}
