/**
 * Frequencies of rotary positions, in radians per position, and how they are stretched for longer texts. Everything here
 * is known when compiling and computed in f64; formulas as in `modeling_rope_utils.py` of transformers.
 */

export interface Rotation {
  /** One per pair, the quickest first. */
  readonly frequencies: readonly number[];
  /** Factor of sine and cosine. */
  readonly amplitude: number;
}

/** Numbers that a scaling was given by name; undefined where one was left out. */
export type ScalingNumbers = (name: string) => number | undefined;

interface Scaling {
  /** A name ending in `?` may be left out. */
  readonly parameters: readonly string[];
  rotation(theta: number, width: number, given: ScalingNumbers): Rotation;
}

function plain(theta: number, width: number): readonly number[] {
  return Array.from({ length: width / 2 }, (_, pair) => theta ** ((-2 * pair) / width));
}

function same(frequencies: readonly number[]): Rotation {
  return { frequencies, amplitude: 1 };
}

/** YaRN's temperature as a factor of sine and cosine (Peng et al. 2023). */
function yarnScale(factor: number, weight: number): number {
  return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
}

function yarn(theta: number, width: number, given: ScalingNumbers): Rotation {
  const factor = given('factor') ?? 1;
  const original = given('original') ?? 1;
  const pairTurning = (turns: number) => (width * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(0, Math.floor(pairTurning(given('beta_fast') ?? 32)));
  const high = Math.min(width - 1, Math.ceil(pairTurning(given('beta_slow') ?? 1)));
  const span = low === high ? 0.001 : high - low;
  const frequencies = plain(theta, width).map((frequency, pair) => {
    const stretched = Math.min(1, Math.max(0, (pair - low) / span));
    return (frequency / factor) * stretched + frequency * (1 - stretched);
  });
  const [some, all] = [given('mscale'), given('mscale_all_dim')];
  const implied = some && all ? yarnScale(factor, some) / yarnScale(factor, all) : yarnScale(factor, 1);
  return { frequencies, amplitude: given('attention_factor') ?? implied };
}

function llama3(theta: number, width: number, given: ScalingNumbers): Rotation {
  const factor = given('factor') ?? 1;
  const original = given('original') ?? 1;
  const low = given('low') ?? 1;
  const high = given('high') ?? 4;
  return same(
    plain(theta, width).map((frequency) => {
      const turns = (original * frequency) / (2 * Math.PI);
      if (turns < low) return frequency / factor;
      if (turns > high) return frequency;
      const smooth = (turns - low) / (high - low);
      return ((1 - smooth) * frequency) / factor + smooth * frequency;
    }),
  );
}

/** theta as NTK-aware scaling raises it; the quickest pair stays as it is. */
function raisedTheta(theta: number, width: number, factor: number): number {
  return width > 2 ? theta * factor ** (width / (width - 2)) : theta;
}

/** By the word that is written in `scaling:`. */
export const scalings: Readonly<Record<string, Scaling>> = {
  none: { parameters: [], rotation: (theta, width) => same(plain(theta, width)) },
  linear: {
    parameters: ['factor'],
    rotation: (theta, width, given) => same(plain(theta, width).map((frequency) => frequency / (given('factor') ?? 1))),
  },
  ntk: {
    parameters: ['factor'],
    rotation: (theta, width, given) => same(plain(raisedTheta(theta, width, given('factor') ?? 1), width)),
  },
  dynamic: {
    parameters: ['factor', 'original', 'positions'],
    rotation(theta, width, given) {
      const factor = given('factor') ?? 1;
      const original = given('original') ?? 1;
      const positions = Math.max(original, given('positions') ?? original);
      const growth = (factor * positions) / original - (factor - 1);
      return same(plain(raisedTheta(theta, width, growth), width));
    },
  },
  yarn: {
    parameters: [
      ...['factor', 'original', 'beta_fast?', 'beta_slow?'],
      ...['attention_factor?', 'mscale?', 'mscale_all_dim?'],
    ],
    rotation: yarn,
  },
  llama3: { parameters: ['factor', 'low', 'high', 'original'], rotation: llama3 },
};
