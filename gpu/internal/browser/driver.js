// driver.js: the JavaScript half of the browser driver (package
// gpu/internal/browser). The host of the wasm file loads it as a module, gives
// the functions of webgpu() to the wasm instance as its imports "wgjepa_gpu",
// and the instance's memory to attach().
//
// Calls come in two kinds. Those that can be answered at once return 0 for
// success and 1 for a failure, whose text is then fetched by text_length and
// text_copy. Those that wait return nothing: when they are through,
// globalThis.wgjepaWake(token) is called, and result(token) gives 0 or 1. No
// exception leaves a function of this file: the Go program under it would not
// survive that.

// Limits and features that are asked for as far as the adapter has them; what
// kernels cannot do without is checked in Go.
const limitNames = [
  "maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize", "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension", "minStorageBufferOffsetAlignment", "minUniformBufferOffsetAlignment",
];
const featureNames = ["shader-f16", "subgroups", "timestamp-query"];

// How adapters are asked for: a machine with two GPUs answers differently.
const requests = [
  { powerPreference: "high-performance" },
  { powerPreference: "low-power" },
  { forceFallbackAdapter: true },
];

const usage = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128, queryResolve: 512 };
const visibleToCompute = 4;

// Words of one dispatch in the plan: pipeline, bind group, offset of its
// parameters, workgroups along three axes.
const opWords = 6;

// profiled is how many dispatches are timed in one submission: a query set has
// two timestamps of each.
const profiled = 2048;

// maxInFlight is how many submissions the host may be ahead of the device. It
// is small, so that a command to stop is heard soon.
const maxInFlight = 2;

const isDeno = "Deno" in globalThis;

// Deno's onSubmittedWorkDone waits within the call, and its promise follows up
// to 10 ms later: there the call is the wait, and it is made only when needed.
const waitsInCall = isDeno;

// Firefox looks whether work is done when something is submitted, and else only
// every 100 ms: while that is waited for, nothing is submitted now and then.
const looksLate = /\bFirefox\//.test(globalThis.navigator?.userAgent ?? "");

// dialect is source as the runtime's compiler wants it: the standard asks for
// the extension to be enabled, which Deno's compiler does not know yet. The
// lines keep their numbers.
function dialect(source) {
  return /\bsubgroup[A-Z]/.test(source) && !isDeno ? "enable subgroups; " + source : source;
}

// replay puts the dispatches of plan (Uint32Array, opWords each) into pass.
// setBindGroup reads the dynamic offset out of the plan itself.
export function replay(pass, plan, pipelines, groups) {
  let last = -1;
  for (let i = 0; i < plan.length; i += opWords) {
    const pipeline = plan[i];
    if (pipeline !== last) {
      pass.setPipeline(pipelines[pipeline].pipeline);
      last = pipeline;
    }
    pass.setBindGroup(0, groups[plan[i + 1]], plan, i + 2, 1);
    pass.dispatchWorkgroups(plan[i + 3], plan[i + 4], plan[i + 5]);
  }
}

// Failure is an error with what Go needs to sort it: "lost", "memory" or "error".
class Failure extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

// A buffer beyond the limit is no memory that could be had, whatever kind of
// error it is told as.
const memoryRE = /out of memory|not enough memory|max(imum)? ?buffer ?size/i;

function asFailure(e) {
  if (e instanceof Failure) return e;
  const message = String(e?.message ?? e).trim().replace(/\s*\n\s*/g, ": ");
  return new Failure(e instanceof RangeError || memoryRE.test(message) ? "memory" : "error", message);
}

