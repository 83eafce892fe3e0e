// harness.js: checks.wasm in its worker without the page, for tests. It sets
// globalThis.harness.

import { Client } from "/wasm/host.js";

const exec = new URL("/build/wasm/wasm_exec.js", location).href;
const worker = new Worker("/wasm/worker.js", { type: "module" });
const client = new Client((text) => worker.postMessage(text));
const waiting = new Map(); // answers by id
let started, failed;
const running = new Promise((resolve, reject) => { started = resolve; failed = reject; });
running.catch(() => {});
worker.onmessage = ({ data: m }) => {
  if (typeof m === "string") client.receive(m);
  else if (m.ended !== undefined) client.end(`the program ended: ${m.ended} ${m.error ?? ""}`), failed(new Error(m.error));
  else if (waiting.has(m.id)) waiting.get(m.id)(m);
};
worker.onerror = (e) => { client.end(e.message); failed(new Error(e.message)); };
client.ready.then(() => started());

let last = 0;
// ask sends a message of the worker and resolves to its answer.
const ask = (message) => new Promise((resolve) => {
  waiting.set(++last, resolve);
  worker.postMessage({ ...message, id: last });
});

// request sends a command and resolves to { result, error, events }.
async function request(command, args = {}) {
  const events = [];
  try {
    await running;
    return { events, result: await client.request(command, args, (e) => events.push(e)) };
  } catch (e) {
    return { events, error: { kind: e.kind, message: e.message } };
  }
}

// give puts what lies at an address into the program's files.
async function give(path, address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  worker.postMessage({ put: path, content: new Uint8Array(await answer.arrayBuffer()) });
}

// test runs a test binary of GOOS=js in a worker and resolves to { code, text }.
function test(address, args, env = {}) {
  return new Promise((resolve, reject) => {
    const w = new Worker("exec.js", { type: "module" });
    w.onmessage = ({ data }) => { w.terminate(); data.error ? reject(new Error(data.error)) : resolve(data); };
    w.onerror = (e) => reject(new Error(e.message));
    w.postMessage({ address, args, env, exec });
  });
}

globalThis.harness = { request, give, ask, test, worker, client };
try {
  worker.postMessage({ start: await WebAssembly.compileStreaming(fetch("/build/wasm/checks.wasm")), exec, test: true });
} catch (e) {
  failed(e);
}
