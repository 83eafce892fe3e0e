// opening.js: files become data that are open: what was given is sorted, read with
// the settings as they are, shown, and measured against the adapter's memory.

import { showData, showRefused } from "./data.js";
import { hide, note } from "./diagnostics.js";
import { decoding } from "./dicom.js";
import { $, el, say } from "./dom.js";
import { sorted } from "./drop.js";
import { choosing, guessTable, labelSettings, showLabelChoices, showLabels } from "./labels.js";
import { adapter, button, enter, log, page, program, request, running, software, state, status } from "./page.js";
import { curves, viewer } from "./parts.js";
import { clearProbe } from "./probe.js";
import { Settings, fitSentence } from "./settings.js";
import { clearTraining, continueRun, trainLabel } from "./training.js";
import { bare, count, plain } from "./words.js";

/** @typedef {import("./page.js").Source} Source */

export const settings = new Settings(() => open(), () => startOver());
choosing(() => open(false, $("labels-error")), () => showOpened());

/** @param {import("./drop.js").Given[]} given */
export async function take(given) {
  say($("drop-error"), "");
  if (running()) return say($("drop-error"), "A training runs: stop it before other data are opened. What it has learnt stays saved.");
  if (page.finetuning) return say($("drop-error"), "Labels are being learnt: stop that before other data are opened.");
  if (given.length === 0) return;
  hide(given.map((g) => g.path));
  const drop = sorted(given, "/data");
  try {
    if (drop.checkpoints.length > 1) throw new Error("several checkpoints were dropped: drop the one to go on from");
    if (drop.checkpoints.length === 1) await takeCheckpoint(drop.checkpoints[0].file);
    if (drop.config.length > 1) throw new Error("several .toml files were dropped: drop the one with the settings");
    if (drop.config.length === 1) {
      settings.take(await drop.config[0].file.text());
    }
    if (drop.data.length === 0) { // for what is there
      if (!page.source) return;
      return await (drop.checkpoints.length ? begin(page.source) : open());
    }
    if (drop.paths.length === 0 && page.source && !page.source.generated) { // a table for what is there
      for (const g of drop.tables) await program.put(`/data/${g.path}`, g.file);
      const { tables, given } = page.source, paths = drop.tables.map((g) => g.path);
      page.source.tables = [...new Set([...tables, ...paths.map((p) => `/data/${p}`)])];
      page.source.given = [...given.filter((g) => !paths.includes(g.path)), ...drop.tables];
      Object.assign(page.source, { labels: `/data/${drop.tables[0].path}`, guessed: false, column: "", unit: undefined });
      showLabelChoices(page.source);
      return open(false, $("labels-error"), true); // a table that was mended has the name that it had
    }
    if (drop.paths.length === 0) throw new Error("these files hold no images: drop the scans, too");
    status(`Taking ${count(drop.data.length, "file")}…`);
    opening++; // what is being opened gives way
    await program.remove("/data").catch(() => {});
    await Promise.all(drop.data.map((g) => program.put(`/data/${g.path}`, g.file)));
    const size = drop.data.reduce((n, g) => n + g.file.size, 0);
    const top = drop.data.length === 1 ? drop.data[0].path : drop.data[0].path.split("/").length > 1 ? drop.data[0].path.split("/")[0] : count(drop.data.length, "file");
    const tables = drop.tables.map((g) => `/data/${g.path}`), labels = drop.data.some((g) => g.path.endsWith(".npz")) ? "" : guessTable(tables);
    await begin({ paths: drop.paths, root: "/data", name: top, size, generated: false, tables, given: drop.data, labels, guessed: labels !== "" });
  } catch (e) {
    status("Not opened.");
    say($("drop-error"), plain(e));
  }
}

