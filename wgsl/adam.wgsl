// adam: one update of Adam or AdamW, of the exponential moving average and of
// the gradient, in one pass over the arenas:
//   g ← clip·g + l2·p,  m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²
//   p ← p − (shrink·p + step·m/(√v·root + eps)),  v the largest so far with amsgrad
//   target ← target + rate·(p − target),  g ← 0
// shrink and l2 are for the first `decayed` elements only.
// One invocation an element (T: a vec4<f32> of elements).
// Twin: internal/ref/optimizer.go
struct Params {
  n: u32,
  decayed: u32,
  amsgrad: u32,
  clipped: u32,
  averaged: u32,
  shrink: f32,
  l2: f32,
  beta1: f32,
  rate1: f32,
  beta2: f32,
  rate2: f32,
  step: f32,
  root: f32,
  eps: f32,
  rate: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> params: array<{{T}}>;
@group(0) @binding(2) var<storage, read_write> g: array<{{T}}>;
@group(0) @binding(3) var<storage, read_write> m: array<{{T}}>;
@group(0) @binding(4) var<storage, read_write> v: array<{{T}}>;
@group(0) @binding(5) var<storage, read_write> vmax: array<{{T}}>;
@group(0) @binding(6) var<storage, read_write> target_params: array<{{T}}>;
@group(0) @binding(7) var<storage, read> clip: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.n / {{W}}u) { return; }
  var shrink = 0.0;
  var l2 = 0.0;
  if (i < p.decayed / {{W}}u) {
    shrink = p.shrink;
    l2 = p.l2;
  }
  var theta = params[i];
  var d = g[i];
  if (p.clipped != 0u) {
    if (clip[0] < 0.0) { return; } // the gradient is not finite: everything stays
    d *= clip[0];
  }
  d += l2 * theta;
  let first = p.beta1 * m[i] + p.rate1 * d;
  var second = p.beta2 * v[i] + p.rate2 * (d * d);
  m[i] = first;
  v[i] = second;
  if (p.amsgrad != 0u) {
    second = max(second, vmax[i]);
    vmax[i] = second;
  }
  // One subtraction: what is far below p's last place is not rounded twice.
  theta -= shrink * theta + p.step * (first / (sqrt(second) * p.root + p.eps));
  params[i] = theta;
  g[i] = {{T}}(0.0);
  if (p.averaged != 0u) {
    let t = target_params[i];
    target_params[i] = t + p.rate * (theta - t);
  }
}
