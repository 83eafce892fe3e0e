// Drives what a page shows of a run, before, during and after a training. It
// throws where something is not as it should be. Arguments: a folder of NIfTI
// files of several sizes, or nothing.

import { equal, holds, npy, program, refused } from "./program.js";

const { client, put, get, end } = await program();
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const text = (t) => new TextEncoder().encode(t);

// Configurations.
const { presets, encoders } = await client.request("presets");
equal(presets.map((p) => p.name), ["default", "nidl", "paper"], "presets");
holds(encoders.includes("vit_small") && presets.every((p) => p.says), "presets say nothing");
const { config: checked } = await client.request("config", { config: ["[encoder]\nembed_dim = 96"], set: ["seed=5"] });
holds(checked.includes("num_heads = 3") && checked.includes("seed = 5"), checked);
await refused(client.request("config", { config: ["seed = 1\nlearning_rat = 1"] }), "config", "line 2");
await refused(client.request("config", { config: ["seed ="] }), "config", "line 1");
await refused(client.request("config", { set: ["optimizer=adan"] }), "config", "optimizer");
await refused(client.request("config", { set: ["seed"] }), "config", "key=value");

// Generated volumes have classes, and labels of voxels.
const config = `
batch_size = 4
max_epochs = 4
max_steps = 8
warmup_epochs = 1
predictor_embed_dim = 24
predictor_depth = 1
[encoder]
embed_dim = 24
depth = 1
num_heads = 2
patch_size = [6]
drop_path_rate = 0.1
[data]
val = 6
test = 8
[data.phantoms]
size = 24
count = 40
[probe]
resamples = 100
dense_volumes = 4
cs = [0.1, 1.0]
intensities = false
neighbours = 0
curve = []
`;
const P = 64, patches = [4, 4, 4];
await refused(client.request("masks", { sample: 0 }), "command", "no data are open");
const opened = await client.request("open", { paths: ["phantoms"], config: [config] });
equal([opened.samples, opened.grid, opened.patch, opened.dense, opened.refused], [40, patches, [6, 6, 6], true, []], "open");
for (const key of ["names", "labels", "split_of", "sizes", "spacings", "formats"]) equal(opened[key].length, 40, key);
equal([opened.sizes[7], opened.spacings[7], opened.formats[7]], [[24, 24, 24], [1, 1, 1], "phantom"], "a sample as stored");
holds(new Set(opened.names).size === 40, "names are not unique");
equal(new Set(opened.labels).size, opened.classes.length, "labels");
for (const split of ["train", "val", "test"]) equal(opened.split_of.filter((s) => s === split).length, opened.splits[split], split);

// A sample and its labels as bytes.
const seen = await client.request("view", { sample: 3, out: "/view", labels_out: "/labels" });
equal([seen.name, seen.class, seen.channels, seen.size, seen.grid, seen.spacing, seen.labels], [opened.names[3], opened.classes[opened.labels[3]], 1, [24, 24, 24], patches, [1, 1, 1], true], "view");
const voxels = await get("/view");
equal([voxels.length, Math.min(...voxels), Math.max(...voxels)], [24 ** 3, 0, 255], "voxels");
holds(seen.low < seen.high && new Set(await get("/labels")).size > 2, "the labels of voxels");
await refused(client.request("view", { sample: 40, out: "/view" }), "command", "there are 40");
await refused(client.request("view", { sample: -1, out: "/view" }), "command", "there are 40");

// picture sends a command and resolves to the pictures that came.
async function pictures(command, args) {
  const list = [];
  await client.request(command, args, (e) => { if (e.event === "picture") list.push(e); });
  for (const p of list) equal([p.picture, p.sample, p.grid], [command, args.sample, patches], command);
  return list;
}

async function masks(step) {
  const [m] = await pictures("masks", { sample: 5, step });
  equal(m.targets.length, 4, "targets");
  for (const t of m.targets) {
    equal(t.length, m.targets[0].length, "patches of a target");
    holds(t.every((p) => p >= 0 && p < P && !m.context.includes(p)), "a target is no target");
  }
  return JSON.stringify([m.context, m.targets]);
}
equal(await masks(2), await masks(2), "masks");
holds(await masks(2) !== await masks(3), "masks of two steps are the same");

