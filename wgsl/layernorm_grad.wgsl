// layernorm_grad: with g = dy·gamma and x̂ = (x − mean)·rstd,
//   dx = rstd·(g − mean of g − x̂·mean of g·x̂), added to dx where add is set.
// GROUP: one workgroup a row; else one invocation a row. T is f32, or vec4<f32>
// where 4 divides cols.
// Twin: internal/ref/layernorm.go
struct Params {
  rows: u32,
  cols: u32,
  affine: u32,
  add: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<{{T}}>;
@group(0) @binding(2) var<storage, read> x: array<{{T}}>;
@group(0) @binding(3) var<storage, read> gamma: array<{{T}}>;
@group(0) @binding(4) var<storage, read> mean: array<f32>;
@group(0) @binding(5) var<storage, read> rstd: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<{{T}}>;

//#include total

// grad is element i of g, at at in dy.
fn grad(at: u32, i: u32) -> {{T}} {
  if (p.affine == 0u) { return dy[at]; }
  return dy[at] * gamma[i];
}

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
  let m = mean[row];
  let r = rstd[row];
  var a = {{T}}(0.0);
  var b = {{T}}(0.0);
  for (var i = lane; i < n; i += {{LANES}}u) {
    let g = grad(first + i, i);
    a += g;
    b += g * ((x[first + i] - m) * r);
  }
  let t = total(lane, a, b) / f32(p.cols);
  for (var i = lane; i < n; i += {{LANES}}u) {
    let d = r * ((grad(first + i, i) - t.x) - ((x[first + i] - m) * r) * t.y);
    if (p.add == 0u) {
      dx[first + i] = d;
    } else {
      dx[first + i] += d;
    }
  }
}
