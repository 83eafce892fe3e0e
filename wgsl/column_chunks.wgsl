// column_chunks: columns of x summed over chunks of rows into partial (chunks,
// cols); reduce adds them up. Row r of the sum is row r/take·stride + first +
// r%take of x, a window of every sample. With square the sum is of (x − mean)².
// One invocation a column of a chunk; workgroup (x, c) does 64 columns of chunk c.
// Twin: internal/ref/reduce.go
struct Params {
  rows: u32,
  cols: u32,
  chunk: u32,
  take: u32,
  stride: u32,
  first: u32,
  square: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.cols) { return; }
  var m = 0.0;
  if (p.square != 0u) { m = mean[id.x]; }
  var sum = 0.0;
  for (var r = id.y * p.chunk; r < min(p.rows, (id.y + 1u) * p.chunk); r++) {
    let v = x[(r / p.take * p.stride + p.first + r % p.take) * p.cols + id.x] - m;
    sum += select(v, v * v, p.square != 0u);
  }
  partial[id.y * p.cols + id.x] = sum;
}
