// training.js: a training from its button to its end, and what is done beside it:
// saves, pictures, figures.

import { note } from "./diagnostics.js";
import { $, say } from "./dom.js";
import { labelKind } from "./labels.js";
import { adapter, adapterInfo, button, choiceOf, enter, entering, log, losing, page, program, request, running, state, status } from "./page.js";
import { curves, viewer } from "./parts.js";
import { clearProbe, showProbe } from "./probe.js";
import { Run, newName } from "./runs.js";
import { lockRun, persist } from "./storage.js";
import { ago, count, duration, figure, plain } from "./words.js";

const title = document.title;

entering((s) => {
  const trains = running();
  $("train").hidden = trains;
  $("pause").hidden = $("stop").hidden = !trains;
  $("pause").textContent = s === "paused" ? "Continue" : "Pause";
  $("save").hidden = !page.trained;
  for (const id of ["downloads", "similar-section", "probe"]) $(id).hidden = !page.trained;
  trainLabel();
});

// trainLabel says what the button would do.
export function trainLabel() {
  const goOn = page.run && !page.run.finished && page.run.step > 0 && page.opened && page.run.config === page.opened.config;
  $("train").textContent = goOn ? `Continue from update ${page.run.step}` : page.run?.step ? "Train a new run" : "Train";
  $("train").disabled = !page.opened || page.fit?.fits === false;
}

