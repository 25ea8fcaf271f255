/**
 * A short fingerprint of what was compiled, for the head of generated modules: the same text and config give the same
 * fingerprint on every machine. It tells versions apart; it is no security measure.
 *
 * FNV-1a, 64 bit (Fowler, Noll, Vo; draft-eastlake-fnv), over UTF-16 code units. Works without `node:crypto`, since the
 * compiler runs in a browser too.
 */
const offsetBasis = 0xcbf29ce484222325n;
const prime = 0x100000001b3n;

/** JSON with sorted keys, so that the order of keys in a config file does not matter. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/** `texts`: every file of the compilation, imported ones first. */
export function sourceHash(texts: readonly string[], config: Readonly<Record<string, unknown>> | undefined): string {
  let hash = offsetBasis;
  for (const unit of `${texts.join('\0')}\0${canonicalJson(config ?? {})}`) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(unit.codePointAt(0) ?? 0)) * prime);
  }
  return hash.toString(16).padStart(16, '0');
}
