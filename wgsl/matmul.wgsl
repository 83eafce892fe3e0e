// matmul: c = epilogue(scale · a·b) for batches of row-major matrices with strides.
//
// A's rows lie along k (or, TRANSPOSE_A, its columns along m), b's along n (or,
// TRANSPOSE_B, its columns along k). Four adjacent elements move at once; where
// strides or offsets are no multiples of four, SCALAR moves them one by one.
//
// TILE, for GPUs: one workgroup of 16×16 invocations computes 64·FOURS × 64
// elements of c from tiles in workgroup memory, 16 steps of k at a time; each
// invocation keeps 4·FOURS × 4 sums.
//
// Without TILE, for processors that compute shaders: one workgroup of LANES
// invocations, one vector of the machine, computes 4·GROUP × 4·LANES·COLS
// elements; each invocation keeps all rows of 4·COLS columns, and there is no
// workgroup memory. With SUBGROUPS the invocations, which must be one subgroup,
// share the reading of a (GROUP is LANES, otherwise 4).
//
// Workgroups: x rows of c, y columns, z batches. Where the rows are more than an
// axis takes, their parts follow each other along y.
//
// Twin: internal/ref/matmul.go
struct Params {
  m: u32,
  n: u32,
  k: u32,
  last_k: u32,
  batches: u32,
  heads: u32,
  offset_a: u32,
  row_a: u32,
  col_a: u32,
  batch_a: u32,
  head_a: u32,
  offset_b: u32,
  row_b: u32,
  col_b: u32,
  batch_b: u32,
  head_b: u32,
  offset_c: u32,
  row_c: u32,
  batch_c: u32,
  head_c: u32,
  epilogue: u32,
  offset_vector: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<{{ELEMENT}}>;
@group(0) @binding(2) var<storage, read> b: array<{{ELEMENT}}>;
@group(0) @binding(3) var<storage, read_write> c: array<{{ELEMENT}}>;
@group(0) @binding(4) var<storage, read> vector: array<f32>;
@group(0) @binding(5) var<storage, read_write> extra: array<{{ELEMENT}}>;

// The bits of epilogue.
const bias = 1u;
const add = 2u;
const residual = 4u;
const exponential = 32u;
const softmax_gradient = 64u;
const row_scale = 128u;

//#if SCALAR
fn load_a(at: u32) -> vec4<f32> { return vec4<f32>(a[at], a[at + 1u], a[at + 2u], a[at + 3u]); }
fn load_b(at: u32) -> vec4<f32> { return vec4<f32>(b[at], b[at + 1u], b[at + 2u], b[at + 3u]); }
fn load_c(at: u32) -> vec4<f32> { return vec4<f32>(c[at], c[at + 1u], c[at + 2u], c[at + 3u]); }
fn load_extra(at: u32) -> vec4<f32> { return vec4<f32>(extra[at], extra[at + 1u], extra[at + 2u], extra[at + 3u]); }
fn store_c(at: u32, n: u32, v: vec4<f32>) {
  c[at] = v.x;
  if (n > 1u) { c[at + 1u] = v.y; }
  if (n > 2u) { c[at + 2u] = v.z; }
  if (n > 3u) { c[at + 3u] = v.w; }
}
fn store_extra(at: u32, n: u32, v: vec4<f32>) {
  extra[at] = v.x;
  if (n > 1u) { extra[at + 1u] = v.y; }
  if (n > 2u) { extra[at + 2u] = v.z; }
  if (n > 3u) { extra[at + 3u] = v.w; }
}
//#else
fn load_a(at: u32) -> vec4<f32> { return a[at / 4u]; }
fn load_b(at: u32) -> vec4<f32> { return b[at / 4u]; }
fn load_c(at: u32) -> vec4<f32> { return c[at / 4u]; }
fn load_extra(at: u32) -> vec4<f32> { return extra[at / 4u]; }
fn store_c(at: u32, n: u32, v: vec4<f32>) { c[at / 4u] = v; }
fn store_extra(at: u32, n: u32, v: vec4<f32>) { extra[at / 4u] = v; }
//#end

// first keeps the first n elements of v; what lies beyond a matrix may be NaN.
fn first(n: u32, v: vec4<f32>) -> vec4<f32> {
  return select(vec4<f32>(), v, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n));
}

