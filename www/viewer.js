// viewer.js: slices of a sample in three planes, and over them what training
// sees: masks, the patch features' first three components before and after,
// and where the predictor's error is large.
//
// A sample is (C, H, W) or (C, H, W, D), row-major. Planes are drawn with the front
// or the top of the patient upward, and their axis to the right as it grows.

import { $, canvas2d, colour, dark, el, options } from "./dom.js";
import { figure, plain } from "./words.js";

// fixed is the axis that a slider moves through, u goes to the right, v up or down.
// Where an axis of a volume leads to, by its letter, and what lies across it.
/** @type {Record<string, [string, string, string]>} */
const axes = {
  R: ["left", "right", "Sagittal"], L: ["right", "left", "Sagittal"],
  A: ["back", "front", "Coronal"], P: ["front", "back", "Coronal"],
  S: ["bottom", "top", "Axial"], I: ["top", "bottom", "Axial"],
};

// planes3 are those of a volume whose axes lead to these sides of the patient. Where
// that is not known they are named as in RAS, and no sides are.
/** @param {string} orientation */
const planes3 = (orientation) => [[2, 0, 1], [1, 0, 2], [0, 1, 2]].map(([fixed, u, v]) => {
  const of = (/** @type {number} */ axis) => axes[(orientation || "RAS")[axis]];
  return { title: of(fixed)[2], sides: orientation ? `${of(u)[0]} | ${of(u)[1]}` : "", fixed, u, v, up: "RAS".includes((orientation || "RAS")[v]) };
});
const planes2 = [{ title: "Image", fixed: -1, u: 1, v: 0, up: false }];

const out = "/sample.bin"; // in the program’s memory
const draws = 32; // masks that a surprise map averages over

const says = {
  masks: "What training hides: from the context alone the predictor has to say what the encoder sees in the targets. Every step draws others.",
  features: "The first three principal components of each patch’s features as colours: alike colours, alike features. Before training beside after.",
  surprise: `How far off the predictor is where a patch was hidden, a mean over ${draws} masks: what is bright, it did not expect. That is no sign of disease by itself.`,
  "3d": "The sample as the encoder sees it. Drag or use the arrow keys to turn it, scroll to move the cutting plane.",
};

export class Viewer {
  // request is the client's; get reads a file that the program wrote; step is
  // the update that training is at, 0 before; adapter is the chosen one.
  /** @param {{request: Function, get: Function, step: () => number, trained: () => boolean, adapter: () => string, chosen: () => void}} page */
  constructor(page) {
    this.page = page;
    this.tab = "masks";
    this.data = null; // what was opened
    this.shown = null; // the sample
    this.at = [0, 0, 0]; // slices
    this.three = null; // the 3-D viewer, once it was wanted
    this.turn = 0; // of the last thing asked for
    for (const t of Object.keys(says)) $(`view-${t}`).addEventListener("click", () => this.choose(t));
    $("view-masks").parentElement.addEventListener("keydown", (e) => this.tabKey(e));
    $("sample").addEventListener("change", () => this.load());
    $("sample-before").addEventListener("click", () => this.move(-1));
    $("sample-after").addEventListener("click", () => this.move(1));
    for (const axis of [0, 1, 2]) $(`slice-${axis}`).addEventListener("input", (e) => { this.at[axis] = Number(e.target.value); this.draw(); });
    dark.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe($("view-panel"));
  }

  /** @param {any} opened */
  open(opened) {
    const same = this.data?.fingerprint === opened.fingerprint && String(this.data.size) === String(opened.size);
    this.data = opened;
    if (!same) {
      const names = opened.names ?? Array.from({ length: opened.samples }, (_, i) => `sample ${i}`);
      // Tens of thousands of options would slow the page.
      options($("sample"), names.slice(0, 2000).map((text, i) => ({ value: String(i), text })));
      $("sample").value = "0";
      this.at = opened.size.map((n) => Math.floor(n / 2));
    }
    const volume = opened.size.length === 3;
    $("slices").hidden = !volume;
    $("view-3d").hidden = !volume;
    opened.size.forEach((n, axis) => { $(`slice-${axis}`).max = String(n - 1); });
    if (!volume && this.tab === "3d") this.choose("masks");
    return this.load();
  }

  sample() { return Number($("sample").value) || 0; }

  /** @param {number} by */
  move(by) {
    const s = $("sample"), n = s.options.length;
    s.selectedIndex = (s.selectedIndex + by + n) % n;
    this.load();
  }

