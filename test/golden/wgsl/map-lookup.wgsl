// lookup: gather
// f32[100, 12], i32[B, T] -> f32[B, T, 12]
// map: four neighbours per invocation

struct Dims {
  B_T_3: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let four = group * 64u + lane;
  let q = four / 3u;
  let r = four % 3u;
  if (four < dims.B_T_3) {
    let wanted = u32(ids[q]);
    let inside = wanted < 100u;
    let place = min(wanted, 99u);
    result[four] = select(vec4<f32>(0.0f), table[r + place * 3u], inside);
  }
}
