// edge.mjs: wgjepa in Node, with the commands of edge.ts:
//
//	node wasm/node/edge.mjs train DATA… --out DIR
//
// WebGPU is that of the npm package webgpu (Dawn), which scripts/wasm.sh --node
// installs. On Linux it wants a newer Vulkan driver than Deno does; VK_DRIVER_FILES
// names one that the system does not choose by itself.

import process from "node:process";

try {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, "navigator", { value: { gpu: create([]) }, configurable: true });
} catch (e) {
  console.error(`wgjepa: without the npm package webgpu there is only --adapter cpu (scripts/wasm.sh --node installs it): ${e.message.split("\n")[0]}`);
}
await import("../edge.js"); // it ends the process, which Dawn would keep alive
process.exit();
