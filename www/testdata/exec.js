// exec.js runs a test binary of GOOS=js in a worker, with files in memory:
// { address, args, env, exec } → { code, text }.

import { memoryFiles } from "/wasm/files.js";
import { instantiate } from "/wasm/host.js";

const temporary = "/tmp"; // as Go calls it where nothing else is said

onmessage = async ({ data: { address, args, env, exec } }) => {
  const lines = [];
  try {
    const files = memoryFiles((line) => lines.push(line));
    files.put(temporary + "/here", new Uint8Array(0));
    globalThis.fs = files.fs;
    await import(exec);
    // Go's half of the runtime leaves a process without a working directory.
    globalThis.process = { ...globalThis.process, cwd: () => temporary, pid: 1, ppid: 1, umask: () => 0 };
    const module = await WebAssembly.compileStreaming(fetch(address));
    const { exited, devices } = await instantiate(module, [address, ...args], env);
    globalThis.loseDevices = () => devices.forEach((d) => d.device.destroy());
    postMessage({ code: await exited, text: lines.join("\n") });
  } catch (e) {
    postMessage({ error: `${e.stack ?? e}\n${lines.join("\n")}` });
  }
};
