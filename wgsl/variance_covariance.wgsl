// variance_covariance: of C = scale·product (d, d), column by column,
//   variance_terms = max(0, 1 − √(C_jj + 1e-4)),  covariance_terms = Σ_{i≠j} C_ij²
// and grad (d, d), by which the centred features are multiplied for their
// gradient: covariance·C_ij, and −variance/√(C_jj + 1e-4) on the diagonal where
// that root is below 1.
// One invocation a column.
// Twin: internal/ref/regularizer.go
struct Params {
  d: u32,
  scale: f32,
  variance: f32,
  covariance: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> product: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad: array<f32>;
@group(0) @binding(3) var<storage, read_write> variance_terms: array<f32>;
@group(0) @binding(4) var<storage, read_write> covariance_terms: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let j = id.x;
  if (j >= p.d) { return; }
  var total = 0.0;
  for (var begin = 0u; begin < p.d; begin += 32u) {
    var sum = 0.0;
    for (var i = begin; i < min(p.d, begin + 32u); i++) {
      let c = p.scale * product[i * p.d + j];
      if (i != j) {
        sum += c * c;
        grad[i * p.d + j] = p.covariance * c;
      } else {
        let root = sqrt(c + 1e-4);
        variance_terms[j] = max(0.0, 1.0 - root);
        grad[i * p.d + j] = select(0.0, -p.variance / root, root < 1.0);
      }
    }
    total += sum;
  }
  covariance_terms[j] = total;
}
