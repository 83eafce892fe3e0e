// storage.js: the program in its worker, and what the browser keeps for the
// page: runs in the origin-private file system, locks between tabs, the page
// itself for the time without a network.

import { Client } from "../wasm/host.js";
import { version, wasm, worker } from "./assets.js";

const here = new URL("./", location.href).pathname;

// Files of a run, as the trainer writes them, and ours.
const stateFile = "checkpoint.safetensors", weightsFile = "weights.safetensors", pageFile = "page.json";

// A file of the page is asked for as the browser keeps it, then anew, and anew a
// little later: under load a browser may fail at what it keeps.
const tries = [{ cache: "default", after: 0 }, { cache: "reload", after: 0 }, { cache: "reload", after: 1000 }];

// loaded resolves to what use makes of a file of the page, a Response.
async function loaded(file, use, some = tries) {
  let failure;
  for (const { cache, after } of some) {
    try {
      if (after > 0) await new Promise((resolve) => setTimeout(resolve, after));
      const response = await fetch(file, { cache });
      if (!response.ok) throw new Error(`${file}: ${response.status}`);
      return await use(response, cache);
    } catch (e) {
      failure = e;
    }
  }
  throw failure;
}

// missing says what to do where the browser lost a part of the page for good.
const missing = (e) => Object.assign(new Error("a part of the page is missing in this browser, and could not be fetched whole. Connect to the network, then load the page again. Runs that were saved are safe", { cause: e }), { advised: true });

// program starts a wasm file, wgjepa.wasm, in a worker and returns at once:
//
//	client    its commands (host.js); they wait until the program runs
//	ready     promise of { opfs, why }: whether runs outlast this tab, else why not;
//	          it rejects where the program cannot begin, with advised where its
//	          message says what to do
//	put, get, keep, list, remove    files, as in wasm/worker.js; a promise each
//	runs, describedRun, saveRun, removeRun    runs that are kept
//	lose()    destroys the GPU devices, with test only
//	end()     ends the program
//
// onEnded({ code, message }) is called when the program that ran is gone, which no
// command should bring about; onTrouble({ path, message }) tells what is wrong with a
// file that the program could not read.
export function program({ file = wasm, test = false, onEnded = () => {}, onTrouble = () => {} } = {}) {
  let thread, sent = []; // messages to it, until it begins
  const send = (message) => {
    sent?.push(message);
    thread.postMessage(message);
  };
  const client = new Client(send);
  const waiting = new Map(); // file messages by id
  let last = 0, over = null, started, failed;
  const ready = new Promise((resolve, reject) => { started = resolve; failed = reject; });
  ready.catch(() => {});

  const gone = (code, error) => {
    if (over !== null) return;
    over = error.message;
    thread.terminate();
    failed(error);
    client.end(over);
    for (const { reject } of waiting.values()) reject(new Error(over));
    waiting.clear();
    if (sent === null) onEnded({ code, message: over });
  };
  const answer = ({ id, error, code, ...rest }) => {
    const asked = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) asked?.resolve(rest);
    else asked?.reject(Object.assign(new Error(error), { code }));
  };
  const hear = ({ data: m }) => {
    if (typeof m === "string") client.receive(m);
    else if (m.started) started(m.started);
    else if (m.trouble) onTrouble({ path: m.trouble, message: m.message });
    else if (m.ended !== undefined) gone(m.ended, new Error(m.error));
    else answer(m);
    if (m.started) sent = null;
  };
  const begin = (again) => {
    thread = new Worker(worker, { type: "module", name: "wgjepa" });
    thread.onmessage = hear;
    thread.onerror = (e) => {
      if (sent === null || over !== null) return gone(-1, new Error(e.message || "the worker failed"));
      if (!again) return gone(-1, missing(e));
      // Its script did not come, or damaged: once it lies whole in the browser, it begins anew.
      loaded(worker, (response) => response.arrayBuffer(), tries.slice(1)).then(() => {
        if (over !== null) return;
        begin(false);
        for (const message of sent) thread.postMessage(message);
      }, (e) => gone(-1, missing(e)));
    };
    thread.onmessageerror = () => gone(-1, new Error("a message between page and program could not be read"));
  };
  begin(true);

  // ask sends a message about files and resolves to its answer.
  const ask = (message) => new Promise((resolve, reject) => {
    if (over !== null) return reject(new Error(over));
    waiting.set(++last, { resolve, reject });
    send({ ...message, id: last });
  });
  const put = (path, content) => ask({ put: path, content });
  const get = (path) => ask({ get: path }).then((m) => m.content);
  const keep = (path, to) => ask({ keep: path, to });
  const list = (path) => ask({ list: path }).then((m) => m.listed);
  const remove = (path) => ask({ remove: path });

  // A host may give it another type than compileStreaming wants.
  loaded(file, async (response, cache) => (cache === "default" ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer()))).then(
    (module) => send({ start: module, test }),
    (e) => gone(-1, e instanceof TypeError ? missing(e) : new Error(`the program could not be loaded: ${e.message}`)),
  );

  // runs lists the runs that are kept, the newest first: { name, time, bytes,
  // resumable (it has a state to go on from), finished (it has weights), busy (a
  // tab is at it), meta (what saveRun wrote, or null) }.
  const runs = async () => {
    const found = new Map();
    for (const { path, size, time } of await list("/runs")) {
      const [, , name, file] = path.split("/");
      if (file === undefined) continue;
      if (!found.has(name)) found.set(name, { name, time: 0, bytes: 0, resumable: false, finished: false, busy: false, meta: null });
      const run = found.get(name);
      run.bytes += size;
      run.time = Math.max(run.time, time);
      if (path === `/runs/${name}/${stateFile}` || path === `/runs/${name}/${stateFile}.previous`) run.resumable = true;
      if (path === `/runs/${name}/${weightsFile}`) run.finished = true;
    }
    const { held = [] } = await navigator.locks?.query() ?? {};
    for (const run of found.values()) {
      run.busy = held.some((lock) => lock.name === lockName(run.name));
      run.meta = await describedRun(run.name);
    }
    return [...found.values()].sort((a, b) => b.time - a.time);
  };
  // describedRun is what saveRun wrote last, whichever tab did, or null.
  const describedRun = (name) => get(`/runs/${name}/${pageFile}`).then((f) => new Response(f).json()).catch(() => null);
  // saveRun keeps what the page wants to know of a run: any JSON.
  const saveRun = (name, meta) => put(`/runs/${name}/${pageFile}`, new TextEncoder().encode(JSON.stringify(meta)));
  // removeRun is false where a tab is at the run, which stays.
  const removeRun = async (name) => {
    const release = await lockRun(name);
    if (release === null) return false;
    try {
      await remove(`/runs/${name}`);
    } finally {
      release();
    }
    return true;
  };

  return {
    client, ready, put, get, keep, list, remove, runs, describedRun, saveRun, removeRun,
    lose: () => send({ lose: true }),
    end: () => gone(0, new Error("the program was ended")),
  };
}

