// Menus, fields and sliders around the image: each shows what the state says and says what the hand chose.
import {make} from "./dom.js";
import {SUPPRESS} from "./guard.js";
import {EXTRA_KEYS} from "./extras.js";
import {PAINT_KEYS} from "./paint.js";
import {thresholdText} from "./words.js";

const PLANE_NAMES = [["axial", "axial"], ["coronal", "coronal"], ["sagittal", "sagittal"], ["all", "all three"]];
const SLABS = [["off", "off"], ["max", "maximum"], ["min", "minimum"]];
const KEYS = [
  ["↑ ↓ or wheel", "next or previous slice (PageUp, PageDown: ten; Home, End: first, last)"], ["Shift + arrows", "move the crosshair in the plane"],
  ["a, c, s, m", "axial, coronal, sagittal, all three"], ["[ ] and - =", "window narrower, wider; level down, up; right-drag or Shift-drag does both"], ["1 – 9", "window presets"],
  ["z, Z, Ctrl + wheel", "zoom in, out; middle-drag pans"], ["f", "centre the picture on the crosshair"], ["0 or double click", "whole picture again"],
  ["n, N", "next, previous nodule"], ["o, x", "overlays, crosshair on or off"], ["r", "region of 20 mm at the crosshair"], [", . Delete", "last region smaller, larger; remove it"],
];

const control = (tag, props, ...children) => make(tag, {...props, ...SUPPRESS}, ...children);
const labelled = (label, node) => make("label", {}, make("span", {textContent: label}), node);
const options = (pairs) => pairs.map(([value, textContent]) => make("option", {value, textContent}));

