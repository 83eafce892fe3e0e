// target_norm: row r of dst (blocks·batch, per_block, width) = row targets[r] of
// its sample of h (batch, patches, width), normalised without gain and bias.
// GROUP: one workgroup a row; else one invocation a row. T is f32, or vec4<f32>
// where 4 divides width.
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

//#include total
//#include moments X=h

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
  let m = moments(src, n, lane);
  for (var i = lane; i < n; i += {{LANES}}u) { dst[row * n + i] = normalise(h[src + i], m); }
}
