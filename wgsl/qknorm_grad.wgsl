// qknorm_grad: gradient of qknorm in x, the formula of layernorm_grad over each
// head's q and k; that of v is copied.
// One invocation a head of a token's q, k or v; one workgroup 16 heads of 4
// tokens, and of 4 more groups.y workgroups on, to the last. T is f32, or
// vec4<f32> where 4 divides the head dim.
// Twin: internal/ref/qknorm.go
struct Params {
  tokens: u32,
  width: u32,
  heads: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<{{T}}>;
@group(0) @binding(2) var<storage, read> x: array<{{T}}>;
@group(0) @binding(3) var<storage, read> q_gamma: array<{{T}}>;
@group(0) @binding(4) var<storage, read> k_gamma: array<{{T}}>;
@group(0) @binding(5) var<storage, read> mean: array<f32>;
@group(0) @binding(6) var<storage, read> rstd: array<f32>;
@group(0) @binding(7) var<storage, read_write> dx: array<{{T}}>;

//#include total GROUP=0

// gain is element i of the gain of q or of k.
fn gain(part: u32, i: u32) -> {{T}} {
  if (part == 0u) { return q_gamma[i]; }
  return k_gamma[i];
}

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let part = id.z;
  if (id.x >= p.heads) { return; }
  let n = p.width / p.heads / {{W}}u;
  for (var token = id.y; token < p.tokens; token += groups.y * 4u) {
    let first = ((token * 3u + part) * p.heads + id.x) * n;
    if (part == 2u) {
      for (var i = 0u; i < n; i++) { dx[first + i] = dy[first + i]; }
      continue;
    }
    let row = (part * p.tokens + token) * p.heads + id.x;
    let m = mean[row];
    let r = rstd[row];
    var a = {{T}}(0.0);
    var b = {{T}}(0.0);
    for (var i = 0u; i < n; i++) {
      let g = dy[first + i] * gain(part, i);
      a += g;
      b += g * ((x[first + i] - m) * r);
    }
    let t = total(0u, a, b) / f32(n * {{W}}u); // means of g and of g·x̂
    for (var i = 0u; i < n; i++) {
      let g = dy[first + i] * gain(part, i);
      dx[first + i] = r * ((g - t.x) - ((x[first + i] - m) * r) * t.y);
    }
  }
}
