// clip_scale: clip = min(1, limit/(norm + 1e-6)), 1 where norm is NaN.
// norm may lie in clip's buffer, so it is bound for writing too.
// One invocation.
// Twin: internal/ref/optimizer.go
struct Params {
  limit: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> norm: array<f32>;
@group(0) @binding(2) var<storage, read_write> clip: array<f32>;

@compute @workgroup_size(1)
fn main() {
  let c = p.limit / (norm[0] + 1e-6);
  clip[0] = select(1.0, c, c < 1.0);
}
