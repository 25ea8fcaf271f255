/**
 * Options by name. TypeScript refuses a misspelled option; plain JavaScript would take it in silence, so every call looks.
 */
import { SoraError } from './error.ts';
import { unknownName } from './nearest.ts';

/** Every option of an interface: one that is missing or too many does not compile. */
export type Names<Options> = Readonly<Record<keyof Options, 1>>;

/**
 * @param what names the call in messages: `generate`
 * @errors `code` for what is no object, for an option of another name and for a signal that is none
 */
export function checkOptions<Options extends object>(
  code: string,
  what: string,
  options: Options,
  known: Names<Options>,
): void {
  if (typeof options !== 'object' || options === null)
    throw new SoraError(code, `\`${what}\` takes an object of options`);
  for (const [name, value] of Object.entries(options))
    if (value !== undefined && !Object.hasOwn(known, name))
      throw unknownName(code, `\`${what}\``, 'option', name, Object.keys(known));
  const { signal } = options as { readonly signal?: { readonly throwIfAborted?: unknown } };
  if (signal !== undefined && !signal?.throwIfAborted)
    throw new SoraError(code, `\`signal\` of \`${what}\` is none`, { help: 'give `controller.signal`' });
}
