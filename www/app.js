// app.js: the page. It brings files to the program, the program's events to
// what shows them, and keeps the run safe.
//
// document.documentElement.dataset.state says where the page stands: loading,
// empty (no data), data (ready to train), training, paused, done (ended or
// stopped) or error (the program is gone).

import { Curves } from "./curves.js";
import { showData, showLabelChoice, showRefused } from "./data.js";
import { decoding } from "./dicom.js";
import { diagnostics, hide, note } from "./diagnostics.js";
import { $, download, el, options, say } from "./dom.js";
import { chosen, drops, sorted } from "./drop.js";
import { pictures } from "./pictures.js";
import { advice, where } from "./help.js";
import { runBench } from "./bench.js";
import { clearProbe, showProbe } from "./probe.js";
import { Run, newName, showRuns } from "./runs.js";
import { Settings, fitSentence } from "./settings.js";
import { showSimilar } from "./similar.js";
import { Finetune } from "./finetune.js";
import { estimate as storageEstimate, lockRun, persist, persisted, program as startProgram, registerServiceWorker } from "./storage.js";
import { Viewer } from "./viewer.js";
import { version } from "./assets.js";
import { ago, bare, count, duration, figure, plain } from "./words.js";

/**
 * What the page knows.
 * @typedef {{paths: string[], root: string, name: string, size: number, generated: boolean, tables: string[], given: import("./drop.js").Given[], labels: string}} Source
 */
const page = {
  opfs: false,
  /** @type {any[]} */ adapters: [],
  /** @type {Source|null} */ source: null,
  /** @type {any} result of open */ opened: null,
  /** @type {any} */ fit: null,
  /** @type {Run|null} the run that trains, trained or is to go on */ run: null,
  /** @type {any} a run that waits for its files */ waitsFor: null,
  step: 0,
  total: 0,
  trained: false, // the program holds a trainer
  /** @type {any} */ stats: null,
  error: "",
  title: document.title,
};

const testing = new URLSearchParams(location.search).has("test");
const program = startProgram({ test: testing, onEnded: ended, onTrouble: ({ message }) => log(message, "warn") });

/** @param {string} command @param {any} [args] @param {(e: any) => void} [onEvent] */
const request = (command, args = {}, onEvent = () => {}) => program.client.request(command, args, (e) => {
  if (e.event === "warning") log(plain(e.message), "warn");
  else onEvent(e);
});
const get = program.get;
const state = () => document.documentElement.dataset.state;
const running = () => state() === "training" || state() === "paused";
const adapter = () => $("adapter").value;

const settings = new Settings(() => open());
const curves = new Curves();
const viewer = new Viewer({ request, get, adapter, step: () => page.step, trained: () => page.trained, chosen: () => $("similar").replaceChildren() });

const finetune = new Finetune({ request, hand: (path, name) => hand(path, name), adapter, stem: () => stem(), note: (text) => note(`info: ${text}`) });

// ---- what is said

/** @param {string} s */
function enter(s) {
  document.documentElement.dataset.state = s;
  const trains = running();
  $("train").hidden = trains;
  $("pause").hidden = $("stop").hidden = !trains;
  $("pause").textContent = s === "paused" ? "Continue" : "Pause";
  $("save").hidden = !page.trained;
  for (const id of ["downloads", "similar-section", "probe"]) $(id).hidden = !page.trained;
  finetune.show(page.trained && !trains && (page.opened?.classes?.length ?? 0) > 1);
  if (s !== "empty") $("resume").open = false;
  for (const e of $("settings-form").elements) e.disabled = trains;
  for (const id of ["config-import", "config-reset", "try-generated", "files", "folder", "labels-choice", "bench-run"]) $(id).disabled = trains;
  $("config-text").readOnly = trains;
  trainLabel();
}

function trainLabel() {
  const goOn = page.run && !page.run.finished && page.run.step > 0 && page.opened && page.run.config === page.opened.config;
  $("train").textContent = goOn ? `Continue from update ${page.run.step}` : page.run?.step ? "Train a new run" : "Train";
  $("train").disabled = !page.opened || page.fit?.fits === false;
}

/** @param {string} text */
const status = (text) => { $("status").textContent = text; };

