// Slice viewer: draws what the model says, asks the kernel for slices (live) or reads them from the export.
// Screen directions are the reverse of the grid's (right, anterior, superior), which is the radiological convention.
// Text from data only ever becomes textContent or canvas text.

export const PLANES = {axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0]};
const ENDS = ["RL", "AP", "SI"];
const CACHE_BYTES = 72e6;
const MM = (value) => value.toFixed(1).replace("-", "−");

// ---- geometry: world mm <-> voxel index <-> screen ---------------------------------------------------------------

const apply = (m, p) => [0, 1, 2].map((r) => m[4 * r] * p[0] + m[4 * r + 1] * p[1] + m[4 * r + 2] * p[2] + m[4 * r + 3]);

export function invert(m) {
  const [a, b, c, , d, e, f, , g, h, i] = m;
  const A = e * i - f * h, B = f * g - d * i, C = d * h - e * g, det = a * A + b * B + c * C;
  const r = [A, c * h - b * i, b * f - c * e, 0, B, a * i - c * g, c * d - a * f, 0, C, b * g - a * h, a * e - b * d, 0].map((x) => x / det);
  for (const row of [0, 1, 2]) r[4 * row + 3] = -(r[4 * row] * m[3] + r[4 * row + 1] * m[7] + r[4 * row + 2] * m[11]);
  return [...r, 0, 0, 0, 1];
}

export class Grid {
  constructor(shape, affine) {
    this.shape = shape;
    this.affine = affine;
    this.inverse = invert(affine);
    this.spacing = [0, 1, 2].map((c) => Math.hypot(affine[c], affine[4 + c], affine[8 + c]));
  }
  index(world) { return apply(this.inverse, world); }
  world(index) { return apply(this.affine, index); }
  nearest(world, axis) {
    return Math.min(Math.max(Math.floor(this.index(world)[axis] + 0.5), 0), this.shape[axis] - 1);
  }
  // Millimetres from the nearest slice to a place outside the grid, 0 inside.
  beyond(world, axis) {
    const at = this.index(world)[axis], off = Math.max(-0.5 - at, at - this.shape[axis] + 0.5, 0);
    return off > 1e-3 ? (off + 0.5) * this.spacing[axis] : 0;
  }
  corners() {
    return [...Array(8).keys()].map((n) => this.world(this.shape.map((size, a) => ((n >> a) & 1 ? size - 0.5 : -0.5))));
  }
}

// Where a grid's slice through `position` lies on screen: pixels of voxel (column, row), and back.
export class Placement {
  constructor(grid, plane, position, view) {
    const [c, r] = PLANES[plane];
    this.at = grid.index(position);
    this.c = c; this.r = r;
    this.step = [grid.spacing[c] * view.scale, grid.spacing[r] * view.scale];
    this.x0 = view.width / 2 - (position[c] - view.center[c]) * view.scale;
    this.y0 = view.height / 2 - (position[r] - view.center[r]) * view.scale;
  }
  x(column) { return this.x0 - (column - this.at[this.c]) * this.step[0]; }
  y(row) { return this.y0 - (row - this.at[this.r]) * this.step[1]; }
  column(x) { return this.at[this.c] - (x - this.x0) / this.step[0]; }
  row(y) { return this.at[this.r] - (y - this.y0) / this.step[1]; }
}

export function letters(grid, plane) {
  const [c, r] = PLANES[plane];
  const ends = (axis) => {
    const d = [0, 1, 2].map((w) => grid.affine[4 * w + axis] / grid.spacing[axis]);
    const order = [0, 1, 2].filter((w) => Math.abs(d[w]) > 0.2).sort((p, q) => Math.abs(d[q]) - Math.abs(d[p]));
    return [0, 1].map((end) => order.map((w) => ENDS[w][d[w] > 0 ? end : 1 - end]).join(""));
  };
  const [left, right] = ends(c), [top, bottom] = ends(r);
  return {left, right, top, bottom};
}

// ---- where slices come from ---------------------------------------------------------------------------------------

class Cache {
  constructor(limit) { this.map = new Map(); this.bytes = 0; this.limit = limit; }
  get(key) {
    const hit = this.map.get(key);
    if (hit) { this.map.delete(key); this.map.set(key, hit); }
    return hit;
  }
  set(key, data) {
    const old = this.map.get(key);
    if (old) this.bytes -= old.byteLength;
    this.map.delete(key);
    this.map.set(key, data);
    this.bytes += data.byteLength;
    for (const [k, d] of this.map) {
      if (this.bytes <= this.limit) break;
      this.map.delete(k);
      this.bytes -= d.byteLength;
    }
  }
}

// Slices from the kernel: the one needed first, then blocks around it.
class KernelSource {
  constructor(model, changed) {
    this.model = model; this.cache = new Cache(CACHE_BYTES); this.asked = new Map(); this.changed = changed; this.heard = false;
    this.onMessage = (msg, buffers) => this.receive(msg, buffers);
    model.on("msg:custom", this.onMessage);
  }
  close() { this.model.off("msg:custom", this.onMessage); }
  receive(msg, buffers) {
    if (msg.type !== "slices") return;
    this.heard = true;
    const part = buffers[0], size = msg.rows * msg.columns * msg.bytes;
    for (let n = 0; n < msg.count; n++) {
      const copy = part.buffer.slice(part.byteOffset + n * size, part.byteOffset + (n + 1) * size);
      const key = `${msg.layer}/${msg.plane}/${msg.first + n}`;
      this.cache.set(key, msg.bytes === 2 ? new Uint16Array(copy) : new Uint8Array(copy));
      this.asked.delete(key);
    }
    this.changed();
  }
  ask(layer, plane, first, last) {
    const now = Date.now(), missing = [];
    for (let index = first; index < last; index++) {
      const key = `${layer}/${plane}/${index}`;
      if (!this.cache.map.has(key) && !(now - this.asked.get(key) < 5000)) { missing.push(index); this.asked.set(key, now); }
    }
    if (missing.length) this.model.send({type: "slices", layer, plane, first: missing[0], last: missing.at(-1) + 1});
  }
  slice(layer, plane, index, size) {
    const data = this.cache.get(`${layer}/${plane}/${index}`);
    if (!data) this.ask(layer, plane, index, index + 1);
    // Blocks of 8 ahead and behind, aligned, so that a scroll asks rarely and early.
    const block = Math.floor(index / 8) * 8;
    for (const first of [block, block + 8, block - 8])
      if (first >= 0 && first < size && this.cache.map.size) this.ask(layer, plane, Math.max(0, first), Math.min(size, first + 8));
    return data;
  }
}

