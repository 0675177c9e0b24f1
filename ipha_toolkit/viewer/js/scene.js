// What there is to see and which part of it is seen: layers, where their slices come from, planes, slabs, scale.
import {later, make} from "./dom.js";
import {Grid, PLANES} from "./geometry.js";
import {insideLine} from "./marking.js";
import {ExportSource, KernelSource} from "./sources.js";

const PATIENCE_MS = 2500, EXPORT_AFTER_MS = 8000, STILL_AFTER_MS = 2000;
const HINT = "Still picture, until a kernel answers. Run the cell again for the live viewer.";
const HINT_IN_PAGE = "Still picture: the images themselves do not travel with this page.";

export class Scene {
  constructor(state, disposer, {redraw, root}) {
    this.state = state;
    this.redraw = redraw;
    this.root = root;
    this.layers = state.get("_layers").map((layer, number) => ({...layer, number, grid: new Grid(layer.shape, layer.affine)}));
    this.images = this.layers.filter((layer) => layer.kind === "image");
    this.overlays = this.layers.filter((layer) => layer.kind !== "image");
    this.onNewSource = () => {};
    this.open(disposer);
  }
  // A kernel that answers wins over the exported copy; without either, the still picture stands in.
  open(disposer) {
    const {model} = this.state, packed = model.get("_export");
    const kernel = new KernelSource(model, () => {
      if (this.source !== kernel) { this.source.close(); this.source = kernel; this.onNewSource(); }
      this.standIn(false);
      this.redraw();
    });
    this.source = kernel;
    disposer.add(() => { this.source.close(); kernel.close(); });
    const wait = (call, milliseconds) => {
      const timer = setTimeout(call, milliseconds);
      disposer.add(() => clearTimeout(timer));
    };
    if (packed.length) this.source = new ExportSource(packed, this.redraw);
    this.callKernel(kernel);
    if (packed.length) return;
    if (model.exported) return this.standIn(true);
    wait(() => this.standIn(!kernel.heard), PATIENCE_MS);
    if (!model.get("embed_live")) this.keepStill(kernel, disposer);
    else wait(() => kernel.heard && model.send({type: "export"}), EXPORT_AFTER_MS);
  }
  // Where no copy of the images is made for pages, the kernel keeps a picture of what is shown, for them and for who listens.
  keepStill(kernel, disposer) {
    const {model} = this.state, asking = later(() => kernel.heard && model.send({type: "still"}), STILL_AFTER_MS);
    let known = model.get("_picture");
    disposer.add(() => asking.cancel());
    disposer.on(model, "change", () => {
      if (model.get("_picture") === known) asking.ask();
      known = model.get("_picture");
    });
    asking.ask();
  }
  // Ask for the slice that is needed first, also where nothing is drawn yet (a folded output), to hear whether a kernel is there.
  callKernel(kernel) {
    const [plane] = this.planes(), index = this.images[0].grid.nearest(this.state.get("position_mm"), PLANES[plane][2]);
    try { kernel.ask(0, plane, index, index + 1); } catch { /* no kernel */ }
  }
  // Show the still picture with its words in place of panels that nobody fills, or no longer.
  standIn(wanted) {
    const picture = this.state.get("_picture"), words = this.state.get("description");
    if (wanted && picture && !this.still) {
      this.still = make("div", {className: "ipha-saved"}, make("img", {src: picture, alt: words}), make("p", {}, words, make("br"), make("em", {textContent: this.state.model.exported ? HINT_IN_PAGE : HINT})));
      this.root.append(this.still);
    } else if (!wanted && this.still) {
      this.still.remove();
      this.still = null;
    }
    this.root.classList.toggle("ipha-lost", !!this.still);
  }

  planes() { return this.state.get("plane") === "all" ? Object.keys(PLANES) : [this.state.get("plane")]; }
  // Lowest and highest millimetres of all images, each axis.
  bounds() {
    if (!this.limits) {
      const points = this.images.flatMap((image) => image.grid.corners());
      this.limits = [0, 1, 2].map((a) => [Math.min(...points.map((p) => p[a])), Math.max(...points.map((p) => p[a]))]);
    }
    return this.limits;
  }
  middle() { return this.bounds().map(([lo, hi]) => (lo + hi) / 2); }
  // Size of a panel in CSS pixels, pixels a millimetre, and the place in its middle.
  view({canvas}) {
    const width = canvas.clientWidth, height = canvas.clientHeight, b = this.bounds(), pan = this.state.get("pan_mm");
    // One scale in all planes, so that a centimetre is as long in each.
    const fits = this.planes().map((plane) => PLANES[plane]).flatMap(([c, r]) => [width / (b[c][1] - b[c][0]), height / (b[r][1] - b[r][0])]);
    return {width, height, scale: Math.min(...fits) * this.state.get("zoom"), center: this.middle().map((mm, a) => mm + pan[a])};
  }
  // An overlay's name, with its image's where several images have one of that name.
  nameOf({name, image}) {
    const shared = image != null && this.images.length > 1 && this.overlays.filter((layer) => layer.name === name).length > 1;
    return shared ? `${name} (${this.images[image].name})` : name;
  }
  overlaysOn(image) {
    const visible = this.state.get("visible");
    return this.overlays.filter((layer, n) => visible[n] && (layer.image == null || layer.image === image.order));
  }
  // The map that the threshold cuts, with all maps of its name.
  thresholded() {
    const maps = this.overlays.filter((layer) => layer.kind === "map");
    return maps.find((layer) => layer.name === this.state.get("threshold_map")) ?? maps[0];
  }
  coloursOf(layer) { return this.state.get("_palettes")[this.state.get("colour_map")] ?? layer.colours; }

