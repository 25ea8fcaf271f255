/**
 * The only place that turns a person's names and texts into identifiers, strings, keys and comments of generated
 * TypeScript and WGSL. Everything generated comes from an allow-list or is escaped: a `.sora` file from a stranger must
 * never become code (docs: SECURITY.md; the class of bug: protobufjs CVE-2026-41242).
 */

/** Reserved words of ECMAScript modules in strict mode and names with a meaning of their own there. */
const reservedInScript: ReadonlySet<string> = new Set(
  (
    'abstract any arguments as async await boolean break case catch class const constructor continue debugger declare default ' +
    'delete do else enum eval export extends false finally for from function get if implements import in infer instanceof ' +
    'interface is keyof let module namespace never new null number object of package private protected prototype public ' +
    'readonly require return satisfies set static string super switch symbol then this throw true try type typeof undefined ' +
    'unique unknown using var void while with yield globalThis Infinity NaN Object Array Promise Symbol Error'
  ).split(' '),
);

/** Keywords and reserved words of WGSL (sections 15.1 and 15.2), types and builtins that a name could hide, names of ours. */
const reservedInWgsl: ReadonlySet<string> = new Set(
  // keywords
  (
    'alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop ' +
    'override requires return struct switch true var while ' +
    // reserved words
    'NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class co_await ' +
    'co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval constexpr constinit ' +
    'crate debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit export extends extern external ' +
    'fallthrough filter final finally friend from fxgroup get goto groupshared highp impl implements import inline instanceof ' +
    'interface layout lowp macro macro_rules match mediump meta mod module move mut mutable namespace new nil noexcept noinline ' +
    'nointerpolation non_coherent noncoherent noperspective null nullptr of operator package packoffset partition pass patch ' +
    'pixelfragment precise precision premerge priv protected pub public readonly ref regardless register reinterpret_cast ' +
    'require resource restrict self set shared sizeof smooth snorm static static_assert static_cast std subroutine super target ' +
    'template this thread_local throw trait try type typedef typeid typename typeof union unless unorm unsafe unsized use using ' +
    'varying virtual volatile wgsl where with writeonly yield ' +
    // types, builtins and words with a meaning in declarations
    'array atomic bitcast bool f16 f32 i32 u32 mat2x2 mat2x2f mat3x3 mat4x4 ptr sampler texture vec2 vec3 vec4 vec2f vec3f vec4f ' +
    'vec2u vec3u vec4u vec2i vec3i vec4i abs all any ceil clamp cos dot exp floor fma log max min pow round select sign sin sqrt ' +
    'step tanh trunc actual function immediate input main out private read read_write sin storage uniform workgroup write ' +
    // ours
    'dims group lane'
  ).split(' '),
);

/** Whether a plain word cannot be a name in WGSL. */
export function isReservedInWgsl(word: string): boolean {
  return reservedInWgsl.has(word);
}

export const maximumIdentifierLength = 64;

/** Whether the text can stand as an identifier as it is, apart from reserved words. */
function isPlainIdentifier(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(text) && text.length <= maximumIdentifierLength;
}

/** Replaces what is not allowed by `_`, cuts to length, never empty, never starting with a digit or `__`. */
function toIdentifier(text: string): string {
  const replaced = text.replace(/[^A-Za-z0-9_]+/g, '_').slice(0, maximumIdentifierLength - 8);
  // `_` alone is no identifier in WGSL, and numbered it would begin with `__`, which is reserved there.
  if (/^_*$/.test(replaced)) return 'unnamed';
  const started = /^[A-Za-z_]/.test(replaced) ? replaced : `_${replaced}`;
  return started.startsWith('__') ? `n${started}` : started;
}

/** Hands out identifiers of one scope; the same scope never gives one name twice. */
export interface NameScope {
  /** An identifier made from `wanted`, numbered when it is taken. */
  take(wanted: string): string;
}

function nameScope(reserved: ReadonlySet<string>, taken: Iterable<string>): NameScope {
  const used = new Set(taken);
  return {
    take(wanted) {
      const base = toIdentifier(wanted);
      const first = reserved.has(base) ? `${base}_` : base;
      let name = first;
      for (let number = 2; used.has(name); number++) name = `${first}_${number}`;
      used.add(name);
      return name;
    },
  };
}

/** Identifiers of a TypeScript or JavaScript scope; `taken` are the names that the scope already has. */
export function scriptNames(taken: Iterable<string> = []): NameScope {
  return nameScope(reservedInScript, taken);
}

/** Identifiers of a WGSL module. */
export function wgslNames(taken: Iterable<string> = []): NameScope {
  return nameScope(reservedInWgsl, taken);
}

/** Code points that end lines or reorder text: unsafe in strings that land in HTML, and in any comment. */
const unsafeCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** A double-quoted literal for JavaScript, TypeScript and JSON that is also safe inside an HTML script element. */
export function stringLiteral(text: string): string {
  return JSON.stringify(text)
    .replace(unsafeCharacters, unicodeEscape)
    .replace(/<\//g, '<\\/')
    .replace(/<!--/g, '<\\u0021--');
}

/** A template literal without substitutions; line breaks stay, so that WGSL in a module can be read. */
export function templateLiteral(text: string): string {
  const escaped = text
    .replace(/\r\n?/g, '\n')
    .replace(/[`\\]/g, (character) => `\\${character}`)
    .replace(/\$\{/g, '\\${')
    .replace(/<\//g, '<\\/')
    .replace(/<!--/g, '<\\u0021--')
    .replace(unsafeCharacters, (character) =>
      character === '\n' || character === '\t' ? character : unicodeEscape(character),
    );
  return `\`${escaped}\``;
}

/** A key of an object literal. `__proto__` as a plain key would set the prototype, so it is computed. */
export function objectKey(text: string): string {
  if (text === '__proto__') return '["__proto__"]';
  return isPlainIdentifier(text) && !reservedInScript.has(text) ? text : stringLiteral(text);
}

/** A property of a TypeScript interface. */
export function propertyKey(text: string): string {
  return isPlainIdentifier(text) && !reservedInScript.has(text) ? text : stringLiteral(text);
}

/** A finite number as a literal; no text from a source ever becomes a number literal. */
export function numberLiteral(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError('a literal must be finite');
  return Object.is(value, -0) ? '-0' : String(value);
}

/**
 * Text for one comment line: no line breaks, no control or bidi characters, nothing that ends or opens a comment or a
 * script element.
 */
export function commentLine(text: string): string {
  return text
    .replace(unsafeCharacters, ' ')
    .replace(/\*\//g, '* /')
    .replace(/\/\*/g, '/ *')
    .replace(/<\//g, '< /')
    .replace(/<!--/g, '< !--')
    .replace(/\s+/g, ' ')
    .trim();
}

/** The lines of a doc comment, each made safe. */
export function commentLines(text: string): readonly string[] {
  return text.split(/\r\n|\r|\n/).map(commentLine);
}
