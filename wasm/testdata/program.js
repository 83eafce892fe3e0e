// program.js starts wgjepa.wasm in a worker and drives it by the protocol, as a
// page does. What it is told to expect and does not find, it throws.

import { Client } from "../host.js";

export function equal(got, want, what) {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(want)}`);
}

export function holds(condition, what) {
  if (!condition) throw new Error(what);
}

// refused expects a promise to fail, and returns the error.
export async function refused(promise, kind, text) {
  try {
    await promise;
  } catch (e) {
    if (kind !== e.kind || !e.message.includes(text)) throw new Error(`refused as ${e.kind}: ${e.message}, instead of ${kind}: ${text}`);
    return e;
  }
  throw new Error(`not refused: ${text}`);
}

// program resolves to a running program: client, put(path, content), get(path)
// and send(text) for what is no command.
export async function program() {
  const built = new URL("../../build/wasm/", import.meta.url);
  const module = await WebAssembly.compile(await Deno.readFile(new URL("wgjepa.wasm", built)));
  const worker = new Worker(new URL("../worker.js", import.meta.url), { type: "module" });
  const client = new Client((text) => worker.postMessage(text));
  const gets = new Map();
  worker.onmessage = ({ data: m }) => {
    if (typeof m === "string") client.receive(m);
    else if (m.got) gets.get(m.id)(m);
    else if (m.ended !== undefined) throw new Error(`the program ended: ${m.ended} ${m.error ?? ""}`);
  };
  let lastGet = 0;
  const get = (path) => new Promise((resolve, reject) => {
    gets.set(++lastGet, (m) => (m.error ? reject(new Error(m.error)) : resolve(m.content)));
    worker.postMessage({ get: path, id: lastGet });
  });
  worker.postMessage({ start: module, exec: new URL("wasm_exec.js", built).href });
  await client.ready;
  return {
    client, get,
    put: (path, content) => worker.postMessage({ put: path, content }),
    send: (text) => worker.postMessage(text),
    end: () => worker.terminate(),
  };
}

// npy is a set of n cubes of bytes (N, H, W, D), as NumPy writes them, or one
// cube (H, W, D) where n is 0.
export function npy(n, size) {
  let header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${n ? `${n}, ` : ""}${size}, ${size}, ${size}), }`;
  header = header.padEnd(128 - 10 - 1) + "\n";
  const bytes = new Uint8Array(128 + Math.max(n, 1) * size ** 3);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length, 0]);
  bytes.set(new TextEncoder().encode(header), 10);
  for (let i = 128, seed = 1; i < bytes.length; i++) {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    bytes[i] = (i % 31) * 4 + (seed >> 20) % 64;
  }
  return bytes;
}
