// softmax: each row of scores becomes its softmax; lse keeps the logarithm of
// the sum of its exponentials.
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
@group(0) @binding(1) var<storage, read_write> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let row = id.x + id.y * groups.x * 64u;
  if (row >= p.rows) { return; }
  let first = row * p.stride;
  let last = first + p.cols;
  var top = scores[first];
  for (var i = first; i < last; i++) { top = max(top, scores[i]); }
  var sum = 0.0f;
  for (var i = first; i < last; i++) {
    let e = exp(scores[i] - top);
    scores[i] = e;
    sum += e;
  }
  let scale = 1.0f / sum;
  for (var i = first; i < last; i++) { scores[i] = scores[i] * scale; }
  lse[p.offset_lse + row] = top + log(sum);
}