// log adds a message beside the training; the same one is not said twice in a row.
/** @param {string} text @param {"info"|"warn"|"bad"} kind @param {...(Node|string)} more */
function log(text, kind = "info", ...more) {
  note(`${kind}: ${text}`);
  const box = $("messages"), last = box.lastElementChild;
  if (last?.dataset.text === text) return;
  box.append(el("p", { class: `message ${kind}`, "data-text": text }, el("span", { class: "kind" }, { info: "", warn: "Note: ", bad: "Problem: " }[kind]), text, ...more));
  while (box.children.length > 6) box.firstElementChild?.remove();
}

const button = (/** @type {string} */ text, /** @type {() => void} */ act) => el("button", { type: "button", class: "small", onclick: act }, text);

// ---- data

/** @param {import("./drop.js").Given[]} given */
async function take(given) {
  say($("drop-error"), "");
  if (running()) return say($("drop-error"), "A training runs: stop it before other data are opened. What it has learnt stays saved.");
  if (given.length === 0) return;
  hide(given.map((g) => g.path));
  const drop = sorted(given, "/data");
  try {
    if (drop.checkpoints.length > 1) throw new Error("several checkpoints were dropped: drop the one to go on from");
    if (drop.checkpoints.length === 1) await takeCheckpoint(drop.checkpoints[0].file);
    if (drop.config.length > 1) throw new Error("several .toml files were dropped: drop the one with the settings");
    if (drop.config.length === 1) {
      settings.text = await drop.config[0].file.text();
      settings.over.clear();
    }
    if (drop.data.length === 0) return page.source ? open() : undefined;
    if (drop.paths.length === 0 && page.source && !page.source.generated) { // a table for what is there
      for (const g of drop.tables) await program.put(`/data/${g.path}`, g.file);
      page.source.tables.push(...drop.tables.map((g) => `/data/${g.path}`));
      page.source.given.push(...drop.tables);
      page.source.labels = `/data/${drop.tables[0].path}`;
      showLabelChoice(page.source.tables);
      $("labels-choice").value = page.source.labels;
      return open();
    }
    if (drop.paths.length === 0) throw new Error("these files hold no images: drop the scans, too");
    status(`Taking ${count(drop.data.length, "file")}…`);
    opening++; // what is being opened gives way
    await program.remove("/data").catch(() => {});
    await Promise.all(drop.data.map((g) => program.put(`/data/${g.path}`, g.file)));
    const size = drop.data.reduce((n, g) => n + g.file.size, 0);
    const top = drop.data.length === 1 ? drop.data[0].path : drop.data[0].path.split("/").length > 1 ? drop.data[0].path.split("/")[0] : count(drop.data.length, "file");
    await begin({ paths: drop.paths, root: "/data", name: top, size, generated: false, tables: drop.tables.map((g) => `/data/${g.path}`), given: drop.data, labels: "" });
  } catch (e) {
    status("Not opened.");
    say($("drop-error"), plain(e));
  }
}

/** @param {File} file */
async function takeCheckpoint(file) {
  await program.put("/in/checkpoint.safetensors", file);
  const { config, step } = await request("load", { path: "/in/checkpoint.safetensors" });
  settings.text = config;
  settings.over.clear();
  page.waitsFor = { from: "/in/checkpoint.safetensors", step, title: file.name };
  log(`${file.name} is at update ${step}. Drop the files that it was trained on, and training goes on from there.`);
  $("training").hidden = false;
}

const generated = () => begin({ paths: ["phantoms"], root: "", name: "Generated volumes", size: 0, generated: true, tables: [], given: [], labels: "" });

// begin opens data that are new to the page.
/** @param {Source} source */
async function begin(source) {
  page.source = source;
  if (!page.waitsFor) page.run = null;
  page.fit = null;
  $("messages").replaceChildren();
  $("fit").textContent = "";
  page.trained = false;
  clearProbe();
  curves.load(null);
  settings.fresh();
  settings.suggest({ generated: source.generated, software: software(), training: source.generated ? 1024 : 0 });
  showLabelChoice(source.tables, source.generated);
  await open(true);
}

const adapterInfo = () => page.adapters.find((a) => choiceOf(a) === adapter());
const choiceOf = (/** @type {any} */ a) => (a.Backend === "Go" ? "cpu" : String(a.Index));
const software = () => /CPU/.test(adapterInfo()?.Kind ?? "");

let opening = 0; // the last open that was asked for

