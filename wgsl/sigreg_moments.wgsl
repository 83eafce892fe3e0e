// sigreg_moments: cos(t·x) and sin(t·x) at the knots t = ½, 1, … 4 summed over
// chunks of the rows of x (rows, cols) into partial (chunks, cols, 8, 2); reduce
// adds them up.
// One invocation a column of a chunk; workgroup (x, c) does 64 columns of chunk c.
// Twin: internal/ref/regularizer.go
struct Params {
  rows: u32,
  cols: u32,
  chunk: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<vec2<f32>>;

//#include turn

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.cols) { return; }
  var sum: array<vec2<f32>, 8>;
  for (var k = 0u; k < 8u; k++) { sum[k] = vec2<f32>(0.0); }
  for (var r = id.y * p.chunk; r < min(p.rows, (id.y + 1u) * p.chunk); r++) {
    let step = turn(0.5 * x[r * p.cols + id.x]);
    var v = vec2<f32>(1.0, 0.0);
    for (var k = 0u; k < 8u; k++) {
      v = vec2<f32>(v.x * step.x - v.y * step.y, v.x * step.y + v.y * step.x);
      sum[k] += v;
    }
  }
  for (var k = 0u; k < 8u; k++) { partial[(id.y * p.cols + id.x) * 8u + k] = sum[k]; }
}
