// labels.js: which column of which table labels the samples, whether labels are
// classes or numbers, and in which unit.

import { $, options } from "./dom.js";
import { entering, page, request, running } from "./page.js";

/** @typedef {import("./page.js").Source} Source */

// Tables that the program finds by itself.
const found = /(^|\/)(labels\.[ct]sv|participants\.tsv)$/;

// guessTable is the table that labels the samples where one alone was given.
/** @param {string[]} tables */
export const guessTable = (tables) => (tables.length === 1 && !found.test(tables[0]) ? tables[0] : "");

// labelSettings are the choices made here, as settings over all others.
/** @param {Source} s */
export const labelSettings = ({ column, kind }) => [
  ...(column ? [`data.label_column=${JSON.stringify(column)}`] : []),
  ...(kind ? [`data.label_kind=${kind}`] : []),
];

// labelKind is what labels the opened data: "class", "number" or "" where there is
// nothing to tell apart.
export function labelKind() {
  const o = page.opened;
  if ((o?.classes?.length ?? 0) > 1) return "class";
  return new Set(o?.numbers?.filter((/** @type {number|null} */ v) => v != null)).size > 1 ? "number" : "";
}

// unit of the numbers, "" where nobody said.
export const unit = () => (labelKind() === "number" ? (page.source?.unit ?? "").trim() : "");

// labelName is what the labels are called, with their unit.
export function labelName() {
  const name = page.opened?.label_column || (labelKind() === "number" ? "Number" : "Class");
  return unit() && !name.includes(unit()) ? `${name} (${unit()})` : name;
}

// unitIn reads the unit in a column's name, such as that of "age [years]".
/** @param {string} column */
const unitIn = (column) => /[([]([^()[\]]+)[)\]]\s*$/.exec(column)?.[1] ?? "";

// showLabelChoices offers the tables among the files.
/** @param {Source} source */
export function showLabelChoices(source) {
  $("labels-field").hidden = source.generated;
  options($("labels-choice"), [{ value: "", text: "as found in the files" }, ...source.tables.map((t) => ({ value: t, text: `from ${t.replace(/.*\//, "")}` }))]);
  $("labels-choice").value = source.labels;
  $("label-kind").value = source.kind ?? "";
  $("label-unit").value = source.unit ?? "";
  showColumns(source);
}

/** @param {Source} source */
async function showColumns(source) {
  const table = source.labels || source.tables.find((t) => found.test(t));
  const { columns } = table ? await request("columns", { path: table }).catch(() => ({ columns: [] })) : { columns: [] };
  $("label-column-field").hidden = columns.length === 0;
  options($("label-column"), [{ value: "", text: "the one called label, class, target, …" }, ...columns.map((/** @type {string} */ c) => ({ value: c, text: c }))]);
  $("label-column").value = source.column ?? "";
}

// showLabels says what the opened data are labelled with.
export function showLabels() {
  const source = page.source, kind = labelKind();
  if (kind === "number" && source.unit == null) $("label-unit").value = source.unit = unitIn(page.opened.label_column ?? "");
  $("label-unit-field").hidden = kind !== "number";
  const labelled = (page.opened.classes?.length ?? 0) > 0 || kind !== "";
  $("labels-choice-field").hidden = source.tables.length === 0;
  $("label-kind-field").hidden = !labelled && source.tables.length === 0;
  $("labels-says").hidden = labelled || source.tables.length > 0;
  $("label-column-says").textContent = source.labels && !page.opened.label_column ? "No column has such a name: choose the one that holds the labels." : "";
}

// choosing has open called after a choice that reads the labels anew, and show
// after one that only calls them something else.
/** @param {() => void} open @param {() => void} show */
export function choosing(open, show) {
  $("labels-choice").addEventListener("change", (e) => {
    Object.assign(page.source, { labels: e.target.value, guessed: false, column: "", unit: undefined });
    showColumns(page.source);
    open();
  });
  $("label-column").addEventListener("change", (e) => {
    Object.assign(page.source, { column: e.target.value, unit: undefined });
    open();
  });
  $("label-kind").addEventListener("change", (e) => {
    page.source.kind = e.target.value;
    open();
  });
  $("label-unit").addEventListener("change", (e) => {
    page.source.unit = e.target.value;
    show();
  });
  entering(() => { for (const id of ["labels-choice", "label-column", "label-kind"]) $(id).disabled = running(); });
}
