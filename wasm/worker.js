// worker.js runs wgjepa.wasm in a dedicated worker, beside a page that stays
// free. Messages to it are objects:
//
//	{ start: WebAssembly.Module, exec, test }   first of all; exec is the address of
//	        wasm_exec.js, where that is not bundled with this file
//	        → { started: { opfs, why } }: whether /runs outlasts the tab, else why not
//	{ put: path, content: Uint8Array or Blob, id }   gives the program a file
//	        → { put, id } or { put, id, error, code }, with id only
//	{ get: path, id } → { got: path, id, content } or { got, id, error, code }
//	        content is a Uint8Array, or the Blob or File that keeps the file
//	{ keep: path, to: path, id } → { kept: to, id } or { kept, id, error, code }
//	        copies a file, as into /runs
//	{ list: path, id } → { listed: [{ path, size, time }], id } or { listed: [], id, error, code }
//	{ remove: path, id } → { removed: path, id } or { removed, id, error, code }, with id only
//	{ lose: true }   destroys the GPU devices, in tests: where start had test: true
//	text: a command of the protocol (see main.go) → text: its events
//
// code is that of POSIX, such as ENOSPC for a full disk or quota. Two more come
// from here: { trouble: path, message } says what is wrong with a file that the
// program was only told a code of; { ended: exit code, error } that the program
// is gone.

import { files as filesOf, originPrivate } from "./files.js";
import { start } from "./host.js";

let files, why = "";
const ready = originPrivate().catch((e) => {
  why = String(e.message);
  return null;
}).then((runs) => {
  files = filesOf({ runs, trouble: (path, message) => postMessage({ trouble: path, message }) });
  globalThis.fs = files.fs;
});
let program = null, testing = false;
let early = []; // commands from before the program runs

async function run({ start: module, exec, test = false }) {
  postMessage({ started: { opfs: why === "", why } });
  testing = test;
  if (!globalThis.Go) await import(exec);
  program = await start(module, (text) => postMessage(text));
  for (const text of early) program.receive(text);
  early = [];
  const code = await program.exited;
  end(code, "the program ended");
}

function end(code, error) {
  files.close();
  program = { receive() {}, devices: new Map() };
  postMessage({ ended: code, error });
}

// answered does what a message asks for and tells how it went.
async function answered(m, kind, name, f) {
  try {
    const value = await f();
    if (m.id === undefined) return;
    const { content } = value ?? {};
    postMessage({ [kind]: name, id: m.id, ...value }, content instanceof Uint8Array ? [content.buffer] : []);
  } catch (e) {
    if (m.id !== undefined) postMessage({ [kind]: name, id: m.id, error: e.message, code: e.code });
  }
}

function receive(m) {
  if (typeof m === "string") {
    if (program === null) early.push(m);
    else program.receive(m);
  } else if (m.start) {
    run(m).catch((e) => end(-1, String(e?.message ?? e)));
  } else if (m.put) {
    answered(m, "put", m.put, async () => { await files.put(m.put, m.content); });
  } else if (m.get) {
    answered(m, "got", m.get, async () => ({ content: await files.get(m.get) }));
  } else if (m.keep) {
    answered(m, "kept", m.to, async () => { await files.keep(m.keep, m.to); });
  } else if (m.list) {
    answered(m, "listed", [], async () => ({ listed: await files.list(m.list) }));
  } else if (m.remove) {
    answered(m, "removed", m.remove, async () => { await files.remove(m.remove); });
  } else if (m.lose && testing) {
    program.devices.forEach((d) => d.device.destroy());
  }
}

onmessage = async ({ data }) => {
  await ready;
  receive(data);
};
