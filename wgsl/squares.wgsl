// squares: Σ x² into partial[first … first + lanes]; sum adds them up.
// Invocation l of `lanes` does elements l, l + lanes, …, 32 at a time, so that
// no sum has many terms.
// Twin: internal/ref/optimizer.go
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
  var total = 0.0;
  for (var begin = id.x; begin < p.n; begin += 32u * p.lanes) {
    var sum = 0.0;
    let end = min(p.n, begin + 32u * p.lanes);
    for (var i = begin; i < end; i += p.lanes) { sum += x[i] * x[i]; }
    total += sum;
  }
  partial[p.first + id.x] = total;
}
