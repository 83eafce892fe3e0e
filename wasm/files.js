// files.js: the file systems that Go's os package works on (globalThis.fs).
//
// files() is the browser's: all in memory, but for /runs, which lies in the
// origin-private file system (OPFS) where the browser has one, so that it is
// still there tomorrow. What a page was given stays where it is, a Blob that is
// read piece by piece: a file of many gigabytes costs nothing until it is read.
//
// guarded wraps node:fs: a runtime that withholds a permission throws, where
// Go expects a callback with an error.

const flags = { O_WRONLY: 1, O_RDWR: 2, O_CREAT: 64, O_TRUNC: 512, O_APPEND: 1024, O_EXCL: 128, O_DIRECTORY: 65536 };

// What a page says of the codes that it sees.
const words = {
  ENOENT: "there is no such file", EEXIST: "it is there already", EISDIR: "it is a folder", ENOTDIR: "it is not a folder", EROFS: "it can only be read",
  ENOSPC: "there is no room left for it", EBUSY: "another tab is writing it", EACCES: "the browser does not allow it",
};

function failure(code, message = words[code] ?? code) {
  const e = new Error(message);
  e.code = code;
  return e;
}

// guarded is fs with exceptions and unknown codes turned into errors that Go knows.
// withheld(message) hears what the runtime does not permit.
export function guarded(fs, withheld = (/** @type {string} */ _) => {}) {
  // Go knows success by null alone.
  const known = (e) => {
    if (!e || (typeof e.code === "string" && e.code !== "ENOTCAPABLE")) return e || null;
    withheld(e.message);
    return failure("EACCES");
  };
  return new Proxy(fs, {
    get(target, name) {
      const f = target[name];
      if (typeof f !== "function" || String(name).endsWith("Sync")) return f;
      return (...args) => {
        const callback = args.pop();
        try {
          f.call(target, ...args, (e, ...rest) => callback(known(e), ...rest));
        } catch (e) {
          callback(known(e));
        }
      };
    },
  });
}

// isBlob also holds for a Blob of another realm.
const isBlob = (content) => typeof content.arrayBuffer === "function";

function stat(size, time, folder) {
  return {
    dev: 1, ino: 0, mode: folder ? 0o40755 : 0o100644, nlink: 1, uid: 0, gid: 0, rdev: 0, size, blksize: 4096, blocks: Math.ceil(size / 512),
    atimeMs: time, mtimeMs: time, ctimeMs: time, isDirectory: () => folder,
  };
}

// Each read of a Blob is a trip to another process: small ones are served from
// a window of this many bytes, large ones are made in pieces.
const windowBytes = 1 << 20;

// BlobReader reads a Blob.
class BlobReader {
  constructor(blob) {
    this.blob = blob;
    this.window = new Uint8Array(0);
    this.start = 0; // of the window in the Blob
  }

  async read(into, position) {
    const n = Math.max(0, Math.min(into.length, this.blob.size - position));
    for (let done = 0; done < n;) {
      const at = position + done;
      let { window, start } = this;
      if (at < start || at >= start + window.length) {
        const end = Math.min(this.blob.size, at + windowBytes);
        window = await this.blob.slice(at, end).arrayBuffer().then((b) => new Uint8Array(b), () => []);
        if (window.length < end - at) throw failure("EIO", "it was changed, moved or removed after it was given to this page: give it again");
        start = at;
        Object.assign(this, { window, start });
      }
      const part = window.subarray(at - start, at - start + n - done);
      into.set(part, done);
      done += part.length;
    }
    return n;
  }
}

// A volume keeps files: its methods take a path as a list of names from the
// volume's root, may return promises, and throw errors with the codes of POSIX.
// open returns { folder, read, write, truncate, sync, close, stat }.

const growth = 1 << 16;

// Node is a file or folder in memory.
class Node {
  constructor(folder, blob = null) {
    this.children = folder ? new Map() : null;
    this.blob = blob; // read only
    this.data = new Uint8Array(0); // capacity
    this.length = blob ? blob.size : 0;
    this.time = Date.now();
  }

  read(into, position) {
    const n = Math.max(0, Math.min(into.length, this.length - position));
    if (n > 0) into.set(this.data.subarray(position, position + n));
    return n;
  }

  write(bytes, position) {
    this.resize(Math.max(this.length, position + bytes.length));
    this.data.set(bytes, position);
    return bytes.length;
  }

