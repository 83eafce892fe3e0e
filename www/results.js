// results.js: tables of figures with their intervals, and what they mean.

import { el } from "./dom.js";
import { labelName, unit } from "./labels.js";

/**
 * @typedef {{value: number|null, low: number|null, high: number|null}} Interval
 * @typedef {{metric: string, difference: Interval}} Score
 */

// lessIsBetter holds of errors.
/** @param {Score} s */
const lessIsBetter = ({ metric }) => metric.includes("error");

// gain is a difference of which more is better: of an error, its opposite.
/** @param {Score} s @returns {Interval} */
export function gain(s) {
  const d = s.difference;
  if (!lessIsBetter(s) || d.value == null || d.low == null || d.high == null) return d;
  return { value: -d.value, low: -d.high, high: -d.low };
}

/** @param {Score} s 1: surely better, −1: surely worse, 0: cannot be told */
export function verdict(s) {
  const { low, high } = gain(s);
  return low == null || high == null ? 0 : low > 0 ? 1 : high < 0 ? -1 : 0;
}

// decisive is the score that answers a question.
/** @template {Score} T @param {T[]} scores @returns {T} */
export const decisive = (scores) => scores.find((s) => ["balanced accuracy", "mean Dice", "R²"].includes(s.metric)) ?? scores[0];

