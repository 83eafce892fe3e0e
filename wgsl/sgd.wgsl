// sgd: one update of SGD with momentum, of the exponential moving average and of
// the gradient, in one pass over the arenas:
//   d = clip·g + l2·p (l2 for the first `decayed` elements only)
//   buffered: m ← momentum·m + undamped·d, d itself the first time;
//             d ← m, or d + momentum·m with nesterov
//   p ← p − learning_rate·d,  target ← target + rate·(p − target),  g ← 0
// One invocation an element (T: a vec4<f32> of elements).
// Twin: internal/ref/optimizer.go
struct Params {
  n: u32,
  decayed: u32,
  buffered: u32,
  first: u32,
  nesterov: u32,
  clipped: u32,
  averaged: u32,
  l2: f32,
  momentum: f32,
  undamped: f32,
  learning_rate: f32,
  rate: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> params: array<{{T}}>;
@group(0) @binding(2) var<storage, read_write> g: array<{{T}}>;
@group(0) @binding(3) var<storage, read_write> m: array<{{T}}>;
@group(0) @binding(4) var<storage, read_write> target_params: array<{{T}}>;
@group(0) @binding(5) var<storage, read> clip: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.n / {{W}}u) { return; }
  var theta = params[i];
  var d = g[i];
  if (p.clipped != 0u) {
    if (clip[0] < 0.0) { return; } // the gradient is not finite: everything stays
    d *= clip[0];
  }
  if (i < p.decayed / {{W}}u) { d += p.l2 * theta; }
  if (p.buffered != 0u) {
    var b = d;
    if (p.first == 0u) { b = p.momentum * m[i] + p.undamped * d; }
    m[i] = b;
    if (p.nesterov != 0u) {
      d += p.momentum * b;
    } else {
      d = b;
    }
  }
  theta -= p.learning_rate * d;
  params[i] = theta;
  g[i] = {{T}}(0.0);
  if (p.averaged != 0u) {
    let t = target_params[i];
    target_params[i] = t + p.rate * (theta - t);
  }
}