/** @param {File} file */
async function takeCheckpoint(file) {
  await program.put("/in/checkpoint.safetensors", file);
  const { config, step } = await request("load", { path: "/in/checkpoint.safetensors" });
  settings.take(config, true);
  page.waitsFor = { from: "/in/checkpoint.safetensors", step, title: file.name };
  log(`${file.name} is at update ${step}. Drop the files that it was trained on, and training goes on from there.`);
  $("training").hidden = false;
}

export const generated = () => begin({ paths: ["phantoms"], root: "", name: "Generated volumes", size: 0, generated: true, tables: [], given: [], labels: "" });

// begin opens data that are new to the page.
/** @param {Source} source */
export async function begin(source) {
  page.source = source;
  if (!page.waitsFor) {
    page.run = null;
    if (settings.ofRun) settings.take(null); // they were of other data
  }
  page.fit = null;
  $("messages").replaceChildren();
  $("fit").textContent = "";
  page.trained = false;
  page.step = 0;
  clearTraining();
  clearProbe();
  curves.load(null);
  suggest(source);
  showLabelChoices(source);
  await open(true);
}

/** @param {Source} source */
function suggest({ generated }) {
  settings.fresh();
  settings.suggest({ generated, software: software(), training: generated ? 1024 : 0 });
}

// startOver reads the data with settings that suit them.
async function startOver() {
  if (!page.source) return;
  suggest(page.source);
  await open(page.opened === null, $("drop-error"), false, true);
}

let opening = 0; // the last open that was asked for

// open reads the data with the settings as they are; fresh data also get
// settings that suit them, as others do with suits; reread reads files that may have
// changed. What is wrong with the data is said in a place.
async function open(fresh = false, place = $("drop-error"), reread = fresh, suits = fresh) {
  const source = page.source;
  if (!source) return;
  const turn = ++opening;
  status(fresh ? "Reading…" : "Checking the settings…");
  $("train").disabled = true; // until these settings are known to be good
  for (const id of ["drop-error", "labels-error"]) say($(id), "");
  const progress = (/** @type {any} */ e) => { if (e.event === "progress" && turn === opening) status(`Reading ${e.done.toLocaleString("en")} of ${count(e.total, "file")}…`); };
  const args = () => {
    const { config, set } = settings.layers();
    return { paths: source.paths, ...(source.labels ? { labels: source.labels } : {}), config, set: [...set, ...labelSettings(source)] };
  };
  const ask = (reread = false) => decoding((reread) => request("open", { ...args(), reread }, progress), { source, program, current: () => turn === opening, tell: status }, reread)
    .catch((e) => {
      if (!source.guessed || e.kind !== "data" || turn !== opening) throw e;
      // A table that lies among the scans need not be of labels.
      log(`${bare(source.labels)} does not label these data: ${plain(e)} They are opened without it; to use it after all, choose it and its column at Labels.`, "warn");
      Object.assign(source, { labels: "", guessed: false });
      showLabelChoices(source);
      return ask(reread);
    });
  try {
    let opened;
    try {
      opened = await ask(reread);
    } catch (e) {
      if (!e.suggest || settings.size) throw e;
      settings.size = `[${e.suggest.join(", ")}]`;
      opened = await ask(reread);
      const why = e.sizes ? `The samples have ${Object.keys(e.sizes).length} different sizes` : "No patches of one size fill these samples well";
      log(`${why}: each is cropped or padded to ${e.suggest.join(" × ")}. You may choose another size in the settings.`);
    }
    if (turn !== opening || running()) return;
    if (suits && !source.generated && !page.waitsFor) {
      settings.suggest({ generated: false, software: software(), training: opened.splits.train ?? opened.samples });
      opened = await ask();
      if (turn !== opening) return;
    }
    if (page.trained && String(page.opened?.labels) + page.opened?.numbers !== String(opened.labels) + opened.numbers) clearProbe(); // of other labels
    page.opened = opened;
    hide(opened.names ?? []);
    settings.show(opened);
    for (const id of ["data", "settings", "training", "viewer"]) $(id).hidden = false;
    showOpened();
    showRefused(opened.refused);
    enter(state() !== "done" || fresh ? "data" : "done"); // labels decide what can be learnt
    status(`${count(opened.samples, "sample")} ready.`);
    if (fresh && page.waitsFor) {
      const wait = page.waitsFor;
      page.waitsFor = null;
      if (!continueRun(wait)) {
        settings.take(null);
        await startOver();
        return say($("drop-error"), `These are not the files that ${wait.meta.title} began with (their fingerprints differ), so that run cannot go on with them. Drop the same files, or train a new run with these.`);
      }
    }
    await fit();
    if (fresh || viewer.data?.fingerprint !== opened.fingerprint || String(viewer.data?.size) !== String(opened.size)) viewer.open(opened);
    else viewer.data = opened;
  } catch (e) {
    if (turn !== opening) return;
    if (fresh || e.kind === "data") {
      page.opened = fresh ? null : page.opened;
      status("Not opened.");
      const why = plain(e.refused?.length > 1 ? e.message.split("\n")[0] : e); // the list below says the rest
      say(place, `${page.waitsFor ? `These data do not suit ${page.waitsFor.meta?.title ?? page.waitsFor.title}. ` : ""}${why}`);
      if (e.refused?.length === 1) {
        say(place, "", el("strong", {}, bare(e.refused[0].name)), ` ${plain(e.refused[0].reason)}`);
      } else if (e.refused?.length) {
        const list = el("div");
        showRefused(e.refused, list);
        place.append(list);
      }
      note(`bad: ${e.message}`);
      if (fresh) {
        const change = e.kind === "config" || e.kind === "size" || settings.text != null;
        if (settings.text != null && !page.waitsFor) {
          place.append(el("p", {}, "They were read with your own settings. Where those are for other data, press ", button("Start over", () => settings.reset()), " to have settings that suit these."));
          settings.showText();
        }
        for (const id of ["data", "viewer", "training"]) $(id).hidden = true;
        $("settings").hidden = !change;
        enter(change ? "data" : "empty");
      }
    } else {
      status("The settings need a change.");
      settings.fail(e);
      page.fit = { fits: false }; // nothing is trained that is not what the settings say
      $("fit").textContent = "";
    }
    trainLabel();
  }
}

