/**
 * The error function in double precision.
 *
 * Source: W. J. Cody, "Rational Chebyshev approximation for the error function", Math. Comp. 23 (1969), 631-637; the
 * coefficients are the published ones (absolute error below 1e-16). Device code uses its own f32 approximation.
 */

const near = {
  top: [0.18577770618460315, 3.1611237438705655, 113.86415415105016, 377.485237685302, 3209.3775891384694],
  bottom: [1, 23.601290952344122, 244.02463793444417, 1282.6165260773723, 2844.236833439171],
};
const middle = {
  top: [
    2.1531153547440383e-8, 0.5641884969886701, 8.883149794388377, 66.11919063714163, 298.6351381974001,
    881.952221241769, 1712.0476126340707, 2051.0783778260716, 1230.3393547979972,
  ],
  bottom: [
    1, 15.744926110709835, 117.6939508913125, 537.1811018620099, 1621.3895745666903, 3290.7992357334597,
    4362.619090143247, 3439.3676741437216, 1230.3393548037495,
  ],
};
const far = {
  top: [
    0.016315387137302097, 0.30532663496123236, 0.36034489994980445, 0.12578172611122926, 0.016083785148742275,
    0.0006587491615298378,
  ],
  bottom: [1, 2.568520192289822, 1.8729528499234673, 0.5279051029514285, 0.06051834131244132, 0.0023352049762686918],
};
const inverseRootPi = 0.5641895835477563;

function horner(coefficients: readonly number[], x: number): number {
  let value = 0;
  for (const coefficient of coefficients) value = value * x + coefficient;
  return value;
}

export function erf(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(x)) return x;
  // Cody's first range, where erf is nearly linear.
  if (size <= 0.46875) return (x * horner(near.top, x * x)) / horner(near.bottom, x * x);
  // Beyond 6 the complement is under 2e-17.
  if (size > 6) return Math.sign(x);
  let complement: number;
  if (size <= 4) {
    complement = horner(middle.top, size) / horner(middle.bottom, size);
  } else {
    const t = 1 / (size * size);
    complement = (inverseRootPi - (t * horner(far.top, t)) / horner(far.bottom, t)) / size;
  }
  return Math.sign(x) * (1 - Math.exp(-size * size) * complement);
}
