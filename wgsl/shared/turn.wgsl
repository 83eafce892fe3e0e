// turn: (cos a, sin a) to 1e-7, where the built-in functions may be off by 5e-4.
// π/2 is taken off in three parts, then the polynomials of Cephes.
fn turn(a: f32) -> vec2<f32> {
  let q = round(a * 0.63661977);
  let r = ((a - q * 1.5703125) - q * 4.837512969970703e-4) - q * 7.549789948768648e-8;
  let r2 = r * r;
  let s = r + r * r2 * (-1.6666654611e-1 + r2 * (8.3321608736e-3 - r2 * 1.9515295891e-4));
  let c = 1.0 - 0.5 * r2 + r2 * r2 * (4.166664568298827e-2 + r2 * (-1.388731625493765e-3 + r2 * 2.443315711809948e-5));
  let quarter = u32(i32(q) & 3);
  let v = select(vec2<f32>(c, s), vec2<f32>(-s, c), (quarter & 1u) == 1u);
  return select(v, -v, quarter >= 2u);
}
