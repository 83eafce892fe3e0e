// cross_entropy: for each row of logits z (rows, classes), the loss
// ((1 − ε)·w_y·(lse − z_y) + ε/classes·Σ_k w_k·(lse − z_k)) into partial, and with
// grad dz = scale times its gradient. One invocation a row.
// Twin: internal/ref/cross_entropy.go
struct Params {
  rows: u32,
  classes: u32,
  grad: u32,
  smoothing: f32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> label: array<u32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> dz: array<f32>;
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.rows) { return; }
  let row = id.x * p.classes;
  var top = z[row];
  for (var k = 1u; k < p.classes; k++) { top = max(top, z[row + k]); }
  var sum = 0.0;
  for (var k = 0u; k < p.classes; k++) { sum += exp(z[row + k] - top); }
  let y = label[id.x];
  let spread = p.smoothing / f32(p.classes);
  let hit = (1.0 - p.smoothing) * weight[y];
  let log_sum = log(sum);
  var loss = 0.0;
  var total = 0.0;
  for (var k = 0u; k < p.classes; k++) {
    let share = spread * weight[k] + select(0.0, hit, k == y);
    loss += share * (log_sum - (z[row + k] - top));
    total += share;
  }
  partial[id.x] = loss;
  if (p.grad == 0u) { return; }
  for (var k = 0u; k < p.classes; k++) {
    let share = spread * weight[k] + select(0.0, hit, k == y);
    dz[row + k] = p.scale * (total * (exp(z[row + k] - top) / sum) - share);
  }
}