const lockName = (run) => `wgjepa run ${run}`;

// hold takes a lock and resolves to what releases it, or to null where another
// tab has it.
function hold(name, options) {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, options, (lock) => {
      if (lock === null) return resolve(null);
      return new Promise((release) => resolve(release));
    }).catch(reject);
  });
}

// lockRun makes this tab the only one at a run: it resolves to a function that
// releases it, or to null where another tab has it. A tab that is closed
// releases its own.
export async function lockRun(name) {
  if (!navigator.locks) return () => {}; // an old browser: nothing to hold
  const options = { ifAvailable: true };
  const release = await hold(lockName(name), options);
  if (release !== null) return release;
  // The page that this one replaces may take a moment to go.
  await new Promise((resolve) => setTimeout(resolve, 300));
  return await hold(lockName(name), options);
}

// bytesText is a size in words.
export function bytesText(n) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toPrecision(2)} ${units[i]}`;
}

// estimate tells how much the browser keeps for this page and how much more it
// would: { usage, quota, says }, quota 0 where it does not tell.
export async function estimate() {
  const { usage = 0, quota = 0 } = await navigator.storage?.estimate?.().catch(() => ({})) ?? {};
  const says = quota === 0 ? "This browser does not tell how much it will keep." : `This page keeps ${bytesText(usage)} in this browser, which has room for about ${bytesText(Math.max(0, quota - usage))} more.`;
  return { usage, quota, says };
}

// persisted tells whether the browser promises to keep what this page saved.
export async function persisted() {
  return promised(await navigator.storage?.persisted?.().catch(() => false));
}

// persist asks it to; some browsers ask the user.
export async function persist() {
  return promised(await navigator.storage?.persist?.().catch(() => false));
}

const promised = (yes = false) => ({
  persisted: yes,
  says: yes ? "The browser promised to keep it until you remove it." : "When the disk runs full the browser may remove it without asking: download what you want to keep.",
});

// registerServiceWorker keeps the page in the browser, so that it starts without
// a network: it resolves to { offline, says }. When a newer version of the page
// lies ready, onUpdate(apply) is called; apply() changes to it and loads this
// tab anew. That ends a training of this tab, so it is the user's to choose.
export async function registerServiceWorker(onUpdate = () => {}) {
  const no = (why) => ({ offline: false, says: `Without a network this page cannot be opened again: ${why}.` });
  if (!navigator.serviceWorker) return no("the browser keeps pages only from https or localhost, and not in every private window");
  // The files of this version stay while this page is open: see sw.js.
  navigator.locks?.request(`wgjepa ${here} ${version}`, { mode: "shared" }, () => new Promise(() => {}));
  try {
    const registration = await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
    const waits = () => {
      if (registration.waiting === null || navigator.serviceWorker.controller === null) return;
      const fresh = registration.waiting;
      onUpdate(() => {
        if (fresh.state !== "installed") return location.reload(); // another tab changed to it
        navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
        fresh.postMessage({ activate: true });
      });
    };
    registration.addEventListener("updatefound", () => {
      registration.installing?.addEventListener("statechange", waits);
    });
    waits();
    const { active } = await navigator.serviceWorker.ready;
    return { offline: active !== null, says: "This page also opens without a network." };
  } catch (e) {
    return no(e.message);
  }
}
