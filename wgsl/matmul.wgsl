// matmul: c = epilogue(scale · a·b) for batches of row-major matrices with strides.
// One invocation an element of c.
// Twin: internal/ref/matmul.go
struct Params {
  m: u32,
  n: u32,
  k: u32,
  last_k: u32,
  batches: u32,
  heads: u32,
  offset_a: u32,
  row_a: u32,
  col_a: u32,
  batch_a: u32,
  head_a: u32,
  offset_b: u32,
  row_b: u32,
  col_b: u32,
  batch_b: u32,
  head_b: u32,
  offset_c: u32,
  row_c: u32,
  batch_c: u32,
  head_c: u32,
  epilogue: u32,
  offset_extra: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> extra: array<f32>;

// The distribution function of the standard normal, ½ erfc(−x/√2), by minimax
// polynomials of our own: largest error 1e-7, relative in the left tail.
fn normal_cdf(x: f32) -> f32 {
  let u = min(abs(x) * 0.70710678f, 6.0f);
  if (u < 1.0f) {
    let s = u * u;
    let erf = u * (1.12837916f + s * (-0.37612606f + s * (0.112834301f + s * (-0.0268485914f + s * (0.00517974967f + s * (-0.000794235728f + s * 0.0000764712081f))))));
    return 0.5f + 0.5f * sign(x) * erf;
  }
  let q = 1.12882306f + u * (0.634438897f + u * (0.10743187f + u * (-0.0248214392f + u * (0.00417196334f + u * (-0.000468916321f + u * (0.000030979578f + u * -0.000000897543149f))))));
  let tail = 0.5f * exp(-u * q);
  return select(1.0f - tail, tail, x < 0.0f);
}

fn gelu_grad(x: f32) -> f32 {
  return normal_cdf(x) + x * 0.39894228f * exp(-0.5f * x * x);
}

// finish writes the sum of element (row, col) of batch z.
fn finish(z: u32, row: u32, col: u32, sum: f32) {
  let at = p.offset_c + (z / p.heads) * p.batch_c + (z % p.heads) * p.head_c + row * p.row_c + col;
  if ((p.epilogue & 64u) != 0u) {
    c[at] = c[at] * (sum - extra[p.offset_extra + z * p.m + row]) * p.scale;
    return;
  }
  var v = sum * p.scale;
  if ((p.epilogue & 1u) != 0u) { v += bias[col]; }
  if ((p.epilogue & 2u) != 0u) { v += c[at]; }
  if ((p.epilogue & 4u) != 0u) { v += extra[at]; }
  if ((p.epilogue & 8u) != 0u) {
    extra[at] = v;
    v = v * normal_cdf(v);
  }
  if ((p.epilogue & 16u) != 0u) { v = v * gelu_grad(extra[at]); }
  if ((p.epilogue & 32u) != 0u) { v = exp(v - extra[p.offset_extra + z * p.m + row]); }
  c[at] = v;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let col = group.x * 64u + local.x;
  let row = group.y;
  let z = group.z;
  if (col >= p.n) { return; }
  let at_a = p.offset_a + (z / p.heads) * p.batch_a + (z % p.heads) * p.head_a + row * p.row_a;
  let at_b = p.offset_b + (z / p.heads) * p.batch_b + (z % p.heads) * p.head_b + col * p.col_b;
  let k = select(p.k, p.last_k, z + 1u == p.batches);
  var sum = 0.0f;
  for (var l = 0u; l < k; l++) { sum += a[at_a + l * p.col_a] * b[at_b + l * p.row_b]; }
  finish(z, row, col, sum);
}
