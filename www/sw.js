// sw.js: the service worker. It keeps the whole page in the browser, so that it
// starts without a network, and answers for it from there alone.
//
// The bundler puts in VERSION and two lists of names with their digests: FILES,
// kept at once, and LAZY, kept when first asked for. The browser holds what it
// fetches to the digests: a file that a host changed is not taken, nor is half
// of a new version.
//
// A new version waits until the page says { activate: true }: it never changes
// a page at work. The files of older versions stay while a page of theirs is
// open (www/storage.js holds a lock with their name).

const scope = new URL(self.registration.scope);
const prefix = `wgjepa ${scope.pathname} `;
const cacheName = prefix + VERSION;

// nameOf is the name of a file in the lists that a URL stands for, "" for others.
function nameOf(url) {
  if (url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) return "";
  const name = url.pathname.slice(scope.pathname.length);
  return name === "" || name === "index.html" ? "./" : name;
}

// fetched is a file of the lists from the network, whole.
async function fetched(name) {
  const url = new URL(name, scope);
  const response = await fetch(url, { integrity: FILES[name] ?? LAZY[name], cache: "no-cache", credentials: "same-origin" });
  if (!response.ok) throw new Error(`${url.pathname}: ${response.status}`);
  return response;
}

async function install() {
  const cache = await caches.open(cacheName);
  await Promise.all(Object.keys(FILES).map(async (name) => {
    const url = new URL(name, scope);
    if (!(await cache.match(url))) await cache.put(url, await fetched(name));
  }));
}

// tidy removes the files of versions that no page uses any more.
async function tidy() {
  const { held } = await navigator.locks.query();
  const used = new Set([cacheName, ...held.map((lock) => lock.name)]);
  for (const name of await caches.keys()) {
    if (name.startsWith(prefix) && !used.has(name)) await caches.delete(name);
  }
}

// answer gives a file as it is kept. Where the browser fails at that, or the page
// found it damaged (reload), it is fetched, and kept anew if the browser can.
async function answer(event, name, reload) {
  const url = new URL(name, scope);
  const cache = await caches.open(cacheName).catch(() => null);
  const own = await cache?.match(url).catch(() => null);
  if (own && !reload) return own;
  if (name in FILES || name in LAZY) {
    const response = await fetched(name).catch((e) => own ?? Promise.reject(e));
    if (cache && response !== own) event.waitUntil(cache.put(url, response.clone()).catch(() => {}));
    return response;
  }
  // A page of an older version that is still open: its names are its own.
  return (await caches.match(url)) ?? new Response(`${name} is not a file of this page`, { status: 404 });
}

self.addEventListener("install", (event) => event.waitUntil(install()));

self.addEventListener("activate", (event) => event.waitUntil(tidy().then(() => self.clients.claim())));

self.addEventListener("message", (event) => {
  if (event.data?.activate) event.waitUntil(self.skipWaiting());
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const name = nameOf(url);
  if (event.request.method === "GET" && name !== "") {
    // Another page of the same host, below this one, is none of our concern.
    if (event.request.mode === "navigate" && !(name in FILES)) return;
    event.respondWith(answer(event, name, event.request.cache === "reload" && event.request.mode !== "navigate"));
    if (event.request.mode === "navigate") event.waitUntil(tidy());
  } else {
    // The page asks nobody else for anything.
    event.respondWith(Response.error());
  }
});
