// edge.ts: the command wgjepa in Deno, with all of its options.
//
//	deno run --allow-read --allow-write wasm/edge.ts train DATA… --out DIR
//	deno run --allow-read wasm/edge.ts help

import "./edge.js";
