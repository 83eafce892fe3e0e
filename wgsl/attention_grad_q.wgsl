// attention_grad_q: dq_i = scale · Σ_j ds_ij · k_j of every head, where
// p_ij = exp(scale · q_i·k_j − lse_i) is computed again and
// ds_ij = p_ij · (dout_i·v_j − delta_i).
// qkv, dqkv (batch, t, 3, heads, dim), dout (batch, t, heads, dim), lse, delta
// (batch, heads, t).
//
// One workgroup of 64 invocations takes 64/SPLIT queries of one head and walks
// over the keys, STEP at a time in workgroup memory. SPLIT invocations share
// a query: each keeps PART fours of its vectors in registers, so that
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

var<workgroup> tile_k: array<vec4<f32>, {{TILE}}>; // STEP × PART·SPLIT
var<workgroup> tile_v: array<vec4<f32>, {{TILE}}>;
var<workgroup> products: array<vec2<f32>, {{PRODUCTS}}>; // STEP × 64: parts of q·k and dout·v

//#include load FROM=qkv
//#include load FROM=dout
//#include store TO=dqkv

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let width = {{PART}}u * {{SPLIT}}u; // fours of a row in workgroup memory
  let part = index % {{SPLIT}}u;
  let owner = index - part; // the first of those that share the query
  let i = group.x * (64u / {{SPLIT}}u) + index / {{SPLIT}}u;
  let across = p.heads * p.dim;
  let row = 3u * across;
  let q = group.z * p.t * row + group.y * p.dim; // of token 0; k and v follow
  let out = group.z * p.t * across + group.y * p.dim;
  let mine = min(i, p.t - 1u);
  //#for C {{PART}}
  let q{{C}} = load_qkv(q + mine * row, part * {{PART}}u + {{C}}u) * p.scale;
  let dout{{C}} = load_dout(out + mine * across, part * {{PART}}u + {{C}}u);
  var dq{{C}} = vec4<f32>();
  //#end
  let lse_i = lse[(group.z * p.heads + group.y) * p.t + mine];
  let delta_i = delta[(group.z * p.heads + group.y) * p.t + mine];
  for (var first = 0u; first < p.t; first += {{STEP}}u) {
    workgroupBarrier();
    for (var at = index; at < {{TILE}}u; at += 64u) {
      let j = min(first + at / width, p.t - 1u);
      tile_k[at] = load_qkv(q + across + j * row, at % width);
      tile_v[at] = load_qkv(q + 2u * across + j * row, at % width);
    }
    workgroupBarrier();
    let keys = min({{STEP}}u, p.t - first);
    for (var j = 0u; j < keys; j++) {
      let at = j * width + part * {{PART}}u;
      var s = vec4<f32>();
      var dp = vec4<f32>();
      //#for C {{PART}}
      s = fma(q{{C}}, tile_k[at + {{C}}u], s);
      dp = fma(dout{{C}}, tile_v[at + {{C}}u], dp);
      //#end
      products[j * 64u + index] = vec2<f32>(s.x + s.y + s.z + s.w, dp.x + dp.y + dp.z + dp.w);
    }
    //#if SHARED
    workgroupBarrier();
    //#end
    for (var j = 0u; j < keys; j++) {
      var s = vec2<f32>();
      for (var h = 0u; h < {{SPLIT}}u; h++) { s += products[j * 64u + owner + h]; }
      let ds = vec4<f32>(exp(s.x - lse_i) * (s.y - delta_i) * p.scale);
      let at = j * width + part * {{PART}}u;
      //#for C {{PART}}
      dq{{C}} = fma(ds, tile_k[at + {{C}}u], dq{{C}});
      //#end
    }
  }
  if (i >= p.t) { return; }
  //#for C {{PART}}
  store(q + i * row, part * {{PART}}u + {{C}}u, dq{{C}});
  //#end
}
