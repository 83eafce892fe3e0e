// noise: x += amplitude·deviation·z, z standard normal, the amplitude of the sample,
// the deviation of the channel, which is the fourth component of its rescaling.
// Element i of a sample takes number i mod 4 of Philox4x32-10 (Salmon et al. 2011)
// at the counter ⌊i/4⌋ under the sample's key of two words, made normal by Box and
// Muller (1958).
// Logarithm, sine and cosine are series of arithmetic that every device rounds
// alike: its own functions may differ by 2⁻¹¹.
// One invocation a counter.
// Twin: internal/ref/augment.go
struct Params {
  samples: u32,
  sample: u32, // elements of a sample
  voxels: u32, // of a channel
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> rescales: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> amplitudes: array<f32>;
@group(0) @binding(3) var<storage, read> keys: array<u32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

// high is the upper word of a·b.
fn high(a: u32, b: u32) -> u32 {
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let t = a1 * b0 + ((a0 * b0) >> 16u);
  return a1 * b1 + (t >> 16u) + ((a0 * b1 + (t & 0xffffu)) >> 16u);
}

fn philox(counter: u32, key: vec2<u32>) -> vec4<u32> {
  var c = vec4<u32>(counter, 0u, 0u, 0u);
  var k = key;
  for (var n = 0u; n < 10u; n++) {
    c = vec4<u32>(high(0xCD9E8D57u, c.z) ^ c.y ^ k.x, 0xCD9E8D57u * c.z, high(0xD2511F53u, c.x) ^ c.w ^ k.y, 0xD2511F53u * c.x);
    k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

fn box_muller(a: u32, b: u32) -> vec2<f32> {
  // u = m·2⁻²⁴ = f·2^exponent, f from √½ to √2.
  let m = bitcast<u32>(f32((a >> 8u) + 1u));
  var f = bitcast<f32>((m & 0x7fffffu) | 0x3f000000u);
  var exponent = f32(m >> 23u) - 150.0;
  if (f < 0.70710678) {
    f = 2.0 * f;
    exponent = exponent - 1.0;
  }
  let s = (f - 1.0) / (f + 1.0);
  let q = s * s;
  let ln = 2.0 * s * (1.0 + q * (0.33333333 + q * (0.2 + q * (0.14285714 + q * 0.11111111)))) + exponent * 0.69314718;
  var r = 0.0;
  if (ln < 0.0) { r = sqrt(-2.0 * ln); }
  // A quarter turn, then at most an eighth to either side.
  let t = 1.5707963 * (f32((((b << 2u) >> 9u) << 1u) | 1u) - 8388608.0) * 5.9604645e-8;
  let t2 = t * t;
  let sine = r * t * (1.0 - t2 * 0.16666667 * (1.0 - t2 * 0.05 * (1.0 - t2 * 0.023809524 * (1.0 - t2 * 0.013888889))));
  let cosine = r * (1.0 - t2 * 0.5 * (1.0 - t2 * 0.083333333 * (1.0 - t2 * 0.033333333 * (1.0 - t2 * 0.017857143))));
  let turned = select(vec2<f32>(cosine, sine), vec2<f32>(-sine, cosine), (b & 0x40000000u) != 0u);
  return select(turned, -turned, b >= 0x80000000u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  let counters = (p.sample + 3u) / 4u;
  if (i >= p.samples * counters) { return; }
  let sample = i / counters;
  let amplitude = amplitudes[sample];
  if (amplitude == 0.0) { return; }
  let counter = i % counters;
  let w = philox(counter, vec2<u32>(keys[2u * sample], keys[2u * sample + 1u]));
  let z0 = box_muller(w.x, w.y);
  let z1 = box_muller(w.z, w.w);
  var z = vec4<f32>(z0.x, z0.y, z1.x, z1.y);
  var at = 4u * counter;
  var row = at / p.voxels; // the channel
  let first = sample * p.sample;
  let channels = p.sample / p.voxels;
  for (var k = 0u; k < min(4u, p.sample - 4u * counter); k++) {
    if (at == (row + 1u) * p.voxels) { row++; }
    x[first + at] += amplitude * rescales[sample * channels + row].w * z[k];
    at++;
  }
}