// Slices from the copy that travels with the page.
class ExportSource {
  constructor(packed, changed) {
    this.layers = packed.map((p) => p && {...p, grid: new Grid(p.shape, p.affine), data: null, ready: null});
    this.changed = changed;
    this.cache = new Cache(24e6);
    this.unpackAll();
  }
  close() { this.closed = true; }
  async unpackAll() {
    const todo = [];
    this.layers.forEach((layer) => {
      if (!layer) return;
      const n = layer.shape[0] * layer.shape[1] * layer.shape[2];
      layer.data = layer.bytes === 2 ? new Uint16Array(n) : new Uint8Array(n);
      layer.ready = layer.chunks.map(() => false);
      const middle = (layer.chunks.length - 1) / 2;
      layer.chunks.forEach((_, c) => todo.push([Math.abs(c - middle), layer, c]));
    });
    todo.sort((p, q) => p[0] - q[0]);
    for (const [, layer, c] of todo) {
      if (this.closed) return;
      await this.unpack(layer, c);
      layer.ready[c] = true;
      this.cache = new Cache(24e6);
      this.changed();
      await new Promise((next) => setTimeout(next));
    }
  }
  async unpack(layer, c) {
    const packed = Uint8Array.from(atob(layer.chunks[c]), (ch) => ch.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const [w, h] = layer.shape, wide = layer.bytes === 2, n = planes.length / layer.bytes;
    const out = layer.data.subarray(c * layer.slices * w * h, c * layer.slices * w * h + n);
    for (let p = 0; p < n; ) {
      for (let row = 0; row < h; row++)
        for (let col = 0; col < w; col++, p++) {
          const left = col ? out[p - 1] : row ? out[p - w] : 0, up = row ? out[p - w] : left;
          const z = wide ? planes[p] | (planes[n + p] << 8) : planes[p];
          out[p] = ((left + up) >> 1) + ((z >> 1) ^ -(z & 1));
        }
    }
  }
  slice(number, plane, index) {
    const layer = this.layers[number];
    if (!layer) return null;
    const [w, h, d] = layer.shape, done = (k) => layer.ready[Math.floor(k / layer.slices)];
    if (plane === "axial") return done(index) ? layer.data.subarray(index * w * h, (index + 1) * w * h) : null;
    if (!layer.ready.every(Boolean)) return null;
    const key = `${number}/${plane}/${index}`, known = this.cache.get(key);
    if (known) return known;
    const out = new layer.data.constructor((plane === "coronal" ? w : h) * d);
    for (let k = 0, p = 0; k < d; k++)
      if (plane === "coronal") for (let i = 0, q = (k * h + index) * w; i < w; i++) out[p++] = layer.data[q++];
      else for (let j = 0, q = k * h * w + index; j < h; j++, q += w) out[p++] = layer.data[q];
    this.cache.set(key, out);
    return out;
  }
}

// ---- small helpers ------------------------------------------------------------------------------------------------

function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const rgb = (hex) => [1, 3, 5].map((n) => parseInt(hex.slice(n, n + 2), 16));

export function share(table, threshold) {
  const {edges, above} = table, n = edges.length - 1;
  if (!above[0]) return NaN;
  if (threshold <= edges[0]) return 1;
  if (threshold > edges[n]) return 0;
  const f = ((threshold - edges[0]) / (edges[n] - edges[0])) * n, lo = Math.min(Math.floor(f + 1e-9), n - 1);
  return (above[lo] + (f - lo) * (above[lo + 1] - above[lo])) / above[0];
}

function number(value, unit = "") {
  if (!Number.isFinite(value)) return "no value";
  const size = Math.abs(value), digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return `${value.toFixed(digits).replace("-", "−")}${unit && unit !== "1" ? " " + unit : ""}`;
}

// Boundary of a mask slice as lines between voxels, in (column, row) coordinates, runs joined.
function outline(data, w, h) {
  const path = new Path2D(), on = (c, r) => c >= 0 && r >= 0 && c < w && r < h && data[r * w + c] > 0;
  for (let r = 0; r <= h; r++)
    for (let c = 0, start = -1; c <= w; c++) {
      const edge = c < w && on(c, r) !== on(c, r - 1);
      if (edge && start < 0) start = c;
      if (!edge && start >= 0) { path.moveTo(start - 0.5, r - 0.5); path.lineTo(c - 0.5, r - 0.5); start = -1; }
    }
  for (let c = 0; c <= w; c++)
    for (let r = 0, start = -1; r <= h; r++) {
      const edge = r < h && on(c, r) !== on(c - 1, r);
      if (edge && start < 0) start = r;
      if (!edge && start >= 0) { path.moveTo(c - 0.5, start - 0.5); path.lineTo(c - 0.5, r - 0.5); start = -1; }
    }
  return path;
}

// ---- the viewer ---------------------------------------------------------------------------------------------------

class Viewer {
  constructor(model, el) {
    this.model = model;
    this.layers = model.get("_layers").map((layer, number) => ({...layer, number, grid: new Grid(layer.shape, layer.affine)}));
    this.images = this.layers.filter((layer) => layer.kind === "image");
    this.overlays = this.layers.filter((layer) => layer.kind !== "image");
    this.pan = [0, 0, 0];
    this.tool = "crosshair";
    this.pointer = null;
    this.bitmaps = new Map();
    this.panels = [];
    this.frames = 0;
    this.root = make("div", {className: "ipha-viewer"});
    this.root.setAttribute("role", "group");
    this.root.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's one-key commands stay out of it
    this.root.setAttribute("aria-label", `Slice viewer: ${this.images.map((i) => i.name).join(", ")}`);
    el.append(this.root);
    this.redraw = () => { if (!this.pending) { this.pending = true; requestAnimationFrame(() => { this.pending = false; this.draw(); }); } };
    this.openSource();
    this.toolbar();
    this.stage = make("div", {className: "ipha-stage"});
    this.root.append(this.stage);
    this.overlayBar();
    this.live = make("div", {className: "ipha-hidden"});
    this.live.setAttribute("aria-live", "polite");
    this.live.setAttribute("role", "status");
    this.root.append(this.live, this.help());
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(this.stage);
    this.onChange = (event) => this.modelChanged(event);
    model.on("change", this.onChange);
    for (const scalar of ["x_mm", "y_mm", "z_mm", "level", "width"]) model.on(`change:${scalar}`, this.onScalar ??= () => this.scalars());
    this.layout();
    this.announce();
  }

  close() {
    this.source.close();
    this.kernel?.close();
    this.observer.disconnect();
    this.model.off("change", this.onChange);
    clearTimeout(this.exportTimer);
  }

