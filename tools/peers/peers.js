// peers.js: the comparison of peers.html. Each program is an object with
//
//	set(name, Float32Array, shape)   of x, dy and the parameters, before init
//	init()
//	run()       forward and backward, its results awaited
//	get(name)   y, dx, or a parameter's gradient, as a Float32Array
//
// Results go to the page, and to whoever served it by POST /results.

import * as jax from "./node_modules/@jax-js/jax/dist/index.js";
import { webgpu } from "./build/driver.js";

const [B, T, D, H, M] = [4, 64, 128, 4, 512];
const eps = 1e-5;
const options = new URLSearchParams(location.search);
const rounds = Number(options.get("rounds") ?? 30), warm = 5;

async function wgjepa() {
  const go = new globalThis.Go();
  const { imports, attach } = webgpu(navigator.gpu);
  go.importObject.wgjepa_gpu = imports;
  const { instance } = await WebAssembly.instantiateStreaming(fetch("build/block.wasm"), go.importObject);
  attach(instance.exports.mem);
  await new Promise((resolve, reject) => {
    globalThis.wgjepaBlockReady = (error) => (error ? reject(new Error(error)) : resolve());
    go.run(instance);
  });
  const block = globalThis.wgjepaBlock;
  return { ...block, name: "wgjepa", init() {} };
}

// TensorFlow.js computes op by op.
async function tfjs() {
  const { tf } = globalThis;
  await tf.setBackend("webgpu");
  await tf.ready();
  const p = {};
  let results = {};
  const linear = (x, w, b) => tf.add(tf.matMul(x, w, false, true), b);
  const norm = (x, w, b) => {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, eps))), w), b);
  };
  const gelu = (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
  const heads = (x, i) => tf.transpose(tf.reshape(tf.slice(x, [0, i * D], [-1, D]), [B, T, H, D / H]), [0, 2, 1, 3]);
  const names = () => Object.keys(p).filter((n) => n !== "x" && n !== "dy");
  const forward = (x, ...values) => {
    const w = Object.fromEntries(names().map((n, i) => [n.replace("block.", ""), values[i]]));
    const qkv = linear(norm(x, w["norm1.weight"], w["norm1.bias"]), w["attn.qkv.weight"], w["attn.qkv.bias"]);
    const scores = tf.mul(tf.matMul(heads(qkv, 0), heads(qkv, 1), false, true), 1 / Math.sqrt(D / H));
    const o = tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), heads(qkv, 2)), [0, 2, 1, 3]), [B * T, D]);
    const x1 = tf.add(x, linear(o, w["attn.proj.weight"], w["attn.proj.bias"]));
    const hidden = gelu(linear(norm(x1, w["norm2.weight"], w["norm2.bias"]), w["mlp.fc1.weight"], w["mlp.fc1.bias"]));
    return tf.add(x1, linear(hidden, w["mlp.fc2.weight"], w["mlp.fc2.bias"]));
  };
  return {
    name: "TensorFlow.js",
    set: (name, values, shape) => { p[name] = tf.tensor(values, name === "x" || name === "dy" ? [B * T, D] : shape); },
    init() {},
    async run() {
      const out = tf.tidy(() => {
        let y;
        const grads = tf.grads((...a) => (y = tf.keep(forward(...a))))([p.x, ...names().map((n) => p[n])], p.dy);
        return [y, ...grads];
      });
      for (const t of Object.values(results)) t.dispose();
      results = Object.fromEntries(["y", "dx", ...names()].map((n, i) => [n, out[i]]));
      await results["block.norm1.bias"].data(); // the queue computes it last
    },
    get: (name) => results[name].data(),
  };
}

// jax-js compiles the whole, forward and backward, with jit.
async function jaxjs() {
  await jax.init("webgpu");
  jax.defaultDevice("webgpu");
  const { numpy: np, nn, lax } = jax;
  const p = {};
  let results = null, step = null;
  const linear = (x, w, b) => np.matmul(x, w.transpose()).add(b);
  const norm = (x, w, b) => {
    const centered = x.ref.sub(np.mean(x, -1, { keepdims: true }));
    const variance = np.mean(np.square(centered.ref), -1, { keepdims: true });
    return centered.mul(lax.rsqrt ? lax.rsqrt(variance.add(eps)) : np.reciprocal(np.sqrt(variance.add(eps)))).mul(w).add(b);
  };
  const forward = (w, x) => {
    const qkv = linear(norm(x.ref, w["norm1.weight"], w["norm1.bias"]), w["attn.qkv.weight"], w["attn.qkv.bias"]).reshape([B, T, 3, H, D / H]);
    const [q, k, v] = [0, 1, 2].map((i) => (i < 2 ? qkv.ref : qkv).slice([], [], i));
    const o = nn.dotProductAttention(q, k, v).reshape([B * T, D]);
    const x1 = x.add(linear(o, w["attn.proj.weight"], w["attn.proj.bias"]));
    const hidden = nn.gelu(linear(norm(x1.ref, w["norm2.weight"], w["norm2.bias"]), w["mlp.fc1.weight"], w["mlp.fc1.bias"]), { approximate: false });
    return x1.add(linear(hidden, w["mlp.fc2.weight"], w["mlp.fc2.bias"]));
  };
  const dispose = (tree) => jax.tree.map((a) => a.dispose(), tree);
  return {
    name: "jax-js",
    set: (name, values, shape) => {
      p[name.replace("block.", "")] = np.array(values).reshape(name === "x" || name === "dy" ? [B * T, D] : shape);
    },
    async init() {
      step = jax.jit((w, x, dy) => {
        const [y, back] = jax.vjp(forward, [w, x]);
        return [y, back(dy)];
      });
    },
    async run() {
      const { x, dy, ...w } = p;
      const out = step(jax.tree.ref(w), x.ref, dy.ref);
      if (results !== null) dispose(results);
      results = out;
      await jax.blockUntilReady(results);
    },
    get(name) {
      const [y, [dw, dx]] = results;
      const a = { y, dx, ...dw }[name.replace("block.", "")];
      return a.ref.data();
    },
  };
}

