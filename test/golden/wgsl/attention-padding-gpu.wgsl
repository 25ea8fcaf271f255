// attention: broadcast, not_equal, reshape, attention
// f32[B, T, 64], f32[B, T, 64], f32[B, T, 64], i32[B, T] -> f32[B, T, 64]
// attention: 16 queries per workgroup, 4 lanes per query, keys in blocks of 32

struct Dims {
  T: u32,
  B: u32,
  T_16: u32,
}
var<immediate> dims: Dims;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> mask: array<i32>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;
var<workgroup> query_tile: array<vec4f, 128>;
var<workgroup> key_tile: array<vec4f, 256>;
var<workgroup> scores: array<f32, 512>;
var<workgroup> weights: array<f32, 512>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) workgroups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = workgroup.x + workgroup.y * workgroups.x;
  let query_block = group % ((dims.T + 15u) / 16u);
  let head_of_batch = group / ((dims.T + 15u) / 16u);
  let head = head_of_batch % 2u;
  let batch = head_of_batch / 2u;
  let at = batch * dims.T_16 + head * 8u;
  let at_2 = batch * dims.T;
  if (group < ((dims.T + 15u) / 16u) * 2u * dims.B) {
    let own = lane / 4u;
    let share = lane % 4u;
    for (var copied = lane; copied < 128u; copied += 64u) {
      let copied_row = min(query_block * 16u + 0u + copied / 8u, dims.T - 1u);
      let copied_column4 = copied % 8u;
      query_tile[copied] = q[at + copied_column4 + copied_row * 16u];
    }
    var mixed_0 = vec4f(0);
    var mixed_1 = vec4f(0);
    var greatest = -1e30f;
    var sum = 0.0f;
    let i = min(query_block * 16u + own, dims.T - 1u);
    for (var block = 0u; block < ((dims.T + 31u) / 32u); block++) {
      for (var copied_2 = lane; copied_2 < 256u; copied_2 += 64u) {
        let copied_2_row = min(block * 32u + copied_2 / 8u, dims.T - 1u);
        let copied_2_column4 = copied_2 % 8u;
        key_tile[copied_2] = k[at + copied_2_column4 + copied_2_row * 16u];
      }
      workgroupBarrier();
      for (var key = share; key < 32u; key += 4u) {
        var products = vec4f(0);
        for (var d = 0u; d < 8u; d++) {
          products = fma(query_tile[own * 8u + d], key_tile[key * 8u + d], products);
        }
        var score = (products.x + products.y + products.z + products.w) * f32(0.25);
        let wanted_key = block * 32u + key;
        let j = min(wanted_key, dims.T - 1u);
        let visible = (mask[at_2 + j] != 0i);
        score = select(-1e30f, score, (wanted_key < dims.T) & (visible));
        scores[own * 32u + key] = score;
      }
      workgroupBarrier();
      for (var copied_3 = lane; copied_3 < 256u; copied_3 += 64u) {
        let copied_3_row = min(block * 32u + copied_3 / 8u, dims.T - 1u);
        let copied_3_column4 = copied_3 % 8u;
        key_tile[copied_3] = v[at + copied_3_column4 + copied_3_row * 16u];
      }
      var block_greatest = greatest;
      for (var key = 0u; key < 32u; key++) {
        block_greatest = max(block_greatest, scores[own * 32u + key]);
      }
      let shrink = exp(greatest - block_greatest);
      greatest = block_greatest;
      for (var key = share; key < 32u; key += 4u) {
        let score = scores[own * 32u + key];
        weights[own * 32u + key] = select(0.0f, exp(score - greatest), score > -1e30f);
      }
      workgroupBarrier();
      sum = sum * shrink;
      mixed_0 = mixed_0 * shrink;
      mixed_1 = mixed_1 * shrink;
      for (var key = 0u; key < 32u; key++) {
        let weight = weights[own * 32u + key];
        sum += weight;
        mixed_0 = fma(vec4f(weight), key_tile[key * 8u + min(share + 0u, 7u)], mixed_0);
        mixed_1 = fma(vec4f(weight), key_tile[key * 8u + min(share + 4u, 7u)], mixed_1);
      }
      workgroupBarrier();
    }
    let normalizer = select(0.0f, 1.0f / sum, sum > 0.0f);
    let at_3 = at + i * 16u;
    if (query_block * 16u + own < dims.T) {
      if (share + 0u < 8u) {
        let column4_2 = share + 0u;
        let result_four = mixed_0 * normalizer;
        result[at_3 + column4_2] = result_four;
      }
      if (share + 4u < 8u) {
        let column4_3_2 = share + 4u;
        let result_four_2 = mixed_1 * normalizer;
        result[at_3 + column4_3_2] = result_four_2;
      }
    }
  }
}