  // A kernel that answers wins over the exported copy; without either, the still picture stands in.
  openSource() {
    const packed = this.model.get("_export");
    const kernel = new KernelSource(this.model, () => {
      if (this.source !== kernel) { this.source.close(); this.source = kernel; this.bitmaps.clear(); this.still?.remove(); }
      this.redraw();
    });
    this.source = this.kernel = kernel;
    if (packed.length) {
      this.source = new ExportSource(packed, () => this.redraw());
      try { kernel.ask(0, "axial", 0, 1); } catch { /* no kernel */ }
    } else if (this.model.get("_picture")) {
      this.still = make("img", {className: "ipha-still", src: this.model.get("_picture"), alt: this.model.get("description")});
      this.root.append(this.still);
    }
    if (!packed.length && this.model.get("embed_live"))
      this.exportTimer = setTimeout(() => kernel.heard && this.model.send({type: "export"}), 8000);
  }

  // -- model state --
  get(key) { return this.model.get(key); }
  set(changes, late = false) {
    for (const [key, value] of Object.entries(changes)) this.model.set(key, value);
    clearTimeout(this.saving);
    if (late) this.saving = setTimeout(() => this.model.save_changes(), 60);
    else this.model.save_changes();
    this.redraw();
  }
  setPosition(position) {
    const [x_mm, y_mm, z_mm] = position;
    this.set({position_mm: position, x_mm, y_mm, z_mm}, true);
    this.announceSoon();
  }
  setWindow(image, level, width) {
    const windows = this.get("window").map((pair) => [...pair]);
    windows[image] = [level, Math.max(width, 1e-6)];
    this.set({window: windows, active: image, level, width: windows[image][1]}, true);
  }
  scalars() {
    const position = [this.get("x_mm"), this.get("y_mm"), this.get("z_mm")];
    if (position.some((v, a) => v !== this.get("position_mm")[a])) this.setPosition(position);
    const image = this.get("active"), pair = this.get("window")[image];
    if (pair && (pair[0] !== this.get("level") || pair[1] !== this.get("width"))) this.setWindow(image, this.get("level"), this.get("width"));
  }
  modelChanged() {
    const shape = `${this.get("plane")}/${this.get("height_px")}`;
    if (shape !== this.shape) this.layout();
    this.syncControls();
    this.redraw();
  }

  // -- panels --
  planes() { return this.get("plane") === "all" ? Object.keys(PLANES) : [this.get("plane")]; }
  layout() {
    this.shape = `${this.get("plane")}/${this.get("height_px")}`;
    const focused = this.panels.findIndex((panel) => panel.canvas === document.activeElement);
    this.stage.replaceChildren();
    this.panels = [];
    const planes = this.planes();
    this.stage.style.setProperty("--columns", planes.length > 1 ? planes.length : this.images.length === 4 ? 2 : this.images.length);
    for (const image of this.images)
      for (const plane of planes) {
        const canvas = make("canvas", {className: "ipha-slice", tabIndex: 0});
        canvas.setAttribute("role", "application");
        canvas.setAttribute("aria-roledescription", "image slice");
        canvas.setAttribute("aria-keyshortcuts", "ArrowUp ArrowDown Home End Shift+Arrows A C S M [ ] - = 1 2 3 Z F 0 N O X R , . Delete ?");
        canvas.style.height = `${this.get("height_px")}px`;
        const panel = {image, plane, canvas};
        this.panels.push(panel);
        this.listen(panel);
        this.stage.append(canvas);
        this.observer.observe(canvas);
      }
    if (focused >= 0) this.panels[Math.min(focused, this.panels.length - 1)].canvas.focus();
    this.syncControls();
    this.redraw();
  }
  bounds() {
    if (!this._bounds) {
      const points = this.images.flatMap((image) => image.grid.corners());
      this._bounds = [0, 1, 2].map((a) => [Math.min(...points.map((p) => p[a])), Math.max(...points.map((p) => p[a]))]);
    }
    return this._bounds;
  }
  view(panel) {
    const width = panel.canvas.clientWidth, height = panel.canvas.clientHeight, b = this.bounds();
    // One scale in all planes, so that a centimetre is as long in each.
    const fits = this.planes().map((plane) => PLANES[plane]).flatMap(([c, r]) => [width / (b[c][1] - b[c][0]), height / (b[r][1] - b[r][0])]);
    const fit = Math.min(...fits);
    return {width, height, scale: fit * this.get("zoom"), center: b.map(([lo, hi], a) => (lo + hi) / 2 + this.pan[a])};
  }
  // The layer's grid, offset and scale in the source that is open: the export may be coarser.
  shown(layer) {
    const packed = this.source instanceof ExportSource && this.source.layers[layer.number];
    return packed ? {...layer, ...packed, number: layer.number} : layer;
  }
  slabRange(grid, plane, layer) {
    const axis = PLANES[plane][2], index = grid.nearest(this.get("position_mm"), axis);
    const thick = layer.kind !== "mask" && this.get("slab") !== "off";
    const half = thick ? Math.floor(this.get("slab_mm") / grid.spacing[axis] / 2) : 0;
    return [Math.max(index - half, 0), Math.min(index + half, grid.shape[axis] - 1)];
  }
  // Codes of the slice or slab a layer shows in a plane; null while on its way.
  data(shown, plane, thin = false) {
    const axis = PLANES[plane][2], size = shown.grid.shape[axis];
    const inside = shown.grid.index(this.get("position_mm"))[axis];
    if (shown.kind !== "image" && (inside < -0.5 || inside > size - 0.5)) return null;
    const [first, last] = thin ? Array(2).fill(shown.grid.nearest(this.get("position_mm"), axis)) : this.slabRange(shown.grid, plane, shown);
    if (first === last) return this.source.slice(shown.number, plane, first, size);
    const key = `slab/${shown.number}/${plane}/${first}/${last}/${this.get("slab")}`, known = this.source.cache.get(key);
    if (known) return known;
    const parts = [];
    for (let index = first; index <= last; index++) parts.push(this.source.slice(shown.number, plane, index, size));
    if (parts.some((p) => !p)) return null;
    const out = parts[0].slice(), low = this.get("slab") === "min";
    for (const part of parts.slice(1))
      for (let p = 0; p < out.length; p++) {
        const v = part[p];
        if (v && (low ? v < out[p] || !out[p] : v > out[p])) out[p] = v;
      }
    this.source.cache.set(key, out);
    return out;
  }