  /** @param {number} sample */
  select(sample) {
    if (!$("sample").options[sample]) $("sample").add(new Option(this.data.names?.[sample] ?? `sample ${sample}`, String(sample)));
    $("sample").value = String(sample);
    return this.load();
  }

  async load() {
    const turn = ++this.turn, sample = this.sample();
    try {
      const v = await this.page.request("view", { sample, out });
      const bytes = await content(await this.page.get(out));
      if (turn !== this.turn) return;
      this.shown = { ...v, sample, bytes, orientation: this.data.orientations?.[sample] ?? "", };
      this.layer = {};
      this.problem = "";
      this.draw();
      await this.refresh(true);
    } catch (e) {
      if (turn === this.turn) this.trouble(e);
    }
    this.page.chosen();
  }

  /** @param {string} tab */
  choose(tab) {
    this.tab = tab;
    this.problem = "";
    for (const t of Object.keys(says)) {
      const b = $(`view-${t}`);
      b.setAttribute("aria-selected", String(t === tab));
      b.tabIndex = t === tab ? 0 : -1;
    }
    $("view-panel").setAttribute("aria-labelledby", `view-${tab}`);
    $("slices").hidden = tab === "3d" || this.data?.size.length !== 3;
    this.three?.hide();
    this.draw();
    return this.refresh(true);
  }

