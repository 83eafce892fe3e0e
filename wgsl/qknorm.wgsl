// qknorm: layer norm over the head dim of every head's q and k in x (tokens, 3,
// heads, head dim); v is copied. mean and rstd are (2, tokens, heads).
// One invocation a head of q, k or v.
// Twin: internal/ref/qknorm.go
struct Params {
  tokens: u32,
  width: u32,
  heads: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> q_gamma: array<f32>;
@group(0) @binding(3) var<storage, read> q_beta: array<f32>;
@group(0) @binding(4) var<storage, read> k_gamma: array<f32>;
@group(0) @binding(5) var<storage, read> k_beta: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> mean: array<f32>;
@group(0) @binding(8) var<storage, read_write> rstd: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let head = id.x + id.y * groups.x * 64u;  // of tokens·3·heads
  if (head >= p.tokens * 3u * p.heads) { return; }
  let n = p.width / p.heads;
  let first = head * n;
  let part = head / p.heads % 3u;
  if (part == 2u) {
    for (var i = 0u; i < n; i++) { y[first + i] = x[first + i]; }
    return;
  }
  var s = 0.0;
  for (var i = 0u; i < n; i++) { s += x[first + i]; }
  let m = s / f32(n);
  var d = 0.0;
  var q = 0.0;
  for (var i = 0u; i < n; i++) {
    let v = x[first + i] - m;
    d += v;
    q += v * v;
  }
  let shift = d / f32(n);
  let r = 1.0 / sqrt(max(q / f32(n) - shift * shift, 0.0) + p.eps);
  for (var i = 0u; i < n; i++) {
    let v = ((x[first + i] - m) - shift) * r;
    if (part == 0u) {
      y[first + i] = v * q_gamma[i] + q_beta[i];
    } else {
      y[first + i] = v * k_gamma[i] + k_beta[i];
    }
  }
  let row = (part * p.tokens + head / (3u * p.heads)) * p.heads + head % p.heads;
  mean[row] = m + shift;
  rstd[row] = r;
}