// The distribution function of the standard normal, ½ erfc(−x/√2), by minimax
// polynomials of our own: the largest error is 1e-7, and smaller as the value
// is in the left tail.
fn normal_cdf(x: vec4<f32>) -> vec4<f32> {
  let u = min(abs(x) * 0.70710678f, vec4<f32>(6.0f));
  let s = u * u;
  let erf = u * (1.12837916f + s * (-0.37612606f + s * (0.112834301f + s * (-0.0268485914f + s * (0.00517974967f + s * (-0.000794235728f + s * 0.0000764712081f))))));
  let q = 1.12882306f + u * (0.634438897f + u * (0.10743187f + u * (-0.0248214392f + u * (0.00417196334f + u * (-0.000468916321f + u * (0.000030979578f + u * -0.000000897543149f))))));
  let tail = 0.5f * exp(-u * q);
  return select(select(1.0f - tail, tail, x < vec4<f32>()), 0.5f + 0.5f * sign(x) * erf, u < vec4<f32>(1.0f));
}

fn gelu_gradient(x: vec4<f32>) -> vec4<f32> {
  return normal_cdf(x) + x * 0.39894228f * exp(-0.5f * x * x);
}

// bias_at is the bias of four columns, or zero.
fn bias_at(col: u32) -> vec4<f32> {
  if ((p.epilogue & bias) == 0u) { return vec4<f32>(); }
  return vec4<f32>(vector[col], vector[col + 1u], vector[col + 2u], vector[col + 3u]);
}

// Where the batch's part of a, b and c begins.
fn batch_a(z: u32) -> u32 { return p.offset_a + z / p.heads * p.batch_a + z % p.heads * p.head_a; }
fn batch_b(z: u32) -> u32 { return p.offset_b + z / p.heads * p.batch_b + z % p.heads * p.head_b; }
fn batch_c(z: u32) -> u32 { return p.offset_c + z / p.heads * p.batch_c + z % p.heads * p.head_c; }

// finish writes four elements of c from their sums; origin is where c's batch
// begins, at_vector where the batch's values for rows begin. GELU,
// GELU_GRADIENT and MIXED, which is all that remains, are kernels of their own:
// a processor that computes shaders goes through branches that are not taken.
fn finish(origin: u32, row: u32, col: u32, sums: vec4<f32>, biases: vec4<f32>, at_vector: u32) {
  if (row >= p.m || col >= p.n) { return; }
  let at = origin + row * p.row_c + col;
  let n = p.n - col;
  var v = sums * p.scale + biases;
  //#if MIXED
  var before = vec4<f32>();
  if ((p.epilogue & (add | softmax_gradient)) != 0u) { before = load_c(at); }
  if ((p.epilogue & residual) != 0u) { before = load_extra(at); }
  var value = 0.0f;
  if ((p.epilogue & (exponential | softmax_gradient)) != 0u) { value = vector[at_vector + row]; }
  if ((p.epilogue & (add | residual)) != 0u) { v += before; }
  if ((p.epilogue & exponential) != 0u) { v = exp(v - value); }
  if ((p.epilogue & softmax_gradient) != 0u) { v = (sums - value) * before * p.scale; }
  //#end
  //#if GELU
  store_extra(at, n, v);
  v = v * normal_cdf(v);
  //#end
  //#if GELU_GRADIENT
  v = v * gelu_gradient(load_extra(at));
  //#end
  //#if PLAIN
  if ((p.epilogue & row_scale) != 0u) { v *= vector[at_vector + row]; }
  //#end
  store_c(at, n, v);
}

//#if TILE
const depth = 16u; // steps of k in workgroup memory
var<workgroup> tile_a: array<vec4<f32>, {{TILE_A}}>; // depth × pitch: step, four rows
var<workgroup> tile_b: array<vec4<f32>, 272>;        // depth × 17: step, four columns

