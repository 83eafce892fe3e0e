// row_chunks: partial (rows, chunks) = sums over consecutive chunks of each row of
// x (rows, cols), of x or with square of (x − mean of the row)².
// One invocation a chunk.
// Twin: internal/ref/resident.go
struct Params {
  rows: u32,
  cols: u32,
  chunk: u32,
  square: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let at = id.x + id.y * groups.x * 64u;
  let chunks = (p.cols + p.chunk - 1u) / p.chunk;
  if (at >= p.rows * chunks) { return; }
  let row = at / chunks;
  let first = at % chunks * p.chunk;
  let last = min(p.cols, first + p.chunk);
  var sum = 0.0;
  if (p.square == 0u) {
    for (var j = first; j < last; j++) { sum += x[row * p.cols + j]; }
  } else {
    let m = mean[row];
    for (var j = first; j < last; j++) {
      let d = x[row * p.cols + j] - m;
      sum += d * d;
    }
  }
  partial[at] = sum;
}
