// peers.ts serves index.html to a browser and prints what it measures:
//
//	deno run -A tools/peers/peers.ts [--json] [--rounds N] [--only NAME] [--browser chromium] [-- flags of the browser]
//
// It ends with 1 where a program computes something else, or where wgjepa is
// not 2 times as fast as jax-js and 6 times as fast as TensorFlow.js.
// scripts/peers.sh builds what it needs.

import { parseArgs } from "node:util";

const { values: o, positionals: flags } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "30" },
    only: { type: "string", default: "" },
    browser: { type: "string", default: "chromium" },
    seconds: { type: "string", default: "600" },
  },
});
const aims: Record<string, number> = { "jax-js": 2, "TensorFlow.js": 6 };

const here = new URL(".", import.meta.url);
const built = new URL("../../build/peers/", here);
const types: Record<string, string> = { html: "text/html", js: "text/javascript", wasm: "application/wasm" };

// deno-lint-ignore no-explicit-any
let finish: (results: any) => void;
// deno-lint-ignore no-explicit-any
const finished = new Promise<any>((resolve) => { finish = resolve; });
const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
  const path = decodeURIComponent(new URL(request.url).pathname).slice(1) || "index.html";
  if (request.method === "POST") {
    finish(await request.json());
    return new Response();
  }
  const file = path.startsWith("build/") ? new URL(path.slice("build/".length), built) : new URL(path, here);
  try {
    return new Response(await Deno.readFile(file), { headers: { "content-type": types[path.split(".").pop()!] ?? "application/octet-stream" } });
  } catch {
    return new Response("", { status: 404 });
  }
});

const profile = await Deno.makeTempDir();
const query = new URLSearchParams({ rounds: o.rounds!, ...(o.only ? { only: o.only } : {}) });
const browser = new Deno.Command(o.browser!, {
  args: [
    "--headless=new", "--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--no-first-run", "--disable-background-networking",
    `--user-data-dir=${profile}`, ...flags, `http://127.0.0.1:${server.addr.port}/index.html?${query}`,
  ],
  stdout: "null",
  stderr: Deno.env.get("VERBOSE") ? "inherit" : "null",
}).spawn();
const alarm = setTimeout(() => finish({ error: `nothing came from the browser within ${o.seconds} s` }), 1e3 * Number(o.seconds));
const results = await finished;
clearTimeout(alarm);
browser.kill();
await browser.status;
await Deno.remove(profile, { recursive: true }).catch(() => {});

if (o.json) {
  console.log(JSON.stringify(results));
} else if (results.error) {
  console.error(results.error);
} else {
  console.log(`transformer block forward and backward, B 4 T 64 D 128 H 4 MLP 512, on ${results.adapter} in ${results.agent}`);
  for (const r of results.rows) {
    console.log(`${r.name.padEnd(14)} median ${r.median_ms.toFixed(2).padStart(8)} ms   fastest ${r.least_ms.toFixed(2).padStart(8)} ms   ${r.times_ours.toFixed(2).padStart(6)} × wgjepa${r.name in aims ? ` (aim: ${aims[r.name]})` : "          "}   first ${r.first_s.toFixed(2)} s   differs by ${r.worst_difference.toExponential(1)}`);
  }
}
// deno-lint-ignore no-explicit-any
const slow = results.error || results.rows.some((r: any) => r.times_ours < (aims[r.name] ?? 0));
Deno.exit(slow ? 1 : 0);
