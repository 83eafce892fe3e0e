// clip_scale: clip = min(1, limit/(norm + 1e-6)); −1, "no update", where norm
// is NaN or infinite.
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
  // By bits: compilers may assume that a float is finite.
  if ((bitcast<u32>(norm[0]) & 0x7fffffffu) >= 0x7f800000u) {
    clip[0] = -1.0;
    return;
  }
  clip[0] = min(1.0, p.limit / (norm[0] + 1e-6));
}
