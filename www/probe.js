// probe.js: the table trained | untrained, and what it means in a sentence.

import uPlot from "uplot";
import { $, colour, el } from "./dom.js";
import { count, figure, plain } from "./words.js";

/**
 * @typedef {{value: number|null, low: number|null, high: number|null}} Interval
 * @typedef {{metric: string, trained: Interval, untrained: Interval, difference: Interval, intensities?: Interval, position_only?: Interval}} Score
 * @typedef {{task: string, classes?: string[], samples: number[], chosen: number[], scores: Score[], note?: string, regression?: boolean}} Task
 */

const questions = {
  class: "Which class is a sample?",
  dense: "Which label has a patch?",
  volume: "How large is what is labelled?",
  number: "Which number belongs to a sample?",
};

const signed = (v) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(3)}`;

/** @param {Interval} i */
export function interval(i, sign = false, star = false) {
  if (i.value == null) return ["–"];
  const f = sign ? signed : (/** @type {number} */ v) => v.toFixed(3).replace("-", "−");
  return [f(i.value), star ? el("abbr", { title: "the interval does not hold 0" }, "*") : "", el("span", { class: "range" }, i.low == null ? "" : ` (${f(i.low)} to ${f(i.high)})`)];
}

// gain is a difference of which more is better: of an error, its opposite.
/** @param {Score} s @returns {Interval} */
function gain({ metric, difference: d }) {
  if (!metric.includes("error") || d.value == null || d.low == null || d.high == null) return d;
  return { value: -d.value, low: -d.high, high: -d.low };
}

/** @param {Score} s 1: surely better, −1: surely worse, 0: cannot be told */
export function verdict(s) {
  const { low, high } = gain(s);
  return low == null || high == null ? 0 : low > 0 ? 1 : high < 0 ? -1 : 0;
}

// whisker draws a difference with its interval around zero.
/** @param {Score} s @param {number} reach */
export function whisker(s, reach) {
  const d = s.difference;
  if (d.value == null || d.low == null || d.high == null) return "";
  const x = (/** @type {number} */ v) => 60 + 56 * Math.max(-1, Math.min(1, v / reach));
  return el("svg", { viewBox: "0 0 120 14", class: `whisker v${verdict(s)}`, "aria-hidden": "true" },
    el("line", { x1: 60, x2: 60, y1: 0, y2: 14, class: "zero" }),
    el("line", { x1: x(d.low), x2: x(d.high), y1: 7, y2: 7 }),
    el("line", { x1: x(d.low), x2: x(d.low), y1: 4, y2: 10 }), el("line", { x1: x(d.high), x2: x(d.high), y1: 4, y2: 10 }),
    el("circle", { cx: x(d.value), cy: 7, r: 3.2 }));
}

// sentence says of the first score that decides a task what it means.
/** @param {Task} t */
function sentence(t) {
  const s = decisive(t), d = gain(s), what = `${s.metric} ${s.trained.value?.toFixed(3).replace("-", "−") ?? "–"}`;
  if (d.value == null || d.low == null || d.high == null) return `${what}; a difference to the untrained encoder cannot be computed from so few samples.`;
  const spread = ((d.high - d.low) / 2).toFixed(3), v = verdict(s);
  if (v > 0) return `Better than untrained by ${d.value.toFixed(3)} ± ${spread} (${what}).`;
  if (v < 0) return `Worse than untrained by ${(-d.value).toFixed(3)} ± ${spread} (${what}): training has not helped here yet.`;
  return `Not distinguishable from untrained: a difference of ${signed(d.value)} ± ${spread} (${what}).`;
}

/** @param {Task} t */
function table(t) {
  // What no encoder is needed for, where that was probed, too.
  const beside = [["intensities", "Intensities alone"], ["position_only", "Position alone"]].filter(([k]) => t.scores.some((s) => s[k]));
  const units = t.task === "dense" ? "volumes" : "samples";
  const reach = Math.max(0.05, ...t.scores.flatMap((s) => [Math.abs(s.difference.low ?? 0), Math.abs(s.difference.high ?? 0)]));
  const head = (/** @type {string} */ text) => el("th", { scope: "col" }, text);
  const title = questions[t.task] ?? t.task, about = `${t.classes?.length ? `${t.classes.length} classes; ` : ""}${t.samples[0]} training, ${t.samples[1]} validation, ${t.samples[2]} test ${units}${t.note ? `; ${t.note}` : ""}`;
  return el("div", {}, el("h3", {}, title), el("p", { class: `verdict v${verdict(decisive(t))}` }, sentence(t)), el("p", { class: "hint" }, about), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
    el("table", { class: "figures" },
      el("caption", { class: "visually-hidden" }, `${title} Trained beside untrained; ${about}`),
      el("thead", {}, el("tr", {}, el("td"), head("Trained"), head("Untrained"), head("Trained − untrained"), ...beside.map(([, text]) => head(text)))),
      el("tbody", {}, ...t.scores.map((s) => el("tr", {},
        el("th", { scope: "row" }, s.metric),
        el("td", {}, ...interval(s.trained)), el("td", {}, ...interval(s.untrained)),
        el("td", {}, whisker(s, reach), ...interval(s.difference, true, verdict(s) !== 0)),
        ...beside.map(([k]) => el("td", {}, ...(s[k] ? interval(s[k]) : [""])))))))));
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

// decisive is the score that answers a task's question.
/** @param {Task} t */
const decisive = (t) => t.scores.find((s) => ["balanced accuracy", "mean Dice", "R²"].includes(s.metric)) ?? t.scores[0];

// summary says in a sentence what all tables mean.
/** @param {Task[]} tasks */
function summary(tasks) {
  const better = tasks.filter((t) => verdict(decisive(t)) > 0).length, worse = tasks.filter((t) => verdict(decisive(t)) < 0).length;
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
  const parts = /** @type {Node[]} */ (tasks.map(table));
  if (tasks.length) parts.push(el("p", { class: "hint" }, "On test samples that training did not see, with 95 % bootstrap intervals. * marks a difference whose interval does not hold 0."));
  if ((r.curve?.length ?? 0) > 1) parts.push(fractions(r.curve));
  if (r.health?.rankme?.every(Number.isFinite)) {
    const [a, b] = r.health.rankme;
    parts.push(el("p", { class: "hint" }, `RankMe of the test samples’ features: ${a.toFixed(1)} trained, ${b.toFixed(1)} untrained.`));
  }
  for (const note of r.notes ?? []) parts.push(el("p", { class: "hint" }, plain(note)));
  $("probe-table").replaceChildren(...parts);
  const at = step == null ? "" : `After ${count(step, "update")}: `;
  $("probe-says").textContent = tasks.length ? at + summary(tasks)
    : "These data have no labels, so there is nothing to ask the features. Labels come from a .csv (file,label), from sub-folders of pictures, from a folder labels/ beside images/, or from an .npz.";
}

export function clearProbe() {
  $("probe-table").replaceChildren();
  $("probe-says").textContent = "The probe freezes the encoder and asks its features for your labels, beside the same encoder untrained.";
}
