// ema: target ← target + rate·(p − target), which is λ·target + (1 − λ)·p.
// One invocation an element (T: a vec4<f32> of elements).
// Twin: internal/ref/optimizer.go
struct Params {
  n: u32,
  rate: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> params: array<{{T}}>;
@group(0) @binding(2) var<storage, read_write> target_params: array<{{T}}>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.n / {{W}}u) { return; }
  let t = target_params[i];
  target_params[i] = t + p.rate * (params[i] - t);
}
