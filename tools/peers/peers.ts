// peers.ts serves a page of this folder to a browser and prints what it measures:
//
//	deno run -A tools/peers/peers.ts [PAGE] [--json] [--browser chromium] [--rounds N] [--only NAME] [-- flags of the browser]
//
// PAGE is
//
//	peers   a transformer block beside jax-js and TensorFlow.js. It ends with 1 where
//	        one of them computes something else, or where wgjepa is not 2 times as
//	        fast as the first and 6 times as fast as the second.
//	start   from opening a page to the first step, and whether the page stays free
//	        while it trains. It ends with 1 where a second visit takes more than 3 s.
//	bench   the table of `wgjepa bench`; --only names operations
//
// scripts/peers.sh builds what it needs.

import { parseArgs } from "node:util";

const { values: o, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "30" },
    only: { type: "string", default: "" },
    browser: { type: "string", default: "chromium" },
    seconds: { type: "string", default: "600" }, // to wait
  },
});
// deno-lint-ignore no-explicit-any
type Any = any;

const page = positionals[0]?.startsWith("-") ? "peers" : positionals.shift() ?? "peers";
const aims: Record<string, number> = { "jax-js": 2, "TensorFlow.js": 6 };

// Each returns whether the figures reach what they should.
const print: Record<string, (r: Any) => boolean> = {
  peers(r) {
    console.log(`transformer block forward and backward, B 4 T 64 D 128 H 4 MLP 512, on ${r.adapter} in ${r.agent}`);
    for (const row of r.rows) {
      console.log(`${row.name.padEnd(14)} median ${row.median_ms.toFixed(2).padStart(8)} ms   fastest ${row.least_ms.toFixed(2).padStart(8)} ms   ${row.times_ours.toFixed(2).padStart(6)} × wgjepa${(row.name in aims ? ` (aim: ${aims[row.name]})` : "").padEnd(9)}   first ${row.first_s.toFixed(2)} s   differs by ${row.worst_difference.toExponential(1)}`);
    }
    return r.rows.every((row: Any) => row.times_ours >= (aims[row.name] ?? 0));
  },
  start(r) {
    for (const v of r.visits) {
      console.log(`visit ${v.visit}: first step ${v.first_without_compile.toFixed(2)} s after opening (aim: 3) and ${v.compile.toFixed(2)} s for the wasm (program ready ${v.ready.toFixed(2)} s, data open ${v.opened.toFixed(2)} s); ${v.steps_per_s.toFixed(2)} steps/s; ${v.frames_per_s.toFixed(0)} frames/s, the longest ${v.longest_frame_ms.toFixed(0)} ms, ${v.long_tasks} long tasks`);
    }
    return r.visits.at(-1).first_without_compile <= 3;
  },
  bench(r) {
    console.log(`on ${r.adapter}`);
    for (const text of r.texts) console.log(text);
    return true;
  },
};
if (!(page in print)) {
  console.error(`there is no page ${page}: choose ${Object.keys(print).join(", ")}`);
  Deno.exit(2);
}

// Where the addresses of the page lie in the project.
const root = new URL("../../", import.meta.url);
const places: [string, string][] = [
  ["build/", "build/peers/"],
  ["wasm/", "wasm/"],
  ["gpu/", "gpu/"],
  ["recipe.toml", "internal/config/demo.toml"],
  ["", "tools/peers/"],
];
const types: Record<string, string> = { html: "text/html", js: "text/javascript", wasm: "application/wasm", toml: "text/plain" };

let finish: (results: Any) => void;
const finished = new Promise<Any>((resolve) => { finish = resolve; });
const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
  const path = decodeURIComponent(new URL(request.url).pathname).slice(1);
  if (request.method === "POST") {
    finish(await request.json());
    return new Response();
  }
  const [from, to] = places.find(([prefix]) => path.startsWith(prefix))!;
  try {
    const content = await Deno.readFile(new URL(to + path.slice(from.length), root));
    return new Response(content, { headers: { "content-type": types[path.split(".").pop()!] ?? "application/octet-stream" } });
  } catch {
    return new Response("", { status: 404 });
  }
});

const profile = await Deno.makeTempDir();
const query = new URLSearchParams({ rounds: o.rounds!, ...(o.only ? { only: o.only } : {}) });
const browser = new Deno.Command(o.browser!, {
  args: [
    "--headless=new", "--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--no-first-run", "--disable-background-networking",
    `--user-data-dir=${profile}`, ...positionals, `http://127.0.0.1:${server.addr.port}/${page}.html?${query}`,
  ],
  stdout: "null",
  stderr: "null",
}).spawn();
const alarm = setTimeout(() => finish({ error: `nothing came from the browser within ${o.seconds} s` }), 1e3 * Number(o.seconds));
const results = await finished;
clearTimeout(alarm);
browser.kill();
await browser.status;
await Deno.remove(profile, { recursive: true }).catch(() => {});

if (results.error) {
  console.error(results.error);
  Deno.exit(1);
}
if (o.json) console.log(JSON.stringify(results));
Deno.exit((o.json || print[page](results)) ? 0 : 1);
