// diagnostics.js: a text for reports of problems. It holds no file names and no
// pixels.

import { version } from "./assets.js";

/** @type {string[]} */
const log = [];
/** @type {Set<string>} */
const names = new Set();

// note keeps a message for the text; only the last are kept.
/** @param {string} message */
export function note(message) {
  log.push(`${new Date().toISOString().slice(11, 19)} ${message}`);
  if (log.length > 60) log.shift();
}

// hide keeps a name of a file, and its parts, out of the text.
/** @param {Iterable<string>} list */
export function hide(list) {
  for (const name of list) {
    names.add(name);
    for (const part of name.split("/")) {
      names.add(part);
      names.add(part.replace(/(\.nii|\.hdr|\.img)?(\.gz)?(\.[^.]*)?$/i, ""));
    }
  }
}

/** @param {string} text */
function clean(text) {
  // Long names first, so that none is left in part; what is too short is a word.
  const list = [...names].filter((n) => n.length > 2).sort((a, b) => b.length - a.length);
  for (const n of list) if (text.includes(n)) text = text.replaceAll(n, "(name)");
  return text.replaceAll(/^(paths|labels|splits|label_column|subject_column)( = ).*$/gm, "$1$2(left out)");
}

/** @param {{adapters: any, opened: any, estimate: any, state: string, step: number, total: number, error: string, storage: string}} about */
export function diagnostics(about) {
  const o = about.opened;
  const lines = [
    `wgjepa ${version}`,
    `browser: ${navigator.userAgent}`,
    `cores: ${navigator.hardwareConcurrency ?? "?"}, screen ${innerWidth}×${innerHeight} at ${devicePixelRatio}, ${matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"}`,
    `secure context: ${isSecureContext}, WebGPU: ${"gpu" in navigator}, service worker: ${Boolean(navigator.serviceWorker?.controller)}`,
    `storage: ${about.storage}`,
    `state: ${about.state}, update ${about.step} of ${about.total}`,
    "",
    "adapters:",
    JSON.stringify(about.adapters, null, 1),
    "",
    `data: ${o ? `${o.samples} samples of ${o.size.join("×")}, channels ${o.channels}, splits ${JSON.stringify(o.splits)}, ${o.refused?.length ?? 0} refused` : "none"}`,
    `estimate: ${about.estimate ? JSON.stringify(about.estimate) : "none"}`,
    about.error ? `\nerror:\n${clean(about.error)}` : "",
    "",
    "settings:",
    o ? clean(o.config) : "none",
    "last messages:",
    ...log.map(clean),
  ];
  return `${lines.join("\n")}\n`;
}
