// Tests of files.js: what Go asks of a file system, on memory and on an OPFS
// made here, whose faults can be chosen. It throws where something is not as it
// should be.

import { files } from "../files.js";

function equal(got, want, what) {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(want)}`);
}

async function refused(promise, code, what) {
  try {
    await promise;
  } catch (e) {
    equal(e.code, code, what);
    return e;
  }
  throw new Error(`${what}: not refused`);
}

// --- an origin-private file system in memory ---------------------------------

const exception = (name) => new DOMException(`a test's ${name}`, name);

// disk is what a test changes: room in bytes, moves: whether files can be moved.
const disk = { room: Infinity, moves: true, open: 0, flushed: [] };

class FakeFile {
  constructor(parent, name) { Object.assign(this, { kind: "file", parent, name, bytes: new Uint8Array(0), locked: false, version: 0 }); }

  // A File is a snapshot: it cannot be read when the file was written since.
  async getFile() {
    const { version, bytes } = this, blob = new Blob([bytes]);
    const current = () => this.version === version && this.parent?.children.get(this.name) === this;
    return {
      size: bytes.length, lastModified: 1,
      arrayBuffer: () => blob.arrayBuffer(),
      slice: (a, b) => ({ arrayBuffer: async () => { if (!current()) throw exception("NotReadableError"); return await blob.slice(a, b).arrayBuffer(); } }),
    };
  }

  async createSyncAccessHandle() {
    if (this.locked) throw exception("NoModificationAllowedError");
    this.locked = true;
    disk.open++;
    const resize = (n) => {
      if (n - this.bytes.length > disk.room) throw exception("QuotaExceededError");
      disk.room -= n - this.bytes.length;
      const bytes = new Uint8Array(n);
      bytes.set(this.bytes.subarray(0, n));
      this.bytes = bytes;
      this.version++;
    };
    return {
      getSize: () => this.bytes.length,
      truncate: resize,
      read: (into, { at }) => {
        const part = this.bytes.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      // As a browser may, it takes what fits.
      write: (bytes, { at }) => {
        const n = Math.min(bytes.length, Math.max(0, this.bytes.length + disk.room - at));
        if (at + n > this.bytes.length) resize(at + n);
        this.bytes.set(bytes.subarray(0, n), at);
        return n;
      },
      flush: () => { disk.flushed.push(this.name); },
      close: () => {
        if (this.locked) disk.open--;
        this.locked = false;
      },
    };
  }

  get move() {
    return disk.moves ? async (folder, name) => {
      if (this.locked) throw exception("NoModificationAllowedError");
      this.parent.children.delete(this.name);
      folder.children.set(name, this);
      Object.assign(this, { parent: folder, name });
    } : undefined;
  }
}

class FakeFolder {
  constructor() { Object.assign(this, { kind: "directory", children: new Map() }); }

