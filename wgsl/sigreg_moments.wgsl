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

// turn is (cos a, sin a) to 1e-7: the built-in functions may be off by 5e-4.
// π/2 is taken off in three parts, then the polynomials of Cephes.
fn turn(a: f32) -> vec2<f32> {
  let q = round(a * 0.63661977);
  let r = ((a - q * 1.5703125) - q * 4.837512969970703e-4) - q * 7.549789948768648e-8;
  let r2 = r * r;
  let s = r + r * r2 * (-1.6666654611e-1 + r2 * (8.3321608736e-3 - r2 * 1.9515295891e-4));
  let c = 1.0 - 0.5 * r2 + r2 * r2 * (4.166664568298827e-2 + r2 * (-1.388731625493765e-3 + r2 * 2.443315711809948e-5));
  let quarter = u32(i32(q) & 3);
  let v = select(vec2<f32>(c, s), vec2<f32>(-s, c), (quarter & 1u) == 1u);
  return select(v, -v, quarter >= 2u);
}

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
