// attention_delta: delta_i = dout_i · o_i of every head, which the softmax
// gradient subtracts; dout, o (batch, t, heads, dim), delta (batch, heads, t).
// One invocation an element of delta.
// Twin: internal/ref/attention.go
struct Params {
  t: u32,
  heads: u32,
  dim: u32,
  batch: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read> o: array<f32>;
@group(0) @binding(3) var<storage, read_write> delta: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let at = id.x + id.y * groups.x * 64u;
  if (at >= p.batch * p.heads * p.t) { return; }
  let i = at % p.t;
  let head = at / p.t % p.heads;
  let sample = at / p.t / p.heads;
  let first = ((sample * p.t + i) * p.heads + head) * p.dim;
  var sum = 0.0f;
  for (var d = first; d < first + p.dim; d++) { sum += dout[d] * o[d]; }
  delta[at] = sum;
}
