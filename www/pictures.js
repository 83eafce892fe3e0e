// pictures.js: what the page shows, as one PNG.

/** @param {string} title @param {{title: string, canvas: HTMLCanvasElement}[]} list @returns {Promise<Blob>} */
export function pictures(title, list) {
  const ratio = globalThis.devicePixelRatio || 1, pad = 20, line = 20, most = 1100;
  // Rows as full as they get, at the size of the screen.
  const rows = [[]];
  let x = 0;
  for (const p of list.filter((p) => p.canvas.width > 0)) {
    const width = p.canvas.width / ratio;
    if (x > 0 && x + width > most) { rows.push([]); x = 0; }
    rows[rows.length - 1].push({ ...p, x, width, height: p.canvas.height / ratio });
    x += width + pad;
  }
  const heights = rows.map((r) => Math.max(0, ...r.map((p) => p.height)) + line + pad);
  const canvas = document.createElement("canvas");
  canvas.width = (most + 2 * pad) * ratio;
  canvas.height = (heights.reduce((a, b) => a + b, 0) + 60) * ratio;
  const c = canvas.getContext("2d"), style = getComputedStyle(document.body);
  c.scale(ratio, ratio);
  c.fillStyle = style.backgroundColor;
  c.fillRect(0, 0, canvas.width, canvas.height);
  c.fillStyle = style.color;
  c.font = "600 16px system-ui, sans-serif";
  c.fillText(title, pad, 30, most);
  c.font = "12px system-ui, sans-serif";
  let y = 50;
  rows.forEach((r, i) => {
    for (const p of r) {
      c.fillText(p.title, pad + p.x, y + 12, Math.max(60, p.width));
      c.drawImage(p.canvas, pad + p.x, y + line, p.width, p.height);
    }
    y += heights[i];
  });
  return new Promise((resolve, reject) => canvas.toBlob((b) => (b ? resolve(b) : reject(new Error("the browser made no picture"))), "image/png"));
}
