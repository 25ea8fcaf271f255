/** Products behind norms and activations, for tests of products that compute their left operand themselves. */

/** A norm with a mean and one without, an activation of two halves, the last row of several, and a row that is kept besides. */
export const rowsText = (
  width: number,
  outputs: number,
): string => `import { LayerNorm, Linear, RMSNorm, silu } from "sora:nn"

dim B in 1..8, T in 1..4

model Rows {
  rms = RMSNorm(${width})
  layer = LayerNorm(${width})
  a = Linear(${width}, ${outputs})
  b = Linear(${width}, ${outputs}, bias: false)

  entry normed(x: f32[B, ${width}]) -> y: f32[B, ${outputs}] = a(rms(x))

  entry centred(x: f32[B, ${width}]) -> y: f32[B, ${outputs}] = b(layer(x))

  entry gated(x: f32[B, ${2 * width}]) -> y: f32[B, ${outputs}] {
    let [up, gate] = split(x, 2)
    b(silu(gate) * up)
  }

  entry ending(x: f32[B, T, ${width}]) -> y: f32[B, ${outputs}] = b(rms(x[:, -1]))

  entry kept(x: f32[B, ${width}]) -> { y: f32[B, ${outputs}], n: f32[B, ${width}] } {
    let n = rms(x)
    { y: a(n), n: n }
  }
}
`;