// open reads the data with the settings as they are; fresh data also get
// settings that suit them.
async function open(fresh = false) {
  const source = page.source;
  if (!source) return;
  const turn = ++opening;
  status(fresh ? "Reading…" : "Checking the settings…");
  $("train").disabled = true; // until these settings are known to be good
  say($("drop-error"), "");
  const progress = (/** @type {any} */ e) => { if (e.event === "progress" && turn === opening) status(`Reading ${e.done.toLocaleString("en")} of ${count(e.total, "file")}…`); };
  const ask = (reread = false) => decoding((reread) => request("open", { paths: source.paths, ...(source.labels ? { labels: source.labels } : {}), ...settings.layers(), reread }, progress), { source, program, current: () => turn === opening, tell: status }, reread);
  try {
    let opened;
    try {
      opened = await ask(fresh);
    } catch (e) {
      if (!e.suggest || settings.size) throw e;
      settings.size = `[${e.suggest.join(", ")}]`;
      opened = await ask(fresh);
      const why = e.sizes ? `The samples have ${Object.keys(e.sizes).length} different sizes` : "No patches of one size fill these samples well";
      log(`${why}: each is cropped or padded to ${e.suggest.join(" × ")}. You may choose another size in the settings.`);
    }
    if (turn !== opening || running()) return;
    if (fresh && !source.generated && !page.waitsFor) {
      settings.suggest({ generated: false, software: software(), training: opened.splits.train ?? opened.samples });
      opened = await ask();
      if (turn !== opening) return;
    }
    page.opened = opened;
    hide(opened.names ?? []);
    settings.show(opened);
    for (const id of ["data", "settings", "training", "viewer"]) $(id).hidden = false;
    showData(opened, source);
    showRefused(opened.refused);
    if (state() !== "done" || fresh) enter("data");
    status(`${count(opened.samples, "sample")} ready.`);
    if (fresh && page.waitsFor) await goOn(page.waitsFor);
    await fit();
    if (fresh || viewer.data?.fingerprint !== opened.fingerprint || String(viewer.data?.size) !== String(opened.size)) viewer.open(opened);
    else viewer.data = opened;
  } catch (e) {
    if (turn !== opening) return;
    if (fresh || e.kind === "data") {
      page.opened = fresh ? null : page.opened;
      status("Not opened.");
      say($("drop-error"), `${page.waitsFor ? `These data do not suit ${page.waitsFor.meta?.title ?? page.waitsFor.title}. ` : ""}${plain(e)}`);
      if (e.refused?.length === 1) {
        say($("drop-error"), "", el("strong", {}, bare(e.refused[0].name)), ` ${plain(e.refused[0].reason)}`);
      } else if (e.refused?.length) {
        const place = el("div");
        showRefused(e.refused, place);
        $("drop-error").append(place);
      }
      note(`bad: ${e.message}`);
      if (fresh) {
        const change = e.kind === "config" || e.kind === "size";
        for (const id of ["data", "viewer", "training"]) $(id).hidden = true;
        $("settings").hidden = !change;
        enter(change ? "data" : "empty");
      }
    } else {
      status("The settings need a change.");
      settings.fail(e);
    }
    trainLabel();
  }
}

async function fit() {
  const turn = opening;
  try {
    const answer = await request("estimate", { adapter: adapter() });
    if (turn !== opening) return;
    page.fit = answer;
    $("fit").textContent = fitSentence(answer);
    $("fit").dataset.fits = String(answer.fits);
  } catch (e) {
    page.fit = null;
    $("fit").textContent = plain(e);
    $("fit").dataset.fits = "false";
  }
  trainLabel();
}

// ---- runs that are kept

async function listRuns() {
  const runs = await program.runs().catch(() => []);
  $("resume").hidden = runs.length === 0;
  $("resume").open = state() === "empty";
  showRuns(runs, resume, async (name) => {
    await program.removeRun(name);
    listRuns();
  });
}