function showOpened() {
  showLabels();
  showData(page.opened, page.source);
}

let moving = Promise.resolve(); // of what is brought to another adapter

// changeAdapter brings what was trained to the adapter that was chosen.
export function changeAdapter() {
  const to = adapter(), path = "/trained.safetensors"; // in the program’s memory
  if (page.trained && !running()) {
    $("train").disabled = true;
    moving = moving.then(async () => {
      status("Bringing the trained encoder to this adapter…");
      try {
        await request("save", { path });
        await request("restore", { path, adapter: to });
        status("The trained encoder is here, too.");
      } catch (e) { // fit() says what became of it
        note(`restore: ${e.message}`);
        status("");
      }
      await program.remove(path).catch(() => {});
    });
  }
  return moving.then(fit);
}

// fit asks whether the training fits the adapter.
export async function fit() {
  const turn = opening;
  try {
    const answer = await request("estimate", { adapter: adapter() });
    if (turn !== opening) return;
    page.fit = answer;
    if (page.trained && !answer.trained && !running()) {
      page.trained = false; // another adapter, or samples that are read otherwise
      clearProbe();
      log(`The encoder that was trained is no longer loaded, as the samples or the adapter are others now.${page.run?.saved && page.opfs ? ` ${page.run.title} is kept: open it at “Continue a run”.` : ""}`, "warn");
      enter(state());
    }
    $("fit").textContent = fitSentence(answer);
    $("fit").dataset.fits = String(answer.fits);
  } catch (e) {
    page.fit = null;
    $("fit").textContent = plain(e);
    $("fit").dataset.fits = "false";
  }
  trainLabel();
}
