// worker.js runs wgjepa.wasm in a dedicated worker, beside a page that stays
// free. Messages to it are objects:
//
//	{ start: WebAssembly.Module, exec: address of wasm_exec.js }   first of all
//	{ put: path, content: Uint8Array or Blob }   gives the program a file
//	{ get: path, id } → { got: path, id, content } or { got: path, id, error }
//	{ remove: path }
//	text: a command of the protocol (see main.go) → text: its events
//
// { ended: exit code } says that the program is gone.

import { memoryFiles } from "./files.js";
import { start } from "./host.js";

const files = memoryFiles();
globalThis.fs = files.fs;
let receive = null;

async function run({ start: module, exec }) {
  await import(exec);
  const program = await start(module, (text) => postMessage(text));
  receive = program.receive;
  program.exited.then((code) => postMessage({ ended: code }));
}

onmessage = ({ data: m }) => {
  if (typeof m === "string") {
    receive(m);
  } else if (m.start) {
    run(m).catch((e) => postMessage({ ended: -1, error: String(e) }));
  } else if (m.put) {
    files.put(m.put, m.content);
  } else if (m.get) {
    try {
      const content = files.get(m.get);
      postMessage({ got: m.get, id: m.id, content }, [content.buffer]);
    } catch (e) {
      postMessage({ got: m.get, id: m.id, error: String(e.message) });
    }
  } else if (m.remove) {
    files.remove(m.remove);
  }
};