  /** @param {KeyboardEvent} e */
  tabKey(e) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!by) return;
    const tabs = Object.keys(says).filter((t) => !$(`view-${t}`).hidden);
    const next = tabs[(tabs.indexOf(this.tab) + by + tabs.length) % tabs.length];
    this.choose(next);
    $(`view-${next}`).focus();
  }

  // refresh asks for what the open tab shows. all is false while training, when
  // only what changed by it is wanted. It resolves to whether it asked.
  async refresh(all = false) {
    const v = this.shown, tab = this.tab;
    if (!v || tab === "3d" ? await this.volume() : false) return true;
    if (!v) return false;
    const sample = v.sample, adapter = this.page.adapter();
    // What takes longer than a moment says so, where nothing is to be seen yet.
    const compute = (/** @type {string} */ what, /** @type {string} */ layer) => {
      $("view-panel").setAttribute("aria-busy", "true");
      if (!this.layer?.[layer]) $("view-says").textContent = what;
    };
    const ask = async (/** @type {string} */ command, /** @type {any} */ args) => {
      const pictures = [];
      const result = await this.page.request(command, { sample, adapter, ...args }, (/** @type {any} */ e) => { if (e.event === "picture") pictures.push(e); });
      return pictures.length ? pictures : [result];
    };
    try {
      if (tab === "masks" && all) {
        this.keep(v, { masks: (await ask("masks", { step: this.page.step() + (this.other ?? 0) }))[0] });
      } else if (tab === "features") {
        compute("Computing the features of this sample and of some others…", "untrained");
        const layer = {};
        for (const p of await ask("features", {})) layer[p.encoder] = p;
        this.keep(v, layer);
      } else if (tab === "surprise" && this.page.trained()) {
        compute(`Predicting this sample under ${draws} masks…`, "surprise");
        this.keep(v, { surprise: (await ask("surprise", { draws }))[0] });
      } else {
        return false;
      }
    } catch (e) {
      if (v === this.shown && tab === this.tab) this.trouble(e);
    } finally {
      $("view-panel").removeAttribute("aria-busy");
    }
    return true;
  }

  /** @param {any} v @param {any} layer */
  keep(v, layer) {
    if (v !== this.shown) return;
    Object.assign(this.layer, layer);
    this.problem = "";
    this.draw();
  }

  /** @param {any} e */
  trouble(e) {
    this.problem = plain(e);
    this.draw();
  }

  async volume() {
    if (this.tab !== "3d" || !this.shown) return false;
    this.problem = "Loading the 3-D viewer…";
    this.draw();
    try {
      const { Three } = await import("./three.js");
      this.three ??= new Three();
      await this.three.show($("view-stage"), this.shown);
      this.problem = "";
    } catch (e) {
      this.three?.hide();
      this.problem = `The 3-D viewer cannot run here: ${plain(e)} The slices show the same volume.`;
    }
    if (this.tab === "3d") this.draw();
    return true;
  }

  draw() {
    const v = this.shown, tab = this.tab;
    $("view-says").textContent = this.problem || says[tab];
    if (tab === "3d") $("view-legend").replaceChildren();
    if (!v || tab === "3d") return;
    const L = this.layer ?? {};
    /** @type {{title: string, cell: any, words: string}[]} */
    let rows = [{ title: "", cell: null, words: "" }];
    if (tab === "masks") rows = [{ title: "", cell: L.masks && maskCells(L.masks), words: L.masks ? `, ${L.masks.context.length} patches of context and ${L.masks.targets.length} target blocks` : "" }];
    if (tab === "features") {
      rows = [{ title: "Image", cell: null, words: "" }];
      for (const [encoder, title] of [["untrained", "Before"], ["trained", "After"]]) {
        if (L[encoder]) rows.push({ title, cell: colourCells(L[encoder].colours), words: `, features ${title.toLowerCase()} training as colours` });
      }
    }
    if (tab === "surprise") {
      rows = [{ title: L.surprise ? "Image" : "", cell: null, words: "" }];
      if (L.surprise) rows.push({ title: "Surprise", cell: heatCells(L.surprise), words: `, error of the predictor from ${figure(L.surprise.low)} to ${figure(L.surprise.high)}` });
    }
    this.place(rows);
    $("view-legend").replaceChildren(...this.legend());
  }

  // place lays rows of planes out, all at one scale.
  /** @param {{title: string, cell: any, words: string}[]} rows */
  place(rows) {
    const v = this.shown, planes = v.size.length === 3 ? planes3(v.orientation) : planes2;
    const unit = v.size.map((_, a) => (v.spacing?.length === v.size.length ? v.spacing[a] / Math.min(...v.spacing) : 1));
    const side = (/** @type {number} */ a) => v.size[a] * unit[a];
    const stage = $("view-stage"), titled = rows.length > 1;
    const room = $("view-panel").clientWidth - 2, narrow = room < 460;
    const gap = 10, label = titled && !narrow ? 76 : 0;
    // Where there is little room two planes stand beside each other, and the third below.
    const across = narrow && !titled ? Math.min(2, planes.length) : planes.length;
    const widest = planes.map((p) => side(p.u)).sort((a, b) => b - a).slice(0, across).reduce((a, b) => a + b), tallest = Math.max(...planes.map((p) => side(p.v)));
    const high = titled ? 230 : 340;
    const scale = Math.max(0.05, Math.min((room - label - gap * (across - 1)) / widest, high / tallest));
    stage.replaceChildren(...rows.map((r) => el("div", { class: "planes" }, ...(titled ? [el("p", { class: "row-title" }, r.title)] : []),
      ...planes.map((p) => {
        const canvas = el("canvas", { role: "img", "aria-label": `${p.title}${p.fixed < 0 ? "" : `, slice ${this.at[p.fixed] + 1} of ${v.size[p.fixed]}`} of ${v.name}${r.words}` });
        this.paint(canvas, p, Math.round(side(p.u) * scale), Math.round(side(p.v) * scale), r.cell);
        if (p.fixed >= 0) canvas.addEventListener("click", (e) => this.point(canvas, p, e));
        const sides = p.sides ? [" ", el("small", {}, p.sides)] : [];
        return r === rows[0] ? el("figure", {}, el("figcaption", {}, p.fixed < 0 ? "" : p.title, ...sides), canvas) : canvas;
      }))));
    for (const [axis, n] of v.size.entries()) {
      const input = $(`slice-${axis}`);
      input.value = String(this.at[axis]);
      input.nextElementSibling.textContent = `${this.at[axis] + 1} of ${n}`;
      const [from, to] = axes[(v.orientation || "RAS")[axis]] ?? [];
      input.labels[0].textContent = v.orientation ? `${from[0].toUpperCase()}${from.slice(1)} to ${to}` : `Axis ${axis + 1}`;
    }
  }

  /** @param {any} canvas @param {any} p @param {number} width @param {number} height @param {any} cell */
  paint(canvas, p, width, height, cell) {
    const v = this.shown, c = canvas2d(canvas, width, height);
    c.imageSmoothingEnabled = v.size[p.u] < width * 0.9;
    c.imageSmoothingQuality = "high";
    c.drawImage(slice(v, p, this.at), 0, 0, width, height);
    const grid = v.grid;
    if (cell && grid) {
      const patch = v.size.map((n, a) => n / grid[a]);
      const fixed = p.fixed < 0 ? 0 : Math.min(grid[p.fixed] - 1, Math.floor(this.at[p.fixed] / patch[p.fixed]));
      const w = width / grid[p.u], h = height / grid[p.v];
      const index = (/** @type {number} */ i, /** @type {number} */ j) => {
        const at = [0, 0, 0];
        at[p.u] = i;
        at[p.v] = j;
        if (p.fixed >= 0) at[p.fixed] = fixed;
        return grid.reduce((n, g, a) => n * g + at[a], 0);
      };
      cell(c, grid[p.u], grid[p.v], w, h, index, p.up);
    }
    if (p.fixed >= 0) { // where the other two planes cut
      c.strokeStyle = colour("cut");
      c.lineWidth = 1;
      const x = (this.at[p.u] + 0.5) / v.size[p.u] * width, y = (p.up ? 1 - (this.at[p.v] + 0.5) / v.size[p.v] : (this.at[p.v] + 0.5) / v.size[p.v]) * height;
      c.beginPath();
      for (const [a, b, d, e] of [[x, 0, x, 6], [x, height - 6, x, height], [0, y, 6, y], [width - 6, y, width, y]]) { c.moveTo(a, b); c.lineTo(d, e); }
      c.stroke();
    }
  }

  // point moves the other two planes to where one was clicked.
  /** @param {HTMLCanvasElement} canvas @param {any} p @param {MouseEvent} e */
  point(canvas, p, e) {
    const box = canvas.getBoundingClientRect(), n = this.shown.size;
    const x = (e.clientX - box.left) / box.width, y = (e.clientY - box.top) / box.height;
    const within = (/** @type {number} */ a, /** @type {number} */ f) => Math.max(0, Math.min(n[a] - 1, Math.floor(f * n[a])));
    this.at[p.u] = within(p.u, x);
    this.at[p.v] = within(p.v, p.up ? 1 - y : y);
    this.draw();
  }

  legend() {
    const L = this.layer ?? {};
    if (this.tab === "masks" && L.masks) {
      return [el("ul", { class: "legend" }, el("li", { class: "context" }, "context: what the encoder sees"), el("li", { class: "target" }, `targets: ${L.masks.targets.length} blocks to predict`), el("li", { class: "unused" }, "unused at this step")),
        el("button", { type: "button", class: "small", onclick: () => { this.other = (this.other ?? 0) + 1; this.refresh(true); } }, "Other masks")];
    }
    if (this.tab === "features" && !this.page.trained()) return [el("p", { class: "hint" }, "After appears here once training runs.")];
    if (this.tab === "surprise" && L.surprise) {
      return [el("ul", { class: "legend" }, el("li", { class: "ramp" }, `error of the features (smooth L1) from ${figure(L.surprise.low)}, dark, to ${figure(L.surprise.high)}, bright`), el("li", { class: "unused" }, "no colour: never a target in these draws"))];
    }
    if (this.tab === "surprise" && !this.page.trained()) return [el("p", { class: "hint" }, "The map appears here once training runs: it needs a predictor that has learnt.")];
    return [];
  }

  pictures() {
    const names = [...$("view-stage").querySelectorAll("canvas")];
    return names.map((canvas) => ({ title: canvas.getAttribute("aria-label") ?? "", canvas }));
  }
}

