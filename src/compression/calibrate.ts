/**
 * How a matrix is rounded when there is time to look: other scales than those of the greatest weights, and with a sample of what
 * it is multiplied with, other integers than the nearest. The result is of the same form, so what reads it does not change.
 */
import { type Encoded, encodeRows, groupsOf, type NumberFormat } from '../runtime/number-formats.ts';
import { type Clipping, codeOf, fitScale, type Levels, numberOf, type Scale } from './clip.ts';
import { damping, gptq } from './gptq.ts';
import { refine } from './refine.ts';

export type Calibration = Clipping | { readonly kind: 'gptq' };

export interface CalibrationInput {
  /** [rows, columns], columns being the axis that is summed over. */
  readonly weight: Float32Array;
  readonly columns: number;
  readonly format: NumberFormat;
  readonly calibration: Calibration;
  /** Xᵀ X of what the rows are multiplied with, [columns, columns]; undefined where no input of the sample came by. */
  readonly moments?: Float64Array | undefined;
}

export interface Calibrated {
  readonly encoded: Encoded;
  /** What was done: `gptq` without moments falls back on the least squared error. */
  readonly by: Calibration['kind'];
}

function levelsOf({ kind, asymmetric }: NumberFormat): Levels {
  return { most: kind === 'int8' ? 127 : asymmetric ? 15 : 7, isSymmetric: asymmetric !== true };
}

export function calibrate(input: CalibrationInput): Calibrated {
  const { weight, columns, format, calibration, moments } = input;
  if (calibration.kind === 'minmax' || weight.length === 0)
    return { encoded: encodeRows(weight, columns, format), by: 'minmax' };
  const levels = levelsOf(format);
  const isGptq = calibration.kind === 'gptq';
  // The error of a column counts as much as what comes in there.
  const importance = isGptq && moments ? diagonalOf(moments, columns) : undefined;
  const clipping: Clipping = isGptq ? { kind: 'mse' } : calibration;
  const scales = fitScales(input, levels, clipping, importance);
  if (isGptq && moments) {
    const { group = columns } = format;
    const groups = groupsOf(columns, format);
    const codes = gptq({
      weight,
      rows: weight.length / columns,
      columns,
      moments,
      grid: (row, column) => gridOf(scales[row * groups + Math.floor(column / group)] ?? noScale, levels),
    });
    if (codes) {
      const encoded = encodedOf(Int8Array.from(codes), scales, format);
      const { most, isSymmetric } = levels;
      const bounds = { group, low: isSymmetric ? -most : 0, high: most, rounds: refinements(weight.length, columns) };
      const { values, scales: own, zeros } = encoded;
      refine({ weight, columns, moments: damped(moments, columns), ...bounds }, { codes: values, scales: own, zeros });
      return { encoded, by: 'gptq' };
    }
  }
  return { encoded: encodedOf(nearest(input, levels, scales), scales, format), by: clipping.kind };
}

/** Turns of codes and scales behind the first choice: fewer where each takes long. */
function refinements(elements: number, columns: number): number {
  return elements * columns > 2e9 ? 1 : 3;
}

/** A little of every direction, so that none is free. */
function damped(moments: Float64Array, columns: number): Float64Array {
  const diagonal = diagonalOf(moments, columns);
  const mean = diagonal.reduce((sum, value) => sum + value, 0) / Math.max(1, columns) || 1;
  const result = Float64Array.from(moments);
  for (let at = 0; at < columns; at++) result[at * columns + at] = (diagonal[at] ?? 0) + damping * mean;
  return result;
}

const noScale: Scale = { scale: 1, zero: 0 };

function diagonalOf(moments: Float64Array, columns: number): Float64Array {
  return Float64Array.from({ length: columns }, (_, at) => moments[at * columns + at] ?? 0);
}

function fitScales(
  { weight, columns, format }: CalibrationInput,
  levels: Levels,
  clipping: Clipping,
  importance: Float64Array | undefined,
): readonly Scale[] {
  const { group = columns } = format;
  const scales: Scale[] = [];
  for (let row = 0; row < weight.length; row += columns) {
    for (let from = 0; from < columns; from += group) {
      const to = Math.min(from + group, columns);
      const values = weight.subarray(row + from, row + to);
      scales.push(fitScale(values, levels, clipping, importance?.subarray(from, to)));
    }
  }
  return scales;
}

function gridOf(scale: Scale, levels: Levels) {
  return {
    round(value: number) {
      const code = codeOf(value, scale, levels);
      return { code, value: numberOf(code, scale) };
    },
  };
}

function nearest({ weight, columns, format }: CalibrationInput, levels: Levels, scales: readonly Scale[]): Int8Array {
  const { group = columns } = format;
  const groups = groupsOf(columns, format);
  return Int8Array.from(weight, (value, at) => {
    const place = Math.floor(at / columns) * groups + Math.floor((at % columns) / group);
    return codeOf(value, scales[place] ?? noScale, levels);
  });
}

function encodedOf(values: Int8Array, scales: readonly Scale[], { asymmetric }: NumberFormat): Encoded {
  return {
    values,
    scales: Float32Array.from(scales, ({ scale }) => scale),
    zeros: asymmetric ? Uint8Array.from(scales, ({ zero }) => zero) : undefined,
  };
}
