// mean_pool_grad: dx (batch, tokens, width) += scale·dy (batch, width).
// One invocation an element of dx.
// Twin: internal/ref/pool.go
struct Params {
  batch: u32,
  tokens: u32,
  width: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.batch * p.tokens * p.width) { return; }
  dx[i] += p.scale * dy[i / (p.tokens * p.width) * p.width + i % p.width];
}
