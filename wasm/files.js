// files.js: the file systems that Go's os package works on (globalThis.fs).
//
// memoryFiles keeps files in memory. What a page was given stays where it is,
// a Blob that is read piece by piece, so that a file of many gigabytes costs
// nothing until it is read.
//
// guarded wraps node:fs: a runtime that withholds a permission throws, where
// Go expects a callback with an error.

const flags = { O_WRONLY: 1, O_RDWR: 2, O_CREAT: 64, O_TRUNC: 512, O_APPEND: 1024, O_EXCL: 128, O_DIRECTORY: 65536 };

function failure(code) {
  const e = new Error(code);
  e.code = code;
  return e;
}

// guarded is fs with exceptions and unknown codes turned into errors that Go knows.
export function guarded(fs) {
  // Go knows success by null alone.
  const known = (e) => (e ? (typeof e.code !== "string" || e.code === "ENOTCAPABLE" ? failure("EACCES") : e) : null);
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

const growth = 1 << 16;

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
    if (n === 0) return 0;
    if (this.blob) {
      // Workers may read a Blob at once.
      into.set(new Uint8Array(new FileReaderSync().readAsArrayBuffer(this.blob.slice(position, position + n))));
    } else {
      into.set(this.data.subarray(position, position + n));
    }
    return n;
  }

  write(bytes, position) {
    if (this.blob) throw failure("EROFS");
    this.resize(Math.max(this.length, position + bytes.length));
    this.data.set(bytes, position);
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

  stat() {
    const folder = this.children !== null;
    return {
      dev: 1, ino: 0, mode: folder ? 0o40755 : 0o100644, nlink: 1, uid: 0, gid: 0, rdev: 0, size: this.length, blksize: 4096, blocks: Math.ceil(this.length / 512),
      atimeMs: this.time, mtimeMs: this.time, ctimeMs: this.time, isDirectory: () => folder,
    };
  }
}

// memoryFiles returns { fs, put, get, remove }: fs for Go, the others for the
// host. Paths are absolute or count from the root.
export function memoryFiles(log = (text) => console.log(text)) {
  const root = new Node(true);
  const open = new Map(); // file descriptors
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
  const find = (list) => {
    let node = root;
    for (const name of list) {
      if (node.children === null) throw failure("ENOTDIR");
      node = node.children.get(name);
      if (node === undefined) throw failure("ENOENT");
    }
    return node;
  };
  // at returns the folder of path and the name in it.
  const at = (path) => {
    const list = parts(path);
    if (list.length === 0) throw failure("EINVAL");
    const name = list.pop(), folder = find(list);
    if (folder.children === null) throw failure("ENOTDIR");
    return [folder, name];
  };
  const descriptor = (fd) => {
    const d = open.get(fd);
    if (d === undefined) throw failure("EBADF");
    return d;
  };
  const drop = (path, folder) => {
    const [parent, name] = at(path), node = parent.children.get(name);
    if (node === undefined) throw failure("ENOENT");
    if (folder && node.children === null) throw failure("ENOTDIR");
    if (folder && node.children.size > 0) throw failure("ENOTEMPTY");
    if (!folder && node.children !== null) throw failure("EISDIR");
    parent.children.delete(name);
  };

  const calls = {
    open(path, flag) {
      const [folder, name] = parts(path).length === 0 ? [null, ""] : at(path);
      let node = folder === null ? root : folder.children.get(name);
      if (node === undefined) {
        if (!(flag & flags.O_CREAT)) throw failure("ENOENT");
        node = new Node(false);
        folder.children.set(name, node);
      } else if (flag & flags.O_EXCL && flag & flags.O_CREAT) {
        throw failure("EEXIST");
      }
      if (node.children !== null && flag & (flags.O_WRONLY | flags.O_RDWR)) throw failure("EISDIR");
      if (flag & flags.O_TRUNC) node.resize(0);
      open.set(++lastFD, { node, position: flag & flags.O_APPEND ? node.length : 0 });
      return lastFD;
    },
    close(fd) { descriptor(fd); open.delete(fd); },
    read(fd, buffer, offset, length, position) {
      const d = descriptor(fd);
      if (d.node.children !== null) throw failure("EISDIR");
      const n = d.node.read(buffer.subarray(offset, offset + length), position ?? d.position);
      if (position === null) d.position += n;
      return n;
    },
    write(fd, buffer, offset, length, position) {
      const bytes = buffer.subarray(offset, offset + length);
      if (fd === 1 || fd === 2) return calls.print(bytes);
      const d = descriptor(fd);
      d.node.write(bytes, position ?? d.position);
      if (position === null) d.position += length;
      return length;
    },
    print(bytes) {
      line += new TextDecoder().decode(bytes);
      const end = line.lastIndexOf("\n");
      if (end >= 0) {
        log(line.slice(0, end));
        line = line.slice(end + 1);
      }
      return bytes.length;
    },
    stat: (path) => find(parts(path)).stat(),
    lstat: (path) => find(parts(path)).stat(),
    fstat: (fd) => descriptor(fd).node.stat(),
    mkdir(path) {
      const [folder, name] = at(path);
      if (folder.children.has(name)) throw failure("EEXIST");
      folder.children.set(name, new Node(true));
    },
    readdir(path) {
      const node = find(parts(path));
      if (node.children === null) throw failure("ENOTDIR");
      return [...node.children.keys()];
    },
    rename(from, to) {
      const [a, x] = at(from), [b, y] = at(to), node = a.children.get(x);
      if (node === undefined) throw failure("ENOENT");
      if (b.children.get(y)?.children) throw failure("EISDIR");
      a.children.delete(x);
      b.children.set(y, node);
    },
    link(from, to) {
      const node = find(parts(from)), [folder, name] = at(to);
      if (folder.children.has(name)) throw failure("EEXIST");
      folder.children.set(name, node);
    },
    unlink: (path) => drop(path, false),
    rmdir: (path) => drop(path, true),
    truncate: (path, length) => find(parts(path)).resize(length),
    ftruncate: (fd, length) => descriptor(fd).node.resize(length),
    fsync() {},
    chmod() {}, fchmod() {}, chown() {}, fchown() {}, lchown() {}, utimes() {},
    readlink() { throw failure("EINVAL"); },
    symlink() { throw failure("EPERM"); },
  };
  const fs = { constants: flags, writeSync: (_fd, bytes) => calls.print(bytes) };
  for (const [name, f] of Object.entries(calls)) {
    fs[name] = (...args) => {
      const callback = args.pop();
      let value, error = null;
      try {
        value = f(...args);
      } catch (e) {
        error = typeof e.code === "string" ? e : failure("EIO");
      }
      queueMicrotask(() => callback(error, value));
    };
  }

  // put adds a file with its folders: bytes (Uint8Array) or a Blob.
  const put = (path, content) => {
    const list = parts(path), name = list.pop();
    let node = root;
    for (const p of list) {
      if (!node.children.has(p)) node.children.set(p, new Node(true));
      node = node.children.get(p);
    }
    const blob = typeof Blob !== "undefined" && content instanceof Blob;
    const file = new Node(false, blob ? content : null);
    if (!blob) {
      file.data = content;
      file.length = content.length;
    }
    node.children.set(name, file);
  };
  // get returns a copy of a file's bytes.
  const get = (path) => {
    const node = find(parts(path));
    const bytes = new Uint8Array(node.length);
    node.read(bytes, 0);
    return bytes;
  };
  // remove takes a file or a whole folder away.
  const remove = (path) => {
    const [folder, name] = at(path);
    folder.children.delete(name);
  };
  return { fs, put, get, remove };
}