  // -- drawing --
  draw() {
    for (const panel of this.panels) this.drawPanel(panel);
    if (this.firstImage && !this.drawn) { this.drawn = true; this.still?.remove(); this.root.dataset.ready = performance.now().toFixed(0); this.announce(); }
    this.frames++;
  }
  drawPanel(panel) {
    const {canvas, plane, image} = panel, view = this.view(panel), ratio = window.devicePixelRatio || 1;
    if (!view.width || !view.height) return;
    const [pw, ph] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (canvas.width !== pw || canvas.height !== ph) { canvas.width = pw; canvas.height = ph; }
    const ctx = (panel.ctx ??= canvas.getContext("2d", {alpha: false}));
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = "#000";
    ctx.fillRect(0, 0, view.width, view.height);
    const position = this.get("position_mm"), shown = this.shown(image), data = this.data(shown, plane);
    panel.place = new Placement(shown.grid, plane, position, view);
    panel.data = data;
    if (data) {
      const [level, width] = this.get("window")[image.order];
      this.blit(ctx, panel.place, shown, plane, data, `${level}/${width}`, () => this.grayLut(shown, level, width), this.get("interpolate"));
      this.firstImage = true;
      canvas.dataset.index = shown.grid.nearest(position, PLANES[plane][2]);
    }
    const bars = [];
    for (const layer of this.overlays) {
      if (layer.image != null && layer.image !== image.order) continue;
      if (!this.get("visible")[layer.number - this.images.length]) continue;
      this.drawOverlay(ctx, layer, plane, position, view, bars);
    }
    this.drawMarks(ctx, panel, view, position);
    this.drawText(ctx, panel, view, shown, position, data);
    if (plane === this.planes().at(-1)) bars.forEach((layer, n) => this.drawBar(ctx, layer, view, n));
    canvas.setAttribute("aria-label", this.describePanel(panel));
  }
  grayLut(layer, level, width) {
    const lut = new Uint32Array(layer.bytes === 2 ? 65536 : 256), low = level - width / 2;
    for (let q = 0; q < lut.length; q++) {
      const g = q ? Math.max(0, Math.min(255, Math.round(((layer.offset + layer.scale * (q - 1) - low) / width) * 255))) : 0;
      lut[q] = 0xff000000 | (g << 16) | (g << 8) | g;
    }
    return lut;
  }
  mapLut(layer) {
    const lut = new Uint32Array(layer.bytes === 2 ? 65536 : 256), [lo, hi] = layer.limits, colours = layer.colours;
    const cut = layer.name === this.thresholded()?.name ? this.get("threshold") : null;
    for (let q = 1; q < lut.length; q++) {
      const value = layer.offset + layer.scale * (q - 1);
      if (cut != null && value < cut) continue;
      const n = 6 * Math.max(0, Math.min(255, Math.round(((value - lo) / (hi - lo)) * 255)));
      lut[q] = 0xff000000 | (parseInt(colours.slice(n + 4, n + 6), 16) << 16) | (parseInt(colours.slice(n + 2, n + 4), 16) << 8) | parseInt(colours.slice(n, n + 2), 16);
    }
    return lut;
  }
  thresholded() { return this.overlays.find((layer) => layer.kind === "map"); }
  // Codes -> colours -> a small canvas kept until the slice or colours change -> the panel.
  blit(ctx, place, layer, plane, data, look, lutOf, smooth) {
    const [c, r] = PLANES[plane], w = layer.grid.shape[c], h = layer.grid.shape[r], slot = `${layer.number}/${plane}`;
    let kept = this.bitmaps.get(slot);
    if (!kept || kept.canvas.width !== w || kept.canvas.height !== h) {
      const canvas = make("canvas", {width: w, height: h}), own = canvas.getContext("2d");
      kept = {canvas, own, image: own.createImageData(w, h)};
      kept.pixels = new Uint32Array(kept.image.data.buffer);
      this.bitmaps.set(slot, kept);
    }
    if (kept.data !== data || kept.look !== look) {
      const lutKey = `lut/${layer.number}/${layer.bytes}/${look}`;
      if (this[`lut${layer.number}`]?.key !== lutKey) this[`lut${layer.number}`] = {key: lutKey, lut: lutOf()};
      const lut = this[`lut${layer.number}`].lut, pixels = kept.pixels;
      for (let p = 0, q = data.length - 1; q >= 0; p++, q--) pixels[p] = lut[data[q]];
      kept.own.putImageData(kept.image, 0, 0);
      kept.data = data;
      kept.look = look;
    }
    ctx.imageSmoothingEnabled = smooth;
    ctx.imageSmoothingQuality = "medium";
    const x = place.x(w - 0.5), y = place.y(h - 0.5);
    ctx.drawImage(kept.canvas, x, y, place.x(-0.5) - x, place.y(-0.5) - y);
  }
  drawOverlay(ctx, layer, plane, position, view, bars) {
    const shown = this.shown(layer), data = this.data(shown, plane), place = new Placement(shown.grid, plane, position, view);
    const opacity = this.get("opacity");
    if (layer.kind === "map") bars.push(layer);
    if (!data) return;
    ctx.save();
    if (layer.kind === "map") {
      ctx.globalAlpha = opacity;
      this.blit(ctx, place, shown, plane, data, `${this.get("threshold")}`, () => this.mapLut(shown), false);
    } else if (this.get("mask_style") === "fill") {
      const [red, green, blue] = rgb(layer.colour);
      ctx.globalAlpha = opacity;
      this.blit(ctx, place, shown, plane, data, "fill", () => Uint32Array.of(0, ...Array(255).fill(0xff000000 | (blue << 16) | (green << 8) | red)), false);
    } else {
      const [c, r] = PLANES[plane], slot = `path/${layer.number}/${plane}`;
      let kept = this.bitmaps.get(slot);
      if (kept?.data !== data) this.bitmaps.set(slot, (kept = {data, path: outline(data, shown.grid.shape[c], shown.grid.shape[r])}));
      const path = new Path2D();
      path.addPath(kept.path, new DOMMatrix([-place.step[0], 0, 0, -place.step[1], place.x(0), place.y(0)]));
      ctx.globalAlpha = Math.min(1, 2 * opacity);
      ctx.strokeStyle = layer.colour;
      ctx.lineWidth = 1.5;
      ctx.stroke(path);
    }
    ctx.restore();
  }
  drawMarks(ctx, panel, view, position) {
    const [c, r, n] = PLANES[panel.plane], px = (p, a, size) => size / 2 - (p[a] - view.center[a]) * view.scale;
    this.get("_nodules").forEach((nodule, order) => {
      const off = Math.abs(nodule.at[n] - position[n]), radius = Math.max(nodule.diameter / 2, panel.image.grid.spacing[n] / 2);
      if (off > radius) return;
      const x = px(nodule.at, c, view.width), y = px(nodule.at, r, view.height);
      ctx.strokeStyle = "#f0e442";
      ctx.lineWidth = 1.5;
      ctx.beginPath();
      ctx.arc(x, y, Math.max(5, (nodule.diameter / 2) * view.scale + 3), 0, 7);
      ctx.stroke();
      this.write(ctx, String(order + 1), x + 7 + (nodule.diameter / 2) * view.scale, y - 6, "left", "#f0e442");
    });
    if (this.get("crosshair")) {
      const x = Math.round(panel.place.x0) + 0.5, y = Math.round(panel.place.y0) + 0.5, gap = 8;
      ctx.strokeStyle = "rgba(86, 180, 233, 0.75)";
      ctx.lineWidth = 1;
      ctx.beginPath();
      for (const [x1, y1, x2, y2] of [[0, y, x - gap, y], [x + gap, y, view.width, y], [x, 0, x, y - gap], [x, y + gap, x, view.height]]) { ctx.moveTo(x1, y1); ctx.lineTo(x2, y2); }
      ctx.stroke();
    }
    for (const roi of this.drawing?.panel === panel ? [...this.get("_rois"), this.drawing.roi] : this.get("_rois")) this.drawRoi(ctx, panel, view, position, roi, px);
  }
  drawRoi(ctx, panel, view, position, roi, px) {
    const [c, r, n] = PLANES[panel.plane], grid = this.shown(panel.image).grid;
    if (roi.image !== panel.image.order || roi.plane !== panel.plane || grid.nearest(roi.center_mm, n) !== grid.nearest(position, n)) return;
    const x = px(roi.center_mm, c, view.width), y = px(roi.center_mm, r, view.height), [ru, rv] = roi.radii_mm.map((mm) => mm * view.scale);
    ctx.strokeStyle = "#f0e442";
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.ellipse(x, y, ru, rv, 0, 0, 7);
    ctx.stroke();
    const s = this.roiStatistics(panel, roi);
    if (!s) return;
    const right = x + ru + 110 < view.width, at = right ? x + ru + 6 : x - ru - 6, align = right ? "left" : "right", unit = panel.image.unit;
    this.write(ctx, `mean ${number(s.mean, unit)}`, at, y - 7, align, "#f0e442");
    this.write(ctx, `SD ${number(s.sd, unit)}`, at, y + 8, align, "#f0e442");
    this.write(ctx, `n ${s.n}  ${number(s.area)} mm²`, at, y + 23, align, "#f0e442");
  }
  roiStatistics(panel, roi) {
    const shown = this.shown(panel.image), [c, r] = PLANES[panel.plane], data = this.data(shown, panel.plane, true);
    if (!data) return null;
    const at = shown.grid.index(roi.center_mm), w = shown.grid.shape[c], h = shown.grid.shape[r];
    let n = 0, sum = 0, squares = 0;
    const [du, dv] = [shown.grid.spacing[c], shown.grid.spacing[r]], [ru, rv] = roi.radii_mm;
    for (let row = Math.max(0, Math.ceil(at[r] - rv / dv)); row <= Math.min(h - 1, at[r] + rv / dv); row++)
      for (let col = Math.max(0, Math.ceil(at[c] - ru / du)); col <= Math.min(w - 1, at[c] + ru / du); col++) {
        const q = data[row * w + col];
        if (!q || (((col - at[c]) * du) / ru) ** 2 + (((row - at[r]) * dv) / rv) ** 2 > 1) continue;
        const value = shown.scale * (q - 1);
        n++; sum += value; squares += value * value;
      }
    return {n, area: n * du * dv, mean: shown.offset + sum / n, sd: n > 1 ? Math.sqrt(Math.max(0, squares - (sum * sum) / n) / (n - 1)) : NaN};
  }
  write(ctx, text, x, y, align = "left", colour = "#f2f2f2", size = 12) {
    ctx.font = `${size}px system-ui, "Segoe UI", "DejaVu Sans", sans-serif`;
    ctx.textAlign = align;
    ctx.textBaseline = "alphabetic";
    ctx.lineWidth = 3;
    ctx.lineJoin = "round";
    ctx.strokeStyle = "rgba(0, 0, 0, 0.8)";
    ctx.strokeText(text, x, y);
    ctx.fillStyle = colour;
    ctx.fillText(text, x, y);
  }
  fitted(ctx, text, width) {
    ctx.font = '12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
    if (ctx.measureText(text).width <= width) return text;
    while (text.length > 1 && ctx.measureText(text + "…").width > width) text = text.slice(0, -1);
    return text + "…";
  }
  drawText(ctx, panel, view, shown, position, data) {
    const {image, plane} = panel, [c, r, n] = PLANES[plane], m = 8, {width: W, height: H} = view;
    const side = letters(shown.grid, plane), [level, width] = this.get("window")[image.order];
    panel.canvas.dataset.letters = [side.left, side.right, side.top, side.bottom].join(" ");
    this.write(ctx, side.left, m, H / 2 + 5, "left", "#ffd27f", 14);
    this.write(ctx, side.right, W - m, H / 2 + 5, "right", "#ffd27f", 14);
    this.write(ctx, side.top, W / 2, 18, "center", "#ffd27f", 14);
    this.write(ctx, side.bottom, W / 2, H - m, "center", "#ffd27f", 14);
    this.write(ctx, this.fitted(ctx, image.title, W / 2 - 24), m, 18);
    let line = 33;
    const slab = this.get("slab");
    if (slab !== "off") {
      const [a, b] = this.slabRange(shown.grid, plane, shown);
      this.write(ctx, `${slab === "max" ? "MIP" : "minIP"} ${number((b - a + 1) * shown.grid.spacing[n])} mm`, m, line);
      line += 15;
    }
    if (shown.loss) for (const part of shown.loss.split(", ")) { this.write(ctx, this.fitted(ctx, part, W - 2 * m), m, line, "left", "#ffb3a7", 11); line += 14; }
    const away = shown.grid.beyond(position, n);
    if (away > 0) this.write(ctx, this.fitted(ctx, `nearest slice, ${number(away)} mm away`, W - 2 * m), m, line, "left", "#ffb3a7", 11);
    if (!data) this.write(ctx, "loading…", W / 2, H / 2 + 30, "center");
    this.write(ctx, `L ${number(level)}  W ${number(width, image.unit)}`, W - m, 18, "right");
    const index = shown.grid.nearest(position, n), name = "xyz"[n];
    this.write(ctx, `${name} ${MM(position[n])} mm   ${index + 1}/${shown.grid.shape[n]}`, m, H - m);
    const readout = this.readout(panel, shown, data);
    const bar = this.scaleBar(ctx, view, W - m, H - m), text = this.fitted(ctx, readout, W - 2 * m);
    if (text) this.write(ctx, text, m, H - m - (ctx.measureText(text).width > W - 3 * m - bar ? 32 : 16));
  }
  // Value under the pointer (or, while the pointer is elsewhere, at the same millimetres of a linked image).
  readout(panel, shown, data) {
    const [c, r, n] = PLANES[panel.plane];
    let world = this.pointer?.world;
    const here = this.pointer?.panel === panel;
    if (!world || (this.pointer.panel.plane !== panel.plane)) world = this.get("position_mm");
    if (!data) return "";
    const index = shown.grid.index(world).map((v) => Math.floor(v + 0.5));
    const w = shown.grid.shape[c], h = shown.grid.shape[r];
    if (index[c] < 0 || index[r] < 0 || index[c] >= w || index[r] >= h) { panel.canvas.dataset.value = ""; return ""; }
    const q = data[index[r] * w + index[c]], value = q ? shown.offset + shown.scale * (q - 1) : NaN;
    panel.canvas.dataset.value = value;
    const place = here ? `(${world.map(MM).join(", ")}) mm: ` : "";
    return place + number(value, panel.image.unit) + this.overlayReadout(panel, world);
  }
  overlayReadout(panel, world) {
    let text = "";
    for (const layer of this.overlays) {
      if (layer.kind !== "map" || !this.get("visible")[layer.number - this.images.length]) continue;
      if (layer.image != null && layer.image !== panel.image.order) continue;
      const shown = this.shown(layer), [c, r] = PLANES[panel.plane], data = this.data(shown, panel.plane);
      const index = shown.grid.index(world).map((v) => Math.floor(v + 0.5));
      const w = shown.grid.shape[c], h = shown.grid.shape[r];
      const q = data && index[c] >= 0 && index[r] >= 0 && index[c] < w && index[r] < h ? data[index[r] * w + index[c]] : 0;
      if (q) text += `;  ${layer.name} ${number(shown.offset + shown.scale * (q - 1), layer.unit)}`;
    }
    return text;
  }
  scaleBar(ctx, view, x, y) {
    const lengths = [1, 2, 5, 10, 20, 50, 100], mm = lengths.findLast((l) => l * view.scale < view.width / 4) ?? 1;
    const w = mm * view.scale;
    ctx.fillStyle = "#000";
    ctx.fillRect(x - w - 1, y - 4, w + 2, 4);
    ctx.fillStyle = "#f2f2f2";
    ctx.fillRect(x - w, y - 3, w, 2);
    this.write(ctx, mm >= 10 ? `${mm / 10} cm` : `${mm} mm`, x, y - 8, "right", "#f2f2f2", 11);
    return Math.max(w, 40);
  }
  drawBar(ctx, layer, view, order) {
    const h = Math.min(160, view.height * 0.3), w = 10, x = view.width - 26 - w - order * 78, y = 44, [lo, hi] = layer.limits;
    for (let p = 0; p < h; p++) {
      const n = 6 * Math.round((1 - p / (h - 1)) * 255);
      ctx.fillStyle = "#" + layer.colours.slice(n, n + 6);
      ctx.fillRect(x, y + p, w, 1.5);
    }
    ctx.strokeStyle = "#f2f2f2";
    ctx.lineWidth = 1;
    ctx.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
    this.write(ctx, number(hi), x - 5, y + 9, "right", "#f2f2f2", 11);
    this.write(ctx, number(lo), x - 5, y + h, "right", "#f2f2f2", 11);
    this.write(ctx, this.fitted(ctx, layer.name + (layer.unit && layer.unit !== "1" ? ` [${layer.unit}]` : ""), view.width / 3), x + w, y + h + 15, "right", "#f2f2f2", 11);
    if (layer.name === this.thresholded().name && this.get("threshold") != null) {
      const at = y + (1 - Math.max(0, Math.min(1, (this.get("threshold") - lo) / (hi - lo)))) * h;
      ctx.fillStyle = "#fff";
      ctx.fillRect(x - 4, at - 1, w + 8, 2);
    }
  }

