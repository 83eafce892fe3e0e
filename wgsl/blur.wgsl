// blur: dst = src, each line along one axis convolved with the symmetric weights
// w₀, w₁, … w_r of its sample, mirrored at its ends again and again:
// … 1 0 | 0 1 … n−1 | n−1 n−2 … A radius of 0 with w₀ = 1 copies.
// One invocation an element.
// Twin: internal/ref/augment.go
struct Params {
  n: u32,
  sample: u32, // elements of a sample
  length: u32, // of the axis
  stride: u32, // between neighbours along it
  most: u32,   // weights that a sample has room for
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> radii: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= p.n) { return; }
  let sample = i / p.sample;
  let at = i / p.stride % p.length;
  let line = i - at * p.stride;
  let w = sample * p.most;
  let last = 2u * p.length - 1u; // of the line with its mirror image
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
