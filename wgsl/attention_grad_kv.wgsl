// attention_grad_kv: dk_j = scale · Σ_i ds_ij · q_i and dv_j = Σ_i p_ij · dout_i
// of every head, where p_ij = exp(scale · q_i·k_j − lse_i) is computed again and
// ds_ij = p_ij · (dout_i·v_j − delta_i).
// qkv, dqkv (batch, t, 3, heads, dim), dout (batch, t, heads, dim), lse, delta
// (batch, heads, t).
//
// One workgroup of 64 invocations takes 64/SPLIT keys of one head and walks
// over the queries, STEP at a time in workgroup memory. SPLIT invocations share
// a key: each keeps PART fours of its vectors in registers, so that
// 4·PART·SPLIT ≥ dim. ELEMENT is vec4<f32>, or (SCALAR) f32 where dim is no
// multiple of four.
//
// Twin: internal/ref/attention.go
struct Params {
  t: u32,
  heads: u32,
  dim: u32,
  batch: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<{{ELEMENT}}>;
@group(0) @binding(2) var<storage, read> dout: array<{{ELEMENT}}>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<{{ELEMENT}}>;

var<workgroup> tile_q: array<vec4<f32>, {{TILE}}>; // STEP × PART·SPLIT
var<workgroup> tile_dout: array<vec4<f32>, {{TILE}}>;
var<workgroup> products: array<vec2<f32>, {{PRODUCTS}}>; // STEP × 64: parts of q·k and dout·v
var<workgroup> rows: array<vec2<f32>, {{STEP}}>;               // lse and delta

//#include load FROM=qkv
//#include load FROM=dout
//#include store TO=dqkv

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let width = {{PART}}u * {{SPLIT}}u; // fours of a row in workgroup memory
  let part = index % {{SPLIT}}u;
  let owner = index - part; // the first of those that share the key
  let j = group.x * (64u / {{SPLIT}}u) + index / {{SPLIT}}u;
  let across = p.heads * p.dim;
  let row = 3u * across;
  let q = group.z * p.t * row + group.y * p.dim; // of token 0; k and v follow
  let out = group.z * p.t * across + group.y * p.dim;
  let mine = min(j, p.t - 1u);
  //#for C {{PART}}
  let k{{C}} = load_qkv(q + across + mine * row, part * {{PART}}u + {{C}}u) * p.scale;
  let v{{C}} = load_qkv(q + 2u * across + mine * row, part * {{PART}}u + {{C}}u);
  var dk{{C}} = vec4<f32>();
  var dv{{C}} = vec4<f32>();
  //#end
  for (var first = 0u; first < p.t; first += {{STEP}}u) {
    workgroupBarrier();
    for (var at = index; at < {{TILE}}u; at += 64u) {
      let i = min(first + at / width, p.t - 1u);
      tile_q[at] = load_qkv(q + i * row, at % width);
      tile_dout[at] = load_dout(out + i * across, at % width);
    }
    let queries = min({{STEP}}u, p.t - first);
    if (index < queries) {
      let at = (group.z * p.heads + group.y) * p.t + first + index;
      rows[index] = vec2<f32>(lse[at], delta[at]);
    }
    workgroupBarrier();
    for (var i = 0u; i < queries; i++) {
      let at = i * width + part * {{PART}}u;
      var s = vec4<f32>();
      var dp = vec4<f32>();
      //#for C {{PART}}
      s = fma(k{{C}}, tile_q[at + {{C}}u], s);
      dp = fma(v{{C}}, tile_dout[at + {{C}}u], dp);
      //#end
      products[i * 64u + index] = vec2<f32>(s.x + s.y + s.z + s.w, dp.x + dp.y + dp.z + dp.w);
    }
    //#if SHARED
    workgroupBarrier();
    //#end
    for (var i = 0u; i < queries; i++) {
      var s = vec2<f32>();
      for (var h = 0u; h < {{SPLIT}}u; h++) { s += products[i * 64u + owner + h]; }
      let prob = vec4<f32>(exp(s.x - rows[i].x));
      let ds = prob * (s.y - rows[i].y) * p.scale;
      let at = i * width + part * {{PART}}u;
      //#for C {{PART}}
      dk{{C}} = fma(ds, tile_q[at + {{C}}u], dk{{C}});
      dv{{C}} = fma(prob, tile_dout[at + {{C}}u], dv{{C}});
      //#end
    }
  }
  if (j >= p.t) { return; }
  //#for C {{PART}}
  store(q + across + j * row, part * {{PART}}u + {{C}}u, dk{{C}});
  store(q + 2u * across + j * row, part * {{PART}}u + {{C}}u, dv{{C}});
  //#end
}
