// Wheel, pointer and keys over the panels.
import {PLANES, nearestSlice} from "./geometry.js";
import {Marking} from "./marking.js";

const NOTCH_PX = 100, TOUCH_PX = 40, LINE_PX = 33;
const ZOOM = [0.2, 20], CIRCLE_PX = 5;

// Notches of a wheel, without losing any: browsers join several into one event when they are busy, and touchpads send
// parts of one, which add up in `rest`. Positive is downwards.
export function notches(event, rest = 0) {
  const delta = (event.deltaY || (event.shiftKey ? event.deltaX : 0)) * (event.deltaMode ? LINE_PX : 1), wheel = -event.wheelDeltaY;
  if (wheel && wheel % 120 === 0) return [wheel / 120, 0];
  if (Math.abs(delta) >= NOTCH_PX / 2) return [Math.sign(delta) * Math.max(1, Math.round(Math.abs(delta) / NOTCH_PX)), 0];
  const sum = rest * delta < 0 ? delta : rest + delta, count = Math.trunc(sum / TOUCH_PX);
  return [count, sum - count * TOUCH_PX];
}

export class Input {
  constructor(scene, {speak, help}) {
    this.scene = scene;
    this.state = scene.state;
    this.speak = speak;
    this.help = help;
    this.pointer = null; // {panel, world} under the pointer
    this.drag = null;
    this.drawing = null; // {panel, roi} on its way
    this.nodule = null;
    this.paint = null; // of a mask to paint on
    this.extras = null;
    this.marker = new Marking(scene, this);
    scene.marker = this.marker;
  }

  // -- places --
  indexAt(panel, event) {
    const box = panel.canvas.getBoundingClientRect(), {grid} = this.scene.shown(panel.image), [c, r] = PLANES[panel.plane];
    const index = grid.index(this.state.positionOf(panel.image.order));
    // The box is scaled where the page is (slides), the canvas's own pixels are not.
    index[c] = panel.place.column((event.clientX - box.left) * panel.canvas.clientWidth / box.width);
    index[r] = panel.place.row((event.clientY - box.top) * panel.canvas.clientHeight / box.height);
    return index;
  }
  // In voxels of the slice shown.
  placeAt(panel, event) {
    const n = PLANES[panel.plane][2];
    return this.indexAt(panel, event).map((v, a) => (a === n ? nearestSlice(v) : v));
  }
  worldAt(panel, event) {
    const {grid} = this.scene.shown(panel.image), n = PLANES[panel.plane][2], index = this.indexAt(panel, event), world = grid.world(index);
    world[n] = grid.world(index.map((v, a) => (a === n ? nearestSlice(v) : v)))[n];
    return world;
  }
  go(position) {
    this.state.setPosition(position);
    this.speak();
  }
  step(panel, count, axis = PLANES[panel.plane][2]) {
    if (!this.state.get("linked")) this.activate(panel);
    const {grid} = panel.image, index = grid.index(this.state.get("position_mm"));
    index[axis] = Math.min(Math.max(nearestSlice(index[axis]) + count, 0), grid.shape[axis] - 1);
    this.go(grid.world(index));
  }
  zoom(factor, late = false) {
    const [least, most] = ZOOM;
    this.state.set({zoom: Math.min(most, Math.max(least, this.state.get("zoom") * factor))}, late);
  }
  whole() { this.state.set({zoom: 1, pan_mm: [0, 0, 0]}); }
  activate({image}) {
    this.state.activate(image.order);
  }

