// finetune.js: a copy of the encoder and a head, trained on the labels.

import { $, el, say } from "./dom.js";
import { interval, verdict, whisker } from "./probe.js";
import { count, figure, plain } from "./words.js";

const dir = "/finetuned";

/** @typedef {import("./probe.js").Interval} Interval */
/** @typedef {{metric: string, finetuned: Interval, frozen_probe: Interval, difference: Interval}} Score */

// Finetune is the section. page gives commands to the program and files of it to
// the person.
export class Finetune {
  /** @param {{request: Function, hand: (path: string, name: string) => Promise<void>, adapter: () => string, stem: () => string, note: (text: string) => void}} page */
  constructor(page) {
    this.page = page;
    this.running = false;
    $("finetune-start").addEventListener("click", () => this.start());
    $("finetune-stop").addEventListener("click", () => { $("finetune-stop").disabled = true; page.request("stop").catch(() => {}); });
    for (const [id, file] of [["download-finetuned", "weights.safetensors"], ["download-predictions", "predictions.csv"]]) {
      $(id).addEventListener("click", () => page.hand(`${dir}/${file}`, `${page.stem()}-finetuned-${file}`).catch((e) => say($("finetune-says"), plain(e))));
    }
  }

  // show lets the section appear where there is something to learn from.
  /** @param {boolean} possible */
  show(possible) {
    $("finetune").hidden = !possible && !this.running;
    if (!possible && !this.running) this.clear();
  }

  clear() {
    $("finetune-table").replaceChildren();
    $("finetune-files").hidden = true;
    $("finetune-says").textContent = "";
  }

  async start() {
    const words = $("finetune-says"), bar = $("finetune-progress");
    const epochs = Math.round($("finetune-epochs").valueAsNumber);
    if (!(epochs >= 1)) return say(words, "Choose at least one epoch.");
    this.clear();
    this.running = true;
    $("finetune-start").hidden = true;
    $("finetune-stop").hidden = bar.hidden = words.hidden = false;
    $("finetune-stop").disabled = false;
    bar.value = 0;
    words.textContent = "Reading the frozen features…";
    let last = "";
    try {
      const set = [`finetune.epochs=${epochs}`, `finetune.head_only=${$("finetune-head").checked}`];
      const result = await this.page.request("finetune", { dir, set, adapter: this.page.adapter() }, (/** @type {any} */ e) => {
        if (e.event === "warning") return this.page.note(e.message);
        if (e.epoch != null) last = ` · validation loss ${figure(e.validation)}${e.best ? ", the best so far" : ""}`;
        if (!e.total) return;
        bar.max = e.total;
        bar.value = e.step;
        words.textContent = `Step ${e.step} of at most ${e.total}${last}`;
      });
      this.result(result);
    } catch (e) {
      words.textContent = e.kind === "stopped" ? "Stopped." : plain(e);
      if (e.kind !== "stopped") this.page.note(e.message);
    } finally {
      this.running = false;
      $("finetune-start").hidden = false;
      $("finetune-stop").hidden = bar.hidden = true;
    }
  }

  /** @param {{regression?: boolean, classes?: string[], samples: number[], steps: number, scores: Score[], notes?: string[]}} r */
  result(r) {
    const main = r.scores.find((s) => ["balanced accuracy", "R²"].includes(s.metric)) ?? r.scores[0], v = verdict(main);
    $("finetune-says").textContent = `${count(r.steps, "step")}: ${v > 0 ? "better than" : v < 0 ? "worse than" : "not distinguishable from"} the frozen encoder’s probe (${main.metric} ${figure(main.finetuned.value)}, frozen ${figure(main.frozen_probe.value)}).`;
    const reach = Math.max(0.05, ...r.scores.flatMap((s) => [Math.abs(s.difference.low ?? 0), Math.abs(s.difference.high ?? 0)]));
    const head = (/** @type {string} */ text) => el("th", { scope: "col" }, text);
    $("finetune-table").replaceChildren(
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Finetuned beside frozen" }, el("table", { class: "figures" },
        el("caption", { class: "visually-hidden" }, `Finetuned beside the frozen encoder’s probe; ${r.samples[0]} training, ${r.samples[1]} validation, ${r.samples[2]} test samples`),
        el("thead", {}, el("tr", {}, el("td"), head("Finetuned"), head("Frozen probe"), head("Finetuned − frozen"))),
        el("tbody", {}, ...r.scores.map((s) => el("tr", {}, el("th", { scope: "row" }, s.metric), el("td", {}, ...interval(s.finetuned)), el("td", {}, ...interval(s.frozen_probe)),
          el("td", {}, whisker(s, reach), ...interval(s.difference, true, verdict(s) !== 0))))))),
      ...(r.notes ?? []).map((n) => el("p", { class: "hint" }, plain(n))));
    $("finetune-files").hidden = false;
  }
}
