// predictor_tokens_grad: dz (batch, context, width) = the sum over the target
// blocks of the context part of dtokens (blocks·batch, context + per_block,
// width).
// One invocation an element (T: a vec4<f32> of elements) of dz.
// Twin: internal/ref/tokens.go
struct Params {
  blocks: u32,
  batch: u32,
  context: u32,
  per_block: u32,
  width: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dtokens: array<{{T}}>;
@group(0) @binding(2) var<storage, read_write> dz: array<{{T}}>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  let n = p.width / {{W}}u;
  let size = p.context * n;
  if (i >= p.batch * size) { return; }
  let stride = (p.context + p.per_block) * n;
  var sum = {{T}}(0.0);
  for (var m = 0u; m < p.blocks; m++) {
    sum += dtokens[(m * p.batch + i / size) * stride + i % size];
  }
  dz[i] = sum;
}
