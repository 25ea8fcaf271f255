// matmul: dot_general, broadcast, add, mul, div, erf
// f32[B, T, 384], f32[1536, 384], f32[1536] -> f32[B, T, 1536]
// contraction: a lane computes 1 rows x 4 columns, 8 lanes side by side

struct Dims {
  B_T: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;

fn sora_erf4(x: vec4f) -> vec4f {
  let size = min(abs(x), vec4f(10.0));
  let square = size * size;
  let t = 1.0 / (1.0 + 0.3275911 * size);
  let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let far = 1.0 - tail * exp(-square);
  let s = min(square, vec4f(1.0));
  let high = ((((-1.4503852e-7 * s + 1.4589169e-6) * s - 1.3227513e-5) * s + 1.0683761e-4) * s - 7.5757576e-4) * s;
  let series = ((((high + 4.6296296e-3) * s - 2.3809524e-2) * s + 0.1) * s - 0.33333334) * s + 1.0;
  let near = 1.1283791670955126 * size * series;
  return sign(x) * select(far, near, size < vec4f(1.0));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let row_tile = group % dims.B_T;
  let column_tile = (group / dims.B_T) % 48u;
  if (group < dims.B_T * 48u * 1u) {
    let row_0 = min(row_tile * 1u + 0u, dims.B_T - 1u);
    let column4_0 = column_tile * 8u + 0u + lane;
    var sum_0_0 = vec4<f32>(0);
    let at = row_0 * 96u;
    let r = column4_0 % 8u;
    let q = column4_0 / 8u;
    let at_2 = r + q * 3072u;
    let at_3 = r + q * 3072u + 8u;
    let at_4 = r + q * 3072u + 16u;
    let at_5 = r + q * 3072u + 24u;
    for (var k = 0u; k < 96u; k++) {
      let a = x[at + k];
      let b = weight[at_2 + k * 32u];
      sum_0_0 = fma(vec4<f32>(a.x), b, sum_0_0);
      let b_2 = weight[at_3 + k * 32u];
      sum_0_0 = fma(vec4<f32>(a.y), b_2, sum_0_0);
      let b_3 = weight[at_4 + k * 32u];
      sum_0_0 = fma(vec4<f32>(a.z), b_3, sum_0_0);
      let b_4 = weight[at_5 + k * 32u];
      sum_0_0 = fma(vec4<f32>(a.w), b_4, sum_0_0);
    }
    let add_value = (sum_0_0 + bias[column4_0]);
    let add_value_2 = ((sora_erf4(((add_value / (vec4<f32>(1.4142135623730951f)))))) + (vec4<f32>(1.0f)));
    result[column4_0 + row_0 * 384u] = (((add_value * (vec4<f32>(0.5f)))) * add_value_2);
  }
}

// matmul: dot_general, broadcast, add, mul, div, erf
// f32[B, T, 384], f32[1536, 384], f32[1536] -> f32[B, T, 1536]
// contraction: a lane computes 4 rows x 4 columns, 8 lanes side by side

struct Dims {
  B_T: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;
var<workgroup> sums: array<vec4<f32>, 32>;

fn sora_erf4(x: vec4f) -> vec4f {
  let size = min(abs(x), vec4f(10.0));
  let square = size * size;
  let t = 1.0 / (1.0 + 0.3275911 * size);
  let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let far = 1.0 - tail * exp(-square);
  let s = min(square, vec4f(1.0));
  let high = ((((-1.4503852e-7 * s + 1.4589169e-6) * s - 1.3227513e-5) * s + 1.0683761e-4) * s - 7.5757576e-4) * s;
  let series = ((((high + 4.6296296e-3) * s - 2.3809524e-2) * s + 0.1) * s - 0.33333334) * s + 1.0;
  let near = 1.1283791670955126 * size * series;
  return sign(x) * select(far, near, size < vec4f(1.0));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let row_tile = group % ((dims.B_T + 3u) / 4u);
  let column_tile = (group / ((dims.B_T + 3u) / 4u)) % 48u;
  if (group < ((dims.B_T + 3u) / 4u) * 48u * 1u) {
    let row_0 = min(row_tile * 4u + 0u, dims.B_T - 1u);
    let row_1 = min(row_tile * 4u + 1u, dims.B_T - 1u);
    let row_2 = min(row_tile * 4u + 2u, dims.B_T - 1u);
    let row_3 = min(row_tile * 4u + 3u, dims.B_T - 1u);
    let column4_0 = column_tile * 8u + 0u + lane;
    var sum_0_0 = vec4<f32>(0);
    var sum_1_0 = vec4<f32>(0);
    var sum_2_0 = vec4<f32>(0);
    var sum_3_0 = vec4<f32>(0);
    let at = row_0 * 96u;
    let at_2 = row_1 * 96u;
    let at_3 = row_2 * 96u;
    let at_4 = row_3 * 96u;
    let r = column4_0 % 8u;
    let q = column4_0 / 8u;
    let at_5 = r + q * 3072u;
    let at_6 = r + q * 3072u + 8u;
    let at_7 = r + q * 3072u + 16u;
    let at_8 = r + q * 3072u + 24u;
    for (var k = 0u; k < 96u; k++) {
      let a = x[at + k];
      let a_2 = x[at_2 + k];
      let a_3 = x[at_3 + k];
      let a_4 = x[at_4 + k];
      let b = weight[at_5 + k * 32u];
      sum_0_0 = fma(vec4<f32>(a.x), b, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_2.x), b, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_3.x), b, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_4.x), b, sum_3_0);
      let b_2 = weight[at_6 + k * 32u];
      sum_0_0 = fma(vec4<f32>(a.y), b_2, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_2.y), b_2, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_3.y), b_2, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_4.y), b_2, sum_3_0);
      let b_3 = weight[at_7 + k * 32u];
      sum_0_0 = fma(vec4<f32>(a.z), b_3, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_2.z), b_3, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_3.z), b_3, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_4.z), b_3, sum_3_0);
      let b_4 = weight[at_8 + k * 32u];
      sum_0_0 = fma(vec4<f32>(a.w), b_4, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_2.w), b_4, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_3.w), b_4, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_4.w), b_4, sum_3_0);
    }
    sums[0u + lane] = sum_0_0;
    sums[8u + lane] = sum_1_0;
    sums[16u + lane] = sum_2_0;
    sums[24u + lane] = sum_3_0;
    let row_end = min(row_tile * 4u + 4u, dims.B_T);
    for (var own_row = row_tile * 4u; own_row < row_end; own_row++) {
      let row = own_row;
      let sum = sums[(own_row % 4u * 1u + 0u) * 8u + lane];
      let add_value = (sum + bias[column4_0]);
      let add_value_2 = ((sora_erf4(((add_value / (vec4<f32>(1.4142135623730951f)))))) + (vec4<f32>(1.0f)));
      result[column4_0 + row * 384u] = (((add_value * (vec4<f32>(0.5f)))) * add_value_2);
    }
  }
}