// resume goes on with a run that is kept in this browser.
/** @param {any} kept */
async function resume(kept) {
  if (running()) return say($("drop-error"), "A training runs: stop it before another run is opened. What it has learnt stays saved.");
  const meta = kept.meta;
  if (!meta) {
    return say($("drop-error"), `${kept.name} was not begun by this page, or its description is damaged. Drop its checkpoint and its data to go on.`);
  }
  const from = `/runs/${kept.name}/checkpoint.safetensors`;
  try {
    // The description may be older than the state, where the tab went between the two.
    if (!meta.finished) meta.saved = (await request("load", { path: from })).step;
  } catch (e) {
    return say($("drop-error"), plain(e));
  }
  settings.text = meta.config;
  settings.over.clear();
  settings.size = "";
  page.waitsFor = { run: kept.name, meta, from };
  if (meta.source.generated) return generated();
  if (meta.kept) {
    const root = `/runs/${kept.name}/data`;
    const paths = meta.source.paths.map((/** @type {string} */ p) => p.replace(/^\/data/, root));
    return begin({ ...meta.source, paths, root, given: [], labels: meta.source.labels?.replace(/^\/data/, root) ?? "" });
  }
  say($("drop-error"), `The data of ${meta.source.name} were not kept in this browser: drop the same files again, and training goes on from update ${meta.saved}.`);
  $("files").focus();
}

// goOn makes the opened data those of a run, if they are.
/** @param {any} wait */
async function goOn(wait) {
  const meta = wait.meta;
  page.waitsFor = null;
  if (meta && meta.fingerprint !== page.opened.fingerprint) {
    page.run = null;
    settings.text = null;
    say($("drop-error"), `These are not the files that ${meta.title} began with (their fingerprints differ), so that run cannot go on with them. Drop the same files, or train a new run with these.`);
    return open();
  }
  page.run = meta ? new Run(program, wait.run, meta) : new Run(program, newName(page.source.name), null);
  page.run.from = wait.from;
  page.run.opens = true;
  // The same adapter gives the same bits.
  const began = page.adapters.find((a) => meta?.adapter && a.Name === meta.adapter);
  if (began) $("adapter").value = choiceOf(began);
  else if (meta?.adapter) log(`This run began on ${meta.adapter}, which is not here: it goes on, though not to the same last digits.`);
  page.run.step = meta?.saved ?? wait.step;
  page.run.config = page.opened.config;
  page.step = page.run.step;
  curves.load(meta?.history);
  if (meta) setTimeout(train);
  else trainLabel();
}

// ---- training

async function train() {
  if (!page.opened || running()) return;
  if (finetune.running) await request("stop").catch(() => {});
  const opened = page.opened, source = page.source;
  const again = page.run && (page.run.opens || !page.run.finished) && page.run.step > 0 && page.run.config === opened.config;
  const run = again ? page.run : new Run(program, newName(source.name), null);
  const release = await lockRun(run.name);
  if (!release) {
    return log(`${run.title} is open in another tab: go on there, or close that tab and press Train again.`, "bad");
  }
  // What still looks at an encoder would keep training waiting.
  if (jobs.probing) await request("stop").catch(() => {});
  page.run = run;
  run.opens = false;
  if (!again || !run.meta) {
    run.start(opened, source, adapterInfo()?.Name ?? "");
    await run.describe().catch(() => {}); // a full browser says so when it saves
  }
  if (!again) {
    curves.load(null);
    clearProbe();
    page.step = 0;
  }
  page.trained = false;
  enter("training");
  status("Training.");
  $("saved").textContent = "";
  persist().catch(() => {});
  run.keepData(source).then((says) => says && log(says), (e) => log(`The data could not be kept in this browser (${plain(e)}) To go on another day, drop the same files again.`, "warn"));
  progressText("Preparing: compiling for this adapter…");
  for (let tries = 0; ;) {
    const before = page.step;
    try {
      if (run.from && (again || tries > 0)) await request("load", { path: run.from });
      const result = await request("train", { adapter: adapter(), dir: run.dir, checkpoint_every: 0, stats_ms: 200 }, trainEvent);
      release();
      await finish(result);
    } catch (e) {
      // A lost device comes back by itself once; where training moved on since, again.
      if (page.step > before + 20) tries = 0;
      if (e.kind === "lost" && tries++ === 0) {
        log(run.from ? `The graphics device was lost. Training begins again from the last autosave, update ${run.step}.` : "The graphics device was lost before anything was saved. Training begins again.", "warn");
        page.step = run.step;
        page.trained = false;
        continue;
      }
      release();
      failed(e);
    }
    break;
  }
}

