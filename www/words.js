// words.js: figures and messages as people read them.

/** @param {number} n */
export function bytes(n) {
  for (const unit of ["bytes", "KiB", "MiB", "GiB"]) {
    if (n < 1024 || unit === "GiB") return `${n < 10 && unit !== "bytes" ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1024;
  }
}

/** @param {number} n @param {string} thing */
export const count = (n, thing) => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;

// duration rounds as one speaks of time that is left.
/** @param {number} seconds */
export function duration(seconds) {
  if (!(seconds >= 0)) return "an unknown time";
  if (seconds < 8) return "a few seconds";
  if (seconds < 50) return `${Math.round(seconds / 5) * 5} seconds`;
  if (seconds < 90) return "a minute";
  if (seconds < 3300) return count(Math.round(seconds / 60), "minute");
  const quarters = Math.round(seconds / 900) / 4;
  if (quarters < 36) return quarters === 1 ? "an hour" : `${quarters} hours`;
  return count(Math.round(seconds / 86400) || 1, "day");
}

/** @param {number} time milliseconds since the epoch */
export function ago(time) {
  const seconds = (Date.now() - time) / 1000;
  return seconds < 8 ? "just now" : `${duration(seconds)} ago`;
}

// figure writes a number with three digits that count.
/** @param {number|null|undefined} v */
export function figure(v) {
  if (v == null || !Number.isFinite(v) || Math.abs(v) > 1e300) return "–";
  if (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5)) {
    const [digits, power] = v.toExponential(1).split("e");
    return `${digits.replace(".0", "")}·10${power.replace("+", "").replaceAll(/./g, (d) => (d === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(d)]))}`;
  }
  return String(+v.toPrecision(3)).replace("-", "−");
}

/** @param {number[]|undefined|null} size */
export const shape = (size) => (size?.length ? size.join("\u00a0×\u00a0") : "–");

/** @param {number[]|undefined|null} spacing */
export function spacing(spacing) {
  if (!spacing?.length) return "–";
  const mm = spacing.map((s) => +s.toPrecision(3));
  return `${mm.every((s) => s === mm[0]) ? mm[0] : mm.join("\u00a0×\u00a0")}\u00a0mm`;
}

// Formats that say nothing of millimetres.
const placeless = ["NPY", "NPZ", "PNG", "JPEG", "TIFF"];

// placed tells whether a sample's voxels have a size.
/** @param {any} opened @param {number} sample */
export const placed = (opened, sample) => !placeless.includes(opened.formats?.[sample]);

// bare is a path as the person knows it.
/** @param {string} path */
export const bare = (path) => path.replaceAll(/\/runs\/[^/\s]+\/data\//g, "").replaceAll("/data/", "").replaceAll("/in/", "");

// plain makes a program's message a sentence: without the names of packages in
// front and the folders that only the program knows.
/** @param {string|Error} message */
export function plain(message) {
  let s = String(message instanceof Error ? message.message : message).trim();
  s = s.replace(/^(?:(?:data|config|jepa|gpu|volume|numpy|checkpoint|evaluate|maskgen|probe): )+/, "");
  s = bare(s.replaceAll(/config\[\d+\]: (?:config: )?/g, ""));
  if (s === "") return "Something went wrong, and the program did not say what.";
  if (!/^\S*[/\\]|^\S+\.\w+:/.test(s)) s = s[0].toUpperCase() + s.slice(1); // names of files stay as they are
  return /[.!?…]$/.test(s) ? s : `${s}.`;
}
