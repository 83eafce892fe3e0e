// data.js: the list of what was read, and of what was refused and why.

import { $, el, say } from "./dom.js";
import { labelKind, labelName } from "./labels.js";
import { bare, bytes, count, figure, placed, plain, shape, spacing } from "./words.js";

// Rows that are shown at first; thousands of them would slow the page.
const first = 100;

/** @typedef {{name: string, reason: string}} Refusal */

/** @param {any} opened the result of the command open @param {{name: string, size: number, generated: boolean}} source */
export function showData(opened, source) {
  const s = opened.splits, parts = [`${count(opened.samples, "sample")} of ${shape(opened.size)}`];
  if (opened.channels > 1) parts.push(`${opened.channels} channels`);
  if (opened.classes?.length) parts.push(`${opened.classes.length} classes`);
  if (opened.dense) parts.push("voxel labels");
  if (!source.generated) parts.push(bytes(source.size));
  const split = ["train", "val", "test"].map((k) => `${(s[k] ?? 0).toLocaleString("en")} ${{ train: "to train on", val: "to validate", test: "to test" }[k]}`).join(", ");
  const lines = [parts.join(" · "), ...(labelKind() === "number" ? [range(opened.numbers)] : []), split];
  $("data-summary").replaceChildren(el("strong", {}, source.name), ...lines.flatMap((line) => [el("br"), line]));
  const notes = (opened.notes ?? []).map((/** @type {string} */ n) => n.replace("label_kind says which", "choose below what they are"));
  $("data-notes").replaceChildren(...notes.map((n) => el("p", { class: "hint" }, plain(n))));
  list(opened, first);
}

// range says which numbers label the samples.
/** @param {(number|null)[]} numbers */
function range(numbers) {
  const known = /** @type {number[]} */ (numbers.filter((v) => v != null));
  return `${labelName()}: ${figure(Math.min(...known))} to ${figure(Math.max(...known))}${known.length < numbers.length ? `, known of ${count(known.length, "sample")}` : ""}`;
}

/** @param {any} opened @param {number} rows */
function list(opened, rows) {
  const names = opened.names ?? [], number = labelKind() === "number", labelled = number || (opened.labels ?? []).some((/** @type {number} */ l) => l >= 0);
  const label = (/** @type {number} */ i) => (number ? figure(opened.numbers[i]) : opened.classes?.[opened.labels[i]] ?? "–");
  const n = Math.min(rows, names.length);
  // Pictures and arrays lie nowhere in space.
  const spaced = opened.spacings != null && names.some((/** @type {any} */ _, /** @type {number} */ i) => placed(opened, i));
  const lies = (/** @type {number} */ i) => [shape(opened.sizes?.[i] ?? opened.size), ...(spaced && placed(opened, i) ? [spacing(opened.spacings[i])] : [])].join(" · ");
  const head = [spaced ? "Name, shape, spacing" : "Name, shape", ...(labelled ? [labelName()] : []), ...(opened.split_of ? ["Split"] : [])];
  const row = (/** @type {number} */ i) => el("tr", {},
    el("th", { scope: "row", title: names[i] }, names[i], el("small", {}, lies(i))),
    ...(labelled ? [el("td", {}, label(i))] : []),
    ...(opened.split_of ? [el("td", {}, opened.split_of[i] || "–")] : []));
  const parts = [el("table", {},
    el("caption", { class: "visually-hidden" }, `What was read: ${count(names.length, "sample")}`),
    el("thead", {}, el("tr", {}, ...head.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, ...Array.from({ length: n }, (_, i) => row(i))))];
  if (n < names.length) parts.push(el("p", {}, el("button", { type: "button", class: "link", onclick: () => list(opened, names.length) }, `Show all ${names.length.toLocaleString("en")}`)));
  $("data-list").replaceChildren(...parts);
  $("data-list").hidden = n === 0;
}

/** @param {Refusal[]|undefined|null} refused */
export function showRefused(refused, place = $("data-refused")) {
  const n = refused?.length ?? 0;
  if (!n) return say(place, "");
  const item = (/** @type {Refusal} */ r) => el("li", {}, el("strong", {}, bare(r.name)), " ", plain(r.reason));
  const rest = refused.slice(first).length;
  say(place, "", el("details", { open: true },
    el("summary", {}, `${count(n, "file")} refused`),
    el("ul", { class: "refused" }, ...refused.slice(0, first).map(item), ...(rest ? [el("li", {}, `and ${rest.toLocaleString("en")} more`)] : []))));
}
