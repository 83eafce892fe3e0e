// edge.js: wgjepa outside of browsers, on a server without a desktop: edge.ts runs
// it in Deno, node/edge.mjs in Node. It needs leave to read data and write results, and
// none for the network. scripts/wasm.sh builds what it runs.

import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { guarded } from "./files.js";
import { Client, start } from "./host.js";

const usage = `usage: ${globalThis.Deno ? "deno run --allow-read --allow-write wasm/edge.ts" : "node wasm/node/edge.mjs"} COMMAND

  train DATA…    --out DIR [--config FILE] [--set key=value]… [--resume] [--max-steps N] [--checkpoint-every N]
  embed DATA…    --weights FILE --out FILE.npy [--encoder context_encoder|target_encoder] [--split train|val|test]
  probe RUN [DATA…]  measure what frozen features hold, beside the untrained encoder: of a run's folder or a weights or
                 checkpoint file [--features context|target] [--pooling mean|mean+std] [--label-fraction F] [--dense-volumes N]
  verify FILE…   replay golden cases of the reference
  doctor         hold every kernel to its twin [--only operation]…
  bench          measure kernels and a whole step [--only operation]… [--seconds N]

DATA are files or folders, or the word phantoms for generated volumes. With all:
--adapter NAME chooses the adapter, --json prints one object a line.`;

const { values: o, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    adapter: { type: "string", default: "" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
    out: { type: "string", default: "" },
    config: { type: "string", multiple: true, default: [] },
    set: { type: "string", multiple: true, default: [] },
    resume: { type: "boolean", default: false },
    "max-steps": { type: "string", default: "" },
    "checkpoint-every": { type: "string", default: "100" },
    weights: { type: "string", default: "" },
    encoder: { type: "string", default: "" },
    split: { type: "string", default: "" },
    features: { type: "string", default: "" },
    pooling: { type: "string", default: "" },
    "label-fraction": { type: "string", default: "" },
    "dense-volumes": { type: "string", default: "" },
    seconds: { type: "string", default: "0.5" },
    only: { type: "string", multiple: true, default: [] },
  },
});
const [command, ...paths] = positionals;

function say(event, text) {
  if (o.json) console.log(JSON.stringify(event));
  else if (text !== "") console.log(text);
}

function warn(message) {
  if (o.json) console.log(JSON.stringify({ event: "warning", message }));
  else console.error(`warning: ${message}`);
}

// configs are the layers of the configuration; a run's own comes first when it
// is continued.
function configs() {
  const files = [...o.config];
  if (o.resume) files.unshift(path.join(o.out, "config.toml"));
  return files.map((f) => fs.readFileSync(f, "utf8"));
}

function settings() {
  const set = [...o.set];
  if (o["max-steps"] !== "") set.push(`max_steps=${o["max-steps"]}`);
  const keys = { features: "probe.encoder", pooling: "probe.pooling", "label-fraction": "probe.label_fraction", "dense-volumes": "probe.dense_volumes" };
  for (const [flag, key] of Object.entries(keys)) {
    const value = o[flag];
    if (value !== "") set.push(`${key}=${value}`);
  }
  return set;
}

function told(e) {
  if (e.event === "warning") warn(e.message);
}

// openData reads the data; what each sample is called stays here.
async function openData(client, paths, config) {
  const opened = await client.request("open", { paths, config, set: settings() }, told);
  const { names: _n, labels: _l, split_of: _s, sizes: _z, spacings: _p, formats: _f, ...whole } = opened;
  say({ event: "data", ...whole }, opened.report);
  return opened;
}

