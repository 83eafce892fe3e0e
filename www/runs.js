// runs.js: runs as they are kept in the browser, and the list to go on from.

import { $, el } from "./dom.js";
import { ago, bytes, count } from "./words.js";

// newName is a folder's name from the date and the data.
/** @param {string} data */
export function newName(data) {
  const now = new Date(), two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const date = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
  const words = data.toLowerCase().replace(/(\.nii)?(\.gz)?\.?(npz|npy|nii)?$/, "").replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 40);
  return words ? `${date}-${words}` : date;
}

// Data up to this size are kept with a run where the browser has room for four
// times as much.
const mostKept = 4 * 2 ** 30;

export class Run {
  /** @param {any} program @param {string} name @param {any} meta as it was kept, or null */
  constructor(program, name, meta) {
    this.program = program;
    this.name = name;
    this.dir = `/runs/${name}`;
    this.from = ""; // the state to go on from
    this.take(meta);
    this.opens = false; // it was chosen from the list, and is to be loaded even if it is finished
  }

  // take makes the run what its description says.
  /** @param {any} meta */
  take(meta) {
    this.title = meta?.title ?? this.name;
    this.meta = meta;
    this.config = meta?.config ?? "";
    this.step = this.saved = meta?.saved ?? 0;
    this.savedAt = this.described = meta?.savedAt ?? 0;
    this.finished = meta?.finished ?? false;
    this.history = meta?.history ?? null;
  }

  /** @param {any} opened @param {any} source @param {string} adapter */
  start(opened, source, adapter) {
    const { name, size, generated, paths, tables, labels, column, kind, unit } = source;
    this.config = opened.config;
    this.title = `${name}, ${new Date().toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })}`;
    this.meta = { title: this.title, created: Date.now(), source: { name, size, generated, paths, tables, labels, column, kind, unit }, fingerprint: opened.fingerprint, adapter, kept: false };
  }

  // checkpoint is where the run's state lies.
  get checkpoint() { return `${this.dir}/checkpoint.safetensors`; }

  // wasSaved notes that the checkpoint is of an update now, and what to go on from.
  /** @param {number} step */
  wasSaved(step) {
    this.step = this.saved = step;
    this.savedAt = Date.now();
    this.from = this.checkpoint;
  }

  // describe keeps what the page wants to know of the run.
  async describe() {
    Object.assign(this.meta ??= { title: this.title, created: Date.now() }, { config: this.config, saved: this.saved, savedAt: this.savedAt || Date.now(), finished: this.finished, history: this.history });
    const { savedAt } = this.meta;
    await this.program.saveRun(this.name, this.meta);
    this.described = savedAt;
  }

  // kept is the run's description as it lies in the browser, and how that stands to
  // what this tab wrote or read last: "same", "other", where another tab has saved the
  // run since, or "gone". Only who holds the run's lock can rely on it.
  async kept() {
    const meta = await this.program.describedRun(this.name);
    return { meta, stands: !this.described ? "same" : !meta ? "gone" : meta.savedAt === this.described ? "same" : "other" };
  }

  // keepData copies the files to the run where there is room, so that it can go
  // on without them. It resolves to what is to be said; tell hears of what takes long.
  /** @param {any} source @param {(text: string) => void} tell */
  async keepData(source, tell) {
    if (source.generated || !this.meta || this.meta.kept || source.given.length === 0) return "";
    const { quota = 0, usage = 0 } = (await navigator.storage?.estimate?.().catch(() => ({}))) ?? {};
    if (source.size > mostKept || source.size * 4 > quota - usage) {
      return `The data (${bytes(source.size)}) are not kept in this browser, which has too little room. To go on another day, drop the same files again.`;
    }
    if (source.size > 2 ** 28) tell(`The data (${bytes(source.size)}) are being copied into this browser’s own storage, so that the run can go on without the files.`);
    for (const g of source.given) await this.program.keep(`/data/${g.path}`, `${this.dir}/data/${g.path}`);
    this.meta.kept = true;
    if (this.saved) await this.describe();
    return "";
  }
}

/** @param {any[]} runs @param {(run: any) => void} resume @param {(name: string) => Promise<void>} remove */
export function showRuns(runs, resume, remove) {
  $("resume-list").replaceChildren(...runs.map((r) => {
    const meta = r.meta, title = meta?.title ?? r.name;
    const where = meta?.finished ? `finished, ${count(meta.saved, "update")}` : meta ? `at update ${meta.saved.toLocaleString("en")}, saved ${ago(meta.savedAt)}` : "its description is missing";
    const go = el("button", { type: "button", disabled: !r.resumable || r.busy, onclick: () => resume(r) }, meta?.finished ? "Open" : "Continue the training");
    go.setAttribute("aria-label", `${go.textContent} of ${title}`);
    const away = el("button", { type: "button", class: "link", disabled: r.busy, "aria-label": `Remove ${title} from this browser` }, "Remove");
    // Once more to be sure: there is no way back.
    away.addEventListener("click", () => {
      if (away.dataset.sure) return remove(r.name);
      away.dataset.sure = "yes";
      away.textContent = "Remove for good?";
      setTimeout(() => { delete away.dataset.sure; away.textContent = "Remove"; }, 4000);
    });
    return el("li", {}, el("span", { class: "run" }, el("strong", {}, title), el("small", {}, `${r.busy ? "open in another tab; " : ""}${where} · ${bytes(r.bytes)}`)), go, away);
  }));
}
