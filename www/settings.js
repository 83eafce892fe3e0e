// settings.js: few choices over the whole configuration as text.
//
// What is sent are layers: a recipe, or the person's own text, and over it the
// choices of the form. What comes back is the complete configuration, which the
// text field shows and the form follows.

import demo from "../internal/config/demo.toml";
import { $, download, options, say } from "./dom.js";
import { bytes, count, plain, shape } from "./words.js";

// Sizes of the encoder and of the predictor that suits it. Wider ones want a
// lower learning rate.
const sizes = [
  { value: "tiny", text: "Tiny: 3 blocks, 64 wide", encoder: [64, 3, 4], predictor: [32, 2], rate: 3e-3 },
  { value: "small", text: "Small: 4 blocks, 128 wide", encoder: [128, 4, 4], predictor: [64, 3], rate: 2e-3 },
  { value: "medium", text: "Medium: 6 blocks, 256 wide", encoder: [256, 6, 8], predictor: [128, 4], rate: 1e-3 },
  { value: "large", text: "Large: ViT-S, 12 blocks, 384 wide", encoder: [384, 12, 6], predictor: [192, 6], rate: 5e-4 },
];

const recipes = [
  { value: "recommended", text: "Recommended", says: "Made for short trainings: the paper’s prediction with a term (SIGReg) that keeps features from collapsing." },
  { value: "default", text: "I-JEPA", says: "The prediction alone, as nidl has it with its defects mended. Wants long training." },
  { value: "nidl", text: "nidl", says: "Exactly what nidl’s IJEPA class does." },
  { value: "paper", text: "Paper", says: "Schedules and masks as in the paper’s released code. Wants long training." },
];
const own = { value: "own", text: "Your own text", says: "What the text below says, with the choices that you make here over it." };

// tables of a TOML file, by name; what stands before the first is "".
/** @param {string} toml @returns {Map<string, string>} */
function tables(toml) {
  const found = new Map([["", ""]]);
  let name = "";
  for (const line of toml.split("\n")) {
    name = /^\[([^[\]]+)\]/.exec(line)?.[1] ?? name;
    found.set(name, `${found.get(name) ?? ""}${line}\n`);
  }
  return found;
}

