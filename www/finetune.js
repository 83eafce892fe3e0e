// finetune.js: a copy of the encoder and a head, trained on the labels.

import { note } from "./diagnostics.js";
import { $, el, say } from "./dom.js";
import { labelKind, labelName } from "./labels.js";
import { adapter, entering, hand, page, request, running, stem } from "./page.js";
import { decisive, errorUnit, fixed, legend, results, verdict } from "./results.js";
import { count, figure, plain } from "./words.js";

const dir = "/finetuned";

/** @typedef {import("./results.js").Interval} Interval */
/** @typedef {{metric: string, finetuned: Interval, frozen_probe: Interval, difference: Interval, untrained_probe?: Interval}} Score */

$("finetune-start").addEventListener("click", start);
$("finetune-stop").addEventListener("click", () => { $("finetune-stop").disabled = true; request("stop").catch(() => {}); });
for (const [id, file] of [["download-finetuned", "weights.safetensors"], ["download-predictions", "predictions.csv"]]) {
  $(id).addEventListener("click", () => hand(`${dir}/${file}`, `${stem()}-finetuned-${file}`).catch((e) => say($("finetune-says"), plain(e))));
}
entering(show);

// show lets the section appear where there is something to learn from.
export function show() {
  const possible = page.trained && !running() && labelKind() !== "";
  $("finetune").hidden = !possible && !page.finetuning;
  $("finetune-goal").textContent = labelKind() === "number" ? `To be learnt: the number ${labelName()}.` : `To be learnt: ${page.opened?.label_column || "the class"}, one of ${page.opened?.classes?.length}.`;
  if (!possible && !page.finetuning) clear();
}

export function clear() {
  $("finetune-table").replaceChildren();
  $("finetune-files").hidden = true;
  $("finetune-says").textContent = "";
}

async function start() {
  const words = $("finetune-says"), bar = $("finetune-progress");
  const epochs = Math.round($("finetune-epochs").valueAsNumber);
  if (!(epochs >= 1)) return say(words, "Epochs is how often every training sample is seen: choose a whole number of 1 or more.");
  clear();
  page.finetuning = true;
  $("finetune-start").hidden = true;
  $("finetune-stop").hidden = bar.hidden = words.hidden = false;
  $("finetune-stop").disabled = false;
  bar.removeAttribute("value");
  words.textContent = "Reading the frozen features, of the trained encoder and of the untrained one…";
  let last = "";
  try {
    const set = [`finetune.epochs=${epochs}`, `finetune.head_only=${$("finetune-head").checked}`];
    result(await request("finetune", { dir, set, adapter: adapter() }, (/** @type {any} */ e) => {
      if (e.epoch != null) last = ` · validation loss ${figure(e.validation)}${e.best ? ", the best so far" : ""}`;
      if (!e.total) return;
      bar.max = e.total;
      bar.value = e.step;
      words.textContent = e.step < e.total ? `Step ${e.step.toLocaleString("en")} of at most ${e.total.toLocaleString("en")}${last}` : "Predicting all samples…";
    }));
  } catch (e) {
    words.textContent = e.kind === "stopped" ? "Stopped. Nothing of it was kept." : plain(e);
    if (e.kind !== "stopped") note(`bad: ${e.message}`);
  } finally {
    page.finetuning = false;
    $("finetune-start").hidden = false;
    $("finetune-stop").hidden = bar.hidden = true;
  }
}

/** @param {{regression?: boolean, classes?: string[], samples: number[], steps: number, scores: Score[], notes?: string[]}} r */
function result(r) {
  const main = decisive(r.scores), v = verdict(main), at = (/** @type {Interval|undefined} */ i) => (i?.value == null ? "–" : fixed(i.value));
  const error = r.scores.find((s) => s.metric === "mean absolute error");
  const about = `${r.samples[0].toLocaleString("en")} training, ${r.samples[1].toLocaleString("en")} validation and ${count(r.samples[2], "test sample")}`;
  $("finetune-says").textContent = `After ${count(r.steps, "step")}, finetuned is ${v > 0 ? "better than" : v < 0 ? "worse than" : "not distinguishable from"} the frozen encoder’s probe: ${main.metric} ${at(main.finetuned)}, frozen ${at(main.frozen_probe)}${main.untrained_probe ? `, untrained ${at(main.untrained_probe)}` : ""}.${error ? ` A prediction is off by ${at(error.finetuned)} (${errorUnit()}) on average.` : ""}`;
  $("finetune-table").replaceChildren(
    results("Finetuned beside frozen.", about, [
      ["Finetuned", (s) => s.finetuned], ["Frozen probe", (s) => s.frozen_probe], ["Finetuned − frozen", (s) => s.difference],
      ...(main.untrained_probe ? [/** @type {[string, (s: any) => Interval]} */ (["Untrained probe", (s) => s.untrained_probe])] : []),
    ], r.scores, errorUnit()),
    el("p", { class: "hint" }, `${labelName()}: ${about}. The figures are of the test samples.`),
    ...(r.notes ?? []).map((n) => el("p", { class: "hint" }, plain(n))),
    legend(r.scores, r.classes?.length ?? 0));
  $("finetune-files").hidden = false;
}