// Before training.
const [untrained, ...none] = await pictures("features", { sample: 2 });
equal([untrained.encoder, none.length, bytes(untrained.colours).length], ["untrained", 0, 3 * P], "features before training");
holds(new Set(bytes(untrained.colours)).size > 20, "colours do not differ");
for (const command of ["surprise", "similar", "probe", "health", "embed"]) await refused(client.request(command, { sample: 0, out: "/e.npy" }), "command", "nothing was trained yet");

// Every look while it trains, and the weights at the end.
async function looks(sample, of = {}) {
  const [before, after] = await pictures("features", { sample, ...of });
  equal([before.encoder, after.encoder], ["untrained", "trained"], "features");
  holds(bytes(after.colours).length === 3 * P && before.colours !== after.colours, "colours");
  const [s] = await pictures("surprise", { sample, draws: 8, ...of });
  const known = s.values.filter((v) => v !== null);
  equal([s.values.length, Math.min(...known), Math.max(...known)], [P, s.low, s.high], "surprise");
  holds(known.length > P / 2 && s.low > 0 && s.low < s.high, "surprise");
  const { neighbours } = await client.request("similar", { sample, k: 3, ...of });
  equal(neighbours.length, 3, "neighbours");
  neighbours.forEach((n, i) => {
    holds(n.sample !== sample && n.cosine <= 1.00001 && n.cosine >= (neighbours[i + 1]?.cosine ?? -1), `a neighbour: ${JSON.stringify(neighbours)}`);
    equal([n.name, n.class], [opened.names[n.sample], opened.classes[opened.labels[n.sample]]], "a neighbour");
  });
  const h = await client.request("health", of);
  holds(h.samples === 32 && h.rankme.every((v) => v >= 1 && v <= 24) && h.feature_std.every((v) => v > 0), `health: ${JSON.stringify(h)}`);
  return { before, after, s, neighbours, h };
}
function probed(r) {
  equal(r.tasks.map((t) => t.task), ["class", "dense", "volume"], "tasks");
  for (const t of r.tasks) for (const s of t.scores) holds(s.metric && "value" in s.trained && "low" in s.untrained && "high" in s.difference, JSON.stringify(s));
  holds(r.health.rankme.length === 2 && r.probe.dense_volumes === 4, JSON.stringify(r.health));
}
async function train(during, args = {}, onEvent = () => {}) {
  let first;
  const started = new Promise((resolve) => { first = resolve; });
  const running = client.request("train", { dir: "/run", stats_ms: 1, ...args }, (e) => { first(); onEvent(e); });
  await Promise.race([started, running]);
  await during();
  const r = await running;
  return { ...r, weights: r.stopped ? null : await get("/run/weights.safetensors") };
}
function same(a, b, what) {
  holds(a.length > 1000 && a.length === b.length && a.every((v, i) => v === b[i]), `${what}: other weights`);
}
const quiet = await train(async () => {});
equal([quiet.step, quiet.total, quiet.stopped], [8, 8, false], "training");
equal(new TextDecoder().decode(await get("/run/config.toml")), opened.config, "config.toml");
// A checkpoint that cannot be written is told, and costs no training.
put("/full/checkpoint.safetensors/in the way", text(""));
const unsaved = [];
const full = await client.request("train", { dir: "/full", checkpoint_every: 4 }, (e) => { if (e.event === "warning") unsaved.push(e.kind); });
equal([full.step, unsaved], [8, ["save", "save"]], "a training that cannot be saved");
same(quiet.weights, await get("/full/weights.safetensors"), "a training that cannot be saved");
const probes = [];
let last = 0;
const watched = await train(async () => {
  await client.request("pause");
  const at = last;
  await looks(2);
  await client.request("view", { sample: 1, out: "/view" });
  await client.request("embed", { out: "/e.npy", split: "val" });
  await masks(1);
  probed(await client.request("probe"));
  await refused(client.request("open", { paths: ["phantoms"] }), "command", "while a training runs");
  await refused(client.request("features", { sample: 1, weights: "/run/checkpoint.safetensors" }), "command", "a training runs");
  equal(last, at, "updates while paused");
  await client.request("resume");
}, { probe_every_ms: 1 }, (e) => {
  if (e.event === "probe") probes.push(e);
  if (e.event === "progress") last = e.stats.step;
});
same(quiet.weights, watched.weights, "a training that was looked at");
holds(probes.length >= 3 && probes.every((e) => e.step > 0 && e.step < 8 && e.result.step === e.step), `${probes.length} probes`);
probed(probes.at(-1).result);
await refused(client.request("probe", { set: ["seed=1"] }), "command", "the table probe");
await refused(client.request("probe", { set: ["probe.resamples=1"] }), "config", "resamples");