async function train(client) {
  if (o.out === "") throw new Error("train needs --out DIR, the folder of the run");
  const state = path.join(o.out, "checkpoint.safetensors");
  const exists = fs.existsSync(path.join(o.out, "config.toml"));
  if (exists && !o.resume) throw new Error(`${o.out} already holds a run: continue it with --resume, or choose another --out`);
  if (!exists && o.resume) throw new Error(`${o.out} holds no run to resume: there is no config.toml in it`);
  fs.mkdirSync(o.out, { recursive: true }); // before anything long: it says which permission it lacks
  await openData(client, paths, configs());
  if (o.resume && fs.existsSync(state)) await client.request("load", { path: state }, told);
  let interrupted = false;
  const interrupt = () => {
    if (interrupted) process.exit(1);
    interrupted = true;
    console.error("interrupted: finishing the step and saving; once more ends at once");
    client.request("stop").catch(() => {});
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  const result = await client.request("train", { adapter: o.adapter, dir: o.out, checkpoint_every: Number(o["checkpoint-every"]) }, (e) => {
    if (e.event === "warning") return warn(e.message);
    const s = e.stats;
    say({ ...s, ...e, stats: undefined, event: "step" },
      `${s.step}/${e.total}  loss ${s.loss.toFixed(4)}  std ${s.feature_std.toFixed(3)}  lr ${s.lr.toPrecision(2)}${e.steps_per_second ? `  ${e.steps_per_second.toFixed(1)} updates/s` : ""}`);
  });
  say({ event: result.stopped ? "interrupted" : "done", ...result },
    result.stopped ? `interrupted after update ${result.step} of ${result.total}; --resume --out ${o.out} continues` : `${result.step} updates done: ${path.join(o.out, "weights.safetensors")}`);
  return result.stopped ? 1 : 0;
}

async function embed(client) {
  if (o.weights === "" || o.out === "") throw new Error("embed needs --weights FILE and --out FILE");
  const loaded = await client.request("load", { path: o.weights });
  // The encoder decides how samples are read.
  await openData(client, paths, [loaded.config, ...configs()]);
  const r = await client.request("embed", { adapter: o.adapter, weights: o.weights, out: o.out, encoder: o.encoder, split: o.split });
  say({ event: "done", ...r }, `${r.samples} embeddings of ${r.dim} numbers: ${o.out}, names in ${o.out}.csv`);
  return 0;
}

async function probe(client) {
  const [run, ...data] = paths;
  if (run === undefined) throw new Error("probe needs RUN: the folder of a run, or a file of weights");
  let weights = run;
  if (fs.statSync(run).isDirectory()) {
    weights = ["weights.safetensors", "checkpoint.safetensors"].map((f) => path.join(run, f)).find((f) => fs.existsSync(f)) ?? "";
    if (weights === "") throw new Error(`${run} holds neither weights.safetensors nor checkpoint.safetensors: train first, or name a file of weights`);
  }
  const loaded = await client.request("load", { path: weights }, told);
  const layers = [loaded.config];
  const beside = path.join(path.dirname(weights), "config.toml");
  if (fs.existsSync(beside)) layers.push(fs.readFileSync(beside, "utf8"));
  await openData(client, data, [...layers, ...configs()]);
  const r = await client.request("probe", { adapter: o.adapter, weights }, told);
  if (r.tasks.length === 0) throw new Error(["there was nothing to probe", ...(r.notes ?? [])].join(": "));
  if (o.json) {
    console.log(JSON.stringify({ run, ...r }));
    return 0;
  }
  for (const t of r.tasks) console.log(table(t));
  const h = r.health;
  console.log(`pooled features of the test samples: RankMe ${h.rankme[0].toFixed(1)} trained, ${h.rankme[1].toFixed(1)} untrained; deviation ${h.feature_std[0].toPrecision(3)}, ${h.feature_std[1].toPrecision(3)}`);
  for (const n of r.notes ?? []) console.log(`note: ${n}`);
  return 0;
}

// table is a task of a probe as the native command prints it.
function table(t) {
  const classes = t.classes?.length ? `, ${t.classes.length} classes` : "";
  const head = `${t.task}${classes}${t.note ? `, ${t.note}` : ""}: ${t.samples[0]} training, ${t.samples[1]} validation, ${t.samples[2]} test ${t.task === "dense" ? "volumes" : "samples"}; ${t.regression ? "penalty" : "C"} ${t.chosen[0]} trained, ${t.chosen[1]} untrained`;
  const prior = t.scores[0].position_only !== undefined;
  const rows = [["", "trained", "untrained", "trained − untrained", ...(prior ? ["position only"] : [])]];
  for (const s of t.scores) {
    const star = s.difference.low > 0 || (s.difference.high !== null && s.difference.high < 0) ? "*" : " ";
    rows.push([s.metric, interval(s.trained), interval(s.untrained), interval(s.difference, true) + star, ...(prior ? [interval(s.position_only)] : [])]);
  }
  const widths = rows[0].map((_, i) => Math.max(...rows.map((r) => [...r[i]].length)));
  const lines = rows.map((r) => r.map((cell, i) => "  " + cell + " ".repeat(widths[i] - [...cell].length)).join("").trimEnd());
  return [head, ...lines, ""].join("\n");
}

function interval(i, sign = false) {
  if (i.value === null) return "-"; // such as the Dice of a class that neither occurs nor is predicted
  const text = (v) => (sign && v >= 0 ? "+" : "") + v.toFixed(3);
  return `${text(i.value)} (${text(i.low)} to ${text(i.high)})`;
}

async function verify(client) {
  const r = await client.request("verify", { adapter: o.adapter, paths });
  let bad = 0;
  for (const c of r.cases) {
    if (c.failed.length > 0) bad++;
    say({ event: "case", ...c }, [...c.failed, `${c.file}: ${c.failed.length ? "FAIL" : "ok"}: ${c.compared} tensors, ${c.failed.length} above their bound, ${c.skipped} skipped; nearest to its bound: ${c.worst} ${c.worst_error.toPrecision(2)} of ${c.worst_bound}`].join("\n"));
  }
  say({ event: "done", cases: r.cases.length, failed: bad, adapter: r.adapter }, `${r.cases.length - bad} of ${r.cases.length} cases within bounds on ${r.adapter}`);
  return bad ? 1 : 0;
}

async function doctor(client) {
  const { adapters } = await client.request("adapters");
  for (const a of adapters) say({ event: "adapter", ...a }, `${a.Index}  ${a.Name} (${a.Kind}, ${a.Backend}; ${a.Driver}; ${a.Features?.join(", ") || "no features"})`);
  let worst = { case: "", error: 0 };
  const r = await client.request("doctor", { adapter: o.adapter, only: o.only }, (e) => {
    if (o.json) console.log(JSON.stringify(e));
    if (e.error > worst.error) worst = e;
  });
  for (const f of r.failed) say({ event: "failed", message: f }, `FAIL  ${f}`);
  say({ event: "done", cases: r.cases, failed: r.failed.length }, `kernels: ${r.cases} cases, ${r.failed.length} failed${worst.case ? `; nearest to its bound: ${worst.case}, ${(100 * worst.error).toFixed(0)} % of it` : ""}`);
  return r.failed.length ? 1 : 0;
}

async function bench(client) {
  await client.request("bench", { adapter: o.adapter, only: o.only, seconds: Number(o.seconds) }, (e) => say(e.row, e.text));
  return 0;
}

const commands = { train, embed, probe, verify, doctor, bench };

if (o.help || !(command in commands)) {
  (o.help ? console.log : console.error)(usage);
  process.exit(o.help ? 0 : 2);
}
try {
  const built = new URL("../build/wasm/", import.meta.url);
  const file = new URL(["verify", "doctor", "bench"].includes(command) ? "checks.wasm" : "wgjepa.wasm", built);
  let bytes;
  try {
    bytes = fs.readFileSync(file);
  } catch (e) {
    throw new Error(`there is no ${file.pathname} to run (scripts/wasm.sh builds it, --allow-read lets it be read): ${e.message}`);
  }
  Object.assign(globalThis, { fs: guarded(fs), path });
  await import(new URL("wasm_exec.js", built).href);
  const module = await WebAssembly.compile(bytes);
  let program;
  const client = new Client((text) => program.receive(text));
  program = await start(module, (text) => client.receive(text));
  await client.ready;
  program.exited.then((code) => client.end(`the program ended with ${code}`));
  process.exit(await commands[command](client));
} catch (e) {
  const message = e.message;
  if (o.json) console.log(JSON.stringify({ event: "error", message, kind: e.kind }));
  console.error(`wgjepa: ${message}`);
  process.exit(1);
}
