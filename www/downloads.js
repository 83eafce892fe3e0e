// downloads.js: what a training gives, as files for the person.

import { diagnostics, note } from "./diagnostics.js";
import { $, download } from "./dom.js";
import { adapter, hand, page, request, state, stem } from "./page.js";
import { curves, viewer } from "./parts.js";
import { pictures } from "./pictures.js";
import { count, plain } from "./words.js";

/** @param {string} id @param {(say: (text: string) => void) => Promise<void>} act */
function downloads(id, act) {
  $(id).addEventListener("click", async () => {
    const words = (/** @type {string} */ text) => { $("download-says").textContent = text; };
    $(id).disabled = true;
    try {
      words("Preparing…");
      await act(words);
      words("");
    } catch (e) {
      words(plain(e));
      note(`bad: ${e.message}`);
    } finally {
      $(id).disabled = false;
    }
  });
}

downloads("download-checkpoint", async () => {
  await request("save", { path: "/out-checkpoint.safetensors" });
  await hand("/out-checkpoint.safetensors", `${stem()}-checkpoint.safetensors`);
});
downloads("download-weights", async () => {
  await request("save", { path: "/out-weights.safetensors", weights: true });
  await hand("/out-weights.safetensors", `${stem()}-weights.safetensors`);
});
for (const kind of ["npy", "csv"]) {
  downloads(`download-${kind}`, async (words) => {
    const out = `/out-embeddings.${kind}`;
    await request("embed", { out, adapter: adapter() }, (e) => { if (e.event === "progress" && e.total) words(`Embedding ${e.done.toLocaleString("en")} of ${count(e.total, "sample")}…`); });
    await hand(out, `${stem()}-embeddings.${kind}`);
    if (kind === "npy") await hand("/out-embeddings.ids.csv", `${stem()}-embeddings.ids.csv`);
  });
}
downloads("download-pictures", async () => download(`${stem()}.png`, await pictures(page.run?.title ?? "wgjepa", [...viewer.pictures(), ...curves.pictures()]), "image/png"));
$("download-diagnostics").addEventListener("click", () => download("wgjepa-diagnostics.txt", diagnosticsText(), "text/plain"));

export function diagnosticsText() {
  return diagnostics({ adapters: page.adapters, opened: page.opened, estimate: page.fit, state: state(), step: page.step, total: page.total, error: page.error, storage: page.opfs ? "kept in the browser" : `memory only${page.why ? `: ${page.why}` : ""}` });
}
