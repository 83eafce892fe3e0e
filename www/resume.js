// resume.js: runs that are kept in this browser, to go on with.

import { $, say } from "./dom.js";
import { begin, generated, settings } from "./opening.js";
import { entering, page, program, request, running, state } from "./page.js";
import { showRuns } from "./runs.js";
import { plain } from "./words.js";

entering((s) => {
  if (s === "done" || s === "empty") listRuns();
  else $("resume").open = false;
});

async function listRuns() {
  const runs = await program.runs().catch(() => []);
  $("resume").hidden = runs.length === 0;
  $("resume").open = state() === "empty";
  showRuns(runs, resume, async (name) => {
    if (!await program.removeRun(name)) say($("drop-error"), "That run is open in another tab: close that tab, then remove it.");
    listRuns();
  });
}

// resume goes on with a run that is kept in this browser.
/** @param {any} kept */
async function resume(kept) {
  if (running()) return say($("drop-error"), "A training runs: stop it before another run is opened. What it has learnt stays saved.");
  if (page.finetuning) return say($("drop-error"), "Labels are being learnt: stop that before another run is opened.");
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
  settings.take(meta.config, true);
  page.waitsFor = { run: kept.name, meta, from };
  if (meta.source.generated) return generated();
  if (meta.kept) {
    const root = `/runs/${kept.name}/data`, there = (/** @type {string} */ p) => p.replace(/^\/data/, root);
    const { paths, tables = [], labels = "" } = meta.source;
    return begin({ ...meta.source, paths: paths.map(there), root, given: [], tables: tables.map(there), labels: there(labels) });
  }
  say($("drop-error"), `The data of ${meta.source.name} were not kept in this browser: drop the same files again, and training goes on from update ${meta.saved}.`);
  $("files").focus();
}
