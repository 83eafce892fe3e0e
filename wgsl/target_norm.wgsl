// target_norm: row r of dst (blocks·batch, per_block, width) = row targets[r] of
// its sample of h (batch, patches, width), normalised without gain and bias.
// GROUP: one workgroup a row; else one invocation a row. T is f32, or vec4<f32>
// where 4 divides width. Mean and variance as in layernorm.
// Twin: internal/ref/loss.go
struct Params {
  blocks: u32,
  batch: u32,
  patches: u32,
  per_block: u32,
  width: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<{{T}}>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<{{T}}>;

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
  if (row >= p.blocks * p.batch * p.per_block) { return; }
  let n = p.width / {{W}}u;
  let src = (row / p.per_block % p.batch * p.patches + targets[row]) * n;
  let count = f32(p.width);
  var s = {{T}}(0.0);
  for (var i = lane; i < n; i += {{LANES}}u) { s += h[src + i]; }
  let m = total(lane, vec2<f32>(sum(s), 0.0)).x / count;
  var d = {{T}}(0.0);
  var q = {{T}}(0.0);
  for (var i = lane; i < n; i += {{LANES}}u) {
    let v = h[src + i] - m;
    d += v;
    q += v * v;
  }
  let t = total(lane, vec2<f32>(sum(d), sum(q))) / count;
  let r = 1.0 / sqrt(max(t.y - t.x * t.x, 0.0) + p.eps);
  for (var i = lane; i < n; i += {{LANES}}u) {
    dst[row * n + i] = ((h[src + i] - m) - t.x) * r;
  }
}
