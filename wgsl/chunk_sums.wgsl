// chunk_sums: dst (⌈rows/chunk⌉, cols) = or += sums of consecutive chunks of
// the rows of x (rows, cols). Sums over many rows run it twice: into partial
// sums, then over these.
// One invocation WIDTH adjacent elements of dst, four or one.
// Twin: internal/ref/chunk_sums.go
struct Params {
  rows: u32,
  cols: u32,
  chunk: u32,
  add: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<{{ELEMENT}}>;
@group(0) @binding(2) var<storage, read_write> dst: array<{{ELEMENT}}>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let at = id.x + id.y * groups.x * 64u;
  let cols = p.cols / {{WIDTH}}u;
  let first = at / cols * p.chunk;
  if (at >= cols && first >= p.rows) { return; } // no rows sum to zero
  let last = min(p.rows, first + p.chunk);
  let col = at % cols;
  var sum = {{ELEMENT}}();
  for (var row = first; row < last; row++) { sum += x[row * cols + col]; }
  if (p.add != 0u) { sum += dst[at]; }
  dst[at] = sum;
}
