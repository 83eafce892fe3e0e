// reduce: dst = scale·Σ over the chunks of partial (chunks, cols) from element
// first on; added to dst where add is set.
// One invocation a column.
// Twin: internal/ref/reduce.go
struct Params {
  chunks: u32,
  cols: u32,
  first: u32,
  add: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.cols) { return; }
  var sum = 0.0;
  for (var c = 0u; c < p.chunks; c++) { sum += partial[p.first + c * p.cols + i]; }
  sum *= p.scale;
  if (p.add != 0u) { sum += dst[i]; }
  dst[i] = sum;
}
