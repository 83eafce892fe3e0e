// dicom.js: DICOM series that are compressed in a way that the program does not
// decode. dcm2niix does, in a worker of its own that is loaded only for that.

import { dcm2niix } from "./assets.js";
import { bytes } from "./words.js";

const longest = 600_000; // milliseconds of a series
const most = 2 ** 30; // bytes of a series, which dcm2niix holds in memory

/** @typedef {{name: string, reason: string, convert?: {files: string[], to: string}}} Refusal */

// decoding opens data: ask(reread) asks the program for it. Where series are
// refused because they are compressed, they are converted and it asks again; each
// is tried once. current() tells whether the answer is still wanted.
/**
 * @param {(reread: boolean) => Promise<any>} ask
 * @param {{source: any, program: any, current: () => boolean, tell: (text: string) => void}} page
 */
export async function decoding(ask, page, reread = false) {
  const { source, program, current, tell } = page;
  const [opened, problem] = await ask(reread).then((o) => [o, null], (e) => [null, e]);
  /** @type {Map<string, string>} what went wrong with a series, "" where nothing did */
  const tried = (source.decoded ??= new Map());
  /** @type {Refusal[]} */
  const refused = (opened ?? problem).refused ?? [];
  const todo = refused.flatMap((r) => (r.convert && !tried.has(r.convert.to) ? [r.convert] : []));
  let made = 0;
  for (const [i, { files, to }] of todo.entries()) {
    if (!current()) break;
    tell(`Decoding compressed DICOM with dcm2niix: series ${i + 1} of ${todo.length}…`);
    try {
      const contents = [];
      for (const path of files) contents.push(await program.get(path));
      const image = await convert(contents.map((c) => (c instanceof Blob ? c : new Blob([c]))));
      if (!current()) break;
      await program.put(to, image);
      if (to.startsWith("/data/")) source.given.push({ path: to.slice(6), file: image }); // kept with a run
      source.size += image.size;
      tried.set(to, "");
      made++;
    } catch (e) {
      tried.set(to, e.message);
    }
  }
  if (made && current()) return decoding(ask, page, true);
  for (const r of refused) {
    const why = tried.get(r.convert?.to ?? "");
    if (why) r.reason += `; dcm2niix could not do it here: ${why}`;
  }
  if (problem) throw problem;
  return opened;
}

// convert makes one NIfTI file of a series, in a worker that ends with it.
/** @param {Blob[]} files @returns {Promise<File>} */
async function convert(files) {
  const size = files.reduce((n, f) => n + f.size, 0);
  if (size > most) throw new Error(`${bytes(size)} are more than the ${bytes(most)} that it may have`);
  const worker = new Worker(dcm2niix, { type: "module", name: "dcm2niix" });
  let late = 0;
  try {
    return await new Promise((resolve, reject) => {
      late = setTimeout(() => reject(new Error("it took too long")), longest);
      worker.onerror = (e) => reject(new Error(e.message || "it could not be loaded"));
      worker.onmessage = ({ data }) => {
        if (data.type === "ready") {
          // As natively: not compressed, no side file (which would hold patient data),
          // one name. It is told no name of a file.
          worker.postMessage({ fileList: files.map((file, i) => ({ file, webkitRelativePath: `${i}.dcm` })), cmd: ["-z", "n", "-b", "n", "-m", "y", "-f", "image"] });
        } else if (data.type === "error") {
          reject(new Error(data.message));
        } else {
          const images = data.convertedFiles.filter((/** @type {File} */ f) => f.name.endsWith(".nii"));
          if (images.length === 1) resolve(images[0]);
          else reject(new Error(`${images.length} images came out (exit code ${data.exitCode})`));
        }
      };
    });
  } finally {
    clearTimeout(late);
    worker.terminate();
  }
}
