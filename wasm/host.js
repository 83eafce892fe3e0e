// host.js: starts the wasm file, in a browser's worker or in another runtime.
// The runtime's half of Go (wasm_exec.js) has to be loaded before.

import { webgpu } from "../gpu/internal/browser/driver.js";

// start instantiates module (a WebAssembly.Module) and runs its main function
// with argv. It returns { exited, devices }: a promise of the exit code, and the
// open GPU devices by number.
export async function start(module, argv, env = {}) {
  const go = new globalThis.Go();
  go.argv = argv;
  go.env = env;
  let code = 0;
  go.exit = (c) => { code = c; };
  const { imports, attach, devices } = webgpu(globalThis.navigator?.gpu);
  go.importObject.wgjepa_gpu = imports;
  const instance = await WebAssembly.instantiate(module, go.importObject);
  attach(instance.exports.mem);
  const exited = go.run(instance).then(() => code);
  return { exited, devices };
}