/** @param {any} e */
function trainEvent(e) {
  if (e.event === "probe") return showProbe(e.result, e.step);
  if (e.event !== "progress" || !e.stats) return;
  page.stats = e.stats;
  page.step = e.stats.step;
  page.total = e.total;
  if (!page.trained) {
    page.trained = true;
    enter(state());
    jobs.begin();
  }
  curves.add(e.stats);
  $("progress").max = e.total;
  $("progress").value = e.stats.step;
  const rate = e.steps_per_second, left = e.seconds_left;
  page.rate = rate;
  if (state() === "training" && !$("pause").disabled) {
    progressText(`Update ${e.stats.step.toLocaleString("en")} of ${e.total.toLocaleString("en")}${rate ? ` · ${rate < 1 ? `${figure(1 / rate)} seconds an update` : `${figure(rate)} updates a second`} · ${left > 0.5 ? `${duration(left)} left` : "nearly done"}` : ""}`);
  }
  document.title = `${Math.floor(100 * e.stats.step / e.total)} % · wgjepa`;
}

/** @param {string} text */
function progressText(text) { $("progress-text").textContent = text; }

async function pause() {
  const pausing = state() === "training";
  $("pause").disabled = true;
  try {
    if (pausing) progressText("Pausing after the update at hand…");
    await request(pausing ? "pause" : "resume");
    if (!running()) return; // ended meanwhile
    enter(pausing ? "paused" : "training");
    status(pausing ? "Paused." : "Training.");
    if (pausing) progressText(`Paused at update ${page.step.toLocaleString("en")} of ${page.total.toLocaleString("en")}.`);
  } finally {
    $("pause").disabled = false;
  }
  if (pausing) await save(false);
}

/** @param {{step: number, total: number, stopped: boolean}} result */
async function finish(result) {
  const run = page.run;
  page.trained = true; // also where no update was left to do
  page.step = result.step;
  run.step = run.saved = result.step;
  run.savedAt = Date.now();
  run.from = `${run.dir}/checkpoint.safetensors`;
  run.finished = !result.stopped;
  run.history = curves.history;
  document.title = page.title;
  enter("done");
  $("progress").value = result.step;
  progressText(result.stopped ? `Stopped at update ${result.step.toLocaleString("en")} of ${result.total.toLocaleString("en")}. It is saved and can go on.` : `Finished: ${count(result.step, "update")}.`);
  status(result.stopped ? "Stopped." : "Training finished.");
  await run.describe().catch((e) => log(plain(e), "warn"));
  savedText();
  listRuns();
  await jobs.last();
}

/** @param {any} e */
function failed(e) {
  page.error = e.message;
  document.title = page.title;
  enter(page.run?.step ? "done" : "data");
  status("Training ended with a problem.");
  progressText(`Ended at update ${page.step}.`);
  const todo = e.kind === "lost" ? " It was lost again: close other programs and tabs that use the graphics processor, choose a smaller model, or another adapter; then continue from the last autosave."
    : e.kind === "memory" ? " Choose a smaller model, smaller samples or a smaller batch_size, then train again."
    : full(e) ? " The browser’s storage is full: remove runs that you do not need, or download the checkpoint." : "";
  log(plain(e) + todo, "bad", ...(page.trained ? [" ", button("Download the checkpoint", () => $("download-checkpoint").click())] : []));
}

const full = (/** @type {any} */ e) => /quota|ENOSPC|no space|storage is full/i.test(`${e.code ?? ""} ${e.kind ?? ""} ${e.message}`);

