// assets.js: the names under which the bundler (tools/page) put what the page
// loads by itself.

export const worker = ASSETS.worker;
export const wasm = ASSETS.wasm;
export const checks = ASSETS.checks; // the program with what tests and measures it
export const dcm2niix = ASSETS.dcm2niix; // the script of its worker
export const version = ASSETS.version;
