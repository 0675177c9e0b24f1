// What a radiologist reaches for beside the slices: tools by button, invert, colours, cine, maximise, reset, snapshot, nodules.
import {make} from "./dom.js";
import {SUPPRESS} from "./guard.js";
import {fixed} from "./marks.js";

const TOOL_BUTTONS = [["crosshair", "Look", "q"], ["window", "Window", "w"], ["pan", "Pan", "P"], ["roi", "Region", "j"], ["free", "Freehand", "J"], ["distance", "Distance", "d"], ["angle", "Angle", "g"]];
const CINE_MS = 100;
export const EXTRA_KEYS = [
  ["q, w, P, j, J, d, g", "left drag: look, window, pan, region, freehand, distance, angle (Space sets a point at the crosshair)"], ["v, k", "invert the gray levels; next colours of the maps"],
  ["u", "cine: play or stop"], ["M, R, S", "maximise (Escape leaves), reset, save a picture"], ["U", "unlink the images, each then scrolls by itself; link them at the place of the one in hand"], ["D", "remove the last distance or angle"],
];
const push = (props, ...children) => make("button", {type: "button", ...props, ...SUPPRESS}, ...children);

export class Extras {
  constructor(scene, input, root, panels) {
    this.scene = scene; this.state = scene.state; this.input = input; this.root = root; this.panels = panels; this.updates = [];
    const {state} = this;
    this.first = Object.fromEntries(["plane", "window", "visible", "opacity", "opacities", "threshold", "slab", "zoom", "pan_mm", "mask_style", "invert", "colour_map", "position_mm"].map((key) => [key, state.get(key)]));
  }
  sync() { for (const update of this.updates) update(); }
  close() { clearInterval(this.playing); }

