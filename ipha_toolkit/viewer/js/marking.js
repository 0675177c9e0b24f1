// Distances and angles in mm, and regions drawn freehand: places clicked or dragged on a slice, or set at the crosshair by key.
import {PLANES} from "./geometry.js";
import {fixed} from "./marks.js";

export const MARK_TOOLS = ["distance", "angle", "free"];
const CORNERS = {distance: 2, angle: 3}, INK_MARK = "#f0e442", LEAST_MM = 0.5;

export function lengthMm([a, b]) { return Math.hypot(...a.map((v, n) => v - b[n])); }
export function angleDegrees([a, b, c]) {
  const u = a.map((v, n) => v - b[n]), w = c.map((v, n) => v - b[n]), dot = u.reduce((sum, v, n) => sum + v * w[n], 0);
  return (Math.acos(Math.min(1, Math.max(-1, dot / (Math.hypot(...u) * Math.hypot(...w))))) * 180) / Math.PI;
}
export const markText = (mark) => (mark.kind === "distance" ? `${fixed(lengthMm(mark.points_mm), 1)} mm` : `${fixed(angleDegrees(mark.points_mm), 1)}°`);
// Voxel centres inside a closed line, even-odd, as ipha_toolkit/viewer/layers.py counts them.
export function insideLine(corners, c, r) {
  let inside = false;
  corners.forEach(([x1, y1], n) => {
    const [x2, y2] = corners[(n + 1) % corners.length];
    if (y1 > r !== y2 > r && c < ((x2 - x1) * (r - y1)) / (y2 - y1) + x1) inside = !inside;
  });
  return inside;
}

export class Marking {
  constructor(scene, input) { this.scene = scene; this.state = scene.state; this.input = input; this.open = null; }
  get tool() { const tool = this.state.get("tool"); return MARK_TOOLS.includes(tool) ? tool : null; }
  start(panel, point) { this.open = {panel, tool: this.tool, points: [point], dragged: false}; }
  down(panel, event) {
    const point = this.input.worldAt(panel, event);
    if (this.open?.panel !== panel || this.open.tool !== this.tool) this.start(panel, point);
    else this.add(point);
    this.pressed = true;
  }
  add(point) {
    this.open.points.push(point);
    if (this.open.points.length === CORNERS[this.open.tool]) this.finish();
  }
  move(panel, event) {
    if (this.open?.panel !== panel) return;
    const point = this.input.worldAt(panel, event), {points, tool} = this.open;
    if (this.pressed && tool === "free" && lengthMm([points.at(-1), point]) > LEAST_MM) points.push(point);
    this.open.dragged ||= this.pressed && lengthMm([points[0], point]) > 3 * LEAST_MM;
    this.open.next = point;
  }
  up() {
    if (!this.pressed) return;
    this.pressed = false;
    const open = this.open;
    if (open?.tool === "free" && open.points.length > 2) this.finish();
    else if (open?.tool === "distance" && open.dragged && open.next && open.points.length === 1) this.add(open.next);
  }
  finish() {
    const {panel, tool, points} = this.open, image = panel.image.order, plane = panel.plane;
    this.open = null;
    if (tool === "free") {
      if (points.length < 3) return;
      const rois = this.state.get("_rois"), [c, r] = PLANES[plane], ends = (a) => [Math.min(...points.map((p) => p[a])), Math.max(...points.map((p) => p[a]))];
      const half = (a) => (ends(a)[1] - ends(a)[0]) / 2, centre = points[0].map((v, a) => (a === c || a === r ? (ends(a)[0] + ends(a)[1]) / 2 : v));
      this.input.setRegions([...rois, {image, plane, center_mm: centre, radii_mm: [half(c), half(r)], points_mm: points, name: `region ${rois.length + 1}`}]);
    } else this.state.set({_marks: [...this.state.get("_marks"), {kind: tool, image, plane, points_mm: points}]});
  }
  cancel() { const open = this.open; this.open = null; this.scene.redraw(); return !!open; }
  key(panel, {key}) {
    if (!this.tool) return null;
    if (key === " ") return () => {
      const at = [...this.state.get("position_mm")];
      if (this.open?.panel === panel && this.open.tool === this.tool) this.add(at); else this.start(panel, at);
      this.scene.redraw();
    };
    if (key === "Enter" && this.open) return () => { if (this.open.tool === "free") this.finish(); else this.cancel(); };
    if (key === "Escape") return () => { if (!this.cancel()) this.state.set({tool: "crosshair"}); };
    return null;
  }
  draw(ctx, panel, view, onScreen, write) {
    const [c, r, n] = PLANES[panel.plane], {grid} = this.scene.shown(panel.image), here = grid.nearest(this.state.positionOf(panel.image.order), n);
    const line = (points, text) => {
      ctx.strokeStyle = INK_MARK;
      ctx.lineWidth = 1.5;
      ctx.beginPath();
      const places = points.map((point) => onScreen(point, c, r, view));
      places.forEach(([x, y], at) => ctx[at ? "lineTo" : "moveTo"](x, y));
      ctx.stroke();
      for (const [x, y] of places) { ctx.beginPath(); ctx.arc(x, y, 2.5, 0, 7); ctx.stroke(); }
      const [x, y] = places[Math.min(1, places.length - 1)];
      if (text) write(ctx, text, x + 8, y - 6, "left", INK_MARK);
    };
    for (const mark of this.state.get("_marks")) if (mark.image === panel.image.order && mark.plane === panel.plane && grid.nearest(mark.points_mm[0], n) === here) line(mark.points_mm, markText(mark));
    if (this.open?.panel !== panel) return;
    const {points, tool, next} = this.open, whole = next ? [...points, next] : points;
    line(whole, whole.length === CORNERS[tool] ? markText({kind: tool, points_mm: whole}) : "");
  }
}

export const marksSaid = (marks) => marks.map((mark) => `${mark.kind} ${markText(mark)}`);
