// store: writes v as the d-th four of a head's row of {{TO}}, which begins at
// element `at`, and nothing beyond the head.
// SCALAR: element by element, where dim is no multiple of four.
fn store(at: u32, d: u32, v: vec4<f32>) {
  if (d * 4u >= p.dim) { return; }
  //#if SCALAR
  let i = at + d * 4u;
  let n = p.dim - d * 4u;
  {{TO}}[i] = v.x;
  if (n > 1u) { {{TO}}[i + 1u] = v.y; }
  if (n > 2u) { {{TO}}[i + 2u] = v.z; }
  if (n > 3u) { {{TO}}[i + 3u] = v.w; }
  //#else
  {{TO}}[at / 4u + d] = v;
  //#end
}
