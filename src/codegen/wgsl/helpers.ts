/**
 * WGSL functions that kernels call, each as scalar and as vector overload (WGSL has no user overloads, so the vector one
 * ends in `4`). Emitted only into kernels that use them.
 */

/**
 * Error function with absolute error below 1.5e-7 in exact arithmetic, 3e-7 in f32.
 *
 *   erf(x) = 1 - (a1 t + … + a5 t^5) exp(-x^2),  t = 1 / (1 + p x)
 *
 * Source: Abramowitz & Stegun, Handbook of Mathematical Functions, 7.1.26. Near zero that form cancels, so for |x| < 1 the
 * Maclaurin series is used: erf(x) = 2/sqrt(pi) * sum (-1)^n x^(2n+1) / (n! (2n+1)), cut after n = 9 (error below 2e-8).
 */
const erf = `fn sora_erf(x: f32) -> f32 {
  let size = min(abs(x), f32(10.0));
  let square = size * size;
  let t = 1.0 / (1.0 + 0.3275911 * size);
  let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let far = 1.0 - tail * exp(-square);
  let s = min(square, f32(1.0));
  let high = ((((-1.4503852e-7 * s + 1.4589169e-6) * s - 1.3227513e-5) * s + 1.0683761e-4) * s - 7.5757576e-4) * s;
  let series = ((((high + 4.6296296e-3) * s - 2.3809524e-2) * s + 0.1) * s - 0.33333334) * s + 1.0;
  let near = 1.1283791670955126 * size * series;
  return sign(x) * select(far, near, size < f32(1.0));
}`;

/**
 * Sine and cosine: the builtins may be off by 2^-11 (SwiftShader's are off by 1e-4), these by 2e-7 for arguments below 1e5.
 * Whole half turns are taken out with pi in three parts, each short enough for an exact product (Cody & Waite); what is left
 * in [-pi/2, pi/2] goes through the minimax polynomials of DirectXMath.
 */
const halfTurns = `let turns = round(x * 0.3183098861837907);
  let r = ((x - turns * 3.140625) - turns * 9.67502593994140625e-4) - turns * 1.509957990978376432e-7;
  let s = r * r;
  let side = 1.0 - 2.0 * (turns - 2.0 * floor(turns * 0.5));`;

const sine = `fn sora_sin(x: f32) -> f32 {
  ${halfTurns}
  let high = ((-2.3889859e-8 * s + 2.7525562e-6) * s - 1.9840874e-4) * s + 8.3333310e-3;
  return side * r * ((high * s - 0.16666667) * s + 1.0);
}`;

const cosine = `fn sora_cos(x: f32) -> f32 {
  ${halfTurns}
  let high = ((-2.6051615e-7 * s + 2.4760495e-5) * s - 1.3888378e-3) * s + 4.1666638e-2;
  return side * ((high * s - 0.5) * s + 1.0);
}`;

const sources: Readonly<Record<string, string>> = { sora_erf: erf, sora_sin: sine, sora_cos: cosine };

/** The same text for four lanes at once. */
function vectorized(name: string, source: string): string {
  return source.replaceAll('f32', 'vec4f').replace(`fn ${name}(`, `fn ${name}4(`);
}

export function isHelper(name: string): boolean {
  return name in sources;
}

/** Text of the named functions (`sora_erf`, `sora_erf_vec4`), sorted, each followed by an empty line. */
export function helperSource(names: ReadonlySet<string>): readonly string[] {
  return [...names].sort().flatMap((name) => {
    const base = name.replace(/4$/, '');
    const source = sources[base];
    if (source === undefined) throw new Error(`no helper ${name}`);
    return [...(name === base ? source : vectorized(base, source)).split('\n'), ''];
  });
}
