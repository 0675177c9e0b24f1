// Words of the view: for those who listen, and what is read off under the pointer.
import {later} from "./dom.js";
import {describe, describeSlice, fixed, number, shareText} from "./marks.js";

export function describePanel(scene, panel) {
  const {image, plane} = panel, shown = scene.shown(image), {state} = scene;
  return describeSlice(image.name, shown.grid, plane, state.positionOf(image.order), state.get("window")[image.order], image.unit, shown.loss);
}

export function thresholdText(scene) {
  const map = scene.thresholded();
  return map ? shareText(map.share, scene.state.get("threshold"), map.unit) : "";
}

// The live region: says what is shown, half a second after the last change.
export class Speaker {
  constructor(scene, node, disposer, panels) {
    this.scene = scene; this.node = node; this.panels = panels;
    this.waiting = later(() => this.say(), 500);
    disposer.add(() => this.waiting.cancel());
  }
  soon() { this.waiting.ask(); }
  say() {
    const {scene} = this, visible = scene.state.get("visible"), first = scene.planes()[0];
    const slices = this.panels().filter((panel) => panel.plane === first).map((panel) => {
      const value = panel.canvas.dataset.value;
      return describePanel(scene, panel) + (value ? `; value at the crosshair ${number(+value, panel.image.unit)}` : "");
    });
    const overlays = scene.overlays.filter((_, n) => visible[n]).map((layer) => layer.name);
    const threshold = thresholdText(scene);
    const said = describe(slices, overlays, scene.state.get("_nodules").length, scene.state.get("_rois").length, threshold ? [threshold] : []);
    this.node.textContent = said;
  }
}

// Value under the pointer or, while the pointer is elsewhere, at the same millimetres of a linked image.
export function readout(scene, panel, pointer, data) {
  const own = scene.state.positionOf(panel.image.order), together = scene.state.get("linked") || pointer?.panel === panel;
  const world = together && pointer?.panel.plane === panel.plane ? pointer.world : own, place = pointer?.panel === panel ? `(${world.map((mm) => fixed(mm, 1)).join(", ")}) mm: ` : "";
  if (!data) return "";
  const value = scene.valueAt(panel.image, panel.plane, world, own, data);
  panel.canvas.dataset.value = value ?? "";
  return value === undefined ? "" : place + number(value, panel.image.unit) + overlayReadout(scene, panel, world, own);
}

function overlayReadout(scene, panel, world, own) {
  let text = "";
  for (const layer of scene.overlaysOn(panel.image)) {
    const value = layer.kind === "map" ? scene.valueAt(layer, panel.plane, world, own) : NaN;
    if (Number.isFinite(value)) text += `;  ${layer.name} ${number(value, layer.unit)}`;
  }
  return text;
}