  // The layer's grid, offset and scale in the source that is open: the export may be coarser.
  shown(layer) {
    const packed = this.source instanceof ExportSource && this.source.layers[layer.number];
    return packed ? {...layer, ...packed, number: layer.number} : layer;
  }
  slabRange(grid, plane, layer, position) {
    const axis = PLANES[plane][2], index = grid.nearest(position, axis);
    const thick = layer.kind !== "mask" && this.state.get("slab") !== "off";
    const half = thick ? Math.floor(this.state.get("slab_mm") / grid.spacing[axis] / 2) : 0;
    return [Math.max(index - half, 0), Math.min(index + half, grid.shape[axis] - 1)];
  }
  // Codes of the slice or slab a layer shows in a plane; null while on its way.
  data(shown, plane, position, thin = false) {
    const axis = PLANES[plane][2], size = shown.grid.shape[axis];
    const inside = shown.grid.index(position)[axis];
    if (shown.kind !== "image" && (inside < -0.5 || inside > size - 0.5)) return null;
    const [first, last] = thin ? Array(2).fill(shown.grid.nearest(position, axis)) : this.slabRange(shown.grid, plane, shown, position);
    return first === last ? this.source.slice(shown.number, plane, first, size) : this.slab(shown, plane, first, last, size);
  }
  slab({number}, plane, first, last, size) {
    const how = this.state.get("slab"), key = `slab/${number}/${plane}/${first}/${last}/${how}`, known = this.source.cache.get(key);
    if (known) return known;
    const parts = [];
    for (let index = first; index <= last; index++) parts.push(this.source.slice(number, plane, index, size));
    if (parts.some((p) => !p)) return null;
    const out = parts[0].slice(), low = how === "min";
    for (const part of parts.slice(1))
      for (let p = 0; p < out.length; p++) {
        const v = part[p];
        if (v && (low ? v < out[p] || !out[p] : v > out[p])) out[p] = v;
      }
    this.source.cache.set(key, out);
    return out;
  }
  // Value of a layer in the plane at a place: NaN where missing, undefined outside or while on its way.
  valueAt(layer, plane, world, position, data = null) {
    const shown = this.shown(layer), codes = data ?? this.data(shown, plane, position), [c, r] = PLANES[plane];
    const index = shown.grid.index(world).map((v) => Math.floor(v + 0.5)), [w, h] = [shown.grid.shape[c], shown.grid.shape[r]];
    if (!codes || index[c] < 0 || index[r] < 0 || index[c] >= w || index[r] >= h) return undefined;
    const code = codes[index[r] * w + index[c]];
    return code ? shown.offset + shown.scale * (code - 1) : NaN;
  }
  // Count, area in mm², mean and standard deviation of an ellipse on the slice shown.
  roiStatistics(panel, roi) {
    const shown = this.shown(panel.image), [c, r] = PLANES[panel.plane], data = this.data(shown, panel.plane, this.state.positionOf(panel.image.order), true);
    if (!data) return null;
    const at = shown.grid.index(roi.center_mm), w = shown.grid.shape[c], h = shown.grid.shape[r], corners = roi.points_mm?.map((point) => { const q = shown.grid.index(point); return [q[c], q[r]]; });
    let n = 0, sum = 0, squares = 0;
    const [du, dv] = [shown.grid.spacing[c], shown.grid.spacing[r]], [ru, rv] = roi.radii_mm;
    for (let row = Math.max(0, Math.ceil(at[r] - rv / dv)); row <= Math.min(h - 1, at[r] + rv / dv); row++)
      for (let col = Math.max(0, Math.ceil(at[c] - ru / du)); col <= Math.min(w - 1, at[c] + ru / du); col++) {
        const q = data[row * w + col];
        if (!q || !(corners ? insideLine(corners, col, row) : (((col - at[c]) * du) / ru) ** 2 + (((row - at[r]) * dv) / rv) ** 2 <= 1)) continue;
        const value = shown.scale * (q - 1);
        n++; sum += value; squares += value * value;
      }
    return {n, area: n * du * dv, mean: shown.offset + sum / n, sd: n > 1 ? Math.sqrt(Math.max(0, squares - (sum * sum) / n) / (n - 1)) : NaN};
  }
}