export class Controls {
  constructor(scene, input) {
    this.scene = scene;
    this.state = scene.state;
    this.input = input;
    this.updates = [];
  }
  sync() { for (const update of this.updates) update(); }
  // A control that shows `get()`, and calls `set` with what was chosen.
  menu(label, pairs, key) {
    const box = control("select", {onchange: () => this.state.set({[key]: box.value})}, ...options(pairs));
    this.updates.push(() => { box.value = this.state.get(key); });
    return labelled(label, box);
  }
  active() { return Math.min(this.state.get("active"), this.scene.images.length - 1); }
  windowField(label, index) {
    const field = control("input", {type: "number", step: "any", onchange: () => {
      const pair = [...this.state.get("window")[this.active()]];
      if (Number.isFinite(field.valueAsNumber)) pair[index] = field.valueAsNumber;
      this.state.setWindow(this.active(), ...pair);
    }});
    this.updates.push(() => { if (document.activeElement !== field) field.value = +this.state.get("window")[this.active()][index].toPrecision(5); });
    return labelled(label, field);
  }
  windowPresets() {
    const {images} = this.scene, name = make("span", {textContent: "Window"});
    const box = control("select", {onchange: () => {
      const found = images[this.active()].presets[box.value];
      if (found) this.state.setWindow(this.active(), found[1], found[2]);
    }});
    let offered = null;
    this.updates.push(() => {
      const image = images[this.active()], [level, width] = this.state.get("window")[this.active()], near = (a, b) => Math.abs(a - b) < 1e-6 * Math.abs(width);
      if (offered !== image) {  // made anew with every step, old entries would pile up until the browser rests
        offered = image;
        box.replaceChildren(...options([[-1, "own"], ...image.presets.map(([preset], n) => [n, preset])]));
        name.textContent = images.length > 1 ? `Window of ${image.name}` : "Window";
      }
      box.value = image.presets.findIndex(([, l, w]) => near(l, level) && near(w, width));
    });
    return make("label", {}, name, box);
  }
  toolbar() {
    const {state} = this;
    const slab = control("input", {type: "number", min: 0, step: 1, onchange: () => state.set({slab_mm: Math.max(0, slab.valueAsNumber || 0)})}), thick = labelled("mm thick", slab);
    this.updates.push(() => { slab.value = state.get("slab_mm"); thick.hidden = state.get("slab") === "off"; });
    const remove = control("button", {type: "button", textContent: "Remove region", onclick: () => this.input.removeRegion()});
    this.updates.push(() => { remove.hidden = !state.get("_rois").length; });
    return make("div", {className: "ipha-bar", role: "toolbar", "aria-label": "View"}, this.menu("Plane", PLANE_NAMES, "plane"),
      this.windowPresets(), this.windowField("Level", 0), this.windowField("Width", 1), this.menu("Slab", SLABS, "slab"), thick, remove);
  }
  overlayBar() {
    const {overlays} = this.scene, {state} = this;
    if (!overlays.length) return [];
    const bar = make("div", {className: "ipha-bar", role: "group", "aria-label": "Overlays"}, ...overlays.map((layer, n) => this.tick(layer, n)));
    const opacity = control("input", {type: "range", min: 0, max: 1, step: 0.01, oninput: () => state.set({opacity: opacity.valueAsNumber}, true)});
    this.updates.push(() => { opacity.value = state.get("opacity"); });
    bar.append(labelled(overlays.length > 1 ? "Opacity of all" : "Opacity", opacity));
    if (overlays.some((layer) => layer.kind === "mask")) bar.append(this.menu("Masks", [["outline", "outline"], ["fill", "fill"]], "mask_style"));
    if (this.scene.thresholded()) bar.append(...this.threshold());
    return [bar];
  }
  tick(layer, n) {
    const {state} = this, swatch = make("span", {className: "ipha-swatch"});
    const box = control("input", {type: "checkbox", onchange: () => state.set({visible: state.get("visible").map((v, m) => (m === n ? box.checked : v))})});
    swatch.style.background = layer.colour ?? "";
    this.updates.push(() => {
      box.checked = state.get("visible")[n];
      const colours = layer.colour ? "" : this.scene.coloursOf(layer);
      if (colours) swatch.style.background = `linear-gradient(90deg, #${colours.slice(0, 6)}, #${colours.slice(762, 768)}, #${colours.slice(-6)})`;
    });
    const name = make("label", {}, box, swatch, make("span", {textContent: this.scene.nameOf(layer)}));
    return make("span", {className: "ipha-overlay"}, name, ...this.input.extras.opacity(layer, n));
  }
  threshold() {
    const {state, scene} = this, out = make("output"), names = [...new Set(scene.overlays.filter((layer) => layer.kind === "map").map((layer) => layer.name))];
    const slider = control("input", {type: "range", className: "ipha-threshold", oninput: () => state.set({threshold: slider.valueAsNumber}, true)}), label = labelled("", slider);
    this.updates.push(() => {
      const map = scene.thresholded(), {edges} = map.share, [low, high] = [edges[0], edges.at(-1)];
      Object.assign(slider, {min: low, max: high, step: (high - low) / (edges.length - 1)});
      slider.value = state.get("threshold") ?? low;
      label.firstChild.textContent = `Threshold of ${map.name}`;
      out.textContent = thresholdText(scene);
      slider.setAttribute("aria-valuetext", out.textContent);
    });
    if (names.length < 2) return [label, out];
    const box = control("select", {onchange: () => state.set({threshold_map: box.value, threshold: null})}, ...options(names.map((name) => [name, name])));
    this.updates.push(() => { box.value = scene.thresholded().name; });
    return [labelled("Map", box), label, out];
  }
  help() {
    const list = make("dl", {}, ...[...(this.scene.paint ? PAINT_KEYS : []), ...KEYS, ...EXTRA_KEYS].flatMap(([key, what]) => [make("dt", {textContent: key}), make("dd", {textContent: what})]));
    this.helpBox = make("details", {className: "ipha-help"}, control("summary", {textContent: "Keys and mouse"}), list);
    return this.helpBox;
  }
}
