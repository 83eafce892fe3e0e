// patches: dst (batch, kept, channels·patch) cut out of x (batch, channels,
// height, width, depth); patch n of sample b is index[b, n] of the grid, or n
// where indexed is 0. A patch's elements lie as a convolution's weight does.
// One invocation a run of patch_d elements, which are neighbours in x and in dst
// (T: vec4<f32> where 4 divides patch_d and depth); one workgroup 16 runs of 4
// patches of a sample.
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
@group(0) @binding(1) var<storage, read> x: array<{{T}}>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<{{T}}>;

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let runs = p.channels * p.patch_h * p.patch_w;
  if (id.x >= runs || id.y >= p.kept) { return; }
  let row = id.z * p.kept + id.y;
  var place = id.y;
  if (p.indexed != 0u) { place = index[row]; }
  let grid_w = p.width / p.patch_w;
  let grid_d = p.depth / p.patch_d;
  let w = id.x % p.patch_w + place / grid_d % grid_w * p.patch_w;
  let h = id.x / p.patch_w % p.patch_h + place / (grid_d * grid_w) * p.patch_h;
  let c = id.x / (p.patch_w * p.patch_h);
  let run = p.patch_d / {{W}}u;
  let src = (((id.z * p.channels + c) * p.height + h) * p.width + w) * (p.depth / {{W}}u) + place % grid_d * run;
  let first = (row * runs + id.x) * run;
  for (var i = 0u; i < run; i++) { dst[first + i] = x[src + i]; }
}
