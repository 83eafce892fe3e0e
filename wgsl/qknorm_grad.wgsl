// qknorm_grad: gradient of qknorm in x, the formula of layernorm_grad over each
// head's q and k; that of v is copied.
// One invocation a head of q, k or v.
// Twin: internal/ref/qknorm.go
struct Params {
  tokens: u32,
  width: u32,
  heads: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> q_gamma: array<f32>;
@group(0) @binding(4) var<storage, read> k_gamma: array<f32>;
@group(0) @binding(5) var<storage, read> mean: array<f32>;
@group(0) @binding(6) var<storage, read> rstd: array<f32>;
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let head = id.x + id.y * groups.x * 64u;  // of tokens·3·heads
  if (head >= p.tokens * 3u * p.heads) { return; }
  let n = p.width / p.heads;
  let first = head * n;
  let part = head / p.heads % 3u;
  if (part == 2u) {
    for (var i = 0u; i < n; i++) { dx[first + i] = dy[first + i]; }
    return;
  }
  let row = (part * p.tokens + head / (3u * p.heads)) * p.heads + head % p.heads;
  let m = mean[row];
  let r = rstd[row];
  var a = 0.0;
  var b = 0.0;
  for (var i = 0u; i < n; i++) {
    let g = dy[first + i] * select(k_gamma[i], q_gamma[i], part == 0u);
    a += g;
    b += g * ((x[first + i] - m) * r);
  }
  a /= f32(n);
  b /= f32(n);
  for (var i = 0u; i < n; i++) {
    let g = dy[first + i] * select(k_gamma[i], q_gamma[i], part == 0u);
    dx[first + i] = r * ((g - a) - ((x[first + i] - m) * r) * b);
  }
}