  resize(length) {
    if (this.blob) throw failure("EROFS");
    if (length > this.data.length) {
      let bigger;
      try {
        bigger = new Uint8Array(Math.max(length, this.data.length * 2, growth));
      } catch {
        throw failure("ENOSPC");
      }
      bigger.set(this.data.subarray(0, this.length));
      this.data = bigger;
    }
    if (length < this.length) this.data.fill(0, length, this.length);
    this.length = length;
    this.time = Date.now();
  }

  stat() { return stat(this.length, this.time, this.children !== null); }

  open(trouble) {
    const reader = this.blob && new BlobReader(this.blob);
    return {
      folder: this.children !== null,
      read: reader === null ? (into, position) => this.read(into, position) : async (into, position) => {
        try {
          return await reader.read(into, position);
        } catch (e) {
          trouble(e.message);
          throw e;
        }
      },
      write: (bytes, position) => this.write(bytes, position),
      truncate: (length) => this.resize(length),
      stat: () => this.stat(),
      sync() {},
      close() {},
    };
  }
}

// Memory is a volume in memory. trouble(list, message) is told what an error
// code cannot say.
class Memory {
  constructor(trouble) {
    this.root = new Node(true);
    this.trouble = trouble;
  }

  find(list) {
    let node = this.root;
    for (const name of list) {
      if (node.children === null) throw failure("ENOTDIR");
      node = node.children.get(name);
      if (node === undefined) throw failure("ENOENT");
    }
    return node;
  }

  // at returns the folder of a path and the name in it.
  at(list) {
    if (list.length === 0) throw failure("EINVAL");
    const folder = this.find(list.slice(0, -1));
    if (folder.children === null) throw failure("ENOTDIR");
    return [folder.children, list.at(-1)];
  }

  open(list, flag) {
    let node;
    try {
      node = this.find(list);
    } catch (e) {
      if (e.code !== "ENOENT" || !(flag & flags.O_CREAT)) throw e;
      const [children, name] = this.at(list);
      node = new Node(false);
      children.set(name, node);
      return node.open();
    }
    if (flag & flags.O_EXCL && flag & flags.O_CREAT) throw failure("EEXIST");
    if (flag & (flags.O_WRONLY | flags.O_RDWR)) {
      if (node.children !== null) throw failure("EISDIR");
      if (node.blob !== null) throw failure("EROFS");
    }
    if (flag & flags.O_TRUNC) node.resize(0);
    return node.open((message) => this.trouble(list, message));
  }

  stat(list) { return this.find(list).stat(); }

  readdir(list) {
    const { children } = this.find(list);
    if (children === null) throw failure("ENOTDIR");
    return [...children.keys()];
  }

  mkdir(list) {
    const [children, name] = this.at(list);
    if (children.has(name)) throw failure("EEXIST");
    children.set(name, new Node(true));
  }

  rename(from, to) {
    const [a, x] = this.at(from), [b, y] = this.at(to), node = a.get(x);
    if (node === undefined) throw failure("ENOENT");
    if (b.get(y)?.children) throw failure("EISDIR");
    a.delete(x);
    b.set(y, node);
  }

  link(from, to) {
    const node = this.find(from), [children, name] = this.at(to);
    if (children.has(name)) throw failure("EEXIST");
    children.set(name, node);
  }

  unlink(list) {
    if (this.find(list).children !== null) throw failure("EISDIR");
    const [children, name] = this.at(list);
    children.delete(name);
  }

  rmdir(list) {
    const node = this.find(list);
    if (node.children === null) throw failure("ENOTDIR");
    if (node.children.size > 0) throw failure("ENOTEMPTY");
    const [children, name] = this.at(list);
    children.delete(name);
  }

  truncate(list, length) { this.find(list).resize(length); }

  remove(list) {
    try {
      const [children, name] = this.at(list);
      children.delete(name);
    } catch (e) {
      if (e.code !== "ENOENT") throw e;
    }
  }

  get(list) {
    const node = this.find(list);
    if (node.children !== null) throw failure("EISDIR");
    return node.blob ?? node.data.slice(0, node.length);
  }

  // put adds a file with its folders.
  put(list, content) {
    const folder = list.slice(0, -1).reduce((node, name) => {
      if (!node.children.has(name)) node.children.set(name, new Node(true));
      return node.children.get(name);
    }, this.root);
    const file = new Node(false, isBlob(content) ? content : null);
    if (!file.blob) {
      file.data = content;
      file.length = content.length;
    }
    folder.children.set(list.at(-1), file);
  }

  list(list) {
    const found = [];
    const walk = (node, path) => {
      if (node.children === null) found.push({ path, size: node.length, time: node.time });
      else for (const [name, child] of node.children) walk(child, [...path, name]);
    };
    walk(this.find(list), list);
    return found;
  }
}