// Device is one open GPUDevice with what belongs to it.
class Device {
  constructor(token, device) {
    this.token = token;
    this.device = device;
    this.queue = device.queue;
    this.failure = null; // the first that came without being asked for
    this.closed = false;
    this.buffers = [];
    this.groups = [];
    this.pipelines = [];
    this.making = new Map(); // promises of what came of pipelines, by id, until it is asked for
    this.unmade = 0; // pipelines that are not through
    this.uniform = null;
    this.staging = null;
    this.inFlight = 0;
    this.wantsRoom = null; // called when a submission is done
    this.scopes = null; // promise of the last submission's errors
    this.replaySeconds = 0;
    this.replayed = 0;
    device.lost.then((info) => {
      if (!this.closed) this.fail(new Failure("lost", info.message || info.reason || "no reason was given"));
    });
    device.onuncapturederror = (event) => {
      const e = event.error;
      const memory = typeof GPUOutOfMemoryError !== "undefined" && e instanceof GPUOutOfMemoryError;
      this.fail(memory ? new Failure("memory", asFailure(e).message) : asFailure(e));
      event.preventDefault?.();
    };
  }

  // fail keeps the first failure; the loss of the device outranks others, which follow from it.
  fail(e) {
    const f = asFailure(e);
    if (this.failure === null || (f.kind === "lost" && this.failure.kind !== "lost")) this.failure = f;
    if (this.wantsRoom !== null) this.wantsRoom();
  }

  // guarded runs f between error scopes and returns [its value, promise of its Failure or null, what it threw].
  guarded(f) {
    const d = this.device;
    d.pushErrorScope("out-of-memory");
    d.pushErrorScope("validation");
    let value = null, thrown = null;
    try {
      value = f();
    } catch (e) {
      thrown = asFailure(e);
    }
    const validation = d.popErrorScope(), memory = d.popErrorScope();
    const failure = Promise.all([validation, memory]).then(([v, m]) => {
      if (m) return new Failure("memory", asFailure(m).message);
      if (v) return asFailure(v);
      return thrown;
    }, (e) => thrown ?? asFailure(e));
    return [value, failure, thrown];
  }

  // guard is guarded for those who wait.
  async guard(f) {
    const [value, failure] = this.guarded(f);
    const e = await failure;
    if (e !== null) throw e;
    return value;
  }

  createBuffer(label, size, flags) {
    return this.guard(() => this.device.createBuffer({ label, size, usage: flags }));
  }

  // createBufferNow does not wait for the device to agree: a refusal becomes
  // this.failure later.
  createBufferNow(label, size, flags) {
    const [buffer, failure, thrown] = this.guarded(() => this.device.createBuffer({ label, size, usage: flags }));
    if (thrown !== null) throw thrown;
    failure.then((e) => {
      if (e !== null) this.fail(new Failure(e.kind, `allocate ${label}: ${e.message}`));
    });
    return buffer;
  }

  // begin begins to make a pipeline, beside those that are being made.
  begin(program) {
    this.unmade++;
    this.making.set(program.id, this.pipeline(program).finally(() => { this.unmade--; }));
  }

  // compile waits for pipelines. It throws a Failure whose message is JSON: which
  // program, and the compiler's messages.
  async compile(ids) {
    const results = await Promise.all(ids.map((id) => this.making.get(id)));
    for (const id of ids) this.making.delete(id);
    const bad = results.find((r) => r !== null);
    if (this.failure?.kind === "lost") throw this.failure;
    if (bad) throw new Failure("compile", JSON.stringify(bad));
  }

