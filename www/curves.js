// curves.js: what training writes down, as four small charts that share their
// horizontal axis: loss, learning rate, deviation of the features, RankMe.

import uPlot from "uplot";
import { $, colour, dark, el } from "./dom.js";
import { figure } from "./words.js";

// A chart draws no more points than this; beyond, every second one is kept.
const most = 4000;

const kinds = [
  { key: "loss", title: "Loss", says: "error of the predicted features; only its fall means something", series: [
    { label: "each", colour: "trained-faint", width: 1 }, { label: "smoothed", colour: "trained", width: 2 }] },
  { key: "lr", title: "Learning rate", says: "rises, then falls as a cosine", series: [{ label: "", colour: "trained", width: 2 }] },
  { key: "std", title: "Deviation of the features", says: "how much features differ between patches; near 0 all are alike (collapsed)", series: [{ label: "", colour: "trained", width: 2 }] },
  { key: "rankme", title: "RankMe", says: "how many directions the features use, of validation samples; where these are few, of training samples too", series: [
    { label: "trained", colour: "trained", width: 2, points: true }, { label: "untrained", colour: "untrained", width: 2, points: true, dash: [5, 4] }] },
];

// Updates are whole numbers.
const steps = Array.from({ length: 9 }, (_, p) => [1, 2, 5].map((n) => n * 10 ** p)).flat();

/** History is all that the charts show, as it is saved with a run. */
export const emptyHistory = () => ({ loss: [[], [], []], lr: [[], []], std: [[], []], rankme: [[], [], []] });

export class Curves {
  constructor() {
    this.history = emptyHistory();
    this.charts = [];
    this.place = $("curves");
    this.due = false;
    // Sizes and colours are the page's, so charts follow both.
    dark.addEventListener("change", () => this.build());
    new ResizeObserver(() => this.resize()).observe(this.place);
  }

  /** @param {any} history */
  load(history) {
    this.history = history ?? emptyHistory();
    for (const chart of this.charts) chart.plot.destroy();
    this.charts = [];
    this.draw();
  }

  /** @param {any} stats of a progress event */
  add(stats) {
    const { loss, lr, std } = this.history, last = loss[2].length ? loss[2][loss[2].length - 1] : stats.loss;
    const since = loss[0].length ? stats.step - loss[0][loss[0].length - 1] : 1;
    if (since <= 0) return; // began anew from an earlier state: the curve is there already
    const keep = Math.exp(-since / Math.max(1, Math.min(20, stats.step / 4))); // smoothed over about 20 updates
    push(loss, stats.step, stats.loss, keep * last + (1 - keep) * stats.loss);
    push(lr, stats.step, stats.lr);
    push(std, stats.step, stats.feature_std);
    this.draw();
  }

  /** @param {number} step @param {{rankme: number[]}|undefined} health the answer to the command health: a probe’s is of other samples */
  health(step, health) {
    if (!health?.rankme?.every(Number.isFinite)) return;
    const steps = this.history.rankme[0];
    if (steps.length && steps[steps.length - 1] >= step) return;
    push(this.history.rankme, step, health.rankme[0], health.rankme[1]);
    this.draw();
  }

  // range of the updates, the same for all.
  range() {
    const all = this.history.loss[0], last = all[all.length - 1] ?? 1;
    return [Math.min(all[0] ?? 0, last - 1), last];
  }

  draw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.place.hidden = this.history.loss[0].length === 0;
      if (this.place.hidden) return;
      if (!this.charts.length) this.build();
      for (const chart of this.charts) {
        const data = this.history[chart.kind.key];
        chart.figure.hidden = data[0].length === 0;
        chart.plot.setData(data);
        chart.describe();
      }
    });
  }

  build() {
    for (const chart of this.charts) chart.plot.destroy();
    this.charts = [];
    this.place.replaceChildren();
    if (this.history.loss[0].length === 0) return;
    for (const kind of kinds) this.charts.push(this.chart(kind));
    this.resize();
    this.draw();
  }

  chart(kind) {
    const now = el("span", { class: "now" }), words = el("p", { class: "visually-hidden" });
    const legend = el("ul", { class: "legend" }, ...kind.series.filter((s) => s.label).map((s) => el("li", { class: `${s.colour}${s.dash ? " dashed" : ""}` }, s.label)));
    const holder = el("div", { class: "chart", "aria-hidden": "true" });
    const figureElement = el("figure", {}, el("figcaption", {}, el("strong", {}, kind.title), " ", now, el("small", {}, kind.says), words), holder, legend);
    this.place.append(figureElement);
    const ink = colour("ink-soft"), line = colour("line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 }, font: "11px system-ui, sans-serif", labelFont: "11px system-ui, sans-serif", labelSize: 16 };
    const show = (at) => {
      const data = this.history[kind.key], last = data.length - 1;
      const i = at ?? data[0].length - 1;
      now.textContent = i < 0 ? "" : kind.key === "rankme" ? `${figure(data[1][i])} trained, ${figure(data[2][i])} untrained` : figure(data[last][i]);
      if (at != null) now.textContent += ` at update ${data[0][i]}`;
    };
    const plot = new uPlot({
      width: 300, height: 170, legend: { show: false }, padding: [8, 10, 0, 0],
      cursor: { sync: { key: "updates" }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: false, range: () => this.range() } },
      axes: [
        { ...axis, size: 26, label: "update", space: 60, incrs: steps },
        { ...axis, size: 50, space: 34, values: (_, ticks) => ticks.map(figure) },
      ],
      series: [{}, ...kind.series.map((s) => ({ label: s.label, stroke: colour(s.colour), width: s.width, dash: s.dash, points: { show: s.points ?? false, size: 6, fill: colour(s.colour) } }))],
      hooks: { setCursor: [(u) => show(u.cursor.idx)] },
    }, this.history[kind.key], holder);
    const describe = () => {
      if (plot.cursor.idx == null) show(null);
      const data = this.history[kind.key], v = data[data.length === 3 && kind.key === "loss" ? 2 : 1], n = v.length;
      words.textContent = n > 1 ? `From ${figure(v[0])} at update ${data[0][0]} to ${figure(v[n - 1])} at update ${data[0][n - 1]}.` : "";
    };
    return { kind, plot, figure: figureElement, holder, describe };
  }

  resize() {
    for (const { plot, holder } of this.charts) {
      const width = Math.floor(holder.clientWidth);
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: 170 });
    }
  }

  // pictures are the canvases, for a download.
  pictures() {
    return this.charts.filter((c) => !c.figure.hidden).map((c) => ({ title: c.kind.title, canvas: c.plot.ctx.canvas }));
  }
}

function push(columns, ...row) {
  columns.forEach((c, i) => c.push(row[i] != null && Math.abs(row[i]) < 1e300 ? row[i] : null));
  if (columns[0].length <= most) return;
  columns.forEach((c, i) => { columns[i] = c.filter((_, at) => at % 2 === 0 || at === c.length - 1); });
}
