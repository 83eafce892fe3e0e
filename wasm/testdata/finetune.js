// Trains a little, then finetunes on the labels: once whole, once stopped and
// resumed. It throws where something is not as it should be.

import { equal, holds, program, refused } from "./program.js";

const { client, get, end } = await program();
const config = `
batch_size = 4
max_epochs = 1
max_steps = 2
warmup_epochs = 0.1
predictor_embed_dim = 24
predictor_depth = 1
min_keep = 1
[encoder]
embed_dim = 24
depth = 1
num_heads = 2
patch_size = [4]
[data]
val = 8
test = 12
[data.phantoms]
size = 16
count = 48
[probe]
resamples = 100
[finetune]
epochs = 3
batch_size = 8
warmup_epochs = 1
patience = 0
`;
await client.request("open", { paths: ["phantoms"], config: [config] });
await refused(client.request("finetune", { dir: "/tuned" }), "command", "nothing was trained yet");
await client.request("train", {});
await client.request("save", { path: "/before", weights: true });
await refused(client.request("finetune", { set: ["finetune.epochs=0"] }), "config", "finetune.epochs");
await refused(client.request("finetune", { set: ["data.val=1"] }), "command", "keys of the table");

const epochs = [], steps = [];
const r = await client.request("finetune", { dir: "/whole" }, (e) => (e.epoch === undefined ? steps : epochs).push(e));
equal([r.samples, r.steps, r.scores.length], [[28, 8, 12], 9, 3], "the result");
equal(epochs.map((e) => e.step), [0, 3, 6, 9], "epochs");
holds(r.validation_loss[1] <= r.validation_loss[0], "the best is worse than the start");
equal(steps.at(-1).total, 9, "steps");
holds(new TextDecoder().decode(await get("/whole/predictions.csv")).startsWith("name,split,label,predicted,p("), "predictions");

// The training's own encoder stays as it was.
await client.request("save", { path: "/after", weights: true });
equal(await get("/after"), await get("/before"), "the trainer's weights");

// Stopped and resumed it ends in the same bits.
let told = false;
await refused(client.request("finetune", { dir: "/parts" }, (e) => {
  if (e.epoch === undefined && e.step >= 4 && !told) {
    told = true;
    client.request("stop");
  }
}), "stopped", "finetune was stopped");
const again = await client.request("finetune", { dir: "/parts", resume: true });
equal(again, r, "the result of a resumed finetuning");
equal(await get("/parts/weights.safetensors"), await get("/whole/weights.safetensors"), "the weights of a resumed finetuning");

// Of a file, the head alone.
const head = await client.request("finetune", { weights: "/before", set: ["finetune.head_only=true", "finetune.epochs=1"] });
equal(head.steps, 3, "steps of the head alone");
console.log("finetuned");
end();