// continueRun makes the opened data those of a run that waits for them, and trains.
// It is false where they are others.
/** @param {any} wait */
export function continueRun(wait) {
  const meta = wait.meta;
  if (meta && meta.fingerprint !== page.opened.fingerprint) {
    page.run = null;
    return false;
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
  return true;
}

let stopping = false, beginning = false, saving = false;

// stop is heard by the training that runs, or by the one that is being prepared
// as soon as it does.
export function stop() {
  stopping = true;
  status("Stopping…");
  request("stop").catch(() => {});
}

// agrees brings a run that this tab goes on with, and whose lock it holds, to what is
// kept of it now, which another tab may have trained further or removed. It is false
// where it cannot go on.
/** @param {Run} run */
async function agrees(run) {
  const { meta, stands } = await run.kept(), unsaved = page.trained && page.step > run.saved;
  if (stands === "other" && unsaved) {
    log(`${run.title} was trained in another tab meanwhile, to update ${meta.saved}. What this tab has learnt to update ${page.step} is not saved: download its checkpoint to keep it. To go on with what the other tab saved, open the run at “Continue a run”.`, "bad", " ", downloadButton());
    return false;
  }
  if (stands === "other") {
    const before = run.saved;
    run.take(meta);
    page.step = run.step;
    curves.load(run.history);
    if (run.saved !== before) log(`${run.title} was trained in another tab meanwhile: it goes on from update ${run.saved}, which that tab saved.`);
  }
  if (stands !== "gone") return true;
  if (page.trained) { // what is kept no longer is still in memory
    await run.describe();
    run.wasSaved((await request("save", { path: run.checkpoint })).step);
    run.meta.kept = false;
    return true;
  }
  page.run = null;
  log(`${run.title} was removed from this browser, and cannot go on.`, "bad");
  trainLabel();
  return false;
}

export async function train() {
  if (!page.opened || running() || beginning) return;
  const opened = page.opened, source = page.source;
  const again = page.run && (page.run.opens || !page.run.finished) && page.run.step > 0 && page.run.config === opened.config;
  const run = again ? page.run : new Run(program, newName(source.name), null);
  let release = null;
  beginning = true; // a second press is none
  try {
    release = await lockRun(run.name);
    if (!release) {
      return log(`${run.title} is open in another tab: go on there, or close that tab and press Train again.`, "bad");
    }
    // What still looks at an encoder would keep training waiting.
    if (jobs.probing || page.finetuning) await request("stop").catch(() => {});
    if (again && !await agrees(run)) return release();
    page.run = run;
    run.opens = false;
    if (!again || !run.meta) {
      run.start(opened, source, adapterInfo()?.Name ?? "");
      await run.describe().catch(() => {}); // a full browser says so when it saves
    }
  } catch (e) {
    release?.();
    return log(plain(e), "bad");
  } finally {
    beginning = false;
  }
  if (!again) {
    curves.load(null);
    clearProbe();
    page.step = 0;
  }
  page.trained = false;
  stopping = false;
  enter("training");
  status("Training.");
  $("saved").textContent = "";
  persist().catch(() => {});
  run.keepData(source, log).then((says) => says && log(says), (e) => log(`The data could not be kept in this browser (${plain(e)}) To go on another day, drop the same files again.`, "warn"));
  progressText("Preparing: compiling for this adapter…");
  for (let tries = 0; ;) {
    const before = page.step;
    try {
      if (run.from && (again || tries > 0)) await request("load", { path: run.from });
      const ending = request("train", { adapter: adapter(), dir: run.dir, checkpoint_every: 0, stats_ms: 200 }, trainEvent);
      if (stopping) request("stop").catch(() => {});
      const result = await ending;
      await finish(result, release);
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

// A device that is lost after a training takes the trained networks along.
let restoring = false;
losing(async () => {
  const run = page.run;
  if (restoring || running() || !page.trained) return; // a training comes back by itself
  restoring = true;
  try {
    if (!run?.from) throw new Error("the run was not saved");
    const { step } = await request("restore", { path: run.from, adapter: adapter() });
    page.step = step;
    log(`The graphics device was lost. What was trained is loaded again, as it was saved at update ${step.toLocaleString("en")}: ask again for what did not come.`, "warn");
  } catch (e) {
    page.trained = false;
    enter(state());
    log(`The graphics device was lost, and what was trained with it: ${plain(e)}${run?.saved && page.opfs ? ` ${run.title} is kept: load the page again and continue it.` : ""}`, "bad");
  } finally {
    restoring = false;
  }
});

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

// clearTraining forgets how far the last training came.
export function clearTraining() {
  $("progress").value = 0;
  $("saved").textContent = "";
  progressText("Not started.");
}

/** @param {string} text */
function progressText(text) { $("progress-text").textContent = text; }

export async function pause() {
  const pausing = state() === "training";
  $("pause").disabled = true;
  try {
    if (pausing) progressText("Pausing after the update at hand…");
    const at = await request(pausing ? "pause" : "resume");
    if (!running()) return; // ended meanwhile
    page.step = Math.max(page.step, at?.step ?? 0); // figures come less often than updates
    enter(pausing ? "paused" : "training");
    savedText();
    status(pausing ? "Paused." : "Training.");
    if (pausing) progressText(`Paused at update ${page.step.toLocaleString("en")} of ${page.total.toLocaleString("en")}.`);
  } finally {
    $("pause").disabled = false;
  }
  if (pausing) await save(false);
}

/** @param {{step: number, total: number, stopped: boolean, saved: boolean}} result @param {() => void} release lets other tabs have the run */
async function finish(result, release) {
  const run = page.run;
  page.trained = true; // also where no update was left to do
  page.step = result.step;
  if (result.saved) {
    run.wasSaved(result.step);
    run.finished = !result.stopped;
  } else {
    log(`The run could not be saved whole at its end.${run.saved ? ` The state before, of update ${run.saved.toLocaleString("en")}, is kept.` : ""} What was learnt is lost with this tab unless you download it.`, "bad", " ", downloadButton());
  }
  run.history = curves.history;
  document.title = title;
  say($("drop-error"), ""); // that a training ran
  enter("done");
  $("progress").value = result.step;
  progressText(result.stopped ? `Stopped at update ${result.step.toLocaleString("en")} of ${result.total.toLocaleString("en")}. ${result.saved ? "It is saved and can go on." : "It is not saved."}` : `Finished: ${count(result.step, "update")}.`);
  status(result.stopped ? "Stopped." : "Training finished.");
  await run.describe().catch((e) => log(plain(e), "warn"));
  release();
  savedText();
  await jobs.last(run);
}

const downloadButton = () => button("Download the checkpoint", () => $("download-checkpoint").click());

/** @param {any} e */
function failed(e) {
  page.error = e.message;
  document.title = title;
  say($("drop-error"), "");
  enter(page.run?.step ? "done" : "data");
  status("Training ended with a problem.");
  progressText(`Ended at update ${page.step}.`);
  const todo = e.kind === "lost" ? " It was lost again: close other programs and tabs that use the graphics processor, choose a smaller model, or another adapter; then continue from the last autosave."
    : e.kind === "memory" ? " Choose a smaller model, smaller samples or a smaller batch_size, then train again."
    : full(e) ? " The browser’s storage is full: remove runs that you do not need, or download the checkpoint." : "";
  log(plain(e) + todo, "bad", ...(page.trained ? [" ", downloadButton()] : []));
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
    const run = page.run;
    try {
      const h = await request("health", { adapter: adapter() });
      if (run !== page.run) return; // the curves are of another
      curves.health(h.step ?? page.step, h);
    } catch (e) {
      note(`health: ${e.message}`);
      if (this.list.health) this.list.health.next = Infinity; // not asked again in this training
    }
  },

  // last is done once after training, until other data or another training come.
  /** @param {Run} run */
  async last(run) {
    for (const f of [() => viewer.refresh(true), () => this.health(), () => probe(false)]) {
      await f();
      if (page.run !== run || running()) return;
    }
    run.history = curves.history;
    const release = await lockRun(run.name);
    if (!release) return; // another tab goes on with it
    try {
      if ((await run.kept()).stands === "same") await run.describe();
    } catch (e) {
      note(`describe: ${e.message}`);
    } finally {
      release();
    }
  },
};

const labelled = () => page.opened?.dense || labelKind() !== "";

// probe fills the table. quick is for in between: fewer volumes and resamples.
/** @param {boolean} quick */
export async function probe(quick) {
  const words = $("probe-says"), now = $("probe-now"), { step, run } = page;
  now.disabled = jobs.probing = true;
  try {
    const progress = (/** @type {any} */ e) => { if (e.event === "progress" && e.total && run === page.run) words.textContent = e.done < e.total ? `Reading features: ${Math.round(100 * e.done / e.total)} %…` : "Fitting the probes…"; };
    const result = await request("probe", { adapter: adapter(), ...(quick ? { set: ["probe.dense_volumes=24", "probe.resamples=200", "probe.intensities=false", "probe.neighbours=0", "probe.curve=[]"] } : {}) }, progress);
    if (run !== page.run) return; // other data or another training came
    if (quick) result.notes = [...(result.notes ?? []), "A quick probe in between: fewer volumes of the dense probe, fewer resamples, the encoders alone. The one at the end does all."];
    showProbe(result, step);
  } catch (e) {
    note(`probe: ${e.message}`);
    if (run === page.run && e.kind !== "lost" && e.kind !== "stopped") words.textContent = plain(e);
  } finally {
    now.disabled = jobs.probing = false;
  }
}

// save writes the state to the run's folder, between two updates.
/** @param {boolean} asked by the person */
export async function save(asked) {
  const run = page.run;
  if (!run || (!asked && run.saved >= page.step)) return;
  const step = page.step;
  // After its end a run is no longer this tab's: another may have gone on with it.
  let release = () => {};
  if (!running()) {
    if (saving) return; // a second press is none
    saving = true;
    const held = await lockRun(run.name);
    saving = held !== null;
    if (!held) return log(`${run.title} is open in another tab, which saves it. Download the checkpoint to keep what this one has.`, "bad");
    release = held;
  }
  try {
    if (!running()) {
      const { meta, stands } = await run.kept();
      if (stands === "other") return log(`Not saved: ${run.title} was trained in another tab meanwhile, and what that one saved at update ${meta.saved} stays. Download the checkpoint to keep what this one has.`, "warn", " ", downloadButton());
      if (stands === "same" && run.saved >= step) return log(`It is saved at update ${run.saved}.`);
      if (stands === "gone") await run.describe(); // makes its folder
    }
    run.wasSaved((await request("save", { path: run.checkpoint })).step);
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
    log(`Not saved: ${why}${running() ? " Training goes on." : ""} Download the checkpoint to be safe, and remove runs that you do not need.`, "bad", " ", downloadButton());
  } finally {
    release();
    saving = false;
  }
}

function savedText() {
  const run = page.run;
  if (!run?.saved) return;
  $("saved").textContent = page.opfs ? `Saved in this browser at update ${run.saved.toLocaleString("en")}, ${ago(run.savedAt)}.${state() === "training" ? " You may use other tabs meanwhile: training goes on in the background." : ""}`
    : `This browser keeps no files for this page${page.why ? ` (${page.why})` : ""}: closing the tab loses the run. Download the checkpoint to keep it.`;
}
setInterval(() => { if (running()) savedText(); }, 10_000);
