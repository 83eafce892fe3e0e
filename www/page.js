// page.js: what the parts of the page share: what the page knows, the program, and
// how it is said where the page stands.
//
// document.documentElement.dataset.state is that: loading, empty (no data), data
// (ready to train), training, paused, done (ended or stopped) or error (the program
// is gone).

import { note } from "./diagnostics.js";
import { $, download, el } from "./dom.js";
import { program as startProgram } from "./storage.js";
import { plain } from "./words.js";

/**
 * What was given. labels is the path of the table of labels, "" for what is found
 * without one; guessed says that the page chose it. column, kind and unit are choices of
 * labels.js.
 * @typedef {{paths: string[], root: string, name: string, size: number, generated: boolean, tables: string[], given: import("./drop.js").Given[], labels: string, guessed?: boolean, column?: string, kind?: string, unit?: string}} Source
 */
export const page = {
  opfs: false,
  why: "", // there is none
  /** @type {any[]} */ adapters: [],
  /** @type {Source|null} */ source: null,
  /** @type {any} result of open */ opened: null,
  /** @type {any} */ fit: null,
  /** @type {import("./runs.js").Run|null} the run that trains, trained or is to go on */ run: null,
  /** @type {any} a run that waits for its files */ waitsFor: null,
  step: 0,
  total: 0,
  rate: 0, // updates a second
  finetuning: false,
  trained: false, // the program holds a trainer
  /** @type {any} */ stats: null,
  error: "",
};

export const testing = new URLSearchParams(location.search).has("test");
export const program = startProgram({ test: testing, onEnded: ended, onTrouble: ({ message }) => log(message, "warn") });

/** @type {(() => void)[]} */
const losses = [];

// losing has f called when a command found the graphics device lost.
/** @param {() => void} f */
export const losing = (f) => { losses.push(f); };

/** @param {string} command @param {any} [args] @param {(e: any) => void} [onEvent] */
export const request = (command, args = {}, onEvent = () => {}) => program.client.request(command, args, (e) => {
  if (e.event === "warning") log(plain(e.message), "warn");
  else onEvent(e);
}).catch((e) => {
  if (e.kind === "lost") for (const f of losses) f();
  throw e;
});

// ---- where the page stands

export const state = () => document.documentElement.dataset.state ?? "";
export const running = () => state() === "training" || state() === "paused";

/** @type {((state: string) => void)[]} */
const parts = [];

// entering has f called whenever the page enters a state.
/** @param {(state: string) => void} f */
export const entering = (f) => { parts.push(f); };

/** @param {string} s */
export function enter(s) {
  document.documentElement.dataset.state = s;
  for (const f of parts) f(s);
}

// ---- the adapter

export const adapter = () => $("adapter").value;
export const choiceOf = (/** @type {any} */ a) => (a.Backend === "Go" ? "cpu" : String(a.Index));
export const adapterInfo = () => page.adapters.find((a) => choiceOf(a) === adapter());
export const software = () => /CPU/.test(adapterInfo()?.Kind ?? "");

// ---- what is said

/** @param {string} text */
export const status = (text) => { $("status").textContent = text; };

// log adds a message beside the training; the same one is not said twice in a row.
/** @param {string} text @param {"info"|"warn"|"bad"} kind @param {...(Node|string)} more */
export function log(text, kind = "info", ...more) {
  note(`${kind}: ${text}`);
  const box = $("messages"), last = box.lastElementChild;
  if (last?.dataset.text === text) return;
  box.append(el("p", { class: `message ${kind}`, "data-text": text }, el("span", { class: "kind" }, { info: "", warn: "Note: ", bad: "Problem: " }[kind]), text, ...more));
  while (box.children.length > 6) box.firstElementChild?.remove();
}

export const button = (/** @type {string} */ text, /** @type {() => void} */ act) => el("button", { type: "button", class: "small", onclick: act }, text);

/** @param {{code: number, message: string}} how */
function ended({ message }) {
  page.error = message;
  note(`bad: the program ended: ${message}`);
  enter("error");
  status("The program ended.");
  $("training").hidden = false;
  log("The program ended, which should not happen. What was saved is safe: load the page again and continue the run. The diagnostics at the end of this page say more.", "bad", " ", button("Load the page again", () => location.reload()));
}

// ---- files of the program

export const stem = () => page.run?.name ?? "wgjepa";

// hand gives a file of the program to the person.
/** @param {string} path @param {string} name */
export async function hand(path, name) {
  const file = await program.get(path);
  download(name, file instanceof Blob ? file : new Blob([file]));
  if (path.startsWith("/out-")) program.remove(path).catch(() => {});
}
