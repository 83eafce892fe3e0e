// softmax: each row of scores becomes the exponentials of what lies below its
// largest score; inverse keeps one over their sum, by which the product with
// the values is scaled, and lse the logarithm of the sum of the scores'
// exponentials. Rows begin at multiples of four.
// One invocation a row: for processors that compute shaders. GPUs take
// attention.wgsl, which never writes the scores.
// Twin: internal/ref/softmax.go
struct Params {
  rows: u32,
  cols: u32,
  stride: u32,
  offset_lse: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> scores: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> inverse: array<f32>;

// first keeps the first n elements of v and lowers the others, which are no one's.
fn first(n: u32, v: vec4<f32>) -> vec4<f32> {
  return select(vec4<f32>(-3.0e38f), v, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let row = id.x + id.y * groups.x * 64u;
  if (row >= p.rows) { return; }
  let begin = row * p.stride / 4u;
  var highest = vec4<f32>(-3.0e38f);
  for (var j = 0u; j < p.cols; j += 4u) { highest = max(highest, first(p.cols - j, scores[begin + j / 4u])); }
  let top = max(max(highest.x, highest.y), max(highest.z, highest.w));
  var sums = vec4<f32>();
  for (var j = 0u; j < p.cols; j += 4u) {
    let e = exp(first(p.cols - j, scores[begin + j / 4u]) - top);
    scores[begin + j / 4u] = e;
    sums += e;
  }
  let sum = sums.x + sums.y + sums.z + sums.w;
  lse[p.offset_lse + row] = top + log(sum);
  inverse[row] = 1.0f / sum;
}
