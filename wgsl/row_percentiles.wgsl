// row_percentiles: of each row of x (rows, cols) two percentiles into the row of
// rescales that maps them to 0 and 1 and clips to them: a percentile lies between
// the order statistics of its rank and the next with part of the latter. Where the
// two coincide the divisor is 1.
// One workgroup a row. A radix selection finds both statistics, exactly, in four
// passes, a histogram of 8 bits each, over the elements whose leading bits are
// known; a fifth pass finds what comes next. The bits of a float rise with it once
// the sign bit, or for negative ones all bits, are turned round.
// Twin: internal/ref/rows.go
struct Params {
  rows: u32,
  cols: u32,
  low_rank: u32,
  high_rank: u32,
  low_part: f32,
  high_part: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> rescales: array<vec4<f32>>;

var<workgroup> histogram: array<atomic<u32>, 512>; // of the low one's bins, then of the high one's
var<workgroup> found: array<u32, 2>; // leading bits of the two
var<workgroup> rank: array<u32, 2>; // among the elements that begin with them
var<workgroup> next: array<atomic<u32>, 2>;

fn key(v: f32) -> u32 {
  let b = bitcast<u32>(v);
  return select(b | 0x80000000u, ~b, b >= 0x80000000u);
}

fn value(k: u32) -> f32 { return bitcast<f32>(select(~k, k & 0x7fffffffu, k >= 0x80000000u)); }

fn percentile(t: u32, part: f32) -> f32 {
  let k = found[t];
  let v = value(k);
  let equal = atomicLoad(&histogram[256u * t + (k & 255u)]);
  let after = atomicLoad(&next[t]);
  if (rank[t] + 1u < equal || after == 0xffffffffu) { return v; }
  return v + part * (value(after) - v);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= p.rows) { return; }
  let first = row * p.cols + lane;
  let end = (row + 1u) * p.cols;
  if (lane < 2u) {
    found[lane] = 0u;
    rank[lane] = select(p.high_rank, p.low_rank, lane == 0u);
    atomicStore(&next[lane], 0xffffffffu);
  }
  var known = 0u; // mask of the bits that found has
  for (var digit = 0u; digit < 4u; digit++) {
    let shift = 24u - 8u * digit;
    atomicStore(&histogram[lane], 0u);
    atomicStore(&histogram[lane + 256u], 0u);
    workgroupBarrier();
    let low = found[0];
    let high = found[1];
    for (var j = first; j < end; j += 256u) {
      let k = key(x[j]);
      let bin = (k >> shift) & 255u;
      if (((k ^ low) & known) == 0u) { atomicAdd(&histogram[bin], 1u); }
      // As long as they are the same bits one histogram is enough.
      if (high != low && ((k ^ high) & known) == 0u) { atomicAdd(&histogram[bin + 256u], 1u); }
    }
    workgroupBarrier();
    if (lane < 2u) {
      let base = select(256u * lane, 0u, high == low);
      var left = rank[lane];
      var bin = 0u;
      var count = atomicLoad(&histogram[base]);
      while (left >= count && bin < 255u) {
        left -= count;
        bin++;
        count = atomicLoad(&histogram[base + bin]);
      }
      found[lane] = found[lane] | (bin << shift);
      rank[lane] = left;
      if (digit == 3u) { atomicStore(&histogram[256u * lane + bin], count); }
    }
    known = (known >> 8u) | 0xff000000u;
    workgroupBarrier();
  }
  let low = found[0];
  let high = found[1];
  var low_next = 0xffffffffu;
  var high_next = 0xffffffffu;
  for (var j = first; j < end; j += 256u) {
    let k = key(x[j]);
    if (k > low) { low_next = min(low_next, k); }
    if (k > high) { high_next = min(high_next, k); }
  }
  atomicMin(&next[0], low_next);
  atomicMin(&next[1], high_next);
  workgroupBarrier();
  if (lane == 0u) {
    let a = percentile(0u, p.low_part);
    let b = percentile(1u, p.high_part);
    rescales[row] = vec4<f32>(a, b, a, select(1.0, b - a, b > a));
  }
}