/** @param {string} toml a complete configuration, as the program writes it @param {string} key */
export function valueOf(toml, key) {
  const at = key.lastIndexOf("."), name = key.slice(at + 1);
  const text = tables(toml).get(at < 0 ? "" : key.slice(0, at)) ?? "";
  return new RegExp(`^${name} = (.*?)\\s*(?:#.*)?$`, "m").exec(text)?.[1].replace(/^["'](.*)["']$/, "$1");
}

const demoTables = tables(demo);
const recipe = `${demoTables.get("")}\n[encoder]\npos_embed = "sincos"\nclass_token = false\n${demoTables.get("regularize_tokens")}${demoTables.get("regularize_pooled")}`;
const generatedData = ["data", "data.phantoms", "probe"].map((t) => demoTables.get(t)).join("\n");

export class Settings {
  // changed is called after every change; it opens the data with what layers() says.
  // anew is called where nothing is chosen any more; it opens them as fresh data are.
  /** @param {() => void} changed @param {() => void} anew */
  constructor(changed, anew) {
    this.changed = changed;
    this.anew = anew;
    this.text = null; // the person's own configuration, or that of a run to go on with
    this.ofRun = false;
    /** @type {Map<string, any>} choices made in the form over the text */
    this.over = new Map();
    this.generated = false;
    this.size = ""; // of a sample, as the person or the page chose it
    this.config = ""; // complete
    options($("preset"), recipes);
    options($("model-size"), sizes);
    $("preset").addEventListener("change", () => this.choosePreset());
    $("model-size").addEventListener("change", () => this.choose(this.sizeKeys(this.chosenSize())));
    $("epochs").addEventListener("change", () => this.chooseEpochs());
    $("sample-size").addEventListener("change", () => this.chooseSampleSize());
    $("settings-form").addEventListener("submit", (e) => e.preventDefault());
    $("config-text").addEventListener("change", () => this.import($("config-text").value));
    $("config-import").addEventListener("change", async (e) => {
      const file = e.target.files[0];
      e.target.value = "";
      if (file) await this.importFile(file);
    });
    $("config-export").addEventListener("click", () => download("config.toml", this.config, "text/plain"));
    $("config-reset").addEventListener("click", () => this.reset());
  }

  /** @param {File} file */
  async importFile(file) {
    if (file.size > 1 << 20) return this.fail(new Error(`${file.name} has ${bytes(file.size)}: a configuration is a short text file`));
    this.import(await file.text());
    $("config-details").open = true;
  }

  // take makes a text all that the settings say, without reading the data by it.
  /** @param {string|null} toml null: none @param {boolean} [ofRun] it is that of a run, and of its data alone */
  take(toml, ofRun = false) {
    this.text = toml;
    this.ofRun = ofRun;
    this.over.clear();
    this.size = "";
    if (toml == null) $("preset").value = "recommended";
  }

  /** @param {string} toml */
  import(toml) {
    this.take(toml);
    this.changed();
  }

  reset() {
    this.take(null);
    this.anew();
  }

  choosePreset() {
    if ($("preset").value === "own") return;
    this.text = null;
    this.over.clear();
    this.changed();
  }

  chooseEpochs() {
    const n = Math.round(Number($("epochs").value));
    if (!(n >= 1)) return say($("settings-error"), "Epochs is how often every sample is seen: a whole number of 1 or more.");
    this.choose([["max_epochs", n], ["max_steps", 0], ...(this.recommended() ? [["warmup_epochs", n / 10]] : [])]);
  }

  chooseSampleSize() {
    const text = $("sample-size").value.trim(), numbers = text.split(/[^0-9]+/).filter(Boolean).map(Number);
    if (text && (numbers.length < 2 || numbers.length > 3 || numbers.some((n) => n < 4 || n > 4096))) {
      return say($("settings-error"), "The size of a sample is two numbers for images or three for volumes, such as 64 × 64 × 64.");
    }
    this.size = numbers.length ? `[${numbers.join(", ")}]` : "";
    if (this.text != null) this.over.delete("data.size");
    this.over.delete("encoder.img_size");
    this.changed();
  }

  /** @param {[string, any][]} keys */
  choose(keys) {
    for (const [k, v] of keys) this.over.set(k, v);
    this.changed();
  }

  recommended() { return this.text == null && $("preset").value === "recommended"; }
  chosenSize() { return sizes.find((s) => s.value === $("model-size").value); }

  /** @param {any} s @returns {[string, any][]} */
  sizeKeys(s) {
    if (!s) return [];
    const keys = [["encoder.embed_dim", s.encoder[0]], ["encoder.depth", s.encoder[1]], ["encoder.num_heads", s.encoder[2]],
      ["predictor_embed_dim", s.predictor[0]], ["predictor_depth", s.predictor[1]]];
    if (this.recommended()) keys.push(["learning_rate", s.rate]);
    return keys;
  }

  // suggest sets what suits new data and this machine, where the person has not
  // chosen: a size of the model, and so many epochs that training is worth it.
  /** @param {{generated: boolean, software: boolean, training: number}} about */
  suggest({ generated, software, training }) {
    this.generated = generated;
    if (this.text != null) return;
    const size = sizes.find((s) => s.value === (generated || software ? "tiny" : "small"));
    if (!this.over.has("encoder.depth")) for (const [k, v] of this.sizeKeys(size)) this.over.set(k, v);
    if (training === 0 || this.over.has("max_epochs") || !this.recommended()) return;
    const batch = Math.max(2, Math.min(16, training)), epochs = generated ? 8 : Math.max(2, Math.min(300, Math.ceil(600 * batch / Math.max(training, 1))));
    const keys = [["batch_size", batch], ["max_epochs", epochs], ["max_steps", 0], ["warmup_epochs", epochs / 10]];
    for (const [k, v] of keys) this.over.set(k, v);
  }

  // layers are the command's arguments.
  layers() {
    const set = [...this.over].map(([k, v]) => `${k}=${v}`);
    if (this.size) set.push(`data.size=${this.size}`);
    if (this.text != null) return { config: [this.text], set };
    const preset = $("preset").value;
    const config = [this.recommended() ? recipe : `preset = "${preset === "own" ? "default" : preset}"\n`];
    if (this.generated) config.push(generatedData);
    // What cannot be read is named in the list and left out.
    return { config: [...config, "[data]\nskip_bad = true\n"], set };
  }

  // fresh forgets what belongs to other data.
  fresh() {
    this.size = "";
    if (this.text != null) return;
    for (const k of ["max_epochs", "max_steps", "warmup_epochs", "batch_size"]) this.over.delete(k);
  }

  // showText shows the person's own text where nothing could be opened with it.
  showText() {
    options($("preset"), [...recipes, own]);
    $("preset").value = "own";
    $("preset-says").textContent = own.says;
    $("config-text").value = this.text;
  }

  /** @param {any} opened */
  show(opened) {
    this.config = opened.config;
    const get = (/** @type {string} */ k) => valueOf(opened.config, k);
    if (document.activeElement !== $("config-text")) $("config-text").value = opened.config;
    say($("config-error"), "");
    say($("settings-error"), "");

    options($("preset"), this.text == null ? recipes : [...recipes, own]);
    if (this.text != null) $("preset").value = "own";
    $("preset-says").textContent = (this.text != null ? own : recipes.find((r) => r.value === $("preset").value) ?? own).says;

    const encoder = ["embed_dim", "depth", "num_heads"].map((k) => Number(get(`encoder.${k}`)));
    const size = sizes.find((s) => s.encoder.every((v, i) => v === encoder[i]));
    options($("model-size"), size ? sizes : [...sizes, { value: "own", text: `${count(encoder[1], "block")}, ${encoder[0]} wide` }]);
    $("model-size").value = size?.value ?? "own";

    const batch = Number(get("batch_size")), accumulate = Number(get("accumulate_grad_batches")) || 1, most = Number(get("max_steps"));
    const epoch = Math.max(1, Math.floor(Math.floor((opened.splits.train ?? 0) / batch) / accumulate)), epochs = Number(get("max_epochs"));
    $("epochs").value = String(epochs);
    this.total = most > 0 ? Math.min(most, epochs * epoch) : epochs * epoch;
    $("epochs-says").textContent = most > 0 && most < epochs * epoch ? `ends at ${count(most, "update")}` : `${count(this.total, "update")} of ${count(batch, "sample")}`;

    $("sample-size").value = opened.size.join(" × ");
    const patch = get("encoder.patch_size")?.match(/\d+/g)?.map(Number) ?? [];
    const grid = opened.size.map((n, i) => n / (patch[i] ?? patch[0] ?? 1));
    $("sample-size-says").textContent = `${grid.reduce((a, b) => a * b, 1).toLocaleString("en")} patches of ${shape(patch.length === 1 ? opened.size.map(() => patch[0]) : patch)}`;
  }

  // fail puts an error beside what caused it.
  /** @param {any} error */
  fail(error) {
    const own = this.text != null;
    say($(own ? "config-error" : "settings-error"), plain(error));
    if (own) $("config-details").open = true;
  }
}

// sizesIn is a refusal of memory as people read it: no shapes, and bytes in their units.
/** @param {string} why */
const sizesIn = (why) => why.replaceAll(/ \[[\d ]+\]/g, "").replaceAll(/(\d+) bytes|(?<=s at most )(\d+)/g, (_, n, most) => bytes(Number(n ?? most)) ?? "").replace(/: out of device memory/, "");

// fitSentence says in plain words whether a training fits.
/** @param {any} e the result of the command estimate */
export function fitSentence(e) {
  const need = bytes(e.total);
  if (!e.fits) {
    const why = e.why ? sizesIn(plain(e.why)) : `It needs ${need}, and there are ${bytes(e.limit)}.`;
    const change = e.batch > 0
      ? `A batch of ${count(e.batch, "sample")} would: in “All settings as text”, set batch_size = ${e.batch} and accumulate_grad_batches = ${Math.ceil(e.batch_size / e.batch)}. Or choose`
      : "Choose";
    return `Does not fit. ${why} ${change} a smaller model, or smaller samples.`;
  }
  if (!e.limit) {
    // Browsers keep the size of the memory to themselves.
    return e.total < 2 ** 30 ? `Should fit: it needs ${need} of graphics memory.` : `May fit: it needs ${need} of graphics memory, and the browser does not tell how much there is. If it runs out, the page says so, and nothing is lost.`;
  }
  return e.total > e.limit * 0.7 ? `Just fits: it needs ${need} of ${bytes(e.limit)}.` : `Fits well: it needs ${need} of ${bytes(e.limit)}.`;
}
