// probe.js: the table trained | untrained, and what it means in a sentence.

import uPlot from "uplot";
import { $, colour, el } from "./dom.js";
import { labelName } from "./labels.js";
import { decisive, errorUnit, fixed, gain, legend, results, signed, verdict } from "./results.js";
import { count, figure, plain } from "./words.js";

/**
 * @typedef {import("./results.js").Interval} Interval
 * @typedef {{metric: string, trained: Interval, untrained: Interval, difference: Interval, intensities?: Interval, position_only?: Interval}} Score
 * @typedef {{task: string, classes?: string[], samples: number[], chosen: number[], scores: Score[], note?: string, regression?: boolean}} Task
 */

/** @type {Record<string, () => string>} */
const questions = {
  class: () => "Which class is a sample?",
  dense: () => "Which label has a patch?",
  volume: () => "How large is what is labelled?",
  number: () => `Which number is a sample’s ${labelName()}?`,
};

// sentence says of the score that decides a task what it means.
/** @param {Task} t */
function sentence(t) {
  const s = decisive(t.scores), d = gain(s), what = `${s.metric} ${s.trained.value == null ? "–" : fixed(s.trained.value)}`;
  if (d.value == null || d.low == null || d.high == null) return `${what}; a difference to the untrained encoder cannot be computed from so few samples.`;
  const spread = fixed((d.high - d.low) / 2), v = verdict(s);
  if (v > 0) return `Better than untrained by ${fixed(d.value)} ± ${spread} (${what}).`;
  if (v < 0) return `Worse than untrained by ${fixed(-d.value)} ± ${spread} (${what}): training has not helped here yet.`;
  return `Not distinguishable from untrained: a difference of ${signed(d.value)} ± ${spread} (${what}).`;
}

// table is a task's; where there are others, too, it says what it means.
/** @param {Task} t @param {boolean} alone */
function table(t, alone) {
  // What no encoder is needed for, where that was probed, too.
  const beside = [["intensities", "Intensities alone"], ["position_only", "Position alone"]].filter(([k]) => t.scores.some((s) => s[k]));
  const title = (questions[t.task] ?? (() => t.task))(), units = t.task === "dense" ? "volumes" : "samples";
  const about = `${t.classes?.length ? `${t.classes.length} classes; ` : ""}${t.samples[0].toLocaleString("en")} training, ${t.samples[1].toLocaleString("en")} validation, ${t.samples[2].toLocaleString("en")} test ${units}${t.note ? `; ${t.note}` : ""}`;
  return el("div", {}, el("h3", {}, title), ...(alone ? [] : [el("p", { class: `verdict v${verdict(decisive(t.scores))}` }, sentence(t))]), el("p", { class: "hint" }, about),
    results(title, `Trained beside untrained; ${about}`, [
      ["Trained", (s) => s.trained], ["Untrained", (s) => s.untrained], ["Trained − untrained", (s) => s.difference],
      ...beside.map(([k, text]) => /** @type {[string, (s: any) => Interval]} */ ([text, (s) => s[k]])),
    ], t.scores, t.task === "number" ? errorUnit() : "of the logarithm of the number of voxels"));
}

// fractions draws how the classes get better with the number of labels.
/** @param {{fraction: number, samples: number, scores: Score[]}[]} curve */
function fractions(curve) {
  const of = (/** @type {(s: Score) => Interval} */ side) => curve.map((p) => side(p.scores[0]).value);
  const line = colour("line"), axis = { stroke: colour("ink-soft"), grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 }, font: "11px system-ui, sans-serif", labelFont: "11px system-ui, sans-serif", labelSize: 16 };
  const holder = el("div", { "aria-hidden": "true" });
  new uPlot({
    width: Math.min(340, $("probe-table").clientWidth || 340), height: 180, legend: { show: false }, cursor: { show: false }, padding: [8, 10, 0, 0],
    scales: { x: { time: false, distr: 3, range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => [low * 0.9, high * 1.1] } },
    axes: [{ ...axis, size: 26, label: "training labels", values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((t) => (t == null ? "" : String(t))) }, { ...axis, size: 46, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map(figure) }],
    series: [{}, ...["trained", "untrained"].map((c, i) => ({ stroke: colour(c), width: 2, dash: i ? [5, 4] : undefined, points: { show: true, size: 6, fill: colour(c) } }))],
  }, [curve.map((p) => p.samples), of((s) => s.trained), of((s) => s.untrained)], holder);
  const words = curve.map((p) => `${count(p.samples, "label")}: ${figure(p.scores[0].trained.value)} trained, ${figure(p.scores[0].untrained.value)} untrained`).join("; ");
  return el("figure", {}, el("figcaption", {}, el("h3", {}, "How many labels does it take?"), el("p", { class: "hint" }, `${curve[0].scores[0].metric}, by the number of training labels that the probe may see`), el("p", { class: "visually-hidden" }, words)),
    holder, el("ul", { class: "legend" }, el("li", { class: "trained" }, "trained"), el("li", { class: "untrained dashed" }, "untrained")));
}

// summary says in a sentence what all tables mean.
/** @param {Task[]} tasks */
function summary(tasks) {
  const better = tasks.filter((t) => verdict(decisive(t.scores)) > 0).length, worse = tasks.filter((t) => verdict(decisive(t.scores)) < 0).length;
  if (tasks.length === 1) return sentence(tasks[0]);
  const at = (/** @type {number} */ n) => `${n} of ${tasks.length} questions`, rest = better + worse < tasks.length ? "; at the others no difference can be told" : "";
  if (better === tasks.length) return `the trained encoder is better than the untrained one at all ${tasks.length} questions.`;
  if (better + worse === 0) return "no difference between the trained and the untrained encoder can be told yet.";
  if (better === 0) return `the trained encoder is worse than the untrained one at ${at(worse)}${rest}.`;
  return `the trained encoder is better than the untrained one at ${at(better)}${worse ? `, worse at ${worse}` : ""}${rest}.`;
}

/** @param {{tasks: Task[]|null, health?: {rankme: number[], feature_std: number[]}, notes?: string[], curve?: any[]}} r @param {number|null} step */
export function showProbe(r, step) {
  const tasks = (r.tasks ?? []).filter((t) => t.scores?.length);
  const parts = /** @type {Node[]} */ (tasks.map((t) => table(t, tasks.length === 1)));
  if (tasks.length) parts.push(el("p", { class: "hint" }, "All on test samples that training did not see."), legend(tasks.flatMap((t) => t.scores), tasks.find((t) => t.classes?.length)?.classes?.length ?? 0));
  if ((r.curve?.length ?? 0) > 1) parts.push(fractions(r.curve));
  if (r.health?.rankme?.every(Number.isFinite)) {
    const [a, b] = r.health.rankme;
    parts.push(el("p", { class: "hint" }, `RankMe of the test samples’ features: ${a.toFixed(1)} trained, ${b.toFixed(1)} untrained.`));
  }
  for (const note of r.notes ?? []) parts.push(el("p", { class: "hint" }, plain(note)));
  $("probe-table").replaceChildren(...parts);
  const at = step == null ? "" : `After ${count(step, "update")}: `;
  $("probe-says").textContent = tasks.length ? at + summary(tasks)
    : "There is nothing to ask the features: these data have no labels, or all have the same. Labels come from a .csv (file,label), from sub-folders of pictures, from a folder labels/ beside images/, or from an .npz.";
}

export function clearProbe() {
  $("probe-table").replaceChildren();
  $("probe-says").textContent = "The probe freezes the encoder and asks its features for your labels, beside the same encoder untrained.";
}
