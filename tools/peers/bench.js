// bench.js prints the table of `wgjepa bench` in this browser.

import { Client } from "./wasm/host.js";

const options = new URLSearchParams(location.search);
const worker = new Worker("wasm/worker.js", { type: "module" });
const client = new Client((text) => worker.postMessage(text));
worker.onmessage = ({ data }) => {
  if (typeof data === "string") client.receive(data);
  else if (data.ended !== undefined) client.end(`the program ended: ${data.error}`);
};
const details = document.getElementById("details");
let results;
try {
  const module = await WebAssembly.compileStreaming(fetch("build/checks.wasm"));
  worker.postMessage({ start: module, exec: new URL("build/wasm_exec.js", location.href).href });
  await client.ready;
  const only = options.get("only")?.split(",") ?? [];
  const texts = [];
  const { rows, adapter } = await client.request("bench", { only, seconds: Number(options.get("seconds") ?? 0.5) }, (e) => {
    texts.push(e.text);
    details.textContent += e.text + "\n";
  });
  results = { rows, texts, adapter: adapter?.Name ?? adapter };
} catch (e) {
  results = { error: String(e?.stack ?? e) };
}
document.getElementById("state").textContent = results.error ?? "Done.";
fetch("results", { method: "POST", body: JSON.stringify(results) }).catch(() => {});
