/**
 * More than three hundred names and texts that try to become code, to end what they stand in, to hide something or to look like something
 * else. hostile-names.ts holds the attacks; this adds the words of both target languages and what Unicode offers.
 */
import { canary, hostileNames } from './hostile-names.ts';

const scriptWords =
  'abstract any as async boolean break case catch const continue debugger declare delete do else enum export extends false ' +
  'finally for from function get if implements import in infer instanceof interface is keyof module namespace never new null ' +
  'number object of package private protected public readonly require return satisfies set string super switch symbol this ' +
  'throw true try type typeof unique unknown using var void while with Array Boolean Date Error Float32Array Function JSON ' +
  'Math Number Proxy Reflect Set String Uint32Array WeakMap console document exports fetch navigator self window';

const shaderWords =
  'alias array atomic bitcast bool discard f16 f32 fn i32 loop mat4x4f ptr override struct texture_2d u32 vec4f active alignas ' +
  'asm attribute auto become cast common compile concept consteval crate demote explicit external fallthrough filter final goto ' +
  'highp impl inline lowp macro match mediump meta mod move mut nil noexcept noinline nullptr operator partition pass patch ' +
  'precise precision priv pub ref register resource restrict shared sizeof smooth snorm std subroutine target template ' +
  'thread_local trait typedef typename union unless unorm unsafe use varying virtual volatile wgsl where yield compute ' +
  'workgroup storage uniform vertex fragment binding group lane dims sora_helper params input output value acc row';

const dangerous = [
  '__defineGetter__',
  '__lookupSetter__',
  'valueOf',
  'toJSON',
  'isPrototypeOf',
  'close',
  'stats',
  'device',
  'lost',
  'dispose',
  'call',
  'Inputs',
  'Outputs',
  'Config',
  'Tensor',
  'inputs',
  'options',
  'model',
  'createModel',
];

/** Confusables, invisible characters, directions, breaks and broken text. */
const unicode = [
  ...['\u200b', '\u200c', '\u200d', '\u2060', '\u00ad', '\u061c', '\u180e', '\u3164', '\ufeff', '\ufff9'].map(
    (character) => `a${character}b`,
  ),
  ...['\u200e', '\u200f', '\u202a', '\u202b', '\u202c', '\u202d', '\u2067', '\u2068', '\u2069'].map(
    (character) => `x${character}; ${canary}`,
  ),
  ...['\u000b', '\u000c', '\u001b[31m', '\u007f', '\u009b31m', '\u0085'].map((character) => `${character}${canary}`),
  ...['сlаss', 'ｆｎ', 'ﬁeld', 'Ⅻ', 'ℝ', 'é', 'e\u0301', 'ı', 'İ', 'ſ', '\udc00', '\ud83d', '\u{1F600}', '𝐱', '٣', 'ª'],
];

const syntax = [
  ...['"', "'", '`', '\\', '\\\\', '\\"', '\\u0022', '\\x22', '\\u{22}', '//', '/*', '*/', '/**/', '#', '#!', '@', ';'],
  ...[
    '{',
    '}',
    '(',
    ')',
    '[',
    ']',
    '<',
    '>',
    '&',
    '|',
    '=',
    '=>',
    '->',
    '...',
    '?.',
    '??',
    '${',
    '$',
    '%',
    '^',
    '~',
    '!',
  ],
  ...[
    'a-b',
    'a.b',
    'a b',
    'a\tb',
    'a\n',
    '\na',
    'a\r\nb',
    '0',
    '-0',
    '0x10',
    '1e999',
    '../../etc/passwd',
    'C:\\x',
    'file:///x',
  ],
  ...[
    '</style>',
    '<img src=x onerror=alert(1)>',
    ']]>',
    '&quot;',
    '%0a',
    '%s%n',
    '{{7*7}}',
    '$(id)',
    '`id`',
    '|| true',
  ],
  ...['@group(0) @binding(9) var<storage> x: array<u32>;', '*/ fn main() {} /*', '// \n fn main() {}', 'enable f16;'],
  ...[
    `import('data:text/javascript,${canary}')`,
    `" + (${canary}) + "`,
    `'+(${canary})+'`,
    `\${(${canary})}`,
    `]; ${canary}; [`,
  ],
  ...[`}; ${canary}; ({`, `"}; ${canary}; //`, `*/ ; ${canary}; /**`, `\\\`; ${canary}`, `\\u0060; ${canary}`],
];

export const hostileTexts: readonly string[] = [
  ...new Set([
    ...hostileNames,
    ...scriptWords.split(' '),
    ...shaderWords.split(' '),
    ...dangerous,
    ...unicode,
    ...syntax,
    'a'.repeat(64),
    'a'.repeat(65),
    'x'.repeat(100_000),
  ]),
];