// draws is a small generator of normal values from a seed.
function draws(seed) {
  let s = seed >>> 0;
  const uniform = () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1];

// difference is the largest difference of two arrays over the largest value.
function difference(a, b) {
  if (a.length !== b.length) return Infinity;
  let most = 0, top = 0;
  for (let i = 0; i < a.length; i++) {
    if (!Number.isFinite(a[i]) || !Number.isFinite(b[i])) return Infinity;
    most = Math.max(most, Math.abs(a[i] - b[i]));
    top = Math.max(top, Math.abs(a[i]));
  }
  return most / Math.max(top, 1e-30);
}

const bound = 1e-4; // relative to the largest value: float32 summed in three orders

async function compare(say) {
  const ours = await wgjepa();
  const others = [];
  for (const make of [jaxjs, tfjs]) {
    say(`Preparing the others …`);
    others.push(await make());
  }
  const all = [ours, ...others].filter((p) => !options.has("only") || p === ours || options.get("only") === p.name);
  const parameters = ours.parameters;
  const draw = draws(1);
  const inputs = [["x", [B, T, D], 1], ["dy", [B, T, D], 1], ...parameters.map(({ name, shape }) => [name, shape, shape.length > 1 ? 0.1 : 0.3])];
  for (const [name, shape, scale] of inputs) {
    const offset = /norm\d\.weight/.test(name) ? 1 : 0;
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => offset + scale * draw());
    for (const p of all) p.set(name, values.slice(), shape);
  }
  const first = {};
  for (const p of all) {
    say(`Warming up ${p.name} …`);
    const start = performance.now();
    await p.init();
    await p.run();
    first[p.name] = (performance.now() - start) / 1e3;
    for (let i = 1; i < warm; i++) await p.run();
  }
  say("Checking them against one another …");
  const differences = {};
  for (const name of ["y", "dx", ...parameters.map((q) => q.name)]) {
    const want = await ours.get(name);
    for (const p of all) {
      if (p === ours) continue;
      const d = difference(want, await p.get(name));
      (differences[p.name] ??= {})[name] = d;
      if (!(d <= bound)) throw new Error(`${p.name} computes another ${name}: they differ by ${d} of the largest value`);
    }
  }
  const times = Object.fromEntries(all.map((p) => [p.name, []]));
  for (let i = 0; i < rounds; i++) {
    say(`Round ${i + 1} of ${rounds} …`);
    for (const p of all) {
      const start = performance.now();
      await p.run();
      times[p.name].push(performance.now() - start);
    }
  }
  return {
    adapter: ours.adapter, kind: ours.kind, agent: navigator.userAgent, rounds, bound,
    profile: await ours.profile(),
    rows: all.map((p) => ({
      name: p.name, median_ms: median(times[p.name]), least_ms: Math.min(...times[p.name]), first_s: first[p.name],
      // Round by round, so that what slows all of them at a time does not count.
      times_ours: median(times[p.name].map((t, i) => t / times[ours.name][i])),
      worst_difference: p === ours ? 0 : Math.max(...Object.values(differences[p.name])),
    })),
  };
}

const state = document.getElementById("state");
let results;
try {
  results = await compare((text) => { state.textContent = text; });
  const cells = [["", "median ms", "fastest ms", "× ours", "first s", "differs by"],
    ...results.rows.map((r) => [r.name, r.median_ms.toFixed(2), r.least_ms.toFixed(2), r.times_ours.toFixed(2), r.first_s.toFixed(2), r.worst_difference.toExponential(1)])];
  cells.forEach((row, i) => {
    const tr = document.getElementById("rows").insertRow();
    for (const c of row) tr.appendChild(document.createElement(i ? "td" : "th")).textContent = c;
  });
  state.textContent = `Done, on ${results.adapter}.`;
} catch (e) {
  state.textContent = `Failed: ${e?.message ?? e}`;
  results = { error: String(e?.stack ?? e) };
}
fetch("results", { method: "POST", body: JSON.stringify(results) }).catch(() => {});
