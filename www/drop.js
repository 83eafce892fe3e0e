// drop.js: files that are dropped or chosen, with their place in the folder
// they came with.

/** @typedef {{path: string, file: File}} Given */

// most files that one drop may bring: a whole disk dropped by mistake ends here.
const most = 50_000;

// drops takes what is dropped anywhere on the page, so that a miss does not make
// the browser leave it for the file. take gets the files, say what is wrong.
/**
 * @param {HTMLElement} zone is marked while files are above the page
 * @param {(given: Given[]) => Promise<void>} take
 * @param {(problem: string) => void} say
 */
export function drops(zone, take, say) {
  const files = (/** @type {DragEvent} */ e) => e.dataTransfer?.types.includes("Files");
  // Text is still dragged into fields.
  const edits = (/** @type {any} */ e) => !files(e) && e.target.closest?.("textarea, input");
  addEventListener("dragover", (e) => {
    if (edits(e)) return;
    e.preventDefault();
    if (files(e)) zone.classList.add("over");
  });
  addEventListener("dragleave", (e) => { if (!e.relatedTarget) zone.classList.remove("over"); });
  addEventListener("drop", async (e) => {
    zone.classList.remove("over");
    if (edits(e)) return;
    e.preventDefault();
    if (!files(e)) return say("That was text or a link, and this page fetches nothing: save the files on this computer, then drop them.");
    try {
      const { given, unread } = await dropped(/** @type {DataTransfer} */ (e.dataTransfer));
      if (given.length) await take(given);
      else if (!unread.length) say("There are no files in what was dropped.");
      if (unread.length) say(`The browser may not read ${unread.slice(0, 3).join(", ")}${unread.length > 3 ? ` and ${(unread.length - 3).toLocaleString("en")} more` : ""}: links that lead nowhere, or files that you may not open.`);
    } catch (problem) {
      say(problem.message);
    }
  });
}

// dropped are the files of a drop, and the names of those that cannot be read.
/** @param {DataTransfer} transfer @returns {Promise<{given: Given[], unread: string[]}>} */
async function dropped(transfer) {
  // Entries have to be asked for before anything is awaited.
  const entries = [...transfer.items].filter((i) => i.kind === "file").map((i) => i.webkitGetAsEntry?.() ?? i.getAsFile());
  const found = { given: [], unread: [] };
  for (const e of entries) {
    if (e instanceof File) found.given.push({ path: e.name, file: e });
    else if (e) await walk(e, found);
  }
  return found;
}

/** @param {any} entry @param {{given: Given[], unread: string[]}} found */
async function walk(entry, found) {
  if (found.given.length >= most) throw new Error(`More than ${most.toLocaleString("en")} files were dropped: drop the folder of the scans alone.`);
  const path = entry.fullPath.replace(/^\/+/, ""), inside = [];
  try {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.given.push({ path, file });
      return;
    }
    const reader = entry.createReader();
    for (;;) { // a reader gives a hundred at a time
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) break;
      inside.push(...some);
    }
  } catch {
    found.unread.push(path);
    return;
  }
  for (const e of inside) await walk(e, found);
}

/** @param {FileList} list @returns {Given[]} */
export const chosen = (list) => [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

const ending = (/** @type {Given} */ g) => g.path.toLowerCase().replace(/.*\./, "");

// sorted tells what a drop is for. paths is what the program opens below root:
// a table or array set is named itself, a folder as deep as one holds them all.
/** @param {Given[]} given @param {string} root */
export function sorted(given, root) {
  const visible = given.filter((g) => !/(^|\/)\.|(^|\/)__MACOSX\//.test(g.path));
  const config = visible.filter((g) => ending(g) === "toml");
  const checkpoints = visible.filter((g) => ending(g) === "safetensors");
  const data = visible.filter((g) => !config.includes(g) && !checkpoints.includes(g));
  const tables = data.filter((g) => ["csv", "tsv"].includes(ending(g)));
  return { data, config, checkpoints, tables, paths: paths(data, tables, root) };
}

/** @param {Given[]} data @param {Given[]} tables @param {string} root */
function paths(data, tables, root) {
  const sets = data.filter((g) => ending(g) === "npz");
  const images = data.filter((g) => !sets.includes(g) && !tables.includes(g));
  const list = sets.map((g) => `${root}/${g.path}`);
  if (images.length === 1 && sets.length === 0) list.push(`${root}/${images[0].path}`);
  else if (images.length) list.push([root, ...common(images.map((g) => g.path.split("/").slice(0, -1)))].join("/"));
  return list;
}

/** @param {string[][]} folders */
function common(folders) {
  let n = folders[0].length;
  for (const f of folders) {
    let i = 0;
    while (i < n && f[i] === folders[0][i]) i++;
    n = i;
  }
  return folders[0].slice(0, n);
}
