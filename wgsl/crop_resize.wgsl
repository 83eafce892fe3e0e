// crop_resize: one sample out of packed ones, rescaled, cropped, resized by linear
// interpolation, flipped and turned. Along source axis s an output voxel of index
// t lies between the source indices neighbours[0] and [1] with weights[t] of the
// second; the host writes these tables for the three axes one after the other.
// The source's elements are uint8, four a word, int16 or float16, two a word, or
// float32; those of channel c are rescaled as row c of rescales says: see rescale.
// One invocation an output voxel.
// Twin: internal/ref/resident.go
struct Params {
  kind: u32,      // 0 uint8, 1 int16, 2 float16, 3 float32
  first: u32,     // element of the source that the sample begins with
  from1: u32,    // size of the source's axes 1 and 2
  from2: u32,
  from_voxels: u32,
  size0: u32,    // outputs along the source's axes
  size1: u32,
  size2: u32,
  stride0: u32,  // in dst of a step along them
  stride1: u32,
  stride2: u32,
  voxels: u32,    // of a channel in dst
  channels: u32,
  table: u32,     // of the sample's tables: element of weights, half of that of neighbours
  row: u32,       // of rescales that the sample begins with
  out: u32,       // element of dst that the sample begins with
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> rescales: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> neighbours: array<u32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> dst: array<f32>;

fn stored(at: u32) -> f32 {
  let i = p.first + at;
  if (p.kind == 0u) { return f32((source[i >> 2u] >> (8u * (i & 3u))) & 0xffu); }
  if (p.kind == 3u) { return bitcast<f32>(source[i]); }
  let bits = source[i >> 1u] << (16u - 16u * (i & 1u)); // the element in the upper half
  if (p.kind == 1u) { return f32(bitcast<i32>(bits) >> 16u); }
  let magnitude = (bits & 0x7fff0000u) >> 3u; // float16 holds no subnormal numbers here
  return bitcast<f32>((bits & 0x80000000u) | select(0u, magnitude + 0x38000000u, magnitude != 0u));
}

fn element(at: u32, r: vec4<f32>) -> f32 { return (clamp(stored(at), r.x, r.y) - r.z) / r.w; }

fn between(a: f32, b: f32, w: f32) -> f32 { return a + w * (b - a); }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.channels * p.voxels) { return; }
  let voxel = i % p.voxels;
  let channel = i / p.voxels;
  let base = channel * p.from_voxels;
  let r = rescales[p.row + channel];
  let t0 = p.table + voxel / p.stride0 % p.size0;
  let t1 = p.table + p.size0 + voxel / p.stride1 % p.size1;
  let t2 = p.table + p.size0 + p.size1 + voxel / p.stride2 % p.size2;
  let plane = p.from1 * p.from2;
  let a0 = base + neighbours[2u * t0] * plane;
  let a1 = base + neighbours[2u * t0 + 1u] * plane;
  let b0 = neighbours[2u * t1] * p.from2;
  let b1 = neighbours[2u * t1 + 1u] * p.from2;
  let c0 = neighbours[2u * t2];
  let c1 = neighbours[2u * t2 + 1u];
  let w0 = weights[t0];
  let w1 = weights[t1];
  // Axis 1, axis 0, axis 2: the order of the host's arithmetic.
  let s0 = between(element(a0 + b0 + c0, r), element(a0 + b1 + c0, r), w1);
  let u0 = between(element(a1 + b0 + c0, r), element(a1 + b1 + c0, r), w1);
  let s1 = between(element(a0 + b0 + c1, r), element(a0 + b1 + c1, r), w1);
  let u1 = between(element(a1 + b0 + c1, r), element(a1 + b1 + c1, r), w1);
  dst[p.out + i] = between(between(s0, u0, w0), between(s1, u1, w0), weights[t2]);
}
