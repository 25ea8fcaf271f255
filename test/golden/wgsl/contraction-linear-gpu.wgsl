// matmul: dot_general, broadcast, add
// f32[B, T, 384], f32[384, 384], f32[384] -> f32[B, T, 384]
// contraction of few rows: 8 lanes along the columns, 8 slices of the sum

struct Dims {
  B_T: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;
var<workgroup> partial: array<vec4<f32>, 256>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let row_tile = group % ((dims.B_T + 3u) / 4u);
  let column_tile = (group / ((dims.B_T + 3u) / 4u)) % 12u;
  if (group < ((dims.B_T + 3u) / 4u) * 12u * 1u) {
    let slice = lane / 8u;
    let row_0 = min(row_tile * 4u + 0u, dims.B_T - 1u);
    let row_1 = min(row_tile * 4u + 1u, dims.B_T - 1u);
    let row_2 = min(row_tile * 4u + 2u, dims.B_T - 1u);
    let row_3 = min(row_tile * 4u + 3u, dims.B_T - 1u);
    let column4 = column_tile * 8u + lane % 8u;
    var sum_0 = vec4<f32>(0);
    var sum_1 = vec4<f32>(0);
    var sum_2 = vec4<f32>(0);
    var sum_3 = vec4<f32>(0);
    let at = row_0 * 96u;
    let at_2 = row_1 * 96u;
    let at_3 = row_2 * 96u;
    let at_4 = row_3 * 96u;
    let r = column4 % 8u;
    let q = column4 / 8u;
    let at_5 = r + q * 3072u;
    let at_6 = r + q * 3072u + 8u;
    let at_7 = r + q * 3072u + 16u;
    let at_8 = r + q * 3072u + 24u;
    for (var k = slice; k < 96u; k += 8u) {
      let a = x[at + k];
      let a_2 = x[at_2 + k];
      let a_3 = x[at_3 + k];
      let a_4 = x[at_4 + k];
      let b = weight[at_5 + k * 32u];
      sum_0 = fma(vec4<f32>(a.x), b, sum_0);
      sum_1 = fma(vec4<f32>(a_2.x), b, sum_1);
      sum_2 = fma(vec4<f32>(a_3.x), b, sum_2);
      sum_3 = fma(vec4<f32>(a_4.x), b, sum_3);
      let b_2 = weight[at_6 + k * 32u];
      sum_0 = fma(vec4<f32>(a.y), b_2, sum_0);
      sum_1 = fma(vec4<f32>(a_2.y), b_2, sum_1);
      sum_2 = fma(vec4<f32>(a_3.y), b_2, sum_2);
      sum_3 = fma(vec4<f32>(a_4.y), b_2, sum_3);
      let b_3 = weight[at_7 + k * 32u];
      sum_0 = fma(vec4<f32>(a.z), b_3, sum_0);
      sum_1 = fma(vec4<f32>(a_2.z), b_3, sum_1);
      sum_2 = fma(vec4<f32>(a_3.z), b_3, sum_2);
      sum_3 = fma(vec4<f32>(a_4.z), b_3, sum_3);
      let b_4 = weight[at_8 + k * 32u];
      sum_0 = fma(vec4<f32>(a.w), b_4, sum_0);
      sum_1 = fma(vec4<f32>(a_2.w), b_4, sum_1);
      sum_2 = fma(vec4<f32>(a_3.w), b_4, sum_2);
      sum_3 = fma(vec4<f32>(a_4.w), b_4, sum_3);
    }
    partial[(slice * 4u + 0u) * 8u + lane % 8u] = sum_0;
    partial[(slice * 4u + 1u) * 8u + lane % 8u] = sum_1;
    partial[(slice * 4u + 2u) * 8u + lane % 8u] = sum_2;
    partial[(slice * 4u + 3u) * 8u + lane % 8u] = sum_3;
    workgroupBarrier();
    for (var own_row = slice; own_row < 4u; own_row += 8u) {
      var sum = vec4<f32>(0);
      for (var other = 0u; other < 8u; other++) {
        sum += partial[(other * 4u + own_row) * 8u + lane % 8u];
      }
      let wanted_row = row_tile * 4u + own_row;
      if (wanted_row < dims.B_T) {
        let row = wanted_row;
        result[column4 + row * 96u] = (sum + bias[column4]);
      }
    }
  }
}

// matmul: dot_general, broadcast, add
// f32[B, T, 384], f32[384, 384], f32[384] -> f32[B, T, 384]
// contraction: 64 x 64 results per workgroup, operands staged 16 steps at a time

