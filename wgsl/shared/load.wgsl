// load: load_{{FROM}} reads the d-th four of a head's row of {{FROM}}, which
// begins at element `at`, zero beyond the head.
// SCALAR: element by element, where dim is no multiple of four.
fn load_{{FROM}}(at: u32, d: u32) -> vec4<f32> {
  if (d * 4u >= p.dim) { return vec4<f32>(); }
  //#if SCALAR
  let i = at + d * 4u;
  let v = vec4<f32>({{FROM}}[i], {{FROM}}[i + 1u], {{FROM}}[i + 2u], {{FROM}}[i + 3u]);
  return select(vec4<f32>(), v, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.dim - d * 4u));
  //#else
  return {{FROM}}[at / 4u + d];
  //#end
}