  // -- pointer and keys --
  worldAt(panel, event) {
    const box = panel.canvas.getBoundingClientRect(), grid = this.shown(panel.image).grid, [c, r, n] = PLANES[panel.plane];
    const index = grid.index(this.get("position_mm"));
    // The box is scaled where the page is (slides), the canvas's own pixels are not.
    index[c] = panel.place.column((event.clientX - box.left) * panel.canvas.clientWidth / box.width);
    index[r] = panel.place.row((event.clientY - box.top) * panel.canvas.clientHeight / box.height);
    const world = grid.world(index);
    world[n] = grid.world(index.map((v, a) => (a === n ? Math.floor(v + 0.5) : v)))[n];
    return world;
  }
  step(panel, count, axis = PLANES[panel.plane][2]) {
    const grid = panel.image.grid, index = grid.index(this.get("position_mm"));
    index[axis] = Math.min(Math.max(Math.floor(index[axis] + 0.5) + count, 0), grid.shape[axis] - 1);
    this.setPosition(grid.world(index));
  }
  listen(panel) {
    const {canvas} = panel;
    const activate = () => this.get("active") !== panel.image.order && this.setWindow(panel.image.order, ...this.get("window")[panel.image.order]);
    let scrolled = 0;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) return this.set({zoom: Math.min(20, Math.max(0.2, this.get("zoom") * Math.exp(-event.deltaY / 400)))}, true);
      scrolled += event.deltaMode ? event.deltaY * 40 : event.deltaY;
      const notches = Math.abs(event.deltaY) >= 50 ? Math.sign(event.deltaY) : Math.trunc(scrolled / 40);
      if (notches) { scrolled = 0; this.step(panel, -notches); }
    }, {passive: false});
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => { this.pan = [0, 0, 0]; this.set({zoom: 1}); });
    canvas.addEventListener("focus", activate);
    canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      canvas.focus();
      try { canvas.setPointerCapture(event.pointerId); } catch { /* a synthetic pointer */ }
      const how = event.button === 2 || event.shiftKey ? "window" : event.button === 1 ? "pan" : this.tool;
      this.drag = {panel, how, x: event.clientX, y: event.clientY, window: this.get("window")[panel.image.order], pan: [...this.pan], from: this.worldAt(panel, event)};
      if (how === "crosshair") this.setPosition(this.drag.from);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!panel.place) return;
      this.pointer = {panel, world: this.worldAt(panel, event)};
      if (this.drag?.panel === panel) this.dragged(panel, event);
      this.redraw();
    });
    const end = () => {
      if (this.drawing) {
        if (Math.min(...this.drawing.roi.radii_mm) > 0.2) this.set({_rois: [...this.get("_rois"), this.drawing.roi]});
        this.drawing = null;
        this.announceSoon();
      }
      this.drag = null;
      this.redraw();
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.redraw(); });
    canvas.addEventListener("keydown", (event) => this.key(panel, event));
  }
  dragged(panel, event) {
    const {how, x, y, window: [level, width], pan, from} = this.drag, dx = event.clientX - x, dy = event.clientY - y;
    const [c, r] = PLANES[panel.plane], view = this.view(panel);
    if (how === "crosshair") this.setPosition(this.worldAt(panel, event));
    else if (how === "window") {
      const base = panel.image.presets[0][2];
      this.setWindow(panel.image.order, level + (dy / 300) * base, Math.max(base / 1000, width + (dx / 300) * base));
    } else if (how === "pan") {
      this.pan = [...pan];
      this.pan[c] += dx / view.scale;
      this.pan[r] += dy / view.scale;
    } else if (how === "roi") this.drawing = {panel, roi: this.ellipse(panel, from, this.worldAt(panel, event))};
  }
  ellipse(panel, from, to) {
    const [c, r] = PLANES[panel.plane];
    return {image: panel.image.order, plane: panel.plane, center_mm: from.map((v, a) => (v + to[a]) / 2), radii_mm: [Math.abs(to[c] - from[c]) / 2, Math.abs(to[r] - from[r]) / 2]};
  }
  key(panel, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [c, r, n] = PLANES[panel.plane], image = panel.image.order, [level, width] = this.get("window")[image];
    const size = panel.image.grid.shape[n], base = panel.image.presets[0][2];
    const move = {ArrowUp: [1, r], ArrowDown: [-1, r], ArrowLeft: [1, c], ArrowRight: [-1, c]}[event.key];
    const preset = /^[1-9]$/.test(event.key) && panel.image.presets[event.key - 1];
    const action = {
      ArrowUp: () => this.step(panel, 1), ArrowDown: () => this.step(panel, -1), ArrowRight: () => this.step(panel, 1), ArrowLeft: () => this.step(panel, -1),
      PageUp: () => this.step(panel, 10), PageDown: () => this.step(panel, -10), Home: () => this.step(panel, -size), End: () => this.step(panel, size),
      a: () => this.set({plane: "axial"}), c: () => this.set({plane: "coronal"}), s: () => this.set({plane: "sagittal"}), m: () => this.set({plane: "all"}),
      "[": () => this.setWindow(image, level, width / 1.1), "]": () => this.setWindow(image, level, width * 1.1),
      "-": () => this.setWindow(image, level - base / 50, width), "=": () => this.setWindow(image, level + base / 50, width),
      z: () => this.set({zoom: Math.min(20, this.get("zoom") * 1.2)}), Z: () => this.set({zoom: Math.max(0.2, this.get("zoom") / 1.2)}),
      o: () => this.set({visible: this.get("visible").map((_, __, all) => !all.some(Boolean))}), x: () => this.set({crosshair: !this.get("crosshair")}),
      r: () => this.keyRoi(panel), Delete: () => this.set({_rois: this.get("_rois").slice(0, -1)}), Escape: () => { this.drawing = this.drag = null; this.redraw(); },
      ".": () => this.resizeRoi(1.1), ",": () => this.resizeRoi(1 / 1.1), n: () => this.nextNodule(1), N: () => this.nextNodule(-1),
      f: () => this.centre(panel), 0: () => { this.pan = [0, 0, 0]; this.set({zoom: 1}); },
      "?": () => { this.helpBox.open = !this.helpBox.open; },
    };
    const act = event.shiftKey && move ? () => this.step(panel, ...move) : preset ? () => this.setWindow(image, preset[1], preset[2]) : action[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
    this.announceSoon();
  }
  resizeRoi(factor) {
    const rois = this.get("_rois"), last = rois.at(-1);
    if (last) this.set({_rois: [...rois.slice(0, -1), {...last, radii_mm: last.radii_mm.map((mm) => mm * factor)}]});
  }
  nextNodule(step) {
    const nodules = this.get("_nodules");
    if (!nodules.length) return;
    this.nodule = this.nodule == null ? (step > 0 ? 0 : nodules.length - 1) : (this.nodule + step + nodules.length) % nodules.length;
    this.setPosition(nodules[this.nodule].at);
  }
  centre(panel) {
    const middle = this.bounds().map(([lo, hi]) => (lo + hi) / 2), position = this.get("position_mm");
    for (const axis of PLANES[panel.plane].slice(0, 2)) this.pan[axis] = position[axis] - middle[axis];
    this.redraw();
  }
  keyRoi(panel) {
    const position = this.get("position_mm");
    this.set({_rois: [...this.get("_rois"), {image: panel.image.order, plane: panel.plane, center_mm: [...position], radii_mm: [10, 10]}]});
  }

  // -- controls around the image --
  toolbar() {
    this.sync = [];
    const select = (label, options, get, set) => {
      const box = make("select", {onchange: () => set(box.value)}, ...options().map(([value, text]) => make("option", {value, textContent: text})));
      this.sync.push(() => { box.value = get(); });
      return make("label", {}, make("span", {textContent: label}), box);
    };
    const active = () => Math.min(this.get("active"), this.images.length - 1);
    const field = (label, index) => {
      const input = make("input", {type: "number", step: "any", onchange: () => {
        const pair = [...this.get("window")[active()]];
        if (Number.isFinite(input.valueAsNumber)) pair[index] = input.valueAsNumber;
        this.setWindow(active(), ...pair);
      }});
      this.sync.push(() => { if (document.activeElement !== input) input.value = +this.get("window")[active()][index].toPrecision(5); });
      return make("label", {}, make("span", {textContent: label}), input);
    };
    const preset = make("select", {onchange: () => {
      const found = this.images[active()].presets[preset.value];
      if (found) this.setWindow(active(), found[1], found[2]);
    }});
    this.sync.push(() => {
      const image = this.images[active()], [level, width] = this.get("window")[active()];
      preset.replaceChildren(make("option", {value: -1, textContent: "own"}), ...image.presets.map(([name], n) => make("option", {value: n, textContent: name})));
      preset.value = image.presets.findIndex(([, l, w]) => Math.abs(l - level) < 1e-6 * Math.abs(w) && Math.abs(w - width) < 1e-6 * Math.abs(w));
      windowName.textContent = this.images.length > 1 ? `Window of ${image.name}` : "Window";
    });
    const windowName = make("span", {textContent: "Window"});
    const slab = make("input", {type: "number", min: 0, step: 1, onchange: () => this.set({slab_mm: Math.max(0, slab.valueAsNumber || 0)})});
    this.sync.push(() => { slab.value = this.get("slab_mm"); slab.parentNode.hidden = this.get("slab") === "off"; });
    const bar = make("div", {className: "ipha-bar"},
      select("Plane", () => [["axial", "axial"], ["coronal", "coronal"], ["sagittal", "sagittal"], ["all", "all three"]], () => this.get("plane"), (plane) => this.set({plane})),
      make("label", {}, windowName, preset), field("Level", 0), field("Width", 1),
      select("Slab", () => [["off", "off"], ["max", "maximum"], ["min", "minimum"]], () => this.get("slab"), (slab) => this.set({slab})),
      make("label", {}, make("span", {textContent: "mm thick"}), slab),
      select("Drag", () => [["crosshair", "crosshair"], ["window", "window"], ["pan", "pan"], ["roi", "region"]], () => this.tool, (tool) => { this.tool = tool; }));
    const remove = make("button", {type: "button", textContent: "Remove region", onclick: () => this.set({_rois: this.get("_rois").slice(0, -1)})});
    this.sync.push(() => { remove.hidden = !this.get("_rois").length; });
    bar.append(remove);
    bar.setAttribute("role", "toolbar");
    bar.setAttribute("aria-label", "View");
    this.root.append(bar);
  }
  overlayBar() {
    if (!this.overlays.length) return;
    const bar = make("div", {className: "ipha-bar"});
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Overlays");
    this.overlays.forEach((layer, n) => {
      const box = make("input", {type: "checkbox", onchange: () => this.set({visible: this.get("visible").map((v, m) => (m === n ? box.checked : v))})});
      const swatch = make("span", {className: "ipha-swatch"});
      swatch.style.background = layer.colour ?? `linear-gradient(90deg, #${layer.colours.slice(0, 6)}, #${layer.colours.slice(762, 768)}, #${layer.colours.slice(-6)})`;
      this.sync.push(() => { box.checked = this.get("visible")[n]; });
      bar.append(make("label", {}, box, swatch, make("span", {textContent: layer.name})));
    });
    const opacity = make("input", {type: "range", min: 0, max: 1, step: 0.01, oninput: () => this.set({opacity: opacity.valueAsNumber}, true)});
    this.sync.push(() => { opacity.value = this.get("opacity"); });
    bar.append(make("label", {}, make("span", {textContent: "Opacity"}), opacity));
    if (this.overlays.some((layer) => layer.kind === "mask")) {
      const style = make("select", {onchange: () => this.set({mask_style: style.value})}, ...["outline", "fill"].map((v) => make("option", {value: v, textContent: v})));
      this.sync.push(() => { style.value = this.get("mask_style"); });
      bar.append(make("label", {}, make("span", {textContent: "Masks"}), style));
    }
    const map = this.thresholded();
    if (map) {
      const {edges} = map.share, slider = make("input", {type: "range", className: "ipha-threshold", min: edges[0], max: edges.at(-1), step: (edges.at(-1) - edges[0]) / (edges.length - 1), oninput: () => { this.set({threshold: slider.valueAsNumber}, true); this.syncControls(); }});
      const out = make("output");
      this.sync.push(() => {
        const t = this.get("threshold");
        slider.value = t ?? edges[0];
        out.textContent = this.fractionText(map);
        slider.setAttribute("aria-valuetext", out.textContent);
      });
      bar.append(make("label", {}, make("span", {textContent: `Threshold of ${map.name}`}), slider), out);
    }
    this.root.append(bar);
  }
  fractionText(map) {
    const t = this.get("threshold") ?? map.share.edges[0];
    return `${(100 * share(map.share, t)).toFixed(1)} % of ${map.share.region} at or above ${number(t, map.unit)}`;
  }
  syncControls() { for (const update of this.sync ?? []) update(); }
  help() {
    const keys = [["↑ ↓ or wheel", "next or previous slice (PageUp, PageDown: ten; Home, End: first, last)"], ["Shift + arrows", "move the crosshair in the plane"],
      ["a, c, s, m", "axial, coronal, sagittal, all three"], ["[ ] and - =", "window narrower, wider; level down, up; right-drag or Shift-drag does both"], ["1 – 9", "window presets"],
      ["z, Z, Ctrl + wheel", "zoom in, out; middle-drag pans"], ["f", "centre the picture on the crosshair"], ["0 or double click", "whole picture again"],
      ["n, N", "next, previous nodule"], ["o, x", "overlays, crosshair on or off"], ["r", "region of 20 mm at the crosshair"], [", . Delete", "last region smaller, larger; remove it"]];
    const list = make("dl", {}, ...keys.flatMap(([key, what]) => [make("dt", {textContent: key}), make("dd", {textContent: what})]));
    this.helpBox = make("details", {className: "ipha-help"}, make("summary", {textContent: "Keys and mouse"}), list);
    return this.helpBox;
  }

  // -- words for those who listen --
  describePanel(panel) {
    const {image, plane} = panel, n = PLANES[plane][2], shown = this.shown(image), position = this.get("position_mm");
    const [level, width] = this.get("window")[image.order], side = letters(shown.grid, plane);
    return `${image.name}, ${plane} slice ${shown.grid.nearest(position, n) + 1} of ${shown.grid.shape[n]} at ${"xyz"[n]} ${position[n].toFixed(1)} mm, ` +
      `patient's ${side.left} on the left of the picture; window level ${number(level)}, width ${number(width, image.unit)}` + (shown.loss ? `; ${shown.loss}` : "") +
      (shown.grid.beyond(position, n) > 0 ? `; nearest slice, ${number(shown.grid.beyond(position, n))} mm away` : "");
  }
  announceSoon() { clearTimeout(this.speaking); this.speaking = setTimeout(() => this.announce(), 500); }
  announce() {
    const parts = this.panels.filter((panel) => panel.plane === this.planes()[0]).map((panel) => {
      const value = panel.canvas.dataset.value;
      return this.describePanel(panel) + (value ? `; value at the crosshair ${number(+value, panel.image.unit)}` : "");
    });
    const names = this.overlays.filter((_, n) => this.get("visible")[n]).map((layer) => layer.name);
    if (names.length) parts.push(`overlays: ${names.join(", ")}`);
    const map = this.thresholded();
    if (map) parts.push(this.fractionText(map));
    const n = this.get("_nodules").length, drawn = this.get("_rois").length;
    if (n) parts.push(`${n} nodules marked`);
    if (drawn) parts.push(`${drawn} regions drawn`);
    this.live.textContent = parts.join(". ") + ".";
  }
}

function render({model, el}) {
  const viewer = new Viewer(model, el);
  el.iphaViewer = viewer;
  return () => viewer.close();
}

export default {render};
