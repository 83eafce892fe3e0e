// sigreg_grad: of the means (cols, 8, 2) of cos(t·x) and sin(t·x) at the knots t
// = ½, 1, … 4, the Epps–Pulley statistic against the standard normal,
//   terms = Σ_t weight·((cos − normal)² + sin²),  normal = exp(−t²/2)
// with the trapezoid rule's weight for ±t in the window exp(−t²/2), and dx
// (rows, cols) = scale·Σ_t 2·weight·t·(sin·cos(t·x) − (cos − normal)·sin(t·x)).
// One invocation an element of x; those of row 0 write terms.
// Twin: internal/ref/regularizer.go
struct Params {
  rows: u32,
  cols: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> moments: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
@group(0) @binding(4) var<storage, read_write> terms: array<f32>;

//#include turn

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.rows * p.cols) { return; }
  let column = i % p.cols;
  let step = turn(0.5 * x[i]);
  var v = vec2<f32>(1.0, 0.0);
  var term = 0.0;
  var sum = 0.0;
  for (var k = 0u; k < 8u; k++) {
    v = vec2<f32>(v.x * step.x - v.y * step.y, v.x * step.y + v.y * step.x);
    let t = 0.5 * f32(k + 1u);
    let normal = exp(-0.5 * t * t);
    let weight = select(normal, 0.5 * normal, k == 7u);
    let mean = moments[column * 8u + k] - vec2<f32>(normal, 0.0);
    term += weight * dot(mean, mean);
    sum += 2.0 * weight * t * (mean.y * v.x - mean.x * v.y);
  }
  dx[i] = p.scale * sum;
  if (i < p.cols) { terms[i] = term; }
}
