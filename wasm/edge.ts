// edge.ts: wgjepa in Deno.
//
//	deno run --allow-read --allow-write wasm/edge.ts train DATA… --out DIR
//	deno run --allow-read --allow-write wasm/edge.ts embed DATA… --weights FILE --out FILE
//	deno run --allow-read wasm/edge.ts probe RUN [DATA…]
//	deno run --allow-read wasm/edge.ts verify FILE…
//	deno run --allow-read wasm/edge.ts doctor
//	deno run --allow-read wasm/edge.ts bench

import "./edge.js";