  child(name, kind, create, make) {
    if (name === "") throw new TypeError("name");
    let c = this.children.get(name);
    if (c === undefined) {
      if (!create) throw exception("NotFoundError");
      c = make();
      this.children.set(name, c);
    }
    if (c.kind !== kind) throw exception("TypeMismatchError");
    return c;
  }
  async getFileHandle(name, { create = false } = {}) { return this.child(name, "file", create, () => new FakeFile(this, name)); }
  async getDirectoryHandle(name, { create = false } = {}) { return this.child(name, "directory", create, () => new FakeFolder()); }
  async removeEntry(name, { recursive = false } = {}) {
    const c = this.children.get(name);
    if (c === undefined) throw exception("NotFoundError");
    if (c.locked) throw exception("NoModificationAllowedError");
    if (c.kind === "directory" && c.children.size > 0 && !recursive) throw exception("InvalidModificationError");
    disk.room += c.bytes?.length ?? 0;
    this.children.delete(name);
  }
  async *keys() { yield* [...this.children.keys()]; }
  async *entries() { yield* [...this.children.entries()]; }
}

// --- what Go does --------------------------------------------------------------

const bytes = (text) => new TextEncoder().encode(text);
const text = (b) => new TextDecoder().decode(b);

// posix makes promises of the calls with callbacks.
function posix(fs) {
  return new Proxy(fs, {
    get: (target, name) => (...args) => new Promise((resolve, reject) => {
      let called = false;
      target[name](...args, (e, v) => {
        if (called) throw new Error(`${name} called back twice`);
        called = true;
        // Go knows success by null and takes nothing for an error without a code.
        if (e === null) resolve(v);
        else if (typeof e?.code === "string") reject(e);
        else reject(new Error(`${name}: no code in ${e}`));
      });
    }),
  });
}

const write = 1 | 64 | 512, append = 1 | 64 | 1024; // O_WRONLY|O_CREAT|O_TRUNC, …|O_APPEND

async function writeFile(fs, path, content, flag = write) {
  const fd = await fs.open(path, flag, 0o644);
  try {
    for (let at = 0; at < content.length;) at += await fs.write(fd, content, at, content.length - at, null);
    await fs.fsync(fd);
  } finally {
    await fs.close(fd);
  }
}

async function readFile(fs, path, piece = 5) {
  const fd = await fs.open(path, 0, 0);
  const all = [];
  const buffer = new Uint8Array(piece);
  for (let n; (n = await fs.read(fd, buffer, 0, piece, null)) > 0;) all.push(...buffer.subarray(0, n));
  await fs.close(fd);
  return new Uint8Array(all);
}

// story holds for every place: in memory and in OPFS.
async function story(fs, root) {
  equal((await fs.stat(root)).isDirectory(), true, `${root} is a folder`);
  await fs.mkdir(root + "/run", 0o755);
  await refused(fs.mkdir(root + "/run", 0o755), "EEXIST", "a folder twice");
  await refused(fs.mkdir(root + "/no/run", 0o755), "ENOENT", "a folder in none");
  await writeFile(fs, root + "/run/a", bytes("hello, world"));
  equal(text(await readFile(fs, root + "/run/a")), "hello, world", "what was written");
  equal((await fs.stat(root + "/run/a")).size, 12, "size");
  equal((await fs.lstat(root + "/run/../run/./a")).isDirectory(), false, "a path with dots");
  await writeFile(fs, root + "/run/a", bytes("!"), append);
  equal(text(await readFile(fs, root + "/run/a", 100)), "hello, world!", "appended");
  await writeFile(fs, root + "/run/a", bytes("short"));
  equal(text(await readFile(fs, root + "/run/a")), "short", "truncated");
  await fs.truncate(root + "/run/a", 7);
  equal([...await readFile(fs, root + "/run/a")].slice(5), [0, 0], "lengthened with zeros");

  await refused(fs.open(root + "/run/none", 0, 0), "ENOENT", "no file");
  await refused(fs.open(root + "/none/none", 0, 0), "ENOENT", "no folder");
  await refused(fs.open(root + "/none/none", write, 0), "ENOENT", "to write in no folder");
  await refused(fs.open(root + "/run/a/b", 0, 0), "ENOTDIR", "a file as a folder");
  await refused(fs.open(root + "/run", write, 0), "EISDIR", "a folder as a file");
  await refused(fs.open(root + "/run/a", 1 | 64 | 128, 0), "EEXIST", "O_EXCL");
  await refused(fs.read(99, new Uint8Array(1), 0, 1, null), "EBADF", "no descriptor");
  const folder = await fs.open(root + "/run", 0, 0);
  equal((await fs.fstat(folder)).isDirectory(), true, "an open folder");
  await refused(fs.read(folder, new Uint8Array(1), 0, 1, null), "EISDIR", "to read a folder");
  await fs.fsync(folder);
  await fs.close(folder);
  await refused(fs.close(folder), "EBADF", "closed twice");

  // As a checkpoint is replaced.
  await writeFile(fs, root + "/run/c", bytes("old"));
  await writeFile(fs, root + "/run/c.tmp", bytes("new"));
  await fs.rename(root + "/run/c", root + "/run/c.previous");
  await fs.rename(root + "/run/c.tmp", root + "/run/c");
  equal(text(await readFile(fs, root + "/run/c")), "new", "renamed");
  equal(text(await readFile(fs, root + "/run/c.previous")), "old", "kept");
  await writeFile(fs, root + "/run/c.tmp", bytes("newer"));
  await fs.rename(root + "/run/c.tmp", root + "/run/c");
  equal(text(await readFile(fs, root + "/run/c")), "newer", "renamed over another");
  equal((await fs.readdir(root + "/run")).sort(), ["a", "c", "c.previous"], "nothing is left");
  await refused(fs.rename(root + "/run/none", root + "/run/x"), "ENOENT", "to rename nothing");
  await refused(fs.readdir(root + "/run/a"), "ENOTDIR", "to list a file");

  // Places in a file.
  const fd = await fs.open(root + "/run/rw", 2 | 64, 0);
  await fs.write(fd, bytes("abcdef"), 0, 6, null);
  await fs.write(fd, bytes("XY"), 0, 2, 1);
  const three = new Uint8Array(5);
  equal(await fs.read(fd, three, 1, 3, 1), 3, "bytes read");
  equal([three[0], text(three.subarray(1, 4))], [0, "XYd"], "read at a place");
  await fs.write(fd, bytes("g"), 0, 1, null);
  await fs.ftruncate(fd, 7);
  equal((await fs.fstat(fd)).size, 7, "size of an open file");
  await fs.close(fd);
  equal(text(await readFile(fs, root + "/run/rw")), "aXYdefg", "written at places");

  await refused(fs.rmdir(root + "/run"), "ENOTEMPTY", "a folder with files");
  await refused(fs.rmdir(root + "/run/a"), "ENOTDIR", "a file as a folder to remove");
  await refused(fs.unlink(root + "/run"), "EISDIR", "a folder as a file to remove");
  await refused(fs.unlink(root + "/run/none"), "ENOENT", "to remove nothing");
  for (const name of await fs.readdir(root + "/run")) await fs.unlink(`${root}/run/${name}`);
  await fs.rmdir(root + "/run");
  await refused(fs.stat(root + "/run"), "ENOENT", "removed");
}

// host is what the worker does with files, for both places too.
async function host(f, root) {
  await f.put(root + "/p/q/file", bytes("one"));
  await f.put(root + "/p/q/file", new Blob(["second"]));
  const got = await f.get(root + "/p/q/file");
  equal(text(got.arrayBuffer ? new Uint8Array(await got.arrayBuffer()) : got), "second", "put and got");
  await f.put(root + "/p/other", bytes(""));
  equal((await f.list(root + "/p")).map(({ path, size }) => [path, size]).sort(), [[root + "/p/other", 0], [root + "/p/q/file", 6]], "listed");
  await f.keep(root + "/p/q/file", root + "/p/r/s");
  equal(text(await readFile(posix(f.fs), root + "/p/r/s")), "second", "kept");
  await refused(f.get(root + "/p/none"), "ENOENT", "to get nothing");
  await refused(f.get(root + "/p"), "EISDIR", "to get a folder");
  await refused(f.keep(root + "/p/none", root + "/p/x"), "ENOENT", "to keep nothing");
  await f.remove(root + "/p/none");
  await f.remove(root + "/nowhere/none");
  await f.remove(root + "/p");
  equal(await f.list(root === "/runs" ? root : "/runs"), [], "removed");
}

const memory = files({ log() {} });
await story(posix(memory.fs), "");
await story(posix(memory.fs), "/runs"); // where there is no OPFS
await host(memory, "/data");

for (const moves of [true, false]) {
  disk.moves = moves;
  const f = files({ runs: new FakeFolder(), log() {} });
  await story(posix(f.fs), "/runs");
  await host(f, "/runs");
  equal(disk.open, 0, "files left open");
}
if (!disk.flushed.includes("c.tmp")) throw new Error("what was synced was not flushed");
disk.moves = true;

// Between memory and OPFS: a copy, no rename.
{
  const f = files({ runs: new FakeFolder() }), fs = posix(f.fs);
  await writeFile(fs, "/x", bytes("x"));
  await refused(fs.rename("/x", "/runs/x"), "EXDEV", "over the border");
  await refused(fs.link("/x", "/y/z"), "ENOENT", "a link to nowhere");
  await fs.link("/x", "/y");
  equal(text(await readFile(fs, "/y")), "x", "a link");
  await f.keep("/x", "/runs/r/data/x");
  await f.keep("/runs/r/data/x", "/data/back");
  equal(text(await readFile(fs, "/data/back")), "x", "there and back");
}

// A disk that is full: ENOSPC, what was there stays, nothing half is left.
{
  const f = files({ runs: new FakeFolder() }), fs = posix(f.fs);
  await f.put("/runs/r/c", bytes("kept"));
  disk.room = 10;
  await refused(writeFile(fs, "/runs/r/c.tmp", bytes("more than ten bytes")), "ENOSPC", "a full disk");
  await fs.unlink("/runs/r/c.tmp");
  const e = await refused(f.put("/runs/r/c", new Blob(["more than ten bytes"])), "ENOSPC", "put on a full disk");
  if (!e.message.includes("no room")) throw new Error(`what the page is told: ${e.message}`);
  disk.room = 10;
  await refused(f.keep("/runs/r/c", "/runs/r/c2").then(() => f.keep("/runs/r/c", "/runs/r/c3")).then(() => f.keep("/runs/r/c", "/runs/r/c4")), "ENOSPC", "to keep on a full disk");
  await refused(fs.truncate("/runs/r/c", 1000), "ENOSPC", "to lengthen on a full disk");
  disk.room = Infinity;
  equal(text(await readFile(fs, "/runs/r/c")), "kept", "what was there");
  equal((await f.list("/runs")).map((x) => x.path), ["/runs/r/c", "/runs/r/c2", "/runs/r/c3"], "no halves");
  equal(disk.open, 0, "files left open on a full disk");
}

// One writer a file; the program's end lets go of what it had open.
{
  const f = files({ runs: new FakeFolder() }), fs = posix(f.fs);
  await fs.open("/runs/w", write, 0);
  await refused(fs.open("/runs/w", write, 0), "EBUSY", "two writers");
  f.close();
  equal(disk.open, 0, "files left open at the end");
  await writeFile(fs, "/runs/w", bytes("free"));
  // A writer that is about to go is waited for.
  const fd = await fs.open("/runs/w", write, 0);
  setTimeout(() => fs.close(fd), 120);
  await writeFile(fs, "/runs/w", bytes("waited"));
  equal(text(await readFile(fs, "/runs/w")), "waited", "written after the other");
  // A reader sees what is written while it reads.
  const reader = await fs.open("/runs/w", 0, 0), buffer = new Uint8Array(6);
  await writeFile(fs, "/runs/w", bytes("change"));
  equal([await fs.read(reader, buffer, 0, 6, 0), text(buffer)], [6, "change"], "read after a change");
}

// A Blob of 4 GiB: only what is read is fetched, in pieces of a bounded size.
{
  const troubles = [];
  const f = files({ runs: new FakeFolder(), trouble: (path, message) => troubles.push([path, message]) }), fs = posix(f.fs);
  const size = 4 * 2 ** 30 + 123;
  const fetched = [];
  let gone = false;
  const huge = {
    size,
    arrayBuffer() { throw new Error("the whole file was asked for"); },
    slice: (a, b) => ({
      async arrayBuffer() {
        if (gone) throw exception("NotReadableError");
        if (b - a > 1 << 22) throw new Error(`a piece of ${b - a} bytes`);
        fetched.push(b - a);
        return Uint8Array.from({ length: b - a }, (_, i) => (a + i) % 251).buffer;
      },
    }),
  };
  await f.put("/data/huge.nii", huge);
  equal((await fs.stat("/data/huge.nii")).size, size, "size of a huge file");
  const fd = await fs.open("/data/huge.nii", 0, 0), buffer = new Uint8Array(4096);
  for (let i = 0; i < 256; i++) {
    equal(await fs.read(fd, buffer, 0, 4096, null), 4096, "bytes of a huge file");
    if (buffer[9] !== (i * 4096 + 9) % 251) throw new Error("other bytes of a huge file");
  }
  equal(fetched.length, 1, "trips for 256 small reads");
  equal([await fs.read(fd, buffer, 0, 4096, size - 23), buffer[22]], [23, (size - 1) % 251], "the end of a huge file");
  equal(await fs.read(fd, buffer, 0, 4096, size), 0, "behind the end");
  const large = new Uint8Array(5 << 20);
  equal(await fs.read(fd, large, 0, large.length, 1e9), large.length, "a large read");
  if (large.some((v, i) => v !== (1e9 + i) % 251)) throw new Error("other bytes in a large read");
  await refused(fs.open("/data/huge.nii", write, 0), "EROFS", "to write what was given");
  await refused(fs.truncate("/data/huge.nii", 0), "EROFS", "to truncate what was given");
  equal(await f.get("/data/huge.nii") === huge, true, "the Blob itself");

  gone = true;
  await refused(fs.read(fd, buffer, 0, 4096, 2e9), "EIO", "a file that changed");
  equal([troubles.length, troubles[0][0]], [1, "/data/huge.nii"], "who was told");
  if (!troubles[0][1].includes("changed, moved or removed")) throw new Error(`what was told: ${troubles[0][1]}`);
  const e = await refused(f.keep("/data/huge.nii", "/runs/r/huge.nii"), "EIO", "to keep a file that changed");
  if (!e.message.includes("changed, moved or removed")) throw new Error(`what the page is told: ${e.message}`);
  equal(await f.list("/runs"), [], "no half of a file that changed");
}

// Lines that the program prints.
{
  const lines = [];
  const f = files({ log: (line) => lines.push(line) }), fs = posix(f.fs);
  await fs.write(1, bytes("half "), 0, 5, null);
  f.fs.writeSync(2, bytes("line\nand more"));
  equal(lines, ["half line"], "lines");
  equal(await fs.read(0, new Uint8Array(1), 0, 1, null), 0, "standard input is empty");
}

console.log("all of the files");
