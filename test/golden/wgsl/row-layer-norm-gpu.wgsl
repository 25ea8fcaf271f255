// norm: reduce, broadcast, div, sub, mul, add, rsqrt
// f32[B, T, 384], f32[384], f32[384] -> f32[B, T, 384]
// row: 64 lanes per row

struct Dims {
  B_T: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;
var<workgroup> row_sum_lanes: array<f32, 64>;
var<workgroup> row_sum_2_lanes: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let row = group;
  let at = row * 96u;
  if (group < dims.B_T) {
    var row_sum = 0.0f;
    for (var k = lane; k < 96u; k += 64u) {
      let x_value = x[at + k];
      row_sum = row_sum + ((x_value.x + x_value.y) + (x_value.z + x_value.w));
    }
    row_sum_lanes[lane] = row_sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half >> 1u) {
      if (lane < half) {
        row_sum_lanes[lane] = row_sum_lanes[lane] + row_sum_lanes[lane + half];
      }
      workgroupBarrier();
    }
    let row_sum_all = row_sum_lanes[0];
    var row_sum_2 = 0.0f;
    for (var k_2 = lane; k_2 < 96u; k_2 += 64u) {
      let x_value_2 = x[at + k_2];
      let sub_value = (x_value_2 - (vec4<f32>((row_sum_all / 384.0f))));
      let part = (sub_value * sub_value);
      row_sum_2 = row_sum_2 + ((part.x + part.y) + (part.z + part.w));
    }
    row_sum_2_lanes[lane] = row_sum_2;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half >> 1u) {
      if (lane < half) {
        row_sum_2_lanes[lane] = row_sum_2_lanes[lane] + row_sum_2_lanes[lane + half];
      }
      workgroupBarrier();
    }
    let row_sum_2_all = row_sum_2_lanes[0];
    for (var k_3 = lane; k_3 < 96u; k_3 += 64u) {
      let x_value_3 = x[at + k_3];
      let sub_value_2 = (x_value_3 - (vec4<f32>((row_sum_all / 384.0f))));
      let mul_value = (sub_value_2 * (vec4<f32>(inverseSqrt((((row_sum_2_all / 384.0f) + (1e-12f)))))));
      result[at + k_3] = ((mul_value * gain[k_3]) + shift[k_3]);
    }
  }
}
