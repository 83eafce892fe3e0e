// three.js: a sample in three dimensions, by NiiVue. Loaded only when wanted.

import { NVImage, Niivue } from "@niivue/niivue";
import { el } from "./dom.js";

export class Three {
  constructor() {
    this.canvas = /** @type {HTMLCanvasElement} */ (el("canvas", { class: "three", tabindex: 0, "aria-label": "The sample in three dimensions: drag or use the arrow keys to turn it" }));
    this.view = null;
  }

  /** @param {HTMLElement} stage @param {any} v a sample as the viewer holds it */
  async show(stage, v) {
    stage.replaceChildren(el("div", { class: "three-box" }, this.canvas));
    if (!this.view) {
      // Dark in both colour schemes, as the slices are.
      this.view = new Niivue({ backColor: [0.03, 0.04, 0.04, 1], clipPlaneColor: [1, 1, 1, 0], show3Dcrosshair: false, isOrientCube: true, dragAndDropEnabled: false, logLevel: "error" });
      await this.view.attachToCanvas(this.canvas);
      this.view.setSliceType(this.view.sliceTypeRender);
      this.canvas.addEventListener("keydown", (e) => this.turn(e));
    }
    this.view.opts.isOrientCube = v.orientation !== ""; // it would name sides that nobody knows
    for (const old of [...this.view.volumes]) this.view.removeVolume(old);
    this.view.addVolume(await image(v));
    this.view.setClipPlane([0.1, 180, 20]);
  }

  hide() { this.canvas.parentElement?.remove(); }

  /** @param {KeyboardEvent} e */
  turn(e) {
    const by = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] }[e.key];
    if (!by) return;
    e.preventDefault();
    const { renderAzimuth, renderElevation } = this.view.scene;
    this.view.setRenderAzimuthElevation(renderAzimuth + by[0], renderElevation + by[1]);
  }
}

// image is a NIfTI file of the sample, x fastest as that format has it.
/** @param {any} v */
async function image(v) {
  const [X, Y, Z] = v.size, voxels = new Uint8Array(X * Y * Z), mm = v.spacing?.length === 3 ? v.spacing : [1, 1, 1];
  for (let x = 0, i = 0; x < X; x++) for (let y = 0; y < Y; y++) for (let z = 0; z < Z; z++) voxels[x + X * (y + Y * z)] = v.bytes[i++];
  const affine = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  [...(v.orientation || "RAS")].forEach((letter, axis) => {
    const row = ["RL", "AP", "SI"].findIndex((pair) => pair.includes(letter)), step = "RAS".includes(letter) ? mm[axis] : -mm[axis];
    affine[4 * row + axis] = step;
    affine[4 * row + 3] = -step * v.size[axis] / 2;
  });
  const file = NVImage.createNiftiArray([X, Y, Z], mm, affine, 2, voxels);
  return NVImage.loadFromUrl({ url: file, name: "sample.nii", colormap: "gray" });
}
