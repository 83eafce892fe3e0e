// nonfinite: the number of NaNs and infinities in x, counted into partial[first …
// first + lanes]; sum adds them up.
// Invocation l of `lanes` does elements l, l + lanes, …. By bits, since a compiler
// may assume that no float is NaN.
// Twin: internal/ref/health.go
struct Params {
  n: u32,
  lanes: u32,
  first: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.lanes) { return; }
  var count = 0u;
  for (var i = id.x; i < p.n; i += p.lanes) {
    count += select(0u, 1u, (bitcast<u32>(x[i]) & 0x7f800000u) == 0x7f800000u);
  }
  partial[p.first + id.x] = f32(count);
}