// matmul: dot_general, broadcast, add, mul, div, erf
// f32[B, T, 384], f32[1536, 384], f32[1536] -> f32[B, T, 1536]
// contraction: a lane computes 8 rows x 8 columns, 8 lanes side by side

struct Dims {
  B_T: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;
var<workgroup> sums: array<vec4<f32>, 128>;

fn sora_erf4(x: vec4f) -> vec4f {
  let size = min(abs(x), vec4f(10.0));
  let square = size * size;
  let t = 1.0 / (1.0 + 0.3275911 * size);
  let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let far = 1.0 - tail * exp(-square);
  let s = min(square, vec4f(1.0));
  let high = ((((-1.4503852e-7 * s + 1.4589169e-6) * s - 1.3227513e-5) * s + 1.0683761e-4) * s - 7.5757576e-4) * s;
  let series = ((((high + 4.6296296e-3) * s - 2.3809524e-2) * s + 0.1) * s - 0.33333334) * s + 1.0;
  let near = 1.1283791670955126 * size * series;
  return sign(x) * select(far, near, size < vec4f(1.0));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let row_tile = group % ((dims.B_T + 7u) / 8u);
  let column_tile = (group / ((dims.B_T + 7u) / 8u)) % 24u;
  if (group < ((dims.B_T + 7u) / 8u) * 24u * 1u) {
    let row_0 = min(row_tile * 8u + 0u, dims.B_T - 1u);
    let row_1 = min(row_tile * 8u + 1u, dims.B_T - 1u);
    let row_2 = min(row_tile * 8u + 2u, dims.B_T - 1u);
    let row_3 = min(row_tile * 8u + 3u, dims.B_T - 1u);
    let row_4 = min(row_tile * 8u + 4u, dims.B_T - 1u);
    let row_5 = min(row_tile * 8u + 5u, dims.B_T - 1u);
    let row_6 = min(row_tile * 8u + 6u, dims.B_T - 1u);
    let row_7 = min(row_tile * 8u + 7u, dims.B_T - 1u);
    let column4_0 = column_tile * 16u + 0u + lane;
    let column4_1 = column_tile * 16u + 8u + lane;
    var sum_0_0 = vec4<f32>(0);
    var sum_0_1 = vec4<f32>(0);
    var sum_1_0 = vec4<f32>(0);
    var sum_1_1 = vec4<f32>(0);
    var sum_2_0 = vec4<f32>(0);
    var sum_2_1 = vec4<f32>(0);
    var sum_3_0 = vec4<f32>(0);
    var sum_3_1 = vec4<f32>(0);
    var sum_4_0 = vec4<f32>(0);
    var sum_4_1 = vec4<f32>(0);
    var sum_5_0 = vec4<f32>(0);
    var sum_5_1 = vec4<f32>(0);
    var sum_6_0 = vec4<f32>(0);
    var sum_6_1 = vec4<f32>(0);
    var sum_7_0 = vec4<f32>(0);
    var sum_7_1 = vec4<f32>(0);
    let at = row_0 * 384u;
    let at_2 = row_1 * 384u;
    let at_3 = row_2 * 384u;
    let at_4 = row_3 * 384u;
    let at_5 = row_4 * 384u;
    let at_6 = row_5 * 384u;
    let at_7 = row_6 * 384u;
    let at_8 = row_7 * 384u;
    let r = column4_0 % 8u;
    let q = column4_0 / 8u;
    let at_9 = r + q * 3072u;
    let r_2 = column4_1 % 8u;
    let q_2 = column4_1 / 8u;
    let at_10 = r_2 + q_2 * 3072u;
    for (var k = 0u; k < 384u; k++) {
      let a = x[at + k];
      let a_2 = x[at_2 + k];
      let a_3 = x[at_3 + k];
      let a_4 = x[at_4 + k];
      let a_5 = x[at_5 + k];
      let a_6 = x[at_6 + k];
      let a_7 = x[at_7 + k];
      let a_8 = x[at_8 + k];
      let b = weight[at_9 + k * 8u];
      sum_0_0 = fma(vec4<f32>(a), b, sum_0_0);
      sum_1_0 = fma(vec4<f32>(a_2), b, sum_1_0);
      sum_2_0 = fma(vec4<f32>(a_3), b, sum_2_0);
      sum_3_0 = fma(vec4<f32>(a_4), b, sum_3_0);
      sum_4_0 = fma(vec4<f32>(a_5), b, sum_4_0);
      sum_5_0 = fma(vec4<f32>(a_6), b, sum_5_0);
      sum_6_0 = fma(vec4<f32>(a_7), b, sum_6_0);
      sum_7_0 = fma(vec4<f32>(a_8), b, sum_7_0);
      let b_2 = weight[at_10 + k * 8u];
      sum_0_1 = fma(vec4<f32>(a), b_2, sum_0_1);
      sum_1_1 = fma(vec4<f32>(a_2), b_2, sum_1_1);
      sum_2_1 = fma(vec4<f32>(a_3), b_2, sum_2_1);
      sum_3_1 = fma(vec4<f32>(a_4), b_2, sum_3_1);
      sum_4_1 = fma(vec4<f32>(a_5), b_2, sum_4_1);
      sum_5_1 = fma(vec4<f32>(a_6), b_2, sum_5_1);
      sum_6_1 = fma(vec4<f32>(a_7), b_2, sum_6_1);
      sum_7_1 = fma(vec4<f32>(a_8), b_2, sum_7_1);
    }
    sums[0u + lane] = sum_0_0;
    sums[8u + lane] = sum_0_1;
    sums[16u + lane] = sum_1_0;
    sums[24u + lane] = sum_1_1;
    sums[32u + lane] = sum_2_0;
    sums[40u + lane] = sum_2_1;
    sums[48u + lane] = sum_3_0;
    sums[56u + lane] = sum_3_1;
    sums[64u + lane] = sum_4_0;
    sums[72u + lane] = sum_4_1;
    sums[80u + lane] = sum_5_0;
    sums[88u + lane] = sum_5_1;
    sums[96u + lane] = sum_6_0;
    sums[104u + lane] = sum_6_1;
    sums[112u + lane] = sum_7_0;
    sums[120u + lane] = sum_7_1;
    let row_end = min(row_tile * 8u + 8u, dims.B_T);
    for (var own_row = row_tile * 8u; own_row < row_end; own_row++) {
      let row = own_row;
      let sum = sums[(own_row % 8u * 2u + 0u) * 8u + lane];
      let add_value = (sum + bias[column4_0]);
      let add_value_2 = ((sora_erf4(((add_value / (vec4<f32>(1.4142135623730951f)))))) + (vec4<f32>(1.0f)));
      result[column4_0 + row * 384u] = (((add_value * (vec4<f32>(0.5f)))) * add_value_2);
      let sum_2 = sums[(own_row % 8u * 2u + 1u) * 8u + lane];
      let add_value_3 = (sum_2 + bias[column4_1]);
      let add_value_4 = ((sora_erf4(((add_value_3 / (vec4<f32>(1.4142135623730951f)))))) + (vec4<f32>(1.0f)));
      result[column4_1 + row * 384u] = (((add_value_3 * (vec4<f32>(0.5f)))) * add_value_4);
    }
  }
}
