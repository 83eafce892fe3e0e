// row_moment: with (S, count) the sum of a row of partial (rows, chunks), the mean
// S/count + x₀ of the row of x (rows, cols) into the third component of the row's
// rescaling; or with square the whole of what standardises the row but the mean:
// no clipping, and √(S/count) + eps to divide by. A count of 0, of a constant row
// without voxels above its mean, stands for its first element.
// One invocation a row.
// Twin: internal/ref/rows.go
struct Params {
  rows: u32,
  chunks: u32,
  cols: u32,
  square: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> partial: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> rescales: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x;
  if (row >= p.rows) { return; }
  var sum = vec2<f32>(0.0, 0.0);
  for (var c = 0u; c < p.chunks; c++) { sum += partial[row * p.chunks + c]; }
  let moment = sum.x / max(sum.y, 1.0);
  var r = rescales[row];
  if (p.square == 0u) {
    r.z = x[row * p.cols] + moment;
  } else {
    r.x = -3.4e38f;
    r.y = 3.4e38f;
    r.w = sqrt(moment) + p.eps;
  }
  rescales[row] = r;
}
