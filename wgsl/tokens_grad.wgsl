// tokens_grad: row `row + r` of dst += the sum over the samples of token first +
// r of dtokens (batch, tokens, width); where indexed, of token first +
// inverse[b, r], of the samples that have it (inverse is (batch, patches),
// 0xffffffff where not).
// One invocation an element (T: a vec4<f32> of elements) of the rows.
// Twin: internal/ref/tokens.go
struct Params {
  batch: u32,
  tokens: u32,
  width: u32,
  first: u32,
  rows: u32,
  row: u32,
  patches: u32,
  indexed: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dtokens: array<{{T}}>;
@group(0) @binding(2) var<storage, read> inverse: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<{{T}}>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * 64u;
  let n = p.width / {{W}}u;
  if (i >= p.rows * n) { return; }
  let r = i / n;
  var sum = {{T}}(0.0);
  for (var b = 0u; b < p.batch; b++) {
    var token = r;
    if (p.indexed != 0u) {
      token = inverse[b * p.patches + r];
      if (token == 0xffffffffu) { continue; }
    }
    sum += dtokens[(b * p.tokens + p.first + token) * n + i % n];
  }
  dst[p.row * n + i] += sum;
}
