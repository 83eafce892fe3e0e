// erase: a box of one sample of x becomes, channel by channel, the channel's mean,
// which is the third component of its rescaling.
// One invocation an element of the box.
// Twin: internal/ref/augment.go
struct Params {
  row: u32,      // the sample's first channel, of all samples'
  channels: u32,
  voxels: u32,   // of a channel
  first: u32,    // voxel of the box's corner
  size0: u32,    // of the box
  size1: u32,
  size2: u32,
  stride0: u32,  // voxels between neighbours along its axes; the last one's are beside each other
  stride1: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> rescales: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  let box = p.size0 * p.size1 * p.size2;
  if (i >= p.channels * box) { return; }
  let row = p.row + i / box;
  let at = i % box;
  let voxel = p.first + at / (p.size1 * p.size2) * p.stride0 + at / p.size2 % p.size1 * p.stride1 + at % p.size2;
  x[row * p.voxels + voxel] = rescales[row].z;
}
