// window_grad: dsrc (batch, tokens, width) = ddst (batch, kept, width) in tokens
// first … first + kept, zero outside.
// One invocation an element (T: a vec4<f32> of elements) of dsrc; one workgroup 16
// by 4 tokens of a sample.
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

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let n = p.width / {{W}}u;
  let token = id.y;
  if (id.x >= n || token >= p.tokens) { return; }
  var v = {{T}}(0.0);
  if (token >= p.first && token < p.first + p.kept) {
    v = ddst[(id.z * p.kept + token - p.first) * n + id.x];
  }
  dsrc[(id.z * p.tokens + token) * n + id.x] = v;
}
