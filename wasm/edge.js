// edge.js: the command wgjepa outside of browsers, on a server without a desktop:
// edge.ts runs it in Deno, node/edge.mjs in Node. It is the native command compiled
// for JavaScript's runtimes, so that options, outputs and files are the same; only
// the driver of the GPU is theirs. It needs leave to read data and write results,
// and none for the network. scripts/wasm.sh --edge builds what it runs.

import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { guarded } from "./files.js";
import { instantiate } from "./host.js";

// command runs the command with these arguments and resolves to its exit code.
async function command(args) {
  const built = new URL("../build/wasm/", import.meta.url), file = new URL("command.wasm", built);
  let bytes;
  try {
    bytes = fs.readFileSync(file);
  } catch (e) {
    throw new Error(`there is no ${file.pathname} to run (scripts/wasm.sh --edge builds it, --allow-read lets it be read): ${e.message}`);
  }
  let withheld = "";
  // What the system says of itself, which Deno gives with all permissions alone, can be done without.
  const hear = (message) => { if (!/"\/(proc|sys)\//.test(message)) withheld = message; };
  // What Go's half of the runtime and native/wgjepa/host_js.go look for.
  Object.assign(globalThis, { fs: guarded(fs, hear), path, process, wgjepa: { args } });
  await import(new URL("wasm_exec.js", built).href);
  const name = globalThis.Deno ? "deno run --allow-read --allow-write wasm/edge.ts" : "node wasm/node/edge.mjs"; // in what it says to call next
  const { exited } = await instantiate(await WebAssembly.compile(bytes), [name]);
  const code = await exited;
  if (code !== 0 && withheld) console.error(`wgjepa: ${withheld}`);
  return code;
}

try {
  process.exit(await command(process.argv.slice(2)));
} catch (e) {
  console.error(`wgjepa: ${e.message}`);
  process.exit(1);
}
