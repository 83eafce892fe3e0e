// similar.js: the scans that a sample's embedding is nearest to.

import { $, el, say } from "./dom.js";
import { count, plain } from "./words.js";
import { middle } from "./viewer.js";

const out = "/neighbour.bin";

/** @param {{request: Function, get: Function, adapter: () => string, classes: () => string[], orientation: (sample: number) => string}} page @param {number} sample @param {string} name @param {(sample: number) => void} choose */
export async function showSimilar(page, sample, name, choose) {
  const button = $("similar-now"), words = $("similar-says");
  button.disabled = true;
  try {
    const progress = (/** @type {any} */ e) => { if (e.event === "progress") words.textContent = `Embedding ${e.done.toLocaleString("en")} of ${count(e.total, "sample")}…`; };
    const { neighbours } = await page.request("similar", { sample, k: 6, adapter: page.adapter() }, progress);
    const items = [];
    for (const n of neighbours) {
      const view = await page.request("view", { sample: n.sample, out });
      const bytes = new Uint8Array(await page.get(out));
      const picture = middle({ ...view, bytes, orientation: page.orientation(n.sample) });
      const canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { width: picture.width, height: picture.height, "aria-hidden": "true" }));
      canvas.getContext("2d")?.drawImage(picture, 0, 0);
      items.push(el("li", {}, el("button", { type: "button", onclick: () => choose(n.sample) }, canvas,
        el("span", { class: "name" }, n.name), ...(n.class != null && n.class !== "" && n.class !== -1 ? [el("span", { class: "class" }, String(typeof n.class === "number" ? page.classes()[n.class] ?? n.class : n.class))] : []),
        el("span", { class: "cosine" }, `cosine ${n.cosine.toFixed(3)}`))));
    }
    $("similar").replaceChildren(...items);
    words.textContent = `Nearest to ${name} by the trained encoder’s embeddings. Cosine 1: the same direction, 0: nothing in common. Choose one to look at it above.`;
  } catch (e) {
    say(words, plain(e));
  } finally {
    button.disabled = false;
  }
}
