// Drives wgjepa.wasm in a worker by the protocol, as a page does. It throws
// where something is not as it should be.

import { equal, holds, npy, program, refused } from "./program.js";

const { client, put, get, send, end } = await program();

const config = `
batch_size = 4
max_epochs = 12
warmup_epochs = 1
predictor_embed_dim = 24
predictor_depth = 1
[encoder]
embed_dim = 24
depth = 1
num_heads = 2
patch_size = [4]
[data]
val = 2
test = 2
`;

// Commands out of place, and what is no command.
await refused(client.request("train"), "command", "no data are open");
await refused(client.request("stop"), "command", "no training runs");
await refused(client.request("dance"), "command", 'no command "dance"');
await refused(client.request("open", { paths: [] }), "command", "no data");
send("{");
send(JSON.stringify({ v: 9, id: 1000, command: "open" }));

// Files that cannot be used: the program says why and lives on.
put("/in/bad.npy", new TextEncoder().encode("\x93NUMPY not really"));
put("/in/empty.nii.gz", new Uint8Array(0));
await refused(client.request("open", { paths: ["/in/bad.npy"] }), "data", "bad.npy");
await refused(client.request("open", { paths: ["/in/empty.nii.gz"] }), "data", "empty.nii.gz");
await refused(client.request("open", { paths: ["/nowhere"] }), "data", "nowhere");
await refused(client.request("open", { paths: ["phantoms"], config: ["learning_rat = 1"] }), "config", 'did you mean "learning_rate"');

put("/in/set.npy", npy(24, 16));
const opened = await client.request("open", { paths: ["/in/set.npy"], config: [config], set: ["data.normalize=z"] });
equal([opened.samples, opened.channels, opened.size, opened.splits], [24, 1, [16, 16, 16], { test: 2, train: 20, val: 2 }], "open");
const fit = await client.request("estimate");
holds(fit.total > 0 && fit.fits === true, `estimate: ${JSON.stringify(fit)}`);
await client.request("open", { paths: ["/in/set.npy"], config: [config], set: ["batch_size=20", "encoder.patch_size=[2]", "encoder.embed_dim=1024", "encoder.num_heads=16", "predictor_embed_dim=32"] });
const unfit = await client.request("estimate");
holds(!unfit.fits && unfit.why && unfit.batch > 0 && unfit.batch < 20 && unfit.batch_size === 20, `estimate of too large a batch: ${JSON.stringify(unfit)}`);
await client.request("open", { paths: ["/in/set.npy"], config: [config], set: ["data.normalize=z"] });
await refused(client.request("embed", { out: "/e.npy" }), "command", "nothing was trained yet");

// Training: pause holds it still, other commands are answered in between, stop
// ends it with a state to continue from.
const steps = [];
let sawStep;
const stepSeen = () => new Promise((resolve) => { sawStep = resolve; });
const onEvent = (e) => {
  if (e.event !== "progress") return;
  steps.push(e.stats.step);
  sawStep?.();
};
const seen = stepSeen();
const training = client.request("train", { dir: "/run", stats_ms: 1 }, onEvent);
training.catch(() => {});
await seen;
await refused(client.request("train"), "command", "while a training runs");
await client.request("pause");
const held = steps.length;
if (steps.at(-1) >= 60) throw new Error("the pause came too late to be tested: make the training longer");
await client.request("save", { path: "/paused.safetensors" });
await client.request("embed", { out: "/e.npy", split: "train" });
await new Promise((resolve) => setTimeout(resolve, 200));
equal(steps.length, held, "updates while paused");
equal((await get("/e.npy")).length, 128 + 4 * 20 * 24, "bytes of embeddings");
const told = async (path) => new TextDecoder().decode(await get(path)).trimEnd().split("\n");
const ids = await told("/e.ids.csv");
equal([ids[0], ids.length], ["row,name", 21], "the table of names");
await client.request("embed", { out: "/e.csv", split: "train", set: ["probe.pooling=mean+std"] });
const table = (await told("/e.csv")).map((line) => line.split(","));
equal([table.length, table[0].length, table[0][1], table[0].at(-1)], [21, 1 + 48, "z0", "z47"], "the table of embeddings");
const first = new Float32Array((await get("/e.npy")).slice(128, 128 + 4 * 24).buffer);
holds(first.every((v, d) => Math.abs(v - Number(table[1][1 + d])) < 1e-4), "the means of the table");
await refused(client.request("embed", { out: "/e" }), "command", "FILE.npy or FILE.csv");
const at = steps.at(-1);
await client.request("stop");
const result = await training;
equal([result.stopped, result.step], [true, at], "stopped while paused");

// Continuing from the state of the pause and from that of the stop.
const whole = async (from) => {
  await client.request("open", { paths: ["/in/set.npy"], config: [opened.config] });
  const loaded = await client.request("load", { path: from });
  const running = client.request("train", { dir: "/again", stats_ms: 1000 });
  await client.request("pause");
  await client.request("resume");
  const r = await running;
  equal([r.step, r.stopped], [60, false], `training from step ${loaded.step}`);
  return await get("/again/weights.safetensors");
};
const a = await whole("/paused.safetensors");
const b = await whole("/run/checkpoint.safetensors");
if (a.length < 1000 || a.some((v, i) => v !== b[i])) throw new Error("two ways to the end gave different weights");

// A state that is damaged, and one of another run.
const damaged = (await get("/run/checkpoint.safetensors")).slice();
damaged[damaged.length - 5] ^= 1;
put("/damaged.safetensors", damaged);
await refused(client.request("load", { path: "/damaged.safetensors" }), "other", "damaged");
await client.request("open", { paths: ["/in/set.npy"], config: [config], set: ["learning_rate=1e-5"] });
await client.request("load", { path: "/run/checkpoint.safetensors" });
await refused(client.request("train"), "other", "another run");

console.log("all of the protocol");
end();
Deno.exit(0);