// jobs are what is done beside training, between its updates: saves, pictures,
// figures. Each takes so little of the time that training hardly notices.
const jobs = {
  busy: false,
  probing: false,
  /** @type {Record<string, {every: number, share: number, next: number, took: number}>} */
  list: {},
  probes: [0.25, 0.5, 0.75],
  timer: 0,

  begin() {
    const now = performance.now();
    const job = (/** @type {number} */ first, /** @type {number} */ every, /** @type {number} */ share) => ({ every, share, next: now + first, took: 0 });
    this.list = { save: job(4000, 15_000, 20), picture: job(3000, 5000, 12), health: job(2500, 8000, 25) };
    this.probes = [0.25, 0.5, 0.75].filter((f) => f * page.total > page.step);
    this.probeTook = 0;
    this.started = now;
    clearInterval(this.timer);
    this.timer = setInterval(() => this.tick(), 500);
  },

  async tick() {
    if (state() !== "training") {
      if (!running()) clearInterval(this.timer);
      return;
    }
    if (this.busy) return;
    this.busy = true;
    try {
      if (this.probes.length && page.step >= this.probes[0] * page.total && labelled()) {
        this.probes.shift();
        // Not where a probe would take more time than the training so far.
        if (this.probeTook < 0.4 * (performance.now() - this.started)) {
          const t = performance.now();
          await probe(true);
          this.probeTook = performance.now() - t;
        }
        return;
      }
      const now = performance.now(), due = Object.entries(this.list).find(([, j]) => now >= j.next);
      if (!due) return;
      const [name, j] = due;
      await this[name]();
      j.took = performance.now() - now;
      j.next = performance.now() + Math.max(j.every, j.share * j.took);
    } finally {
      this.busy = false;
    }
  },

  save: () => save(false),
  async picture() { if (!document.hidden && viewer.tab !== "masks") await viewer.refresh(); },
  async health() {
    try {
      const h = await request("health", { adapter: adapter() });
      curves.health(h.step ?? page.step, h);
    } catch (e) {
      note(`health: ${e.message}`);
      if (this.list.health) this.list.health.next = Infinity; // not asked again in this training
    }
  },

  // last is done once after training.
  async last() {
    await viewer.refresh(true);
    await this.health();
    await probe(false);
    page.run.history = curves.history;
    await page.run.describe().catch(() => {});
  },
};

const labelled = () => page.opened?.dense || (page.opened?.classes?.length ?? 0) > 1;

// probe fills the table. quick is for in between: fewer volumes and resamples.
/** @param {boolean} quick */
async function probe(quick) {
  const words = $("probe-says"), now = $("probe-now"), step = page.step;
  now.disabled = jobs.probing = true;
  try {
    const progress = (/** @type {any} */ e) => { if (e.event === "progress" && e.total) words.textContent = e.done < e.total ? `Reading features: ${Math.round(100 * e.done / e.total)} %…` : "Fitting the probes…"; };
    const result = await request("probe", { adapter: adapter(), ...(quick ? { set: ["probe.dense_volumes=24", "probe.resamples=200", "probe.intensities=false", "probe.neighbours=0", "probe.curve=[]"] } : {}) }, progress);
    if (quick) result.notes = [...(result.notes ?? []), "A quick probe in between: fewer volumes of the dense probe, fewer resamples, the encoders alone. The one at the end does all."];
    showProbe(result, step);
  } catch (e) {
    note(`probe: ${e.message}`);
    if (e.kind !== "lost" && e.kind !== "stopped") words.textContent = plain(e);
  } finally {
    now.disabled = jobs.probing = false;
  }
}

// save writes the state to the run's folder, between two updates.
/** @param {boolean} asked by the person */
async function save(asked) {
  const run = page.run;
  if (!run || (!asked && run.saved >= page.step)) return;
  const step = page.step;
  try {
    const result = await request("save", { path: `${run.dir}/checkpoint.safetensors` });
    run.from = `${run.dir}/checkpoint.safetensors`;
    run.step = run.saved = result?.step ?? step;
    run.savedAt = Date.now();
    run.history = curves.history;
    await run.describe();
    page.quotaTold = false;
    document.documentElement.dataset.saved = String(run.saved);
    savedText();
    if (asked) log(`Saved at update ${run.saved}.`);
  } catch (e) {
    if (e.kind === "lost") return;
    if (page.quotaTold && !asked) return;
    page.quotaTold = true;
    const why = full(e) ? "This browser has no more room for the run." : plain(e);
    log(`Not saved: ${why} Training goes on. Download the checkpoint to be safe, and remove runs that you do not need.`, "bad", " ", button("Download the checkpoint", () => $("download-checkpoint").click()));
  }
}

function savedText() {
  const run = page.run;
  if (!run?.saved) return;
  $("saved").textContent = page.opfs ? `Saved in this browser at update ${run.saved.toLocaleString("en")}, ${ago(run.savedAt)}.${running() ? " You may use other tabs meanwhile: training goes on in the background." : ""}`
    : `This browser keeps no files for this page${page.why ? ` (${page.why})` : ""}: closing the tab loses the run. Download the checkpoint to keep it.`;
}
setInterval(() => { if (running()) savedText(); }, 10_000);

// ---- downloads

