// softmax: reduce, broadcast, sub, exp, div
// f32[B, T, T] -> f32[B, T, T]
// row: one invocation per row

struct Dims {
  B_T: u32,
  T: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let row = group * 8u + lane;
  let at = row * dims.T;
  if (row < dims.B_T) {
    var row_max = (-3.4028234e+38f);
    for (var k = 0u; k < dims.T; k++) {
      let x_value = x[at + k];
      row_max = max(row_max, x_value);
    }
    var row_sum = 0.0f;
    for (var k_2 = 0u; k_2 < dims.T; k_2++) {
      let x_value_2 = x[at + k_2];
      let exp_value = exp((x_value_2 - row_max));
      row_sum = row_sum + exp_value;
    }
    for (var k_3 = 0u; k_3 < dims.T; k_3++) {
      let x_value_3 = x[at + k_3];
      let exp_value_2 = exp((x_value_3 - row_max));
      result[at + k_3] = (exp_value_2 / row_sum);
    }
  }
}
