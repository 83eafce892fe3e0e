// layernorm: y = (x − mean)·rstd·gamma + beta over rows of cols.
// GROUP: one workgroup a row; else one invocation a row. T is f32, or vec4<f32>
// where 4 divides cols. Saves mean and rstd for layernorm_grad. The variance is
// the mean of squared differences from the mean, and both are corrected by what
// rounding left of the mean difference.
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

fn sum(v: {{T}}) -> f32 {
//#if VEC4
  return (v.x + v.y) + (v.z + v.w);
//#else
  return v;
//#end
}

//#if GROUP
var<workgroup> part: array<vec2<f32>, 64>;

// total is the sum of v over the workgroup.
fn total(lane: u32, v: vec2<f32>) -> vec2<f32> {
  part[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { part[lane] += part[lane + s]; }
    workgroupBarrier();
  }
  let all = part[0];
  workgroupBarrier();
  return all;
}
//#else
fn total(lane: u32, v: vec2<f32>) -> vec2<f32> { return v; }
//#end

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
  let count = f32(p.cols);
  var s = {{T}}(0.0);
  for (var i = lane; i < n; i += {{LANES}}u) { s += x[first + i]; }
  let m = total(lane, vec2<f32>(sum(s), 0.0)).x / count;
  var d = {{T}}(0.0);
  var q = {{T}}(0.0);
  for (var i = lane; i < n; i += {{LANES}}u) {
    let v = x[first + i] - m;
    d += v;
    q += v * v;
  }
  let t = total(lane, vec2<f32>(sum(d), sum(q))) / count;
  let r = 1.0 / sqrt(max(t.y - t.x * t.x, 0.0) + p.eps);
  for (var i = lane; i < n; i += {{LANES}}u) {
    let v = ((x[first + i] - m) - t.x) * r;
    if (p.affine == 0u) {
      y[first + i] = v;
    } else {
      y[first + i] = v * gamma[i] + beta[i];
    }
  }
  if (lane == 0u) {
    mean[row] = m + t.x;
    rstd[row] = r;
  }
}
