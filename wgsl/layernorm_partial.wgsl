// layernorm_partial: gradients of gamma (dy·x̂) and beta (dy) summed over chunks
// of rows into partial (2, chunks, cols); reduce adds them up.
// One invocation a column (T: a vec4<f32> of columns) of a chunk; workgroup
// (x, c) does 64 columns of chunk c.
// Twin: internal/ref/layernorm.go
struct Params {
  rows: u32,
  cols: u32,
  chunk: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<{{T}}>;
@group(0) @binding(2) var<storage, read> x: array<{{T}}>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> rstd: array<f32>;
@group(0) @binding(5) var<storage, read_write> partial: array<{{T}}>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let n = p.cols / {{W}}u;
  if (id.x >= n) { return; }
  var dgamma = {{T}}(0.0);
  var dbeta = {{T}}(0.0);
  for (var r = id.y * p.chunk; r < min(p.rows, (id.y + 1u) * p.chunk); r++) {
    let d = dy[r * n + id.x];
    dgamma += d * ((x[r * n + id.x] - mean[r]) * rstd[r]);
    dbeta += d;
  }
  partial[id.y * n + id.x] = dgamma;
  partial[(groups.y + id.y) * n + id.x] = dbeta;
}