/** @param {string} id @param {(say: (text: string) => void) => Promise<void>} act */
function downloads(id, act) {
  $(id).addEventListener("click", async () => {
    const words = (/** @type {string} */ text) => { $("download-says").textContent = text; };
    $(id).disabled = true;
    try {
      words("Preparing…");
      await act(words);
      words("");
    } catch (e) {
      words(plain(e));
      note(`bad: ${e.message}`);
    } finally {
      $(id).disabled = false;
    }
  });
}

/** @param {string} path @param {string} name */
async function hand(path, name) {
  const file = await get(path);
  download(name, file instanceof Blob ? file : new Blob([file]));
  if (path.startsWith("/out-")) program.remove(path).catch(() => {});
}

const stem = () => page.run?.name ?? "wgjepa";
downloads("download-checkpoint", async () => {
  await request("save", { path: "/out-checkpoint.safetensors" });
  await hand("/out-checkpoint.safetensors", `${stem()}-checkpoint.safetensors`);
});
downloads("download-weights", async () => {
  await request("save", { path: "/out-weights.safetensors", weights: true });
  await hand("/out-weights.safetensors", `${stem()}-weights.safetensors`);
});
const embed = (/** @type {(text: string) => void} */ words) => request("embed", { out: "/out-embeddings.npy", adapter: adapter() }, (e) => { if (e.event === "progress" && e.total) words(`Embedding ${e.done} of ${e.total}…`); });
downloads("download-npy", async (words) => {
  await embed(words);
  await hand("/out-embeddings.npy", `${stem()}-embeddings.npy`);
});
downloads("download-csv", async (words) => {
  await embed(words);
  const csv = await withFeatures(await get("/out-embeddings.npy"), await get("/out-embeddings.npy.csv"));
  download(`${stem()}-embeddings.csv`, csv, "text/csv");
});
downloads("download-pictures", async () => download(`${stem()}.png`, await pictures(page.run?.title ?? "wgjepa", [...viewer.pictures(), ...curves.pictures()]), "image/png"));
$("download-diagnostics").addEventListener("click", () => download("wgjepa-diagnostics.txt", diagnosticsText(), "text/plain"));

// withFeatures puts the rows of an NPY file (float32, C order) beside those of
// the table of names.
/** @param {any} npy @param {any} csv */
async function withFeatures(npy, csv) {
  const bytes = new Uint8Array(npy instanceof Blob ? await npy.arrayBuffer() : npy), header = 10 + bytes[8] + 256 * bytes[9];
  const lines = (await new Blob([csv]).text()).trimEnd().split("\n");
  const values = new Float32Array(bytes.slice(header).buffer), n = lines.length - 1, D = values.length / n;
  const out = [`${lines[0]},${Array.from({ length: D }, (_, d) => `f${d}`).join(",")}`];
  for (let i = 0; i < n; i++) out.push(`${lines[i + 1]},${Array.from(values.subarray(i * D, (i + 1) * D)).join(",")}`);
  return `${out.join("\n")}\n`;
}

function diagnosticsText() {
  return diagnostics({ adapters: page.adapters, opened: page.opened, estimate: page.fit, state: state() ?? "", step: page.step, total: page.total, error: page.error, storage: page.opfs ? "kept in the browser" : `memory only${page.why ? `: ${page.why}` : ""}` });
}

// ---- the program and the browser

/** @param {{code: number, message: string}} how */
function ended({ message }) {
  page.error = message;
  note(`bad: the program ended: ${message}`);
  enter("error");
  status("The program ended.");
  $("training").hidden = false;
  log("The program ended, which should not happen. What was saved is safe: load the page again and continue the run. The diagnostics at the end of this page say more.", "bad", " ", button("Load the page again", () => location.reload()));
}

