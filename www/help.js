// help.js: what to do where a browser gives no access to a graphics processor.

import { el } from "./dom.js";

// where tells browser and system from what the browser says of itself. It only
// chooses the advice that comes first; wrong guesses cost nothing more.
export function where(agent = navigator.userAgent) {
  const ios = /iPhone|iPad/.test(agent) || (/Macintosh/.test(agent) && navigator.maxTouchPoints > 1);
  const system = ios ? "iOS" : /Android/.test(agent) ? "Android" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "macOS" : /CrOS/.test(agent) ? "ChromeOS" : "Linux";
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\/|FxiOS/.test(agent) ? "Firefox" : /Chrome\/|CriOS/.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "other";
  const version = Number(/(?:Edg|Firefox|Chrome|Version)\/(\d+)/.exec(agent)?.[1] ?? 0);
  return { system, browser, version };
}

/** @param {{system: string, browser: string, version: number}} w */
export function advice({ system, browser, version }) {
  const code = (/** @type {string} */ text) => el("code", {}, text);
  /** @type {(string|Node)[][]} */
  const steps = [];
  if (!globalThis.isSecureContext) steps.push(["Open the page by https or as ", code("http://localhost"), ": elsewhere browsers switch WebGPU off."]);
  if (system === "iOS") {
    steps.push(["Update to iOS or iPadOS 26, whose Safari has WebGPU. Other browsers there use Safari’s engine."], ["On iOS 18: Settings, Apps, Safari, Advanced, Feature Flags, switch ", code("WebGPU"), " on."]);
  } else if (system === "Android") {
    steps.push([browser === "Firefox" ? "Use Chrome or Edge 121 or later: Firefox for Android has no WebGPU yet." : "Update the browser to version 121 or later; the phone needs Android 12 and a Qualcomm or ARM graphics processor."], ["If it is that new already: open ", code("chrome://flags/#enable-unsafe-webgpu"), ", choose Enabled, and start the browser again."]);
  } else if (browser === "Safari") {
    steps.push([version >= 26 ? "Look into Settings, Advanced, Show features for web developers; then Develop, Feature Flags: " : "Update to macOS 26, whose Safari has WebGPU; before it: Develop, Feature Flags: ", code("WebGPU"), " has to be on."], ["Or use Chrome or Edge, which have WebGPU on every Mac from macOS 11."]);
  } else if (browser === "Firefox") {
    steps.push([system === "Linux" ? "Firefox has no WebGPU on Linux yet but in its Nightly. " : "Firefox has WebGPU from version 141 on Windows and 145 on macOS. ", "To try it: open ", code("about:config"), ", set ", code("dom.webgpu.enabled"), " to true, and start Firefox again."], ["Or use Chrome or Edge."]);
  } else {
    const scheme = browser === "Edge" ? "edge" : "chrome";
    if (version && version < 113) steps.push(["Update the browser: WebGPU came with version 113."]);
    steps.push(["Open ", code(`${scheme}://settings/system`), " and switch on “Use graphics acceleration when available”, then start the browser again."]);
    if (system === "Linux") steps.push(["On Linux open ", code(`${scheme}://flags/#enable-unsafe-webgpu`), " and choose Enabled; also ", code(`${scheme}://flags/#enable-vulkan`), ". Both need Vulkan drivers (", code("mesa-vulkan-drivers"), " or the vendor’s)."]);
    steps.push(["Look at ", code(`${scheme}://gpu`), ": the line WebGPU says what is missing, often a driver that is too old."]);
  }
  if (browser === "other") steps.push(["This browser is not one that we know: Chrome, Edge, Safari 26 and Firefox 141 have WebGPU."]);
  return el("ol", {}, ...steps.map((s) => el("li", {}, ...s)));
}
