// exec.ts runs a test binary of GOOS=js in Deno, as `go test -exec` wants it:
//
//	GOOS=js GOARCH=wasm go test -exec 'deno run -A wasm/exec.ts' ./gpu
//
// Tests see the machine's files. See host.js for how the wasm file is started.

import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";

Object.assign(globalThis, { fs, path, process });
await import("../build/wasm/wasm_exec.js");
const { instantiate } = await import("./host.js");

const [binary, ...args] = Deno.args;
const { exited, devices } = await instantiate(await WebAssembly.compile(Deno.readFileSync(binary)), [binary, ...args], Deno.env.toObject());

// loseDevices is for tests of what happens then: js.Global().Call("loseDevices").
Object.assign(globalThis, { loseDevices: () => devices.forEach((d: { device: GPUDevice }) => d.device.destroy()) });
Deno.exit(await exited);