struct Dims {
  B_T: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;
var<workgroup> left_tile: array<vec4<f32>, 256>;
var<workgroup> right_tile: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let column_tile = group % 6u;
  let row_tile = (group / 6u) % ((dims.B_T + 63u) / 64u);
  if (group < ((dims.B_T + 63u) / 64u) * 6u * 1u) {
    let lane_row = lane / 16u;
    let lane_column = lane % 16u;
    let copy_row = min(row_tile * 64u + lane / 4u, dims.B_T - 1u);
    let copy_column4 = column_tile * 16u + lane_column;
    var sum_0 = vec4<f32>(0);
    var sum_1 = vec4<f32>(0);
    var sum_2 = vec4<f32>(0);
    var sum_3 = vec4<f32>(0);
    let at = copy_row * 96u;
    let r = copy_column4 % 8u;
    let q = copy_column4 / 8u;
    let at_2 = r + q * 3072u;
    for (var tile = 0u; tile < 24u; tile++) {
      let left_step4 = tile * 4u + lane % 4u;
      let left_at4 = left_step4;
      left_tile[lane] = x[at + left_at4];
      let copy_step = tile * 16u + lane_row;
      right_tile[lane] = weight[at_2 + copy_step * 8u];
      workgroupBarrier();
      for (var step4 = 0u; step4 < 4u; step4++) {
        let a_0 = left_tile[(lane_row * 4u + 0u) * 4u + step4];
        let a_1 = left_tile[(lane_row * 4u + 1u) * 4u + step4];
        let a_2 = left_tile[(lane_row * 4u + 2u) * 4u + step4];
        let a_3 = left_tile[(lane_row * 4u + 3u) * 4u + step4];
        let b_0 = right_tile[(step4 * 4u + 0u) * 16u + lane_column];
        sum_0 = fma(vec4<f32>(a_0.x), b_0, sum_0);
        sum_1 = fma(vec4<f32>(a_1.x), b_0, sum_1);
        sum_2 = fma(vec4<f32>(a_2.x), b_0, sum_2);
        sum_3 = fma(vec4<f32>(a_3.x), b_0, sum_3);
        let b_1 = right_tile[(step4 * 4u + 1u) * 16u + lane_column];
        sum_0 = fma(vec4<f32>(a_0.y), b_1, sum_0);
        sum_1 = fma(vec4<f32>(a_1.y), b_1, sum_1);
        sum_2 = fma(vec4<f32>(a_2.y), b_1, sum_2);
        sum_3 = fma(vec4<f32>(a_3.y), b_1, sum_3);
        let b_2 = right_tile[(step4 * 4u + 2u) * 16u + lane_column];
        sum_0 = fma(vec4<f32>(a_0.z), b_2, sum_0);
        sum_1 = fma(vec4<f32>(a_1.z), b_2, sum_1);
        sum_2 = fma(vec4<f32>(a_2.z), b_2, sum_2);
        sum_3 = fma(vec4<f32>(a_3.z), b_2, sum_3);
        let b_3 = right_tile[(step4 * 4u + 3u) * 16u + lane_column];
        sum_0 = fma(vec4<f32>(a_0.w), b_3, sum_0);
        sum_1 = fma(vec4<f32>(a_1.w), b_3, sum_1);
        sum_2 = fma(vec4<f32>(a_2.w), b_3, sum_2);
        sum_3 = fma(vec4<f32>(a_3.w), b_3, sum_3);
      }
      workgroupBarrier();
    }
    let column4 = column_tile * 16u + lane_column;
    let row_0 = min(row_tile * 64u + lane_row * 4u + 0u, dims.B_T - 1u);
    let at_3 = column4 + row_0 * 96u;
    if (row_tile * 64u + lane_row * 4u + 0u < dims.B_T) {
      result[at_3] = (sum_0 + bias[column4]);
    }
    let row_1 = min(row_tile * 64u + lane_row * 4u + 1u, dims.B_T - 1u);
    let at_4 = column4 + row_1 * 96u;
    if (row_tile * 64u + lane_row * 4u + 1u < dims.B_T) {
      result[at_4] = (sum_1 + bias[column4]);
    }
    let row_2 = min(row_tile * 64u + lane_row * 4u + 2u, dims.B_T - 1u);
    let at_5 = column4 + row_2 * 96u;
    if (row_tile * 64u + lane_row * 4u + 2u < dims.B_T) {
      result[at_5] = (sum_2 + bias[column4]);
    }
    let row_3 = min(row_tile * 64u + lane_row * 4u + 3u, dims.B_T - 1u);
    let at_6 = column4 + row_3 * 96u;
    if (row_tile * 64u + lane_row * 4u + 3u < dims.B_T) {
      result[at_6] = (sum_3 + bias[column4]);
    }
  }
}