  async pipeline({ id, label, source, kinds, uniformSize }) {
    let module = null;
    try {
      const entries = [{ binding: 0, visibility: visibleToCompute, buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: uniformSize } }];
      [...kinds].forEach((k, i) => {
        entries.push({ binding: i + 1, visibility: visibleToCompute, buffer: { type: k === "w" ? "storage" : "read-only-storage" } });
      });
      const [made, failure] = this.guarded(() => {
        module = this.device.createShaderModule({ label, code: dialect(source) });
        const bindGroupLayout = this.device.createBindGroupLayout({ label, entries });
        const layout = this.device.createPipelineLayout({ label, bindGroupLayouts: [bindGroupLayout] });
        // Bind groups can be made before it is through.
        this.pipelines[id] = { label, pipeline: null, layout: bindGroupLayout, uniformSize };
        const made = this.device.createComputePipelineAsync({ label, layout, compute: { module, entryPoint: "main" } });
        made.catch(() => {}); // it is awaited below
        return made;
      });
      const entry = this.pipelines[id], e = await failure;
      if (e !== null) throw e;
      entry.pipeline = await made;
      return null;
    } catch (e) {
      const result = { id, error: asFailure(e).message, messages: [] };
      try {
        const info = await module?.getCompilationInfo();
        for (const m of info?.messages ?? []) {
          result.messages.push({ type: m.type, line: m.lineNum, column: m.linePos, text: m.message });
        }
      } catch { /* the error itself says enough */ }
      return result;
    }
  }

  group(id, program, words) {
    const p = this.pipelines[program];
    const entries = [{ binding: 0, resource: { buffer: this.uniform, offset: 0, size: p.uniformSize } }];
    for (let i = 0; i < words.length; i += 3) {
      entries.push({ binding: i / 3 + 1, resource: { buffer: this.buffers[words[i]], offset: 4 * words[i + 1], size: 4 * words[i + 2] } });
    }
    this.groups[id] = this.device.createBindGroup({ label: p.label, layout: p.layout, entries });
  }

  // submit replays plan and does not wait. What the device has against it
  // becomes this.failure later.
  submit(plan, params) {
    const [, failure] = this.guarded(() => {
      this.queue.writeBuffer(this.uniform, 0, params.buffer, params.byteOffset, params.byteLength);
      const encoder = this.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      const start = performance.now();
      replay(pass, plan, this.pipelines, this.groups);
      this.replaySeconds += (performance.now() - start) / 1e3;
      this.replayed += plan.length / opWords;
      pass.end();
      this.queue.submit([encoder.finish()]);
    });
    this.scopes = failure.then((e) => {
      if (e !== null) this.fail(e);
    });
    this.inFlight++;
    if (!waitsInCall) {
      const done = () => {
        this.inFlight--;
        if (this.wantsRoom !== null) this.wantsRoom();
      };
      this.queue.onSubmittedWorkDone().then(done, done);
    }
  }

  // hastened is a promise of something that the device does, kept as soon as it
  // is done.
  async hastened(promise) {
    if (looksLate) {
      let waits = true;
      const end = () => { waits = false; };
      promise.then(end, end);
      while (waits && this.failure === null) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        this.queue.submit([]);
      }
    }
    return promise;
  }

  // profile replays plan dispatch by dispatch and puts the seconds of each into
  // seconds: by timestamps, each dispatch in a pass of its own, where the device
  // has them, else by waiting for each. It returns whether it was timestamps.
  async profile(plan, params, seconds) {
    await this.guard(() => this.queue.writeBuffer(this.uniform, 0, params));
    const pass = (encoder, i, stamps) => {
      const p = encoder.beginComputePass(stamps);
      replay(p, plan.subarray(i * opWords, (i + 1) * opWords), this.pipelines, this.groups);
      p.end();
    };
    if (!this.device.features.has("timestamp-query")) {
      await this.queue.onSubmittedWorkDone();
      for (let i = 0; i < seconds.length; i++) {
        const start = performance.now();
        await this.guard(() => {
          const encoder = this.device.createCommandEncoder();
          pass(encoder, i);
          this.queue.submit([encoder.finish()]);
        });
        const done = this.hastened(this.queue.onSubmittedWorkDone());
        if (waitsInCall) seconds[i] = (performance.now() - start) / 1e3;
        await done;
        if (!waitsInCall) seconds[i] = (performance.now() - start) / 1e3;
      }
      return false;
    }
    const querySet = this.device.createQuerySet({ type: "timestamp", count: 2 * profiled });
    const ticks = await this.createBuffer("timestamps", 16 * profiled, usage.queryResolve | usage.copySrc);
    try {
      for (let first = 0; first < seconds.length; first += profiled) {
        const n = Math.min(profiled, seconds.length - first);
        await this.guard(() => {
          const encoder = this.device.createCommandEncoder();
          for (let i = 0; i < n; i++) {
            pass(encoder, first + i, { timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
          }
          encoder.resolveQuerySet(querySet, 0, 2 * n, ticks, 0);
          this.queue.submit([encoder.finish()]);
        });
        await this.read([{ buffer: ticks, offset: 0, size: 16 * n }], (range) => {
          const t = new BigUint64Array(range);
          for (let i = 0; i < n; i++) seconds[first + i] = Number(t[2 * i + 1] - t[2 * i]) / 1e9;
        });
      }
    } finally {
      querySet.destroy();
      ticks.destroy();
    }
    return true;
  }

  // room waits until another submission may be made.
  async room() {
    if (waitsInCall) {
      this.queue.onSubmittedWorkDone().catch(() => {});
      this.inFlight = 0;
      await turn();
      return;
    }
    while (this.inFlight >= maxInFlight && this.failure === null) {
      await this.hastened(new Promise((resolve) => { this.wantsRoom = resolve; }));
      this.wantsRoom = null;
    }
  }

  async wait() {
    await this.hastened(this.queue.onSubmittedWorkDone());
    await this.scopes;
    if (waitsInCall) this.inFlight = 0;
    if (this.failure !== null) throw this.failure;
  }

  // read copies from each of list, {buffer, offset, size} in bytes, to a range that holds
  // one after the other, and that take is given.
  async read(list, take) {
    const size = list.reduce((sum, r) => sum + r.size, 0);
    if (this.staging === null || this.staging.size < size) {
      this.staging?.destroy();
      this.staging = null;
      let want = 4096;
      while (want < size) want *= 2;
      this.staging = await this.createBuffer("staging", want, usage.mapRead | usage.copyDst);
    }
    // Both are asked for at once: one way to the device and back.
    const [, failure, thrown] = this.guarded(() => {
      const encoder = this.device.createCommandEncoder();
      let at = 0;
      for (const r of list) {
        encoder.copyBufferToBuffer(r.buffer, r.offset, this.staging, at, r.size);
        at += r.size;
      }
      this.queue.submit([encoder.finish()]);
    });
    if (thrown !== null) throw thrown;
    const mapped = this.staging.mapAsync(usage.mapRead, 0, size).then(() => null, (e) => this.failure ?? asFailure(e));
    const refused = await failure, unmapped = await this.hastened(mapped);
    if (refused !== null && unmapped === null) this.staging.unmap();
    if (refused !== null || unmapped !== null) throw refused ?? unmapped;
    await this.scopes;
    if (waitsInCall) this.inFlight = 0;
    if (this.failure !== null) throw this.failure;
    take(this.staging.getMappedRange(0, size));
    this.staging.unmap();
  }

  close() {
    this.closed = true;
    this.device.destroy();
    this.buffers = this.groups = this.pipelines = [];
  }
}

// turn lets the event loop run once: messages, signals, timers. A message of
// our own comes after those that wait; setImmediate would let them wait for
// tens of turns, and setTimeout takes a millisecond or more.
export function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

// featuresOf lists what a device may be opened with. Deno's adapters keep quiet
// about subgroups, which their devices have: there opening one tells.
async function featuresOf(gpu, i, adapter) {
  const list = featureNames.filter((f) => adapter.features.has(f));
  if (isDeno && !list.includes("subgroups")) {
    try {
      const probe = await gpu.requestAdapter(requests[i]); // an adapter opens one device
      (await probe.requestDevice({ requiredFeatures: ["subgroups"] })).destroy();
      list.push("subgroups");
    } catch { /* it has none */ }
  }
  return list;
}

async function request(gpu, i) {
  const adapter = await gpu.requestAdapter(requests[i]);
  if (!adapter) return null;
  const info = adapter.info ?? {};
  const limits = {};
  for (const name of limitNames) limits[name] = adapter.limits[name];
  return {
    adapter,
    description: {
      request: i,
      vendor: String(info.vendor ?? ""), architecture: info.architecture ?? "", device: String(info.device ?? ""), description: info.description ?? "",
      fallback: Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter), limits,
      features: await featuresOf(gpu, i, adapter), subgroup: info.subgroupMinSize ?? 0, agent: globalThis.navigator?.userAgent ?? "",
    },
  };
}

