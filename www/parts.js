// parts.js: the drawings, which data and training both bring up to date.

import { Curves } from "./curves.js";
import { $ } from "./dom.js";
import { adapter, page, program, request } from "./page.js";
import { Viewer } from "./viewer.js";

export const curves = new Curves();
export const viewer = new Viewer({ request, get: program.get, adapter, step: () => page.step, trained: () => page.trained, chosen: () => $("similar").replaceChildren() });