/** @param {any} bytes @returns {Promise<Uint8Array>} */
const content = async (bytes) => (bytes instanceof Uint8Array ? bytes : new Uint8Array(await bytes.arrayBuffer()));

// slice is a plane of a sample at one pixel a voxel.
/** @param {any} v @param {any} p @param {number[]} at */
export function slice(v, p, at) {
  const n = v.size, w = n[p.u], h = n[p.v], canvas = new OffscreenCanvas(w, h), c = canvas.getContext("2d");
  const image = c.createImageData(w, h), stride = n.map((_, a) => n.slice(a + 1).reduce((x, y) => x * y, 1)), whole = n.reduce((x, y) => x * y, 1);
  const from = p.fixed < 0 ? 0 : at[p.fixed] * stride[p.fixed], colours = v.channels === 3 ? [0, whole, 2 * whole] : [0, 0, 0];
  for (let y = 0, o = 0; y < h; y++) {
    const row = from + (p.up ? h - 1 - y : y) * stride[p.v];
    for (let x = 0; x < w; x++, o += 4) {
      const i = row + x * stride[p.u];
      for (let k = 0; k < 3; k++) image.data[o + k] = v.bytes[i + colours[k]];
      image.data[o + 3] = 255;
    }
  }
  c.putImageData(image, 0, 0);
  return canvas;
}