// fixed writes a figure with as many decimals as suit the size of most.
/** @param {number} v @param {number} most */
export function fixed(v, most = Math.abs(v)) {
  const digits = most >= 1000 ? 0 : most >= 100 ? 1 : most >= 10 ? 2 : 3;
  if (Number(v.toFixed(digits)) === 0) v = 0; // not −0
  return v.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

/** @param {number} v @param {number} [most] */
export const signed = (v, most) => fixed(v, most).replace(/^(?!−)/, "+");

/** @param {Interval} i @param {boolean} [difference] @param {boolean} [star] */
function interval(i, difference = false, star = false) {
  if (i.value == null) return ["–"];
  const most = Math.max(...[i.value, i.low ?? 0, i.high ?? 0].map(Math.abs));
  const f = (/** @type {number} */ v) => (difference ? signed(v, most) : fixed(v, most));
  return [f(i.value), star ? el("abbr", { title: "the interval does not hold 0" }, "*") : "", el("span", { class: "range" }, i.low == null || i.high == null ? "" : ` (${f(i.low)} to ${f(i.high)})`)];
}

// whisker draws a difference with its interval around zero.
/** @param {Score} s @param {number} reach */
function whisker(s, reach) {
  const d = s.difference;
  if (d.value == null || d.low == null || d.high == null) return "";
  const x = (/** @type {number} */ v) => 60 + 56 * Math.max(-1, Math.min(1, v / reach));
  return el("svg", { viewBox: "0 0 120 14", class: `whisker v${verdict(s)}`, "aria-hidden": "true" },
    el("line", { x1: 60, x2: 60, y1: 0, y2: 14, class: "zero" }),
    el("line", { x1: x(d.low), x2: x(d.high), y1: 7, y2: 7 }),
    el("line", { x1: x(d.low), x2: x(d.low), y1: 4, y2: 10 }), el("line", { x1: x(d.high), x2: x(d.high), y1: 4, y2: 10 }),
    el("circle", { cx: x(d.value), cy: 7, r: 3.2 }));
}

// widest is how far the differences of scores reach. An error is in another unit.
/** @param {Score[]} scores */
const widest = (scores) => Math.max(...scores.flatMap((s) => [Math.abs(s.difference.low ?? 0), Math.abs(s.difference.high ?? 0)]));

// results is a table with a row a score. columns give the interval of a cell; the one
// of the difference is drawn, too.
/** @param {string} title @param {string} about @param {[string, (s: any) => Interval|undefined][]} columns @param {Score[]} scores @param {string} [ofError] unit of errors */
export function results(title, about, columns, scores, ofError = "") {
  const shared = Math.max(0.05, widest(scores.filter((s) => !lessIsBetter(s))));
  const cell = (/** @type {Score} */ s, /** @type {string} */ head, /** @type {(s: any) => Interval|undefined} */ of) => {
    const i = of(s);
    if (!i) return el("td", { class: "none" });
    const content = i !== s.difference ? interval(i) : [whisker(s, lessIsBetter(s) ? widest([s]) || 1 : shared), ...interval(i, true, verdict(s) !== 0)];
    return el("td", { "data-head": head }, el("div", {}, ...content));
  };
  return el("div", { class: "scroll results", tabindex: 0, role: "region", "aria-label": title },
    el("table", { class: "figures" },
      el("caption", { class: "visually-hidden" }, `${title} ${about}`),
      el("thead", {}, el("tr", {}, el("td"), ...columns.map(([text]) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, ...scores.map((s) => el("tr", {}, el("th", { scope: "row" }, lessIsBetter(s) && ofError ? `${s.metric}, ${ofError}` : s.metric), ...columns.map(([head, of]) => cell(s, head, of)))))));
}

// meanings are what the names of figures stand for, in the order of a legend.
/** @type {[RegExp, string, (classes: number) => string][]} */
const meanings = [
  [/^accuracy$/, "Accuracy", () => "the share of test samples whose class is told rightly."],
  [/^balanced accuracy$/, "Balanced accuracy", (n) => `that share in each class, and the mean over the classes, so that a rare class counts as much as a common one.${n ? ` Guessing gives ${fixed(1 / n)}, 1 is perfect.` : ""}`],
  [/^AUC$/, "AUC", (n) => `the area under the ROC curve: how often ${n === 2 ? "a sample of the second class is ranked above one of the first" : "a sample of a class is ranked above one of another, a mean over the classes"}. Guessing gives 0.5, 1 is perfect.`],
  [/nearest/, "Nearest", () => "the class is told by a vote of the nearest training samples, by Euclidean distance or by angle (cosine), without fitting anything."],
  [/Dice/, "Dice", () => "the overlap of what is predicted and what is labelled, counted in patches: 0 is none, 1 is perfect. A dash: the class is in none of the test volumes."],
  [/^R²$/, "R²", () => "the share of the numbers’ variance that is explained: 1 is perfect, 0 is no better than always to say their mean, and below 0 is worse than that."],
  [/error/, "Mean absolute error", () => "how far a prediction is off on average, in the unit named beside it (of a logarithm, 0.1 is about 10 %); less is better."],
];

// what is compared, and which scores have it.
/** @type {[string, string, string][]} */
const compared = [
  ["untrained", "Untrained", "the same encoder before any training, with random weights: what is better than it was learnt."],
  ["untrained_probe", "Untrained probe", "a probe of the same encoder before any training, with random weights."],
  ["frozen_probe", "Frozen probe", "a linear probe of the trained encoder as it is, without finetuning."],
  ["intensities", "Intensities alone", "the same probe of the voxels’ own intensities, without an encoder."],
  ["position_only", "Position alone", "the label that is commonest at a place, whatever is to be seen there."],
];

// legend explains the figures that occur.
/** @param {Score[]} scores @param {number} classes */
export function legend(scores, classes) {
  const rows = meanings.filter(([name]) => scores.some((s) => name.test(s.metric)));
  return el("details", { class: "legend-text" }, el("summary", {}, "What do these figures mean?"),
    el("dl", {}, ...rows.flatMap(([, name, says]) => [el("dt", {}, name), el("dd", {}, says(classes))]),
      ...compared.filter(([key]) => scores.some((s) => key in s)).flatMap(([, name, says]) => [el("dt", {}, name), el("dd", {}, says)]),
      el("dt", {}, "In brackets"), el("dd", {}, "the 95 % interval that other test samples of the same kind would give (bootstrap). * marks a difference whose interval does not hold 0: it is more than chance.")));
}

// errorUnit is the unit of errors of the number that labels samples.
export const errorUnit = () => unit() || `in the unit of ${labelName()}`;