  // -- wheel and pointer --
  listen(panel, disposer) {
    const {canvas} = panel, on = (name, call, options) => disposer.listen(canvas, name, call, options);
    on("wheel", (event) => this.wheel(panel, event), {passive: false});
    on("dblclick", () => (this.paint?.tool ? this.paint.close() : this.whole()));
    on("focus", () => this.activate(panel));
    on("pointerdown", (event) => this.down(panel, event));
    on("pointermove", (event) => this.move(panel, event));
    on("pointerup", () => this.up());
    on("pointercancel", () => this.up());
    on("pointerleave", () => { this.pointer = null; this.paint?.leave(); this.scene.redraw(); });
  }
  wheel(panel, event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) return this.zoom(Math.exp(-event.deltaY / 400), true);
    const [count, rest] = notches(event, panel.scrolled ?? 0);
    panel.scrolled = rest;
    if (count) this.step(panel, -count);
  }
  down(panel, event) {
    event.preventDefault();
    panel.canvas.focus();
    if (!panel.place) return;
    try { panel.canvas.setPointerCapture(event.pointerId); } catch { /* a synthetic pointer */ }
    const how = event.button === 2 || event.shiftKey ? "window" : event.button === 1 ? "pan" : this.state.get("tool");
    for (const hand of [this.paint, this.marker]) if (hand?.tool === how && how) return hand.down(panel, event);
    const from = this.worldAt(panel, event), {state} = this;
    this.drag = {panel, how, x: event.clientX, y: event.clientY, window: state.get("window")[panel.image.order], pan: state.get("pan_mm"), from};
    if (how === "crosshair") this.go(this.noduleUnder(panel, from) ?? from);
  }
  // The middle of a nodule whose circle on the slice was clicked.
  noduleUnder(panel, [...world]) {
    const [c, r, n] = PLANES[panel.plane], least = CIRCLE_PX / this.scene.view(panel).scale, thick = panel.image.grid.spacing[n];
    const near = ({at, diameter}) => Math.hypot(at[c] - world[c], at[r] - world[r]) <= Math.max(diameter / 2, least) && Math.abs(at[n] - world[n]) <= Math.max(diameter, thick) / 2;
    const number = this.state.get("_nodules").findIndex(near);
    if (number >= 0) this.nodule = number;
    return this.state.get("_nodules")[number]?.at;
  }
  move(panel, event) {
    if (!panel.place) return;
    this.pointer = {panel, world: this.worldAt(panel, event)};
    this.paint?.move(panel, event);
    this.marker.move(panel, event);
    if (this.drag?.panel === panel) this.dragged(panel, event);
    this.scene.redraw();
  }
  up() {
    this.paint?.up();
    this.marker.up();
    const drawn = this.drawing?.roi;
    this.drag = this.drawing = null;
    if (drawn) {
      if (Math.min(...drawn.radii_mm) > 0.2) this.setRegions([...this.state.get("_rois"), drawn]);
      this.speak();
    }
    this.scene.redraw();
  }
  dragged(panel, event) {
    const {how, x, y, window: [level, width], pan, from} = this.drag, dx = event.clientX - x, dy = event.clientY - y;
    const [c, r] = PLANES[panel.plane];
    if (how === "crosshair") this.go(this.worldAt(panel, event));
    else if (how === "window") {
      const base = panel.image.presets[0][2];
      this.state.setWindow(panel.image.order, level + (dy / 300) * base, Math.max(base / 1000, width + (dx / 300) * base));
    } else if (how === "pan") {
      const {scale} = this.scene.view(panel), moved = [...pan];
      moved[c] += dx / scale;
      moved[r] += dy / scale;
      this.state.set({pan_mm: moved}, true);
    } else if (how === "roi") this.drawing = {panel, roi: ellipse(panel, from, this.worldAt(panel, event))};
  }

  // -- keys --
  // Does what the key stands for; returns whether it stands for anything.
  key(panel, event) {
    const painted = this.paint?.key(panel, event);
    if (!painted && (event.ctrlKey || event.metaKey || event.altKey)) return false;
    const act = painted ?? this.marker.key(panel, event) ?? this.moving(panel, event) ?? this.extras?.key(panel, event) ?? this.looking(panel, event.key) ?? this.marking(panel, event.key);
    if (!act) return false;
    act();
    this.speak();
    return true;
  }
  moving(panel, {key, shiftKey}) {
    const [c, r, n] = PLANES[panel.plane], size = panel.image.grid.shape[n], by = (count, axis) => () => this.step(panel, count, axis);
    const inPlane = {ArrowUp: by(1, r), ArrowDown: by(-1, r), ArrowLeft: by(1, c), ArrowRight: by(-1, c)};
    const across = {
      ArrowUp: by(1), ArrowDown: by(-1), ArrowRight: by(1), ArrowLeft: by(-1), PageUp: by(10), PageDown: by(-10), Home: by(-size), End: by(size),
      n: () => this.nextNodule(1), N: () => this.nextNodule(-1),
    };
    return (shiftKey && inPlane[key]) || across[key];
  }
  looking(panel, key) {
    const {state} = this, image = panel.image.order, [level, width] = state.get("window")[image], base = panel.image.presets[0][2];
    const preset = /^[1-9]$/.test(key) && panel.image.presets[key - 1];
    if (preset) return () => state.setWindow(image, preset[1], preset[2]);
    return {
      a: () => state.set({plane: "axial"}), c: () => state.set({plane: "coronal"}), s: () => state.set({plane: "sagittal"}), m: () => state.set({plane: "all"}),
      "[": () => state.setWindow(image, level, width / 1.1), "]": () => state.setWindow(image, level, width * 1.1),
      "-": () => state.setWindow(image, level - base / 50, width), "=": () => state.setWindow(image, level + base / 50, width),
      z: () => this.zoom(1.2), Z: () => this.zoom(1 / 1.2), f: () => this.centre(panel), 0: () => this.whole(),
      o: () => state.set({visible: state.get("visible").map((_, __, all) => !all.some(Boolean))}), x: () => state.set({crosshair: !state.get("crosshair")}),
      "?": () => this.help(),
    }[key];
  }
  marking(panel, key) {
    const rois = this.state.get("_rois");
    return {
      r: () => this.setRegions([...rois, {image: panel.image.order, plane: panel.plane, center_mm: [...this.state.get("position_mm")], radii_mm: [10, 10], name: `region ${rois.length + 1}`}]),
      Delete: () => this.removeRegion(), ".": () => this.resizeRegion(1.1), ",": () => this.resizeRegion(1 / 1.1),
      Escape: this.drawing || this.drag ? () => { this.drawing = this.drag = null; this.scene.redraw(); } : null,
    }[key];
  }
  setRegions(_rois) { this.state.set({_rois}); }
  nameRegion(name) {
    const rois = this.state.get("_rois");
    if (rois.length) this.setRegions([...rois.slice(0, -1), {...rois.at(-1), name: name.trim()}]);
  }
  removeRegion() { this.setRegions(this.state.get("_rois").slice(0, -1)); }
  resizeRegion(factor) {
    const rois = this.state.get("_rois"), last = rois.at(-1);
    if (!last) return;
    const grown = {...last, radii_mm: last.radii_mm.map((mm) => mm * factor)};
    if (last.points_mm) grown.points_mm = last.points_mm.map((point) => point.map((mm, a) => last.center_mm[a] + (mm - last.center_mm[a]) * factor));
    this.setRegions([...rois.slice(0, -1), grown]);
  }
  nextNodule(step) {
    const nodules = this.state.get("_nodules");
    if (!nodules.length) return;
    this.nodule = this.nodule == null ? (step > 0 ? 0 : nodules.length - 1) : (this.nodule + step + nodules.length) % nodules.length;
    this.go(nodules[this.nodule].at);
  }
  centre(panel) {
    const middle = this.scene.middle(), position = this.state.get("position_mm"), pan = [...this.state.get("pan_mm")];
    for (const axis of PLANES[panel.plane].slice(0, 2)) pan[axis] = position[axis] - middle[axis];
    this.state.set({pan_mm: pan});
  }
}

function ellipse(panel, from, to) {
  const [c, r] = PLANES[panel.plane];
  return {image: panel.image.order, plane: panel.plane, center_mm: from.map((v, a) => (v + to[a]) / 2), radii_mm: [Math.abs(to[c] - from[c]) / 2, Math.abs(to[r] - from[r]) / 2]};
}
