// app.js: the page begins here. It wires the controls to the parts: opening.js brings
// data, training.js trains, finetune.js learns labels, resume.js goes on with what the
// browser keeps, downloads.js hands out files.

import { version } from "./assets.js";
import { runBench } from "./bench.js";
import { note } from "./diagnostics.js";
import { $, el, options, say } from "./dom.js";
import { diagnosticsText } from "./downloads.js";
import { chosen, drops } from "./drop.js";
import "./finetune.js";
import { advice, where } from "./help.js";
import { changeAdapter, generated, take } from "./opening.js";
import { adapter, choiceOf, enter, entering, log, page, program, request, running, state, status, testing } from "./page.js";
import { viewer } from "./parts.js";
import "./resume.js";
import { showSimilar } from "./similar.js";
import { estimate as storageEstimate, persisted, registerServiceWorker } from "./storage.js";
import { pause, probe, save, stop, train } from "./training.js";
import { count, duration, plain } from "./words.js";

// What a training works on stays as it is.
entering(() => {
  const trains = running();
  for (const e of $("settings-form").elements) e.disabled = trains;
  for (const id of ["config-import", "config-reset", "try-generated", "files", "folder", "bench-run"]) $(id).disabled = trains;
  $("config-text").readOnly = trains;
});

function wire() {
  $("files").addEventListener("change", (e) => { take(chosen(e.target.files)); e.target.value = ""; });
  $("folder").addEventListener("change", (e) => { take(chosen(e.target.files)); e.target.value = ""; });
  $("try-generated").addEventListener("click", () => {
    if (page.finetuning) return say($("drop-error"), "Labels are being learnt: stop that before other data are opened.");
    page.waitsFor = null;
    generated();
  });
  drops($("drop"), take, (problem) => say($("drop-error"), problem));
  $("adapter").addEventListener("change", changeAdapter);
  $("train").addEventListener("click", train);
  $("pause").addEventListener("click", () => pause().catch((e) => log(plain(e), "bad")));
  $("stop").addEventListener("click", stop);
  $("save").addEventListener("click", () => save(true));
  $("probe-now").addEventListener("click", () => probe(false));
  $("similar-now").addEventListener("click", () => showSimilar({ request, get: program.get, adapter, classes: () => page.opened.classes ?? [], orientation: (s) => page.opened.orientations?.[s] ?? "" }, viewer.sample(), page.opened.names?.[viewer.sample()] ?? "this sample", (s) => viewer.select(s)));
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
  options($("adapter"), page.adapters.map((a) => ({ value: choiceOf(a), text: a.Backend === "Go" ? "The processor alone: slow, for tiny models" : `${a.Name || "Graphics processor"}${/CPU/.test(a.Kind) ? " (processor)" : ""}` })));
  if (!page.adapters.some((a) => a.Backend !== "Go")) {
    $("no-adapter").hidden = false;
    $("no-adapter-advice").replaceChildren(advice(where()), el("p", {}, "Until then everything works on the processor alone, only slowly: enough for tiny models on few, small samples."));
  }
  $("try-generated").disabled = false;
  enter("empty");
  status("Ready.");
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
  say($("drop-error"), `The program could not start: ${plain(e)}${e.advised ? "" : " Load the page again; where that does not help, update the browser: it needs WebAssembly and module workers."}`);
});
