// rescale: x (rows, cols) = (min(max(x, r₀), r₁) − r₂)/r₃ in place, r the row's of
// rescales (rows, 4).
// Workgroups of one row share its elements in turns of 64 each.
// Twin: internal/ref/rows.go
struct Params {
  rows: u32,
  cols: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> rescales: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let r = rescales[id.y];
  let first = id.y * p.cols;
  for (var j = id.x; j < p.cols; j += 64u * groups.x) {
    x[first + j] = (clamp(x[first + j], r.x, r.y) - r.z) / r.w;
  }
}
