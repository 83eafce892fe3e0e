// mean_pool: dst (batch, width) = the mean over the tokens of x (batch, tokens,
// width); scale is 1/tokens.
// One invocation an element of dst.
// Twin: internal/ref/pool.go
struct Params {
  batch: u32,
  tokens: u32,
  width: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.batch * p.width) { return; }
  let first = i / p.width * p.tokens * p.width + i % p.width;
  var sum = 0.0;
  for (var t = 0u; t < p.tokens; t++) { sum += x[first + t * p.width]; }
  dst[i] = sum * p.scale;
}
