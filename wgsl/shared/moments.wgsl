// moments: mean and 1/√(variance + eps) of a row of {{X}}, n values of T from
// `first` on, every LANES-th of which this invocation reads. The variance is the
// mean of squared differences from the mean, and both are corrected by what
// rounding left of the mean difference. Needs total.
struct Moments {
  rough: f32, // the mean as summed
  rest: f32,  // what it lacks: the mean is rough + rest
  rstd: f32,
}

fn moments(first: u32, n: u32, lane: u32) -> Moments {
  let count = f32(n * {{W}}u);
  var s = {{T}}(0.0);
  for (var i = lane; i < n; i += {{LANES}}u) { s += {{X}}[first + i]; }
  let m = total(lane, s, {{T}}(0.0)).x / count;
  var d = {{T}}(0.0);
  var q = {{T}}(0.0);
  for (var i = lane; i < n; i += {{LANES}}u) {
    let v = {{X}}[first + i] - m;
    d += v;
    q += v * v;
  }
  let t = total(lane, d, q) / count;
  return Moments(m, t.x, 1.0 / sqrt(max(t.y - t.x * t.x, 0.0) + p.eps));
}

fn normalise(v: {{T}}, m: Moments) -> {{T}} { return ((v - m.rough) - m.rest) * m.rstd; }
