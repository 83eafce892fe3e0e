// crop_resize: one sample out of packed ones, rescaled, cropped, resized by linear
// interpolation, flipped and turned. Along axis a of the output the voxel of index t
// lies between two places of the source, neighbours[0] and [1] of t, in elements,
// with weights[t] of the second; the places of the three axes add up. The host
// writes these tables for the three axes one after the other.
// The source's elements are UINT8, four a word, INT16 or FLOAT16, two a word, or
// FLOAT32; those of channel c are rescaled as row c of rescales says: see rescale.
// One invocation a voxel, of all channels.
// Twin: internal/ref/resident.go
struct Params {
  first: u32,    // element of the source that the sample begins with
  voxels: u32,   // elements of a channel in the source
  channels: u32,
  size0: u32,    // of the output
  size1: u32,
  size2: u32,
  table: u32,    // of the sample's tables: element of weights, half of that of neighbours
  row: u32,      // of rescales that the sample begins with
  out: u32,      // element of dst that the sample begins with
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> rescales: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> neighbours: array<u32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> dst: array<f32>;

fn stored(i: u32) -> f32 {
//#if UINT8
  return f32((source[i >> 2u] >> (8u * (i & 3u))) & 0xffu);
//#end
//#if INT16
  return f32(bitcast<i32>(source[i >> 1u] << (16u - 16u * (i & 1u))) >> 16u);
//#end
//#if FLOAT16
  let h = (source[i >> 1u] >> (16u * (i & 1u))) & 0xffffu;
  let magnitude = (h & 0x7fffu) << 13u; // no subnormal numbers are here
  return bitcast<f32>(((h & 0x8000u) << 16u) | select(0u, magnitude + 0x38000000u, magnitude != 0u));
//#end
//#if FLOAT32
  return bitcast<f32>(source[i]);
//#end
}

fn element(i: u32, r: vec4<f32>) -> f32 { return clamp(stored(i), r.x, r.y) - r.z; }

fn between(a: f32, b: f32, w: f32) -> f32 { return a + w * (b - a); }

@compute @workgroup_size(16, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.size2 || id.y >= p.size1 || id.z >= p.size0) { return; }
  let t0 = p.table + id.z;
  let t1 = p.table + p.size0 + id.y;
  let t2 = p.table + p.size0 + p.size1 + id.x;
  let a0 = neighbours[2u * t0];
  let a1 = neighbours[2u * t0 + 1u];
  let b0 = neighbours[2u * t1];
  let b1 = neighbours[2u * t1 + 1u];
  let c0 = neighbours[2u * t2];
  let c1 = neighbours[2u * t2 + 1u];
  let w0 = weights[t0];
  let w1 = weights[t1];
  let w2 = weights[t2];
  let out = p.out + (id.z * p.size1 + id.y) * p.size2 + id.x;
  for (var c = 0u; c < p.channels; c++) {
    let r = rescales[p.row + c];
    let i = p.first + c * p.voxels;
    let s0 = between(element(i + a0 + b0 + c0, r), element(i + a0 + b1 + c0, r), w1);
    let u0 = between(element(i + a1 + b0 + c0, r), element(i + a1 + b1 + c0, r), w1);
    let s1 = between(element(i + a0 + b0 + c1, r), element(i + a0 + b1 + c1, r), w1);
    let u1 = between(element(i + a1 + b0 + c1, r), element(i + a1 + b1 + c1, r), w1);
    dst[out + c * p.size0 * p.size1 * p.size2] = between(between(s0, u0, w0), between(s1, u1, w0), w2) / r.w;
  }
}