  // -- what they do --
  cine(panel) {
    if (this.playing) this.playing = clearInterval(this.playing) ?? 0;
    else this.playing = setInterval(() => {
      const shown = panel ?? this.panels()[0], axis = {axial: 2, coronal: 1, sagittal: 0}[shown.plane], {grid} = shown.image;
      const at = grid.nearest(this.state.positionOf(shown.image.order), axis), last = grid.shape[axis] - 1;
      this.input.step(shown, at === last ? -last : 1);
    }, CINE_MS);
    this.sync();
  }
  leaveFullScreen() {
    this.leaving = true;
    // until the browser says that it is left, which a busy one does late
    if (document.exitFullscreen) document.exitFullscreen().catch(() => { this.leaving = false; });
    else this.leaving = false;
  }
  get large() { return this.root.classList.contains("ipha-large"); }
  maximise() {
    const on = this.root.classList.toggle("ipha-large");
    if (on) this.root.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement === this.root) this.leaveFullScreen();
    if (on && !this.root.contains(document.activeElement)) this.panels()[0].canvas.focus();
    this.sync();
    this.scene.redraw();
  }
  reset() {
    const {position_mm, window, ...rest} = this.first;
    this.state.link(true);
    this.state.set(rest);
    window.forEach((pair, image) => this.state.setWindow(image, ...pair));
    this.state.setPosition(position_mm);
  }
  // All panels side by side as one PNG, as they are on the screen.
  snapshot() {
    const all = this.panels().map(({canvas}) => canvas), sheet = make("canvas", {width: all.reduce((sum, one) => sum + one.width + 2, -2), height: Math.max(...all.map((one) => one.height))});
    const ctx = sheet.getContext("2d");
    let x = 0;
    for (const one of all) { ctx.drawImage(one, x, 0); x += one.width + 2; }
    sheet.toBlob((blob) => {
      const link = make("a", {href: URL.createObjectURL(blob), download: `${this.scene.images[0].name.replace(/\.nii(\.gz)?$/, "").replace(/[^\w.-]+/g, "_")}.png`});
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }
  nextColours() {
    const names = ["", ...Object.keys(this.state.get("_palettes"))];
    this.state.set({colour_map: names[(names.indexOf(this.state.get("colour_map")) + 1) % names.length]});
  }
  // Images of this viewer, and viewers that go together with it, each at a place of their own; or all at one.
  unlink() { this.state.link(!this.state.get("linked")); }
  removeMark() { this.state.set({_marks: this.state.get("_marks").slice(0, -1)}); }
  key(panel, {key}) {
    const tool = TOOL_BUTTONS.find(([, , letter]) => letter === key);
    if (tool) return () => this.choose(tool[0]);
    return {
      v: () => this.state.set({invert: !this.state.get("invert")}), k: () => this.nextColours(), u: () => this.cine(panel), U: () => this.canUnlink && this.unlink(), M: () => this.maximise(), R: () => this.reset(), S: () => this.snapshot(),
      D: () => this.removeMark(),
    }[key];
  }
  choose(tool) {
    this.input.marker.cancel();
    this.state.set({tool});
  }

  // -- controls --
  toggled(label, key, on, act) {
    const button = push({textContent: label, title: `key ${key}`, "aria-keyshortcuts": key.length > 1 || key === key.toLowerCase() ? key.toUpperCase() : `Shift+${key}`, onclick: act});
    this.updates.push(() => button.setAttribute("aria-pressed", !!on()));
    return button;
  }
  get canUnlink() { return this.scene.images.length > 1 || !!this.scene.together; }
  unlinkButton() {
    const button = this.toggled("Unlink", "U", () => !this.state.get("linked"), () => this.unlink());
    this.updates.push(() => { button.hidden = !this.canUnlink; });
    return button;
  }
  bar() {
    const {state} = this, maps = this.scene.overlays.some((layer) => layer.kind === "map");
    const tools = TOOL_BUTTONS.map(([tool, label, key]) => this.toggled(label, key, () => state.get("tool") === tool, () => this.choose(tool)));
    const action = (label, key, act) => push({textContent: label, title: `key ${key}`, "aria-keyshortcuts": `Shift+${key}`, onclick: act});
    const node = make("div", {className: "ipha-bar ipha-tools", role: "toolbar", "aria-label": "Left drag and more"}, make("span", {textContent: "Drag"}), ...tools,
      this.toggled("Invert", "v", () => state.get("invert"), () => state.set({invert: !state.get("invert")})), this.toggled("Cine", "u", () => this.playing, () => this.cine()),
      this.unlinkButton(), this.toggled("Maximise", "M", () => this.large, () => this.maximise()), action("Reset", "R", () => this.reset()), action("Picture", "S", () => this.snapshot()));
    if (maps) {
      const names = ["", ...Object.keys(state.get("_palettes"))], box = make("select", {onchange: () => state.set({colour_map: box.value}), ...SUPPRESS}, ...names.map((value) => make("option", {value, textContent: value || "as given"})));
      this.updates.push(() => { box.value = state.get("colour_map"); });
      node.append(make("label", {}, make("span", {textContent: "Colours"}), box));
    }
    const name = make("input", {type: "text", className: "ipha-name", "aria-label": "Name of the last region", onchange: () => this.input.nameRegion(name.value), ...SUPPRESS}), named = make("label", {}, make("span", {textContent: "Region"}), name);
    this.updates.push(() => {
      const last = state.get("_rois").at(-1);
      named.hidden = !last;
      if (document.activeElement !== name) name.value = last?.name ?? "";
    });
    const undo = push({textContent: "Remove distance", title: "key D", onclick: () => this.removeMark()});
    this.updates.push(() => { undo.hidden = !state.get("_marks").length; });
    node.append(named, undo);
    return node;
  }
  // Opacity of one overlay beside its name, where there are several.
  opacity(layer, n) {
    const {state, scene} = this, name = `Opacity of ${scene.nameOf(layer)}`;
    if (scene.overlays.length < 2) return [];
    const range = make("input", {type: "range", min: 0, max: 1, step: 0.05, title: name, "aria-label": name, oninput: () => state.set({opacities: state.get("opacities").map((v, m) => (m === n ? range.valueAsNumber : v))}, true), ...SUPPRESS});
    range.style.accentColor = layer.colour ?? "";
    this.updates.push(() => { range.value = state.get("opacities")[n]; });
    return [range];
  }
  // Every nodule as a button that goes there.
  nodules() {
    const found = this.state.get("_nodules");
    if (!found.length) return [];
    const rows = found.map((nodule, n) => push({textContent: `${n + 1}: ${fixed(nodule.diameter, 1)} mm`, title: nodule.at.map((mm) => fixed(mm, 0)).join(", ") + " mm", onclick: () => { this.input.nodule = n; this.input.go(nodule.at); }}));
    return [make("details", {className: "ipha-nodules", open: rows.length <= 20}, make("summary", {textContent: `${rows.length} nodule${rows.length === 1 ? "" : "s"}, largest score first`, ...SUPPRESS}), make("div", {className: "ipha-bar"}, ...rows))];
  }
}
