// host.js starts the wasm file and talks to it. Both halves of a page use it:
// the worker runs start(), the page has a Client; edge.ts has both.
// The runtime's half of Go (wasm_exec.js) has to be loaded before start().

import { turn, webgpu } from "../gpu/internal/browser/driver.js";

// instantiate runs the main function of module (a WebAssembly.Module) with argv.
// It returns a promise of the exit code, and the open GPU devices by number.
export async function instantiate(module, argv, env = {}) {
  const go = new globalThis.Go();
  go.argv = argv;
  go.env = env;
  let code = 0;
  go.exit = (c) => { code = c; };
  const { imports, attach, devices } = webgpu(globalThis.navigator?.gpu);
  go.importObject.wgjepa_gpu = imports;
  const instance = await WebAssembly.instantiate(module, go.importObject);
  attach(instance.exports.mem);
  return { exited: go.run(instance).then(() => code), devices };
}

// start runs wgjepa.wasm: post(text) is called with each event of the protocol.
// It returns receive(text), which takes commands, and what instantiate does.
export async function start(module, post) {
  const bridge = { post, turn: (f) => { turn().then(f); }, receive: null };
  globalThis.wgjepa = bridge;
  const { exited, devices } = await instantiate(module, ["wgjepa"]);
  return { receive: (text) => bridge.receive(text), exited, devices };
}

// Client numbers commands and brings their events back to who sent them.
// send(text) takes a command to the program; what comes from it goes to
// receive(text).
export class Client {
  constructor(send) {
    this.send = send;
    this.last = 0;
    this.pending = new Map();
    this.ready = new Promise((resolve) => { this.isReady = resolve; });
  }

  receive(text) {
    const event = JSON.parse(text);
    if (event.event === "ready") return this.isReady();
    const p = this.pending.get(event.id);
    if (!p) return;
    if (event.event !== "done") return p.onEvent(event);
    this.pending.delete(event.id);
    if (event.error) {
      p.reject(Object.assign(new Error(), event.error));
    } else {
      p.resolve(event.result);
    }
  }

  // request sends a command and resolves to its result; onEvent gets what
  // comes before. Its error has what the protocol's has: kind, message, ….
  request(command, args = {}, /** @type {(event: any) => void} */ onEvent = () => {}) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject, onEvent });
      this.send(JSON.stringify({ ...args, v: 1, id, command }));
    });
  }

  // end rejects what still waits, when the program is gone.
  end(message) {
    for (const p of this.pending.values()) p.reject(new Error(message));
    this.pending.clear();
  }
}
