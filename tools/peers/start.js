// start.js measures what a person waits for: from opening a page to the end of
// the first step of the generated volumes, on a second visit, and how free the
// page stays while the worker trains.

import { Client } from "./wasm/host.js";

const options = new URLSearchParams(location.search);
const visit = Number(options.get("visit") ?? 1), steps = Number(options.get("steps") ?? 10);
const seconds = () => performance.now() / 1e3; // since the page was opened
const times = {};

async function measure() {
  const worker = new Worker("wasm/worker.js", { type: "module" });
  const client = new Client((text) => worker.postMessage(text));
  worker.onmessage = ({ data }) => {
    if (typeof data === "string") client.receive(data);
    else if (data.ended !== undefined) client.end(`the program ended: ${data.error}`);
  };
  const recipe = fetch("recipe.toml").then((r) => r.text());
  const before = seconds();
  const module = await WebAssembly.compileStreaming(fetch("build/wgjepa.wasm"));
  times.compile = seconds() - before;
  worker.postMessage({ start: module, exec: new URL("build/wasm_exec.js", location.href).href });
  await client.ready;
  times.ready = seconds();
  await client.request("open", { paths: ["phantoms"], config: [await recipe], set: [`max_steps=${steps}`] });
  times.opened = seconds();

  let frames = 0, worst = 0, running = true, last = performance.now();
  const tick = (now) => {
    frames++;
    worst = Math.max(worst, now - last);
    last = now;
    if (running) requestAnimationFrame(tick);
  };
  const long = [];
  const observer = new PerformanceObserver((list) => { for (const e of list.getEntries()) long.push(e.duration); });
  observer.observe({ entryTypes: ["longtask"] });
  requestAnimationFrame(tick);
  await client.request("train", { stats_ms: 1 }, (e) => {
    if (e.event === "progress" && e.stats?.step === 1) times.first ??= seconds();
  });
  running = false;
  times.trained = seconds();
  observer.disconnect();
  worker.terminate();
  return {
    visit, ...times, steps_per_s: (steps - 1) / (times.trained - times.first), frames_per_s: frames / (times.trained - times.opened), longest_frame_ms: worst,
    long_tasks: long.length, first_without_compile: times.first - times.compile,
  };
}

let results;
try {
  results = await measure();
  const kept = JSON.parse(sessionStorage.getItem("visits") ?? "[]");
  results = [...kept, results];
  if (visit < 2) {
    sessionStorage.setItem("visits", JSON.stringify(results));
    location.search = new URLSearchParams({ steps, visit: visit + 1 });
  } else {
    results = { visits: results };
  }
} catch (e) {
  results = { error: String(e?.stack ?? e) };
}
if (!Array.isArray(results)) {
  document.getElementById("state").textContent = results.error ?? "Done.";
  document.getElementById("details").textContent = JSON.stringify(results, null, 1);
  fetch("results", { method: "POST", body: JSON.stringify(results) }).catch(() => {});
}
