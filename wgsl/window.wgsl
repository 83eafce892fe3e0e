// window: dst (batch, kept, width) = tokens first … first + kept of src (batch,
// tokens, width).
// One invocation an element (T: a vec4<f32> of elements) of dst.
// Twin: internal/ref/tokens.go
struct Params {
  batch: u32,
  tokens: u32,
  width: u32,
  first: u32,
  kept: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<{{T}}>;
@group(0) @binding(2) var<storage, read_write> dst: array<{{T}}>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  let kept = p.kept * (p.width / {{W}}u);
  let skipped = (p.tokens - p.kept) * (p.width / {{W}}u);
  if (i >= p.batch * kept) { return; }
  dst[i] = src[i + i / kept * skipped + p.first * (p.width / {{W}}u)];
}
