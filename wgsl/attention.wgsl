// attention: o = softmax(scale · q·kᵀ)·v of every head, and lse, the log-sum-exp
// of each row of scores (Dao et al. 2022, without writing the scores).
// qkv (batch, t, 3, heads, dim), o (batch, t, heads, dim), lse (batch, heads, t).
//
// One workgroup of 64 invocations takes 64/SPLIT queries of one head and walks
// over the keys, STEP at a time in workgroup memory. SPLIT invocations share a
// query: each keeps PART fours of its q and o in registers, so that
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
@group(0) @binding(2) var<storage, read_write> o: array<{{ELEMENT}}>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;

var<workgroup> tile_k: array<vec4<f32>, {{TILE}}>; // STEP × PART·SPLIT
var<workgroup> tile_v: array<vec4<f32>, {{TILE}}>;
var<workgroup> scores: array<f32, {{PRODUCTS}}>;     // STEP × 64, of each invocation's part

//#include load FROM=qkv
//#include store TO=o

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let width = {{PART}}u * {{SPLIT}}u; // fours of a row in workgroup memory
  let part = index % {{SPLIT}}u;
  let i = group.x * (64u / {{SPLIT}}u) + index / {{SPLIT}}u;
  let across = p.heads * p.dim;
  let row = 3u * across;
  let q = group.z * p.t * row + group.y * p.dim; // of token 0; k and v follow
  let mine = min(i, p.t - 1u);
  //#for C {{PART}}
  let q{{C}} = load_qkv(q + mine * row, part * {{PART}}u + {{C}}u) * p.scale;
  var o{{C}} = vec4<f32>();
  //#end
  var top = -3.0e38f;
  var sum = 0.0f;
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
      let k = j * width + part * {{PART}}u;
      var s = vec4<f32>();
      //#for C {{PART}}
      s = fma(q{{C}}, tile_k[k + {{C}}u], s);
      //#end
      scores[j * 64u + index] = s.x + s.y + s.z + s.w;
    }
    //#if SHARED
    workgroupBarrier();
    //#end
    let owner = index - part; // the first of those that share the query
    var highest = top;
    for (var j = 0u; j < keys; j++) {
      var s = 0.0f;
      for (var h = 0u; h < {{SPLIT}}u; h++) { s += scores[j * 64u + owner + h]; }
      highest = max(highest, s);
    }
    let correction = exp(top - highest);
    top = highest;
    sum *= correction;
    //#for C {{PART}}
    o{{C}} *= correction;
    //#end
    for (var j = 0u; j < keys; j++) {
      var s = 0.0f;
      for (var h = 0u; h < {{SPLIT}}u; h++) { s += scores[j * 64u + owner + h]; }
      let e = exp(s - top);
      sum += e;
      let v = j * width + part * {{PART}}u;
      //#for C {{PART}}
      o{{C}} = fma(vec4<f32>(e), tile_v[v + {{C}}u], o{{C}});
      //#end
    }
  }
  if (i >= p.t) { return; }
  let out = (group.z * p.t + i) * across + group.y * p.dim;
  //#for C {{PART}}
  store(out, part * {{PART}}u + {{C}}u, o{{C}} / sum);
  //#end
  if (part == 0u) { lse[(group.z * p.heads + group.y) * p.t + i] = top + log(sum); }
}
