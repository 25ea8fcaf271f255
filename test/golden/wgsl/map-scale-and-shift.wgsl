// add: mul, broadcast, add
// f32[B, T, 12], f32[12] -> f32[B, T, 12]
// map: four neighbours per invocation

struct Dims {
  B_T_3: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let four = group * 64u + lane;
  let r = four % 3u;
  if (four < dims.B_T_3) {
    let x_value = x[four];
    result[four] = ((x_value * x_value) + shift[r]);
  }
}
