// blur: dst = src, each line along one axis convolved with the symmetric weights
// w₀, w₁, … w_r of its sample, mirrored at its ends again and again:
// … 1 0 | 0 1 … n−1 | n−1 n−2 … A radius of 0 with w₀ = 1 copies.
// One invocation an element of every so many planes.
// Twin: internal/ref/augment.go
struct Params {
  planes: u32, // of all samples; a plane has the last two axes
  sample: u32, // planes of a sample
  size1: u32,  // of a plane
  size2: u32,
  axis: u32,   // along which: 0, across the planes of a channel, 1 or 2
  length: u32, // of the axis
  stride: u32, // between neighbours along it
  most: u32,   // weights that a sample has room for
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> radii: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(16, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  if (id.x >= p.size2 || id.y >= p.size1) { return; }
  let last = 2u * p.length - 1u; // of a line with its mirror image
  for (var plane = id.z; plane < p.planes; plane += groups.z) {
    let sample = plane / p.sample;
    let i = (plane * p.size1 + id.y) * p.size2 + id.x;
    var at = id.x;
    if (p.axis == 1u) { at = id.y; }
    if (p.axis == 0u) { at = plane % p.length; }
    let line = i - at * p.stride;
    let w = sample * p.most;
    var up = at;
    var down = at;
    var sum = weights[w] * src[i];
    for (var k = 1u; k <= radii[sample]; k++) {
      up = select(up + 1u, 0u, up == last);
      down = select(down - 1u, last, down == 0u);
      sum += weights[w + k] * (src[line + min(up, last - up) * p.stride] + src[line + min(down, last - down) * p.stride]);
    }
    dst[i] = sum;
  }
}
