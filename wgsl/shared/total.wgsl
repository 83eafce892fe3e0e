// total: the sums of a and of b over the components of T, which is f32 or
// (VEC4) vec4<f32>, and with GROUP over the workgroup's 64 invocations.
//#if GROUP
var<workgroup> part: array<vec2<f32>, 64>;

//#end
fn total(lane: u32, a: {{T}}, b: {{T}}) -> vec2<f32> {
  //#if VEC4
  let v = vec2<f32>((a.x + a.y) + (a.z + a.w), (b.x + b.y) + (b.z + b.w));
  //#else
  let v = vec2<f32>(a, b);
  //#end
  //#if GROUP
  part[lane] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) { part[lane] += part[lane + s]; }
    workgroupBarrier();
  }
  let all = part[0];
  workgroupBarrier(); // part is free for another call
  return all;
  //#else
  return v;
  //#end
}