// The same from a file.
const own = await looks(9);
const file = await looks(9, { weights: "/run/weights.safetensors" });
equal(file.neighbours.map((n) => n.sample), own.neighbours.map((n) => n.sample), "neighbours by a file");
holds(own.s.values.every((v, i) => v === null || Math.abs(v - file.s.values[i]) < 1e-4 * own.s.high), "surprise by a file");

// What is open is kept as long as it is read in the same way, with its encoder.
await client.request("open", { paths: ["phantoms"], config: [config], set: ["learning_rate=1e-2"] });
await client.request("open", { paths: ["phantoms"], config: [opened.config] });
await pictures("surprise", { sample: 1 });
await refused(client.request("open", { paths: ["phantoms"], config: [config], set: ["encoder.num_heads=5"] }), "config", "num_heads");
await refused(client.request("estimate"), "config", "num_heads");
await client.request("open", { paths: ["phantoms"], config: [config], set: ["data.normalize=robust"] });
await refused(client.request("surprise", { sample: 1 }), "command", "nothing was trained yet");

// Stop is heard between the batches of an update, which is then given up.
const slow = { paths: ["phantoms"], config: [config], set: ["accumulate_grad_batches=3", "max_steps=30", "max_epochs=20"] };
const accumulated = async (from, during) => {
  await client.request("open", slow);
  const loaded = from ? await client.request("load", { path: from }) : { step: 0 };
  return { from: loaded.step, ...await train(during) };
};
const whole = await accumulated(null, async () => {});
equal(whole.step, 30, "updates");
const part = await accumulated(null, () => client.request("stop"));
holds(part.stopped && part.step < 30, "the stop came too late to be tested: make the training longer");
const rest = await accumulated("/run/checkpoint.safetensors", async () => {});
equal([rest.from, rest.step], [part.step, 30], "continued");
same(whole.weights, rest.weights, "stopped and continued");

// Stop ends what else takes long.
const embedding = client.request("embed", { out: "/e.npy" });
await Promise.all([refused(embedding, "stopped", "embed was stopped"), client.request("stop")]);
await refused(client.request("stop"), "command", "no training runs");

// Files that are all refused, samples of several sizes, tables of labels.
put("/bad/a.nii", text("no image"));
put("/bad/b.nii", new Uint8Array(0));
const bad = await refused(client.request("open", { paths: ["/bad"] }), "data", "nothing could be read");
equal(bad.refused.map((r) => r.name), ["/bad/a.nii", "/bad/b.nii"], "refused");
holds(bad.refused.every((r) => r.reason), "no reasons");
put("/set/a.npy", npy(0, 16));
put("/set/b.npy", npy(0, 16));
put("/set/c.npy", npy(0, 12));
const differ = await refused(client.request("open", { paths: ["/set"] }), "size", "different sizes");
equal([differ.sizes, differ.suggest.length], [{ "12×12×12": 1, "16×16×16": 2 }, 3], "sizes");
put("/odd/a.npy", npy(0, 13));
put("/odd/b.nii", text("no image"));
const odd = await refused(client.request("open", { paths: ["/odd"], set: ["data.skip_bad=true"] }), "config", "no patch size divides");
equal([odd.suggest, odd.refused.map((r) => r.name)], [[14, 14, 14], ["/odd/b.nii"]], "a size that patches divide");
put("/table.csv", text("file,label\na,cat\nb,dog\nc.npy,cat\n"));
const fitted = await client.request("open", { paths: ["/set"], labels: "/table.csv", set: [`data.size=[${differ.suggest}]`, "data.val=0", "data.test=0"] });
equal([fitted.classes, fitted.labels], [["cat", "dog"], [0, 1, 0]], "labels from a table");

