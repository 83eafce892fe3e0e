// help.js: what to do where a browser gives no access to a graphics processor.
// What which browser has since when: the WebGPU working group's page on
// implementations (gpuweb wiki, Implementation Status).

import { el } from "./dom.js";

// where tells browser and system from what the browser says of itself. It only
// chooses the advice that comes first; wrong guesses cost nothing more.
export function where(agent = navigator.userAgent, touch = navigator.maxTouchPoints > 1) {
  const ios = /iPhone|iPad/.test(agent) || (/Macintosh/.test(agent) && touch);
  const system = ios ? "iOS" : /Android/.test(agent) ? "Android" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "macOS" : /CrOS/.test(agent) ? "ChromeOS" : "Linux";
  const browser = /Edg(A|iOS)?\//.test(agent) ? "Edge" : /Firefox\/|FxiOS/.test(agent) ? "Firefox" : /Chrome\/|CriOS/.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "other";
  const version = Number(/(?:Edg|Firefox|Chrome|Version)\/(\d+)/.exec(agent)?.[1] ?? 0);
  return { system, browser, version };
}

// Firefox has WebGPU from these versions on; on Linux it waits for a switch.
const firefox = { Windows: 141, macOS: 147 };

/** @param {{system: string, browser: string, version: number}} w */
export function advice({ system, browser, version }) {
  const code = (/** @type {string} */ text) => el("code", {}, text);
  /** @type {(string|Node)[][]} */
  const steps = [];
  const step = (/** @type {(string|Node)[]} */ ...parts) => { steps.push(parts); };
  if (!globalThis.isSecureContext) step("Open the page by https or as ", code("http://localhost"), ": elsewhere browsers switch WebGPU off.");
  if (system === "iOS") {
    step("Update to iOS or iPadOS 26, whose Safari has WebGPU. Other browsers there use Safari’s engine.");
    step("On iOS 18: Settings, Apps, Safari, Advanced, Feature Flags, switch ", code("WebGPU"), " on.");
  } else if (system === "Android") {
    step(browser === "Firefox" ? "Use Chrome or Edge 121 or later: Firefox for Android has no WebGPU yet." : "Update the browser to version 121 or later; the phone needs Android 12 and a Qualcomm or ARM graphics processor, or Android 16 and one of Imagination.");
    step("If it is that new already: open ", code("chrome://flags/#enable-unsafe-webgpu"), browser === "Firefox" ? " in Chrome" : "", ", choose Enabled, and start the browser again.");
  } else if (browser === "Safari" && system === "Linux") {
    step("WebKit on Linux, the engine of GNOME Web, has no WebGPU. Use Chrome, Edge or Firefox.");
  } else if (browser === "Safari") {
    if (version < 26) step("Update to macOS 26, whose Safari has WebGPU.");
    step("In Safari: Settings, Advanced, Show features for web developers; then Settings, Feature Flags: ", code("WebGPU"), " has to be on", version < 26 ? "" : "; before macOS 26 it is off", ".");
    step("Or use Chrome or Edge, which have WebGPU on every Mac from macOS 11 on.");
  } else if (browser === "Firefox") {
    const since = firefox[system];
    if (since && version < since) step(`Update Firefox: it has WebGPU from version ${since} on, on ${system === "macOS" ? "Macs with Apple silicon" : system}.`);
    step(since ? "If it is that new already: open " : "Firefox keeps WebGPU switched off on Linux: open ", code("about:config"), ", set ", code("dom.webgpu.enabled"), " to true, and start Firefox again.");
    step("If that is not enough: ", code("about:support"), " says at WEBGPU what is missing, often a newer driver", system === "Linux" ? [" for Vulkan (", code("mesa-vulkan-drivers"), " or the vendor’s)"] : "", ". Where Firefox only distrusts a driver, ", code("gfx.webgpu.ignore-blocklist"), " in ", code("about:config"), " overrules it.");
    step(system === "macOS" ? "Or use Chrome, Edge or Safari 26; on Macs with Intel processors Firefox has no WebGPU." : "Or use Chrome or Edge.");
  } else {
    const scheme = browser === "Edge" ? "edge" : "chrome", needed = system === "Linux" ? 144 : 113;
    if (version && version < needed) step(system === "Linux" ? "Update the browser: it has WebGPU on Linux from version 144 on for Intel graphics, from 147 on for NVIDIA’s." : "Update the browser: it has WebGPU from version 113 on.");
    step("Open ", code(`${scheme}://settings/system`), " and switch on “Use graphics acceleration when available”, then start the browser again.");
    if (system === "Linux") step("On Linux it comes by itself with newer Intel graphics, and NVIDIA’s with driver 535 or later. For others open ", code(`${scheme}://flags/#enable-unsafe-webgpu`), " and choose Enabled; also ", code(`${scheme}://flags/#enable-vulkan`), ". Both need Vulkan drivers (", code("mesa-vulkan-drivers"), " or the vendor’s).");
    step("Look at ", code(`${scheme}://gpu`), ": the line WebGPU says what is missing, often a driver that is too old.");
  }
  if (browser === "other") step("This browser is not one that we know: Chrome, Edge, Safari 26 and Firefox have WebGPU.");
  return el("ol", {}, ...steps.map((s) => el("li", {}, ...s.flat())));
}
