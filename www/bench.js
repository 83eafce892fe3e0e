// bench.js: the table that `wgjepa bench` prints, for the adapter of this page.

import { checks } from "./assets.js";
import { $, el } from "./dom.js";
import { program } from "./storage.js";
import { figure, plain } from "./words.js";

/** @param {() => string} adapter the choice */
export async function runBench(adapter) {
  const button = $("bench-run"), words = $("bench-says");
  button.disabled = true;
  words.textContent = "Measuring…";
  /** @type {any[]} */
  const rows = [];
  const add = (/** @type {any[]} */ more) => {
    for (const r of more) if (!rows.some((o) => JSON.stringify(o) === JSON.stringify(r))) rows.push(r);
    $("bench-table").replaceChildren(table(rows));
  };
  const measuring = program({ file: checks });
  try {
    const result = await measuring.client.request("bench", { adapter: adapter() }, (/** @type {any} */ e) => { if (e.row) add([e.row]); });
    add(result.rows ?? []);
    words.textContent = `Measured on ${result.adapter ?? "this adapter"}.`;
  } catch (e) {
    words.textContent = plain(e);
  } finally {
    measuring.end();
    button.disabled = false;
  }
}

/** @param {any[]} rows */
function table(rows) {
  const columns = [...new Set(rows.flatMap((r) => Object.keys(r)))];
  const text = (/** @type {any} */ v) => (v == null ? "" : typeof v === "number" ? figure(v) : String(v));
  return el("table", { class: "figures" },
    el("caption", { class: "visually-hidden" }, "Speed of this adapter"),
    el("thead", {}, el("tr", {}, ...columns.map((c) => el("th", { scope: "col" }, c.replaceAll("_", " "))))),
    el("tbody", {}, ...rows.map((r) => el("tr", {}, ...columns.map((c, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, text(r[c])))))));
}
