// window_grad: dsrc (batch, tokens, width) = ddst (batch, kept, width) in tokens
// first … first + kept, zero outside.
// One invocation an element (T: a vec4<f32> of elements) of dsrc.
// Twin: internal/ref/tokens.go
struct Params {
  batch: u32,
  tokens: u32,
  width: u32,
  first: u32,
  kept: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ddst: array<{{T}}>;
@group(0) @binding(2) var<storage, read_write> dsrc: array<{{T}}>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  let n = p.width / {{W}}u;
  if (i >= p.batch * p.tokens * n) { return; }
  let sample = i / (p.tokens * n);
  let token = i / n % p.tokens;
  var v = {{T}}(0.0);
  if (token >= p.first && token < p.first + p.kept) {
    v = ddst[(sample * p.kept + token - p.first) * n + i % n];
  }
  dsrc[i] = v;
}
