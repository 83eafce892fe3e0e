// row_moment: with V = cols and S the sum of a row of partial (rows, chunks),
// moment (rows) = S/V, or with square 1/(√(S/V) + eps), what standardises the row;
// 0 where √(S/V) is no more than rounding of the row's mean: a constant row.
// One invocation a row.
// Twin: internal/ref/resident.go
struct Params {
  rows: u32,
  chunks: u32,
  cols: u32,
  square: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> moment: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x;
  if (row >= p.rows) { return; }
  var sum = 0.0;
  for (var c = 0u; c < p.chunks; c++) { sum += partial[row * p.chunks + c]; }
  sum /= f32(p.cols);
  if (p.square == 0u) {
    moment[row] = sum;
    return;
  }
  let deviation = sqrt(sum);
  moment[row] = select(1.0 / (deviation + p.eps), 0.0, deviation <= 4e-6 * abs(mean[row]));
}