// What the exceptions of the file system are called in POSIX.
const codes = {
  NotFoundError: "ENOENT", TypeMismatchError: "ENOTDIR", QuotaExceededError: "ENOSPC", NoModificationAllowedError: "EBUSY", InvalidModificationError: "ENOTEMPTY",
  NotAllowedError: "EACCES", SecurityError: "EACCES", InvalidStateError: "EBADF", TypeError: "EINVAL",
};

function asFailure(e) {
  if (typeof e.code === "string") return e;
  const code = codes[e.name] ?? "EIO";
  return failure(code, words[code] ?? e.message);
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// accessOf opens a file for writing. Only one may be open on a file; that of a
// tab that was just closed may live for a moment.
async function accessOf(handle) {
  for (let tries = 0; ; tries++) {
    try {
      return await handle.createSyncAccessHandle();
    } catch (e) {
      if (e.name !== "NoModificationAllowedError" || tries >= 20) throw e;
      await wait(50);
    }
  }
}

// OPFS is a volume in the origin-private file system, below a directory handle.
class OPFS {
  constructor(root) { this.root = root; }

  async folder(list, create = false) {
    let handle = this.root;
    for (const name of list) handle = await handle.getDirectoryHandle(name, { create });
    return handle;
  }

  // find returns the handle of a file or folder.
  async find(list) {
    if (list.length === 0) return this.root;
    const folder = await this.folder(list.slice(0, -1));
    try {
      return await folder.getFileHandle(list.at(-1));
    } catch (e) {
      if (e.name !== "TypeMismatchError") throw e;
      return await folder.getDirectoryHandle(list.at(-1));
    }
  }

  async exists(list) {
    try {
      await this.find(list);
      return true;
    } catch (e) {
      if (e.name !== "NotFoundError") throw e;
      return false;
    }
  }

  async open(list, flag) {
    let handle;
    if (flag & flags.O_CREAT) {
      if (flag & flags.O_EXCL && await this.exists(list)) throw failure("EEXIST");
      const folder = await this.folder(list.slice(0, -1));
      try {
        handle = await folder.getFileHandle(list.at(-1), { create: true });
      } catch (e) {
        throw e.name === "TypeMismatchError" ? failure("EISDIR") : e;
      }
    } else {
      handle = await this.find(list);
    }
    const writes = flag & (flags.O_WRONLY | flags.O_RDWR);
    if (handle.kind === "directory") {
      if (writes) throw failure("EISDIR");
      return { folder: true, stat: () => stat(0, 0, true), sync() {}, close() {} };
    }
    return writes ? await this.writer(handle, flag) : await this.reader(handle);
  }

  async reader(handle) {
    let file = new BlobReader(await handle.getFile());
    return {
      folder: false,
      async read(into, position) {
        try {
          return await file.read(into, position);
        } catch {
          file = new BlobReader(await handle.getFile()); // it was written since
          return await file.read(into, position);
        }
      },
      stat: () => stat(file.blob.size, file.blob.lastModified, false),
      write() { throw failure("EBADF"); },
      truncate() { throw failure("EINVAL"); },
      sync() {},
      close() {},
    };
  }

  async writer(handle, flag) {
    const access = await accessOf(handle);
    const file = {
      folder: false,
      read: (into, position) => access.read(into, { at: position }),
      write(bytes, position) {
        const n = access.write(bytes, { at: position });
        if (n === 0 && bytes.length > 0) throw failure("ENOSPC");
        return n;
      },
      truncate: (length) => access.truncate(length),
      stat: () => stat(access.getSize(), Date.now(), false),
      sync: () => access.flush(),
      close: () => access.close(),
    };
    if (flag & flags.O_TRUNC) {
      try {
        access.truncate(0);
      } catch (e) {
        access.close();
        throw e;
      }
    }
    return file;
  }

  async stat(list) {
    const handle = await this.find(list);
    if (handle.kind === "directory") return stat(0, 0, true);
    const file = await handle.getFile();
    return stat(file.size, file.lastModified, false);
  }

  async readdir(list) {
    const handle = await this.find(list);
    if (handle.kind !== "directory") throw failure("ENOTDIR");
    const names = [];
    for await (const name of handle.keys()) names.push(name);
    return names;
  }

  async mkdir(list) {
    if (await this.exists(list)) throw failure("EEXIST");
    await this.folder(list.slice(0, -1)).then((folder) => folder.getDirectoryHandle(list.at(-1), { create: true }));
  }

  // rename replaces what is there in one step, where the browser can move files.
  async rename(from, to) {
    const handle = await this.find(from), folder = await this.folder(to.slice(0, -1)), name = to.at(-1);
    if (handle.kind === "directory") throw failure("EPERM");
    if (typeof handle.move === "function") return await handle.move(folder, name);
    await this.store(await folder.getFileHandle(name, { create: true }), await handle.getFile());
    await this.folder(from.slice(0, -1)).then((f) => f.removeEntry(from.at(-1)));
  }

  link() { throw failure("EPERM"); }

  async unlink(list) {
    if ((await this.find(list)).kind === "directory") throw failure("EISDIR");
    await this.drop(list);
  }

  async rmdir(list) {
    if ((await this.find(list)).kind !== "directory") throw failure("ENOTDIR");
    await this.drop(list);
  }

  async drop(list, recursive = false) {
    const folder = await this.folder(list.slice(0, -1));
    await folder.removeEntry(list.at(-1), { recursive });
  }

  async truncate(list, length) {
    const access = await accessOf(await this.find(list));
    try {
      access.truncate(length);
      access.flush();
    } finally {
      access.close();
    }
  }

  async remove(list) {
    if (await this.exists(list)) await this.drop(list, true);
  }

  async get(list) {
    const handle = await this.find(list);
    if (handle.kind === "directory") throw failure("EISDIR");
    return await handle.getFile();
  }

  // put writes a file with its folders: the whole of it or nothing.
  async put(list, content) {
    const folder = await this.folder(list.slice(0, -1), true);
    const part = [...list.slice(0, -1), list.at(-1) + ".part"];
    try {
      await this.store(await folder.getFileHandle(part.at(-1), { create: true }), content);
      await this.rename(part, list);
    } catch (e) {
      await this.remove(part).catch(() => {});
      throw e;
    }
  }

  // store fills a file with bytes or a Blob, piece by piece.
  async store(handle, content) {
    const access = await accessOf(handle);
    try {
      access.truncate(0);
      const size = isBlob(content) ? content.size : content.length;
      const reader = isBlob(content) ? new BlobReader(content) : null;
      const piece = new Uint8Array(Math.min(size, windowBytes));
      for (let at = 0; at < size;) {
        let bytes;
        if (reader === null) bytes = content.subarray(at, at + windowBytes);
        else bytes = piece.subarray(0, await reader.read(piece, at));
        const n = access.write(bytes, { at });
        if (n === 0) throw failure("ENOSPC");
        at += n;
      }
      access.flush();
    } finally {
      access.close();
    }
  }

  async list(list) {
    const found = [];
    const walk = async (handle, path) => {
      for await (const [name, child] of handle.entries()) {
        if (child.kind === "directory") {
          await walk(child, [...path, name]);
        } else {
          const file = await child.getFile();
          found.push({ path: [...path, name], size: file.size, time: file.lastModified });
        }
      }
    };
    await walk(await this.folder(list), list);
    return found;
  }
}

// originPrivate returns the directory of OPFS that stands for /runs; it throws
// where there is none, as in private windows of some browsers.
export async function originPrivate() {
  if (!globalThis.navigator?.storage?.getDirectory || !("createSyncAccessHandle" in (globalThis.FileSystemFileHandle?.prototype ?? {}))) {
    throw new Error("it has no origin-private file system");
  }
  const root = await navigator.storage.getDirectory();
  // Some have it and cannot write to it, which is better known before a training.
  const trial = `wgjepa-trial-${crypto.randomUUID()}`; // another tab may try, too
  const handle = await root.getFileHandle(trial, { create: true });
  try {
    await (await handle.createSyncAccessHandle()).close();
  } finally {
    await root.removeEntry(trial).catch(() => {});
  }
  return await root.getDirectoryHandle("wgjepa-runs", { create: true });
}

// files returns { fs, put, get, keep, list, remove, close }: fs for Go, the
// others for the host. runs is a directory handle for /runs, or null: then it
// is in memory too. log(line) gets what the program prints, trouble(path,
// message) what is wrong with a file that Go is only told a code of.
export function files({ runs = null, log = (text) => console.log(text), trouble = () => {} } = {}) {
  const memory = new Memory((list, message) => trouble("/" + list.join("/"), message));
  memory.mkdir(["runs"]);
  const opfs = runs === null ? null : new OPFS(runs);
  const open = new Map(); // file descriptors: { file, position }
  let lastFD = 2; // 0 to 2 are the standard streams
  let line = "";

  const parts = (path) => {
    const list = [];
    for (const p of path.split("/")) {
      if (p === "..") list.pop();
      else if (p !== "" && p !== ".") list.push(p);
    }
    return list;
  };
  // place returns the volume of a path and the path in it.
  const place = (path) => {
    const list = parts(path);
    return opfs !== null && list[0] === "runs" ? [opfs, list.slice(1)] : [memory, list];
  };
  // on calls a method of the volume of a path.
  const on = (method, path, ...args) => {
    const [volume, list] = place(path);
    return volume[method](list, ...args);
  };
  const both = (method, from, to) => {
    const [a, x] = place(from), [b, y] = place(to);
    if (a !== b) throw failure("EXDEV");
    return a[method](x, y);
  };
  const descriptor = (fd) => {
    const d = open.get(fd);
    if (d === undefined) throw failure("EBADF");
    return d;
  };
  const print = (bytes) => {
    line += new TextDecoder().decode(bytes);
    const end = line.lastIndexOf("\n");
    if (end >= 0) {
      log(line.slice(0, end));
      line = line.slice(end + 1);
    }
    return bytes.length;
  };
  // then is f(value), now where value is there: most calls need not wait.
  const then = (value, f) => (value instanceof Promise ? value.then(f) : f(value));

  const calls = {
    open: (path, flag) => then(on("open", path, flag), (file) => {
      open.set(++lastFD, { file, position: 0, append: (flag & flags.O_APPEND) !== 0 });
      return lastFD;
    }),
    close(fd) {
      const { file } = descriptor(fd);
      open.delete(fd);
      return file.close();
    },
    read(fd, buffer, offset, length, position) {
      if (fd === 0) return 0;
      const d = descriptor(fd);
      if (d.file.folder) throw failure("EISDIR");
      return then(d.file.read(buffer.subarray(offset, offset + length), position ?? d.position), (n) => {
        if (position === null) d.position += n;
        return n;
      });
    },
    write(fd, buffer, offset, length, position) {
      const bytes = buffer.subarray(offset, offset + length);
      if (fd === 1 || fd === 2) return print(bytes);
      const d = descriptor(fd);
      const at = position ?? (d.append ? d.file.stat().size : d.position);
      const n = d.file.write(bytes, at);
      if (position === null) d.position = at + n;
      return n;
    },
    stat: (path) => on("stat", path),
    lstat: (path) => on("stat", path),
    fstat: (fd) => descriptor(fd).file.stat(),
    mkdir: (path) => on("mkdir", path),
    readdir: (path) => on("readdir", path),
    rename: (from, to) => both("rename", from, to),
    link: (from, to) => both("link", from, to),
    unlink: (path) => on("unlink", path),
    rmdir: (path) => on("rmdir", path),
    truncate: (path, length) => on("truncate", path, length),
    ftruncate: (fd, length) => descriptor(fd).file.truncate(length),
    fsync: (fd) => descriptor(fd).file.sync(),
    chmod() {}, fchmod() {}, chown() {}, fchown() {}, lchown() {}, utimes() {},
    readlink() { throw failure("EINVAL"); },
    symlink() { throw failure("EPERM"); },
  };
  const fs = { constants: flags, writeSync: (_fd, bytes) => print(bytes) };
  for (const [name, f] of Object.entries(calls)) {
    fs[name] = (...args) => {
      const callback = args.pop();
      const fail = (e) => callback(asFailure(e));
      let value;
      try {
        value = f(...args);
      } catch (e) {
        queueMicrotask(() => fail(e));
        return;
      }
      if (value instanceof Promise) value.then((v) => callback(null, v), fail);
      else queueMicrotask(() => callback(null, value));
    };
  }

  // told is f with errors that have codes; it returns a promise.
  const told = (f) => async (...args) => {
    try {
      return await f(...args);
    } catch (e) {
      throw asFailure(e);
    }
  };
  return {
    fs,
    // put adds a file with its folders: bytes (Uint8Array) or a Blob. In memory
    // it is there at once; in OPFS it replaces what was there in one step.
    put: told((path, content) => on("put", path, content)),
    // get returns a copy of a file's bytes, or the Blob that it is.
    get: told((path) => on("get", path)),
    // keep copies a file.
    keep: told(async (from, to) => on("put", to, await on("get", from))),
    // list returns all files below a folder: { path, size, time }.
    list: told(async (path) => {
      const [volume, list] = place(path);
      const root = volume === opfs ? "/runs/" : "/";
      return (await volume.list(list)).map((f) => ({ ...f, path: root + f.path.join("/") }));
    }),
    // remove takes a file or a whole folder away.
    remove: told((path) => on("remove", path)),
    // close lets go of all that is open, after the program ended.
    close() {
      for (const { file } of open.values()) file.close();
      open.clear();
    },
  };
}

// memoryFiles is files() without a place that lasts.
export const memoryFiles = (log) => files({ log });
