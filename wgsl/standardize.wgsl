// standardize: x (rows, cols) = (x − mean of the row)·scale of the row, in place.
// One invocation an element.
// Twin: internal/ref/resident.go
struct Params {
  n: u32,
  cols: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.n) { return; }
  let row = i / p.cols;
  x[i] = (x[i] - mean[row]) * scale[row];
}
