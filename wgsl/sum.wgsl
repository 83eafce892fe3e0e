// sum: dst[at] = scale·Σ x, of the square roots of x with root_terms; with
// root_total the square root of that.
// One workgroup: each invocation sums every 256th element, then a tree.
// Twin: internal/ref/reduce.go
struct Params {
  n: u32,
  root_terms: u32,
  root_total: u32,
  at: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

var<workgroup> part: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < p.n; i += 256u) {
    var v = x[i];
    if (p.root_terms != 0u) { v = sqrt(v); }
    sum += v;
  }
  part[lane] = sum;
  workgroupBarrier();
  for (var s = 128u; s > 0u; s >>= 1u) {
    if (lane < s) { part[lane] += part[lane + s]; }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let total = part[0] * p.scale;
    if (p.root_total != 0u) {
      dst[p.at] = sqrt(total);
    } else {
      dst[p.at] = total;
    }
  }
}
