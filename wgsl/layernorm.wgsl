// layernorm: y = (x − mean)·rstd·gamma + beta over rows of cols.
// GROUP: one workgroup a row; else one invocation a row. T is f32, or vec4<f32>
// where 4 divides cols. Saves mean and rstd for layernorm_grad.
// Twin: internal/ref/layernorm.go
struct Params {
  rows: u32,
  cols: u32,
  affine: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<{{T}}>;
@group(0) @binding(2) var<storage, read> gamma: array<{{T}}>;
@group(0) @binding(3) var<storage, read> beta: array<{{T}}>;
@group(0) @binding(4) var<storage, read_write> y: array<{{T}}>;
@group(0) @binding(5) var<storage, read_write> mean: array<f32>;
@group(0) @binding(6) var<storage, read_write> rstd: array<f32>;

//#include total
//#include moments X=x

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
//#if GROUP
  let row = group.x + group.y * groups.x;
  let lane = local;
//#else
  let row = (group.x + group.y * groups.x) * 64u + local;
  let lane = 0u;
//#end
  if (row >= p.rows) { return; }
  let n = p.cols / {{W}}u;
  let first = row * n;
  let m = moments(first, n, lane);
  for (var i = lane; i < n; i += {{LANES}}u) {
    let v = normalise(x[first + i], m);
    if (p.affine == 0u) {
      y[first + i] = v;
    } else {
      y[first + i] = v * gamma[i] + beta[i];
    }
  }
  if (lane == 0u) {
    mean[row] = m.rough + m.rest;
    rstd[row] = m.rstd;
  }
}
