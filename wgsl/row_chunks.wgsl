// row_chunks: (Σ d, count) over consecutive chunks of each row of x (rows, cols) into
// partial (rows, chunks), d = x − x₀, the row's first element, near which a sum
// loses little and a constant row nothing; with square d = (x − mean)², the mean
// of the row in about. With masked over the elements above the row's mean in above
// alone. A mean is the third component of its row's rescaling.
// One invocation a chunk.
// Twin: internal/ref/rows.go
struct Params {
  rows: u32,
  cols: u32,
  chunk: u32,
  square: u32,
  masked: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> above: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> about: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partial: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let at = id.x + id.y * groups.x * 64u;
  let chunks = (p.cols + p.chunk - 1u) / p.chunk;
  if (at >= p.rows * chunks) { return; }
  let row = at / chunks;
  let first = row * p.cols + at % chunks * p.chunk;
  let last = min((row + 1u) * p.cols, first + p.chunk);
  var least = -3.4e38f;
  if (p.masked != 0u) { least = above[row].z; }
  var sum = 0.0;
  var count = 0.0;
  if (p.square == 0u) {
    let pivot = x[row * p.cols];
    for (var j = first; j < last; j++) {
      let counts = x[j] > least;
      sum += select(0.0, x[j] - pivot, counts);
      count += select(0.0, 1.0, counts);
    }
  } else {
    let mean = about[row].z;
    for (var j = first; j < last; j++) {
      let counts = x[j] > least;
      let d = x[j] - mean;
      sum += select(0.0, d * d, counts);
      count += select(0.0, 1.0, counts);
    }
  }
  partial[at] = vec2<f32>(sum, count);
}