// Data without labels have no tasks, only figures.
put("/plain.npy", npy(24, 12));
put("/one/a.npy", npy(0, 16));
let told = 0;
const count = (e) => { if (e.event === "progress") told = e.done; };
const plain = { paths: ["/plain.npy"], config: [config], set: ["encoder.patch_size=[3]", "max_steps=1"] };
await client.request("open", { ...plain, paths: ["/one"], set: [...plain.set, "encoder.patch_size=[4]"] }, count);
equal(told, 1, "progress of reading");
for (const [set, reads] of [[[], 0], [["data.size=[16,16,16]"], 0], [["data.size=[12,12,12]"], 1], [["data.size=[12,12,12]", "seed=3"], 0], [[], 1], [["data.fit=resize"], 1]]) {
  told = 0;
  await client.request("open", { ...plain, paths: ["/one"], set: [...plain.set, "encoder.patch_size=[2]", ...set] }, count);
  equal(told, reads, `reading again with ${set}`);
}
told = 0;
await client.request("open", { ...plain, paths: ["/one"], set: [...plain.set, "encoder.patch_size=[2]", "data.fit=resize"], reread: true }, count);
equal(told, 1, "reading again");
equal((await client.request("open", plain)).dense, false, "labels of voxels");
await client.request("train", {});
const nothing = await client.request("probe");
equal(nothing.tasks, [], "tasks without labels");
holds(nothing.notes[0].includes("no labels") && nothing.health.rankme[0] >= 1, JSON.stringify(nothing));
const { names } = await client.request("open", plain);
put("/alike.csv", new TextEncoder().encode(`file,label\n${names.map((name) => `${name},ill`).join("\n")}\n`));
await client.request("open", { ...plain, labels: "/alike.csv" });
const alike = await client.request("probe");
equal(alike.tasks, [], "tasks with labels that are all the same");
holds(alike.notes[0].includes("all the same, ill") && alike.health.rankme[0] >= 1, JSON.stringify(alike));

// Scans.
if (Deno.args.length > 0) {
  const [folder] = Deno.args, names = [];
  for (const e of Deno.readDirSync(folder)) if (e.name.endsWith(".nii.gz") || e.name.endsWith(".nii")) names.push(e.name);
  names.sort();
  for (const name of names.slice(0, 6)) put(`/scans/${name}`, Deno.readFileSync(`${folder}/${name}`));
  const e = await refused(client.request("open", { paths: ["/scans"] }), "size", "different sizes");
  const scans = await client.request("open", { paths: ["/scans"], config: [config], set: [`data.size=[${e.suggest}]`, "encoder.patch_size=[]", "data.val=1", "data.test=1", "max_steps=2"] }, count);
  equal([scans.samples, scans.size, told], [6, e.suggest, 6], "scans");
  holds(scans.formats.every((f) => f.startsWith("NIfTI")) && scans.spacings.every((s) => s.every((v) => v > 0)), "headers");
  await client.request("train", {});
  const list = [];
  await client.request("features", { sample: 0 }, (event) => { if (event.event === "picture") list.push(event); });
  const patch = scans.grid.reduce((a, b) => a * b, 1);
  equal(list.map((p) => bytes(p.colours).length), [3 * patch, 3 * patch], "features of a scan");
  const v = await client.request("view", { sample: 0, out: "/scan" });
  equal((await get("/scan")).length, v.size.reduce((a, b) => a * b, 1), "a scan's bytes");
  await client.request("open", { paths: ["/scans"], config: [config], set: ["data.spacing=[2, 1, 1]", "data.size=[18, 36, 36]", "data.val=1", "data.test=1"] });
  equal((await client.request("view", { sample: 0, out: "/scan" })).spacing, [2, 1, 1], "the spacing of what is viewed");
}

console.log("all looks");
end();
Deno.exit(0);