async function listAdapters(gpu) {
  const list = [], seen = new Set();
  for (let i = 0; i < requests.length; i++) {
    const found = await request(gpu, i);
    if (found === null) continue;
    const d = found.description;
    const key = JSON.stringify([d.vendor, d.architecture, d.device, d.description]);
    if (!seen.has(key)) list.push(d);
    seen.add(key);
  }
  return list;
}

async function openDevice(gpu, token, i) {
  const found = await request(gpu, i);
  if (found === null) throw new Failure("error", "the adapter is gone");
  const { adapter, description } = found;
  const requiredLimits = {};
  for (const name of limitNames) {
    if (adapter.limits[name] !== undefined) requiredLimits[name] = adapter.limits[name];
  }
  const requiredFeatures = description.features;
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
  for (const [name, want] of Object.entries(requiredLimits)) {
    const got = device.limits[name];
    if (name.startsWith("min") ? !(got <= want) : !(got >= want)) throw new Failure("error", `it was opened with ${name} ${got} instead of the ${want} asked for`);
  }
  for (const name of requiredFeatures) {
    if (!device.features.has(name)) throw new Failure("error", `it was opened without ${name}, which was asked for`);
  }
  return { device: new Device(token, device), description };
}

// webgpu returns the imports of the wasm file: gpu is navigator.gpu, or
// undefined where there is none.
export function webgpu(gpu) {
  let memory = null;
  const devices = new Map(); // open ones, by token
  const results = new Map(); // of finished calls, by token: a Failure or null
  const encoder = new TextEncoder(), decoder = new TextDecoder();
  let text = new Uint8Array(0);
  let infos = "[]";
  let profiledByStamps = false; // by the last profile

  const string = (at, length) => decoder.decode(new Uint8Array(memory.buffer, at, length));
  const say = (message) => { text = encoder.encode(message); };
  const refuse = (e) => {
    const f = asFailure(e);
    say(f.kind + ":" + f.message);
    return 1;
  };
  // now runs what can be answered at once.
  const now = (f) => {
    try {
      f();
      return 0;
    } catch (e) {
      return refuse(e);
    }
  };
  // later runs what has to wait and wakes Go when it is through.
  const later = (token, f) => {
    const end = (failure) => {
      results.set(token, failure);
      globalThis.wgjepaWake(token);
    };
    Promise.resolve().then(f).then(() => end(null), async (e) => {
      // The loss of a device may be told after its consequences.
      await Promise.race([devices.get(token)?.device.lost, new Promise((resolve) => setTimeout(resolve, 50))]);
      const known = devices.get(token)?.failure;
      end(known?.kind === "lost" ? known : asFailure(e));
    });
  };

  const imports = {
    text_length: () => text.length,
    text_copy: (at) => { new Uint8Array(memory.buffer, at, text.length).set(text); },
    result: (token) => {
      const failure = results.get(token) ?? null;
      results.delete(token);
      return failure === null ? 0 : refuse(failure);
    },

    list: (token) => later(token, async () => { infos = JSON.stringify(gpu ? await listAdapters(gpu) : []); }),
    open: (token, i) => later(token, async () => {
      const { device, description } = await openDevice(gpu, token, i);
      devices.set(token, device);
      infos = JSON.stringify([description]);
    }),
    infos: () => say(infos),
    failure: (token) => {
      const f = devices.get(token).failure;
      return f === null ? 0 : refuse(f);
    },
    close: (token) => {
      try {
        devices.get(token).close();
      } finally {
        devices.delete(token);
      }
    },

    buffer: (token, id, labelAt, labelLength, size) => {
      const d = devices.get(token), label = string(labelAt, labelLength);
      later(token, async () => {
        d.buffers[id] = await d.createBuffer(label, size, usage.storage | usage.copySrc | usage.copyDst);
      });
    },
    buffer_now: (token, id, labelAt, labelLength, size) => now(() => {
      const d = devices.get(token);
      d.buffers[id] = d.createBufferNow(string(labelAt, labelLength), size, usage.storage | usage.copySrc | usage.copyDst);
    }),
    release: (token, id) => {
      const d = devices.get(token);
      d.buffers[id].destroy();
      d.buffers[id] = undefined;
    },
    write: (token, id, offset, at, length) => now(() => {
      const d = devices.get(token);
      d.queue.writeBuffer(d.buffers[id], offset, memory.buffer, at, length);
    }),
    read: (token, at, length) => later(token, () => {
      const d = devices.get(token), list = [];
      for (let i = 0, words = new Uint32Array(memory.buffer, at, 4 * length); i < words.length; i += 4) {
        list.push({ buffer: d.buffers[words[i]], offset: 4 * words[i + 1], to: words[i + 2], size: 4 * words[i + 3] });
      }
      return d.read(list, (range) => {
        let from = 0;
        for (const r of list) {
          new Uint8Array(memory.buffer, r.to, r.size).set(new Uint8Array(range, from, r.size));
          from += r.size;
        }
      });
    }),
    wait: (token) => later(token, () => devices.get(token).wait()),
    room: (token) => later(token, () => devices.get(token).room()),
    full: (token) => (devices.get(token).inFlight >= maxInFlight ? 1 : 0),

    program: (token, id, labelAt, labelLength, sourceAt, sourceLength, kindsAt, kindsLength, uniformSize) => {
      devices.get(token).begin({
        id, label: string(labelAt, labelLength), source: string(sourceAt, sourceLength), kinds: string(kindsAt, kindsLength), uniformSize,
      });
    },
    compile: (token, at, length) => {
      const ids = [...new Uint32Array(memory.buffer, at, length)];
      later(token, () => devices.get(token).compile(ids));
    },
    compiling: (token) => (devices.get(token).unmade > 0 ? 1 : 0),
    uniform: (token, size) => later(token, async () => {
      const d = devices.get(token);
      const old = d.uniform;
      d.uniform = await d.createBuffer("params", size, usage.uniform | usage.copyDst);
      old?.destroy();
    }),
    group: (token, id, program, at, words) => now(() => devices.get(token).group(id, program, new Uint32Array(memory.buffer, at, words))),
    drop: (token, id) => { devices.get(token).groups[id] = undefined; },
    submit: (token, planAt, ops, paramsAt, paramsLength) => now(() => {
      devices.get(token).submit(new Uint32Array(memory.buffer, planAt, ops * opWords), new Uint8Array(memory.buffer, paramsAt, paramsLength));
    }),
    // The program sleeps until it is woken, but its memory may move when it grows.
    profile: (token, planAt, ops, paramsAt, paramsLength, secondsAt) => {
      const plan = new Uint32Array(memory.buffer, planAt, ops * opWords).slice(), params = new Uint8Array(memory.buffer, paramsAt, paramsLength).slice();
      later(token, async () => {
        const seconds = new Float64Array(ops);
        profiledByStamps = await devices.get(token).profile(plan, params, seconds);
        new Float64Array(memory.buffer, secondsAt, ops).set(seconds);
      });
    },
    profile_stamped: () => (profiledByStamps ? 1 : 0),
    replay_seconds: (token) => devices.get(token).replaySeconds,
    replayed: (token) => devices.get(token).replayed,
  };
  // Functions that promise not to fail must not throw either, whatever the
  // host does to them: the failure is found by the next call.
  for (const name of ["release", "close", "drop", "program", "compile", "buffer"]) {
    const f = imports[name];
    imports[name] = (token, ...rest) => {
      try {
        f(token, ...rest);
      } catch (e) {
        devices.get(token)?.fail(e);
        if (name === "buffer" || name === "compile") later(token, () => { throw e; });
      }
    };
  }
  return {
    imports,
    attach: (m) => { memory = m; },
    devices, // for tests that lose one
  };
}
