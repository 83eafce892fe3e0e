// patches: dst (batch, kept, channels·patch) cut out of x (batch, channels,
// height, width, depth); patch n of sample b is index[b, n] of the grid, or n
// where indexed is 0. A patch's elements lie as a convolution's weight does.
// One invocation an element of dst.
// Twin: internal/ref/patches.go
struct Params {
  batch: u32,
  kept: u32,
  channels: u32,
  height: u32,
  width: u32,
  depth: u32,
  patch_h: u32,
  patch_w: u32,
  patch_d: u32,
  indexed: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  let n = p.channels * p.patch_h * p.patch_w * p.patch_d;
  if (i >= p.batch * p.kept * n) { return; }
  let row = i / n;
  var chosen = row % p.kept;
  if (p.indexed != 0u) { chosen = index[row]; }
  let grid_w = p.width / p.patch_w;
  let grid_d = p.depth / p.patch_d;
  let d = i % p.patch_d + chosen % grid_d * p.patch_d;
  let w = i / p.patch_d % p.patch_w + chosen / grid_d % grid_w * p.patch_w;
  let h = i / (p.patch_d * p.patch_w) % p.patch_h + chosen / (grid_d * grid_w) * p.patch_h;
  let c = i % n / (p.patch_d * p.patch_w * p.patch_h);
  dst[i] = x[(((row / p.kept * p.channels + c) * p.height + h) * p.width + w) * p.depth + d];
}
