// qknorm_partial: gradients of the gains and biases of q and k summed over all
// heads and over chunks of tokens into partial (4, chunks, head dim): q gain, q
// bias, k gain, k bias; reduce adds them up.
// One invocation an element of the head dim of a chunk; workgroup (x, c, 0) does
// q and (x, c, 1) does k for 64 elements of chunk c.
// Twin: internal/ref/qknorm.go
struct Params {
  tokens: u32,
  width: u32,
  heads: u32,
  chunk: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> rstd: array<f32>;
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let n = p.width / p.heads;
  if (id.x >= n) { return; }
  let part = id.z;
  var dgamma = 0.0;
  var dbeta = 0.0;
  for (var t = id.y * p.chunk; t < min(p.tokens, (id.y + 1u) * p.chunk); t++) {
    // Each token is summed by itself, then added: fewer terms a sum, less rounding.
    var g = 0.0;
    var b = 0.0;
    for (var h = 0u; h < p.heads; h++) {
      let at = ((t * 3u + part) * p.heads + h) * n + id.x;
      let row = (part * p.tokens + t) * p.heads + h;
      g += dy[at] * ((x[at] - mean[row]) * rstd[row]);
      b += dy[at];
    }
    dgamma += g;
    dbeta += b;
  }
  partial[(2u * part * groups.y + id.y) * n + id.x] = dgamma;
  partial[((2u * part + 1u) * groups.y + id.y) * n + id.x] = dbeta;
}