// middle is a small picture of a sample: its axial plane.
/** @param {any} v */
export function middle(v) {
  const planes = planes3(v.orientation ?? "");
  const p = v.size.length === 3 ? planes.find((p) => p.title === "Axial") ?? planes[0] : planes2[0];
  return slice(v, p, v.size.map((/** @type {number} */ n) => Math.floor(n / 2)));
}

// What the functions below return draws over a plane of columns × rows patches
// of w × h pixels; index gives a patch by column and row.

/** @param {any} m */
function maskCells(m) {
  const kind = new Map(m.context.map((/** @type {number} */ p) => [p, 1]));
  m.targets.forEach((/** @type {number[]} */ block, /** @type {number} */ i) => block.forEach((p) => kind.set(p, 2 + i)));
  return (c, columns, rows, w, h, index, up) => {
    const of = (i, j) => (i < 0 || j < 0 || i >= columns || j >= rows ? 0 : Math.min(2, kind.get(index(i, j)) ?? 0));
    const top = (j) => (up ? rows - 1 - j : j) * h;
    const edges = [[], [], []];
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < rows; j++) {
        const k = of(i, j), x = i * w, y = top(j);
        if (k !== 1) { // whole pixels, so that no seam shows
          c.fillStyle = colour(k === 2 ? "target-veil" : "unused-veil");
          c.fillRect(Math.round(x), Math.round(y), Math.round(x + w) - Math.round(x), Math.round(y + h) - Math.round(y));
        }
        if (k === 2) hatch(c, x, y, w, h);
        if (k === 0) continue;
        if (of(i - 1, j) !== k) edges[k].push([x + 1, y, x + 1, y + h]);
        if (of(i + 1, j) !== k) edges[k].push([x + w - 1, y, x + w - 1, y + h]);
        const above = of(i, up ? j + 1 : j - 1), below = of(i, up ? j - 1 : j + 1);
        if (above !== k) edges[k].push([x, y + 1, x + w, y + 1]);
        if (below !== k) edges[k].push([x, y + h - 1, x + w, y + h - 1]);
      }
    }
    for (const k of [1, 2]) {
      c.strokeStyle = colour(k === 2 ? "target" : "context");
      c.lineWidth = 2;
      c.beginPath();
      for (const [a, b, d, e] of edges[k]) { c.moveTo(a, b); c.lineTo(d, e); }
      c.stroke();
    }
  };
}

// hatch makes targets known without their colour. Lines go on over neighbours.
function hatch(c, x, y, w, h) {
  c.save();
  c.beginPath();
  c.rect(x, y, w, h);
  c.clip();
  c.strokeStyle = colour("target");
  c.globalAlpha = 0.55;
  c.lineWidth = 1;
  c.beginPath();
  const gap = 7;
  for (let d = Math.floor((x + y) / gap) * gap; d <= x + w + y + h; d += gap) { c.moveTo(d - y, y); c.lineTo(d - y - h, y + h); }
  c.stroke();
  c.restore();
}

/** @param {string} base64 (P, 3) */
function colourCells(base64) {
  const rgb = Uint8Array.from(atob(base64), (s) => s.charCodeAt(0));
  return fill((p) => `rgb(${rgb[3 * p]} ${rgb[3 * p + 1]} ${rgb[3 * p + 2]})`);
}

/** @param {any} s */
function heatCells(s) {
  const reach = s.high - s.low || 1;
  return fill((p) => (s.values[p] == null ? null : heat((s.values[p] - s.low) / reach)));
}

/** @param {(p: number) => string|null} of */
function fill(of) {
  return (c, columns, rows, w, h, index, up) => {
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < rows; j++) {
        const colour = of(index(i, j));
        if (!colour) continue;
        c.fillStyle = colour;
        const x = Math.round(i * w), y = Math.round((up ? rows - 1 - j : j) * h);
        c.fillRect(x, y, Math.round((i + 1) * w) - x, Math.round((up ? rows - j : j + 1) * h) - y);
      }
    }
  };
}

// heat is a ramp of growing lightness, so that it reads without colour too.
const ramp = [[20, 14, 54], [92, 26, 109], [173, 50, 92], [232, 98, 52], [251, 180, 55], [252, 253, 191]];
/** @param {number} f 0 to 1 */
function heat(f) {
  const at = Math.max(0, Math.min(1, f)) * (ramp.length - 1), i = Math.min(ramp.length - 2, Math.floor(at)), r = at - i;
  return `rgb(${ramp[i].map((a, k) => Math.round(a + (ramp[i + 1][k] - a) * r)).join(" ")})`;
}