@compute @workgroup_size(16, 16)
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let rows4 = 16u * {{FOURS}}u; // of the tile, in fours
  let pitch = rows4 + 1u;       // keeps transposing writes apart
  let z = group.z;
  let across = (p.n + 63u) / 64u;
  let row = (group.x + group.y / across * groups.x) * rows4 * 4u;
  let col = group.y % across * 64u;
  let at_a = batch_a(z);
  let at_b = batch_b(z);
  let k = select(p.k, p.last_k, z + 1u == p.batches);
  //#for G {{FOURS}}
  //#for I 4
  var s{{G}}_{{I}} = vec4<f32>();
  //#end
  //#end
  for (var l = 0u; l < k; l += depth) {
    // A block of 4×4 an invocation: the first 64·FOURS take a, 64 more take b.
    if (index < rows4 * 4u) {
      //#if TRANSPOSE_A
      let r = index % rows4;
      let step = index / rows4 * 4u;
      //#for J 4
      var x{{J}} = vec4<f32>();
      if (l + step + {{J}}u < k) { x{{J}} = load_a(at_a + (l + step + {{J}}u) * p.col_a + row + r * 4u); }
      tile_a[(step + {{J}}u) * pitch + r] = x{{J}};
      //#end
      //#else
      let r = index / 4u;
      let step = index % 4u * 4u;
      let rest = max(k, l + step) - (l + step);
      //#for J 4
      let x{{J}} = first(rest, load_a(at_a + min(row + r * 4u + {{J}}u, p.m - 1u) * p.row_a + l + step));
      //#end
      //#for J 4
      tile_a[(step + {{J}}u) * pitch + r] = vec4<f32>(x0[{{J}}], x1[{{J}}], x2[{{J}}], x3[{{J}}]);
      //#end
      //#end
    } else if (index < rows4 * 4u + 64u) {
      let block = index - rows4 * 4u;
      //#if TRANSPOSE_B
      let c4 = block / 4u;
      let step = block % 4u * 4u;
      let rest = max(k, l + step) - (l + step);
      //#for J 4
      let x{{J}} = first(rest, load_b(at_b + min(col + c4 * 4u + {{J}}u, p.n - 1u) * p.col_b + l + step));
      //#end
      //#for J 4
      tile_b[(step + {{J}}u) * 17u + c4] = vec4<f32>(x0[{{J}}], x1[{{J}}], x2[{{J}}], x3[{{J}}]);
      //#end
      //#else
      let c4 = block % 16u;
      let step = block / 16u * 4u;
      //#for J 4
      var x{{J}} = vec4<f32>();
      if (l + step + {{J}}u < k) { x{{J}} = load_b(at_b + (l + step + {{J}}u) * p.row_b + col + c4 * 4u); }
      tile_b[(step + {{J}}u) * 17u + c4] = x{{J}};
      //#end
      //#end
    }
    workgroupBarrier();
    for (var step = 0u; step < depth; step++) {
      let y = tile_b[step * 17u + local.x];
      //#for G {{FOURS}}
      let x{{G}} = tile_a[step * pitch + {{G}}u * 16u + local.y];
      //#end
      //#for G {{FOURS}}
      //#for I 4
      s{{G}}_{{I}} = fma(vec4<f32>(x{{G}}[{{I}}]), y, s{{G}}_{{I}});
      //#end
      //#end
    }
    workgroupBarrier();
  }
  let at = col + local.x * 4u;
  let at_c = batch_c(z);
  let at_vector = p.offset_vector + z * p.m;
  let biases = bias_at(at);
  // Written out, the epilogue would be most of the kernel.
  for (var i = 0u; i < 4u; i++) {
    for (var g = 0u; g < {{FOURS}}u; g++) {
      var sums = vec4<f32>();
      //#for G {{FOURS}}
      //#for I 4
      if (g == {{G}}u && i == {{I}}u) { sums = s{{G}}_{{I}}; }
      //#end
      //#end
      finish(at_c, row + g * 64u + local.y * 4u + i, at, sums, biases, at_vector);
    }
  }
}
//#else
@compute @workgroup_size({{LANES}})
fn main(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let z = group.z;
  let width = 4u * {{LANES}}u * {{COLS}}u;
  let across = (p.n + width - 1u) / width;
  let row = (group.x + group.y / across * groups.x) * 4u * {{GROUP}}u;
  let col = group.y % across * width + local.x * {{COLS}}u * 4u;
  let at_a = batch_a(z);
  let at_b = batch_b(z);
  let k = select(p.k, p.last_k, z + 1u == p.batches);
  //#for G 4
  //#for I {{GROUP}}
  //#for Q {{COLS}}
  var s{{G}}_{{I}}_{{Q}} = vec4<f32>();
  //#end
  //#end
  //#end
  for (var l = 0u; l < k; l += 4u) {
    // yJ_Q: columns 4Q … 4Q + 3 of row l + J of b.
    //#if TRANSPOSE_B
    //#for Q {{COLS}}
    //#for J 4
    let t{{J}}_{{Q}} = first(k - l, load_b(at_b + min(col + {{Q}}u * 4u + {{J}}u, p.n - 1u) * p.col_b + l));
    //#end
    //#for J 4
    let y{{J}}_{{Q}} = vec4<f32>(t0_{{Q}}[{{J}}], t1_{{Q}}[{{J}}], t2_{{Q}}[{{J}}], t3_{{Q}}[{{J}}]);
    //#end
    //#end
    //#else
    //#for J 4
    let from{{J}} = at_b + min(l + {{J}}u, k - 1u) * p.row_b + col;
    //#for Q {{COLS}}
    let y{{J}}_{{Q}} = load_b(from{{J}} + {{Q}}u * 4u);
    //#end
    //#end
    //#end
    //#if SUBGROUPS
    //#if TRANSPOSE_A
    // Invocation i reads rows 4i … 4i + 3 of each step.
    //#for J 4
    let x{{J}} = select(vec4<f32>(), load_a(at_a + min(l + {{J}}u, k - 1u) * p.col_a + row + local.x * 4u), l + {{J}}u < k);
    //#end
    //#for J 4
    //#for G 4
    //#for I {{LANES}}
    let a{{J}}_{{G}}_{{I}} = vec4<f32>(subgroupBroadcast(x{{J}}[{{G}}], {{I}}u));
    //#for Q {{COLS}}
    s{{G}}_{{I}}_{{Q}} = fma(a{{J}}_{{G}}_{{I}}, y{{J}}_{{Q}}, s{{G}}_{{I}}_{{Q}});
    //#end
    //#end
    //#end
    //#end
    //#else
    // Invocation i reads rows i, LANES + i, 2·LANES + i and 3·LANES + i.
    //#for G 4
    let x{{G}} = first(k - l, load_a(at_a + min(row + {{G}}u * {{LANES}}u + local.x, p.m - 1u) * p.row_a + l));
    //#end
    //#for J 4
    //#for G 4
    //#for I {{LANES}}
    let a{{J}}_{{G}}_{{I}} = vec4<f32>(subgroupBroadcast(x{{G}}[{{J}}], {{I}}u));
    //#for Q {{COLS}}
    s{{G}}_{{I}}_{{Q}} = fma(a{{J}}_{{G}}_{{I}}, y{{J}}_{{Q}}, s{{G}}_{{I}}_{{Q}});
    //#end
    //#end
    //#end
    //#end
    //#end
    //#else
    //#if TRANSPOSE_A
    //#for J 4
    //#for G 4
    let x{{J}}_{{G}} = select(vec4<f32>(), load_a(at_a + min(l + {{J}}u, k - 1u) * p.col_a + row + {{G}}u * 4u), l + {{J}}u < k);
    //#for I 4
    //#for Q {{COLS}}
    s{{G}}_{{I}}_{{Q}} = fma(vec4<f32>(x{{J}}_{{G}}[{{I}}]), y{{J}}_{{Q}}, s{{G}}_{{I}}_{{Q}});
    //#end
    //#end
    //#end
    //#end
    //#else
    //#for G 4
    //#for I 4
    let x{{G}}_{{I}} = first(k - l, load_a(at_a + min(row + {{G}}u * 4u + {{I}}u, p.m - 1u) * p.row_a + l));
    //#end
    //#end
    //#for J 4
    //#for G 4
    //#for I 4
    //#for Q {{COLS}}
    s{{G}}_{{I}}_{{Q}} = fma(vec4<f32>(x{{G}}_{{I}}[{{J}}]), y{{J}}_{{Q}}, s{{G}}_{{I}}_{{Q}});
    //#end
    //#end
    //#end
    //#end
    //#end
    //#end
  }
  // The epilogue is a loop that picks sums: written out for each of them it
  // would be most of the kernel, and picked from an array, or by branches, slow
  // to compile.
  let at_c = batch_c(z);
  let at_vector = p.offset_vector + z * p.m;
  for (var q = 0u; q < {{COLS}}u; q++) {
    let at = col + q * 4u;
    let biases = bias_at(at);
    for (var i = 0u; i < {{GROUP}}u; i++) {
      //#for G 4
      var t{{G}} = vec4<f32>();
      //#for I {{GROUP}}
      //#for Q {{COLS}}
      t{{G}} = select(t{{G}}, s{{G}}_{{I}}_{{Q}}, (i == {{I}}u) & (q == {{Q}}u));
      //#end
      //#end
      //#end
      for (var g = 0u; g < 4u; g++) {
        var sums = t0;
        //#for G 4
        sums = select(sums, t{{G}}, g == {{G}}u);
        //#end
        finish(at_c, row + g * {{ROW_G}}u + i * {{ROW_I}}u, at, sums, biases, at_vector);
      }
    }
  }
}
//#end