function wire() {
  $("files").addEventListener("change", (e) => { take(chosen(e.target.files)); e.target.value = ""; });
  $("folder").addEventListener("change", (e) => { take(chosen(e.target.files)); e.target.value = ""; });
  $("try-generated").addEventListener("click", () => { page.waitsFor = null; generated(); });
  drops($("drop"), take, (problem) => say($("drop-error"), problem));
  $("labels-choice").addEventListener("change", (e) => { page.source.labels = e.target.value; open(); });
  $("adapter").addEventListener("change", () => fit());
  $("train").addEventListener("click", train);
  $("pause").addEventListener("click", () => pause().catch((e) => log(plain(e), "bad")));
  $("stop").addEventListener("click", () => { status("Stopping…"); request("stop").catch((e) => log(plain(e), "bad")); });
  $("save").addEventListener("click", () => save(true));
  $("probe-now").addEventListener("click", () => probe(false));
  $("similar-now").addEventListener("click", () => showSimilar({ request, get, adapter, classes: () => page.opened.classes ?? [] }, viewer.sample(), page.opened.names?.[viewer.sample()] ?? "this sample", (s) => viewer.select(s)));
  $("diagnostics").addEventListener("toggle", () => { $("diagnostics-text").value = diagnosticsText(); });
  $("diagnostics-copy").addEventListener("click", async () => {
    $("diagnostics-text").select();
    await navigator.clipboard.writeText($("diagnostics-text").value).catch(() => document.execCommand("copy"));
    $("diagnostics-copy").textContent = "Copied";
  });
  $("bench-run").addEventListener("click", () => runBench(adapter));
  $("local-proof").addEventListener("toggle", proof);
  document.querySelector(".local-link")?.addEventListener("click", () => { $("local-proof").open = true; });
  addEventListener("beforeunload", (e) => { if (running() && (page.run?.saved ?? 0) < page.step) e.preventDefault(); });
  document.addEventListener("visibilitychange", hidden);
}

// hidden says so where a browser lets a training rest in a tab that is not seen.
let since = { time: 0, step: 0, rate: 0 };
function hidden() {
  if (document.hidden) {
    since = { time: performance.now(), step: page.step, rate: page.rate ?? 0 };
    if (state() === "training") save(false);
    return;
  }
  const seconds = (performance.now() - since.time) / 1000, done = page.step - since.step;
  if (state() !== "training" || seconds < 20 || !since.rate) return;
  if (done / seconds < 0.3 * since.rate) {
    log(`This browser let training nearly rest while the tab was hidden: ${count(done, "update")} in ${duration(seconds)}. Keep this tab in a window of its own, in sight, to train at full speed.`, "warn");
  }
}

async function proof() {
  if (!$("local-proof").open) return;
  const requests = performance.getEntriesByType("resource").map((r) => new URL(r.name));
  const other = requests.filter((u) => u.protocol.startsWith("http") && u.origin !== location.origin);
  $("request-count").textContent = `Since it was opened this page asked for ${count(requests.length + 1, "file")}, ${other.length ? `${other.length} of them elsewhere: please report this` : `all from ${location.host || "this address"}`}: itself and ${requests.map((u) => u.pathname.replace(/.*\//, "")).join(", ")}.`;
  const [room, promise] = [await storageEstimate(), await persisted()];
  $("storage-says").textContent = `${room.says} ${promise.says}`;
}

async function start() {
  wire();
  $("version").textContent = version;
  registerServiceWorker((apply) => {
    $("update").hidden = false;
    $("update-now").addEventListener("click", apply);
  }).catch((e) => note(`service worker: ${e.message}`));
  const { opfs, why } = await program.ready;
  page.opfs = opfs;
  page.why = why;
  const { adapters } = await request("adapters");
  page.adapters = adapters ?? [];
  options($("adapter"), page.adapters.map((a) => ({ value: choiceOf(a), text: a.Backend === "Go" ? "The processor alone: slow, for tiny models" : `${a.Name || "Graphics processor"}${/CPU/.test(a.Kind) ? ", computed by the processor" : ""}` })));
  if (!page.adapters.some((a) => a.Backend !== "Go")) {
    $("no-adapter").hidden = false;
    $("no-adapter-advice").replaceChildren(advice(where()), el("p", {}, "Until then everything works on the processor alone, only slowly: enough for tiny models on few, small samples."));
  }
  $("try-generated").disabled = false;
  enter("empty");
  status("Ready.");
  await listRuns();
}

if (testing) {
  // What tests read and do; see www/page_test.go.
  Object.assign(globalThis, { wgjepaPage: { state, step: () => page.step, lose: () => program.lose(), stats: () => page.stats, opened: () => page.opened, run: () => page.run && { name: page.run.name, saved: page.run.saved } } });
}

start().catch((e) => {
  if (state() === "error") return; // ended() said it
  enter("error");
  page.error = e.message;
  status("The program could not start.");
  say($("drop-error"), `The program could not start: ${plain(e)} Load the page again; where that does not help, update the browser: it needs WebAssembly and module workers.`);
});
