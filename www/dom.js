// dom.js: elements by id, elements made, and small things every part needs.

/** @param {string} id */
export function $(id) {
  const e = document.getElementById(id);
  if (!e) throw new Error(`the page has no #${id}`);
  return /** @type {any} */ (e);
}

// el makes an element. Attributes named on* are listeners; true stands for an
// attribute without a value, false and null for none.
/** @param {string} tag @param {Record<string, any>} attributes @param {...(Node|string)} children @returns {any} */
export function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "line", "circle", "rect", "path", "title"].includes(tag);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value === true) e.setAttribute(name, "");
    else if (value !== false && value != null) e.setAttribute(name, value);
  }
  e.append(...children);
  return e;
}

// option fills a select.
/** @param {HTMLSelectElement} select @param {{value: string, text: string}[]} list */
export function options(select, list) {
  const chosen = select.value;
  select.replaceChildren(...list.map((o) => new Option(o.text, o.value)));
  if (list.some((o) => o.value === chosen)) select.value = chosen;
}

// say shows a text in its place, or hides the place when there is none.
/** @param {HTMLElement} place @param {string} text @param {...(Node|string)} more */
export function say(place, text, ...more) {
  place.hidden = text === "" && more.length === 0;
  place.replaceChildren(text, ...more);
}

// download hands bytes to the browser as a file.
/** @param {string} name @param {BlobPart|Blob} content @param {string} type */
export function download(name, content, type = "application/octet-stream") {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const a = el("a", { href: url, download: name });
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// colour is a custom property of the style sheet, as the colour scheme has it.
/** @param {string} name */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export const dark = matchMedia("(prefers-color-scheme: dark)");

// canvas2d sizes a canvas in CSS pixels and returns its context, scaled so that
// one unit is one CSS pixel.
/** @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function canvas2d(canvas, width, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const c = canvas.getContext("2d");
  if (!c) throw new Error("the browser gives no canvas");
  c.scale(ratio, ratio);
  return c;
}
