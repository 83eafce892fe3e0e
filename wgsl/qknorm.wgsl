// qknorm: layer norm over the head dim of every head's q and k in x (tokens, 3,
// heads, head dim); v is copied. mean and rstd are (2, tokens, heads).
// One invocation a head of a token's q, k or v; one workgroup 16 heads of 4
// tokens, and of 4 more groups.y workgroups on, to the last. T is f32, or
// vec4<f32> where 4 divides the head dim.
// Twin: internal/ref/qknorm.go
struct Params {
  tokens: u32,
  width: u32,
  heads: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<{{T}}>;
@group(0) @binding(2) var<storage, read> q_gamma: array<{{T}}>;
@group(0) @binding(3) var<storage, read> q_beta: array<{{T}}>;
@group(0) @binding(4) var<storage, read> k_gamma: array<{{T}}>;
@group(0) @binding(5) var<storage, read> k_beta: array<{{T}}>;
@group(0) @binding(6) var<storage, read_write> y: array<{{T}}>;
@group(0) @binding(7) var<storage, read_write> mean: array<f32>;
@group(0) @binding(8) var<storage, read_write> rstd: array<f32>;

//#include total GROUP=0
//#include moments X=x LANES=1

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let part = id.z;
  if (id.x >= p.heads) { return; }
  let n = p.width / p.heads / {{W}}u;
  for (var token = id.y; token < p.tokens; token += groups.y * 4u) {
    let first = ((token * 3u + part) * p.heads + id.x) * n;
    if (part == 2u) {
      for (var i = 0u; i < n; i++) { y[first + i] = x[first + i]; }
      continue;
    }
    let m = moments(first, n, 0u);
    for (var i = 0u; i < n; i++) {
      let v = normalise(x[first + i], m);
      if (part == 0u) {
        y[first + i] = v * q_gamma[i] + q_beta[i];
      } else {
        y[first + i] = v * k_gamma[i] + k_beta[i];
      }
    }
    let row = (part * p.tokens + token) * p.heads + id.x;
    mean[row] = m.rough + m.rest;
    rstd[row] = m.rstd;
  }
}
