// Pixels of the panels: slices through lookup tables, overlays, marks and texts.
import {make} from "./dom.js";
import {PLANES, Placement, outline} from "./geometry.js";
import {awayText, letters, number, place, placeText, scaleBar, slabText, windowText} from "./marks.js";
import {describePanel, readout} from "./words.js";

const INK = "#f2f2f2", LETTER = "#ffd27f", MARK = "#f0e442", WARNING = "#ffb3a7", MARGIN = 8, NARROW_PX = 300;
const FACE = 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

const rgb = (hex) => [1, 3, 5].map((n) => parseInt(hex.slice(n, n + 2), 16));
const opaque = (red, green, blue) => 0xff000000 | (blue << 16) | (green << 8) | red;

function write(ctx, text, x, y, align = "left", colour = INK, size = 12) {
  ctx.font = `${size}px ${FACE}`;
  ctx.textAlign = align;
  ctx.textBaseline = "alphabetic";
  ctx.lineWidth = 3;
  ctx.lineJoin = "round";
  ctx.strokeStyle = "rgba(0, 0, 0, 0.8)";
  ctx.strokeText(text, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
}

function fitted(ctx, text, width) {
  ctx.font = `12px ${FACE}`;
  if (ctx.measureText(text).width <= width) return text;
  while (text.length > 1 && ctx.measureText(text + "…").width > width) text = text.slice(0, -1);
  return text + "…";
}

function grayLut(layer, level, width, inverted) {
  const lut = new Uint32Array(layer.bytes === 2 ? 65536 : 256), low = level - width / 2;
  for (let q = 0; q < lut.length; q++) {
    const g = q ? Math.max(0, Math.min(255, Math.round(((layer.offset + layer.scale * (q - 1) - low) / width) * 255))) : 0;
    lut[q] = inverted && q ? opaque(255 - g, 255 - g, 255 - g) : opaque(g, g, g);
  }
  return lut;
}

function mapLut(layer, cut, colours) {
  const lut = new Uint32Array(layer.bytes === 2 ? 65536 : 256), [lo, hi] = layer.limits;
  const channel = (n) => parseInt(colours.slice(n, n + 2), 16);
  for (let q = 1; q < lut.length; q++) {
    const value = layer.offset + layer.scale * (q - 1);
    if (cut != null && value < cut) continue;
    const n = 6 * Math.max(0, Math.min(255, Math.round(((value - lo) / (hi - lo)) * 255)));
    lut[q] = opaque(channel(n), channel(n + 2), channel(n + 4));
  }
  return lut;
}

export class Painter {
  constructor(scene) {
    this.scene = scene;
    this.bitmaps = new Map(); // of each layer and plane, the slice in colours, or a mask's border
    this.luts = new Map();
  }
  forget() { this.bitmaps.clear(); }

  // `pointer` and `drawing` are what the hand is at: a place, and a region on its way. Returns whether the image was there.
  panel(panel, pointer, drawing) {
    const {scene} = this, {canvas, plane, image} = panel, {state} = scene, view = scene.view(panel);
    if (!view.width || !view.height) return false;
    const ctx = this.cleared(panel, view), position = state.positionOf(image.order), shown = scene.shown(image);
    const data = (panel.data = scene.data(shown, plane, position));
    panel.place = new Placement(shown.grid, plane, position, view);
    if (data) {
      const [level, width] = state.get("window")[image.order];
      this.blit(ctx, panel.place, shown, plane, data, `${level}/${width}/${state.get("invert")}`, () => grayLut(shown, level, width, state.get("invert")), state.get("interpolate"));
      canvas.dataset.index = shown.grid.nearest(position, PLANES[plane][2]);
    }
    const overlays = scene.overlaysOn(image);
    for (const layer of overlays) this.overlay(ctx, layer, plane, position, view);
    const drawn = drawing?.panel === panel ? [...state.get("_rois"), drawing.roi] : state.get("_rois");
    this.marks(ctx, panel, view, position);
    for (const roi of drawn) this.region(ctx, panel, view, position, roi);
    scene.marker.draw(ctx, panel, view, onScreen, write);
    scene.paint?.draw(ctx, panel);
    this.texts(ctx, panel, view, shown, position, data, pointer);
    const maps = overlays.filter((layer) => layer.kind === "map");
    if (plane === scene.planes().at(-1)) maps.forEach((layer, n) => this.colourBar(ctx, layer, view, n));
    canvas.setAttribute("aria-label", describePanel(scene, panel));
    return !!data;
  }
  cleared(panel, view) {
    const {canvas} = panel, ratio = window.devicePixelRatio || 1;
    const [pw, ph] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (canvas.width !== pw || canvas.height !== ph) { canvas.width = pw; canvas.height = ph; }
    const ctx = (panel.ctx ??= canvas.getContext("2d", {alpha: false}));
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = "#000";
    ctx.fillRect(0, 0, view.width, view.height);
    return ctx;
  }
  // Codes -> colours -> a small canvas kept until the slice or colours change -> the panel.
  blit(ctx, at, layer, plane, data, look, lutOf, smooth) {
    const [c, r] = PLANES[plane], w = layer.grid.shape[c], h = layer.grid.shape[r], kept = this.bitmap(`${layer.number}/${plane}`, w, h);
    if (kept.data !== data || kept.look !== look) {
      const lut = this.lut(layer, look, lutOf), {pixels} = kept;
      for (let p = 0, q = data.length - 1; q >= 0; p++, q--) pixels[p] = lut[data[q]];
      kept.own.putImageData(kept.image, 0, 0);
      kept.data = data;
      kept.look = look;
    }
    ctx.imageSmoothingEnabled = smooth;
    ctx.imageSmoothingQuality = "medium";
    const x = at.x(w - 0.5), y = at.y(h - 0.5);
    ctx.drawImage(kept.canvas, x, y, at.x(-0.5) - x, at.y(-0.5) - y);
  }
  bitmap(slot, width, height) {
    let kept = this.bitmaps.get(slot);
    if (!kept || kept.canvas.width !== width || kept.canvas.height !== height) {
      const canvas = make("canvas", {width, height}), own = canvas.getContext("2d");
      kept = {canvas, own, image: own.createImageData(width, height)};
      kept.pixels = new Uint32Array(kept.image.data.buffer);
      this.bitmaps.set(slot, kept);
    }
    return kept;
  }
  lut(layer, look, lutOf) {
    const key = `${layer.bytes}/${look}`;
    if (this.luts.get(layer.number)?.key !== key) this.luts.set(layer.number, {key, lut: lutOf()});
    return this.luts.get(layer.number).lut;
  }
  overlay(ctx, layer, plane, position, view) {
    const {scene} = this, {state} = scene, shown = scene.shown(layer), data = scene.data(shown, plane, position);
    if (!data) return;
    const at = new Placement(shown.grid, plane, position, view), opacity = state.get("opacity") * (state.get("opacities")[scene.overlays.indexOf(layer)] ?? 1), outlined = layer.kind === "mask" && state.get("mask_style") === "outline";
    ctx.save();
    ctx.globalAlpha = outlined ? Math.min(1, 2 * opacity) : opacity;
    if (outlined) this.border(ctx, at, layer, shown, plane, data);
    else if (layer.kind === "mask") this.blit(ctx, at, shown, plane, data, "fill", () => Uint32Array.of(0, ...Array(255).fill(opaque(...rgb(layer.colour)))), false);
    else {
      const cut = layer.name === scene.thresholded().name ? state.get("threshold") : null;
      this.blit(ctx, at, shown, plane, data, `${cut}/${state.get("colour_map")}`, () => mapLut(shown, cut, scene.coloursOf(layer)), false);
    }
    ctx.restore();
  }
  border(ctx, at, layer, shown, plane, data) {
    const [c, r] = PLANES[plane], slot = `path/${layer.number}/${plane}`;
    let kept = this.bitmaps.get(slot);
    if (kept?.data !== data) this.bitmaps.set(slot, (kept = {data, path: outline(data, shown.grid.shape[c], shown.grid.shape[r])}));
    const path = new Path2D();
    path.addPath(kept.path, new DOMMatrix([-at.step[0], 0, 0, -at.step[1], at.x(0), at.y(0)]));
    ctx.strokeStyle = layer.colour;
    ctx.lineWidth = 1.5;
    ctx.stroke(path);
  }
  marks(ctx, panel, view, position) {
    const [c, r, n] = PLANES[panel.plane], {state} = this.scene;
    state.get("_nodules").forEach((nodule, order) => {
      const off = Math.abs(nodule.at[n] - position[n]), radius = Math.max(nodule.diameter / 2, panel.image.grid.spacing[n] / 2);
      if (off > radius) return;
      const [x, y] = onScreen(nodule.at, c, r, view);
      ctx.strokeStyle = MARK;
      ctx.lineWidth = 1.5;
      ctx.beginPath();
      ctx.arc(x, y, Math.max(5, (nodule.diameter / 2) * view.scale + 3), 0, 7);
      ctx.stroke();
      write(ctx, String(order + 1), x + 7 + (nodule.diameter / 2) * view.scale, y - 6, "left", MARK);
    });
    if (!state.get("crosshair")) return;
    const x = Math.round(panel.place.x0) + 0.5, y = Math.round(panel.place.y0) + 0.5, gap = 8;
    ctx.strokeStyle = "rgba(86, 180, 233, 0.75)";
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (const [x1, y1, x2, y2] of [[0, y, x - gap, y], [x + gap, y, view.width, y], [x, 0, x, y - gap], [x, y + gap, x, view.height]]) { ctx.moveTo(x1, y1); ctx.lineTo(x2, y2); }
    ctx.stroke();
  }
  region(ctx, panel, view, position, roi) {
    const [c, r, n] = PLANES[panel.plane], {grid} = this.scene.shown(panel.image);
    if (roi.image !== panel.image.order || roi.plane !== panel.plane || grid.nearest(roi.center_mm, n) !== grid.nearest(position, n)) return;
    const [x, y] = onScreen(roi.center_mm, c, r, view), [ru, rv] = roi.radii_mm.map((mm) => mm * view.scale);
    ctx.strokeStyle = MARK;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    if (roi.points_mm) { for (const point of roi.points_mm) ctx.lineTo(...onScreen(point, c, r, view)); ctx.closePath(); } else ctx.ellipse(x, y, ru, rv, 0, 0, 7);
    ctx.stroke();
    const found = this.scene.roiStatistics(panel, roi);
    if (!found) return;
    const right = x + ru + 110 < view.width, at = right ? x + ru + 6 : x - ru - 6, {unit} = panel.image;
    const lines = [...(roi.name ? [fitted(ctx, roi.name, 110)] : []), `mean ${number(found.mean, unit)}`, `SD ${number(found.sd, unit)}`, `n ${found.n}  ${number(found.area)} mm²`];
    lines.forEach((line, order) => write(ctx, line, at, y - 7 + 15 * order, right ? "left" : "right", MARK));
  }
  texts(ctx, panel, view, shown, position, data, pointer) {
    const {image, plane} = panel, {width: W, height: H} = view, m = MARGIN, {state} = this.scene;
    const side = letters(shown.grid, plane), here = place(shown.grid, plane, position);
    panel.canvas.dataset.letters = [side.left, side.right, side.top, side.bottom].join(" ");
    write(ctx, side.left, m, H / 2 + 5, "left", LETTER, 14);
    write(ctx, side.right, W - m, H / 2 + 5, "right", LETTER, 14);
    const aside = W < NARROW_PX ? 16 : 0; // in narrow panels the texts of the first and last line reach the middle
    write(ctx, side.top, W / 2, 18 + aside, "center", LETTER, 14);
    write(ctx, side.bottom, W / 2, H - m - aside, "center", LETTER, 14);
    write(ctx, fitted(ctx, image.title, W / 2 - 24), m, 18);
    let line = 33;
    const slab = state.get("slab"), note = (text, step, colour, size) => { write(ctx, fitted(ctx, text, W - 2 * m), m, line, "left", colour, size); line += step; };
    if (slab !== "off") {
      const [a, b] = this.scene.slabRange(shown.grid, plane, shown, position);
      note(slabText(slab, (b - a + 1) * shown.grid.spacing[PLANES[plane][2]]), 15);
    }
    if (shown.loss) for (const part of shown.loss.split(", ")) note(part, 14, WARNING, 11);
    if (here.away > 0) note(awayText(here.away), 14, WARNING, 11);
    if (!data) write(ctx, "loading…", W / 2, H / 2 + 30, "center");
    write(ctx, windowText(state.get("window")[image.order], image.unit), W - m, 18, "right");
    write(ctx, placeText(here), m, H - m);
    const bar = this.scaleBar(ctx, view, W - m, H - m), text = fitted(ctx, readout(this.scene, panel, pointer, data), W - 2 * m);
    if (text) write(ctx, text, m, H - m - (ctx.measureText(text).width > W - 3 * m - bar ? 32 : 16));
  }
  scaleBar(ctx, view, x, y) {
    const {mm, label} = scaleBar(view.width / view.scale), w = mm * view.scale;
    ctx.fillStyle = "#000";
    ctx.fillRect(x - w - 1, y - 4, w + 2, 4);
    ctx.fillStyle = INK;
    ctx.fillRect(x - w, y - 3, w, 2);
    write(ctx, label, x, y - 8, "right", INK, 11);
    return Math.max(w, 40);
  }
  colourBar(ctx, layer, view, order) {
    const colours = this.scene.coloursOf(layer), h = Math.min(160, view.height * 0.3), w = 10, x = view.width - 26 - w - order * 78, y = 44, [lo, hi] = layer.limits;
    for (let p = 0; p < h; p++) {
      const n = 6 * Math.round((1 - p / (h - 1)) * 255);
      ctx.fillStyle = "#" + colours.slice(n, n + 6);
      ctx.fillRect(x, y + p, w, 1.5);
    }
    ctx.strokeStyle = INK;
    ctx.lineWidth = 1;
    ctx.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
    write(ctx, number(hi), x - 5, y + 9, "right", INK, 11);
    write(ctx, number(lo), x - 5, y + h, "right", INK, 11);
    write(ctx, fitted(ctx, layer.name + (layer.unit && layer.unit !== "1" ? ` [${layer.unit}]` : ""), view.width / 3), x + w, y + h + 15, "right", INK, 11);
    const cut = layer.name === this.scene.thresholded().name ? this.scene.state.get("threshold") : null;
    if (cut == null) return;
    const at = y + (1 - Math.max(0, Math.min(1, (cut - lo) / (hi - lo)))) * h;
    ctx.fillStyle = "#fff";
    ctx.fillRect(x - 4, at - 1, w + 8, 2);
  }
}

// A place in mm on the screen, along a plane's columns and rows.
function onScreen(point, c, r, view) {
  return [view.width / 2 - (point[c] - view.center[c]) * view.scale, view.height / 2 - (point[r] - view.center[r]) * view.scale];
}
