// predictor_tokens: dst (blocks·batch, context + per_block, width) = the context
// tokens z (batch, context, width) with the positions of their patches, repeated
// for every target block, then the mask token with the position of every patch
// of the block. contexts is (batch, context), targets (blocks, batch, per_block).
// One invocation an element (T: a vec4<f32> of elements) of dst; one workgroup 16
// by 4 tokens of a sequence.
// Twin: internal/ref/tokens.go
struct Params {
  blocks: u32,
  batch: u32,
  context: u32,
  per_block: u32,
  width: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<{{T}}>;
@group(0) @binding(2) var<storage, read> mask: array<{{T}}>;
@group(0) @binding(3) var<storage, read> pos: array<{{T}}>;
@group(0) @binding(4) var<storage, read> contexts: array<u32>;
@group(0) @binding(5) var<storage, read> targets: array<u32>;
@group(0) @binding(6) var<storage, read_write> dst: array<{{T}}>;

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let n = p.width / {{W}}u;
  let tokens = p.context + p.per_block;
  let column = id.x;
  let token = id.y;
  let sequence = id.z;
  if (column >= n || token >= tokens) { return; }
  let i = (sequence * tokens + token) * n + column;
  if (token < p.context) {
    let row = sequence % p.batch * p.context + token;
    dst[i] = z[row * n + column] + pos[contexts[row] * n + column];
  } else {
    let place = targets[sequence * p.per_block + token - p.context];
    dst[i] = mask[column] + pos[place * n + column];
  }
}
