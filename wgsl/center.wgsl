// center: dst = x − mean, mean being one a column.
// One invocation an element (T: a vec4<f32> of elements).
// Twin: internal/ref/regularizer.go
struct Params {
  rows: u32,
  cols: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<{{T}}>;
@group(0) @binding(2) var<storage, read> mean: array<{{T}}>;
@group(0) @binding(3) var<storage, read_write> dst: array<{{T}}>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  let n = p.cols / {{W}}u;
  if (i >= p.rows * n) { return; }
  dst[i] = x[i] - mean[i % n];
}
