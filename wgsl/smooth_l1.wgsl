// smooth_l1: with d = z − h, the loss (d²/2 where |d| < 1, |d| − ½ elsewhere)
// summed into partial (lanes), and with grad dz = scale·(d cut to [−1, 1]).
// Invocation l of `lanes` does elements l, l + lanes, …; sum adds them up.
// Twin: internal/ref/loss.go
struct Params {
  n: u32,
  grad: u32,
  lanes: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> h: array<f32>;
@group(0) @binding(3) var<storage, read_write> dz: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.lanes) { return; }
  var sum = 0.0;
  for (var i = id.x; i < p.n; i += p.lanes) {
    let d = z[i] - h[i];
    // By bits: clamp may make a number of NaN, which then would pass for a gradient.
    let c = select(clamp(d, -1.0, 1.0), d, (bitcast<u32>(d) & 0x7fffffffu) > 0x7f800000u);
    // c·(d − c/2) is d²/2 inside and |d| − ½ outside.
    sum += c * (d - 0.5 * c);
    if (p.grad != 0u) { dz[i] = p.scale * c; }
  }
  partial[id.x] = sum;
}
