// tokens: dst (batch, prefix + kept, width) = class token, register tokens, then
// patches (batch, kept, width), each with its row of pos where pos is set:
// patch n of sample b has row index[b, n], or n where indexed is 0; with
// prefix_pos pos begins with a row for each prefix token.
// One invocation an element (T: a vec4<f32> of elements) of dst; one workgroup 16
// by 4 tokens of a sample.
// Twin: internal/ref/tokens.go
struct Params {
  batch: u32,
  kept: u32,
  width: u32,
  classes: u32,
  prefix: u32,
  pos: u32,
  prefix_pos: u32,
  indexed: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> patches: array<{{T}}>;
@group(0) @binding(2) var<storage, read> cls: array<{{T}}>;
@group(0) @binding(3) var<storage, read> reg: array<{{T}}>;
@group(0) @binding(4) var<storage, read> pos: array<{{T}}>;
@group(0) @binding(5) var<storage, read> index: array<u32>;
@group(0) @binding(6) var<storage, read_write> dst: array<{{T}}>;

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let n = p.width / {{W}}u;
  let tokens = p.prefix + p.kept;
  let column = id.x;
  let token = id.y;
  if (column >= n || token >= tokens) { return; }
  let i = (id.z * tokens + token) * n + column;
  if (token < p.prefix) {
    var v: {{T}};
    if (token < p.classes) {
      v = cls[column];
    } else {
      v = reg[(token - p.classes) * n + column];
    }
    if (p.pos != 0u && p.prefix_pos != 0u) { v += pos[token * n + column]; }
    dst[i] = v;
    return;
  }
  let row = id.z * p.kept + token - p.prefix;
  var v = patches[row * n + column];
  if (p.pos != 0u) {
    var place = token - p.prefix;
    if (p.indexed != 0u) { place = index[row]; }
    if (p.prefix_pos != 0u) { place += p.prefix; }
    v += pos[place * n + column];
  }
  dst[i] = v;
}
