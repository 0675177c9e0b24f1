// Painting a mask: what the hand does becomes places in voxels, which go to the kernel; it answers with the voxels changed.
import {make} from "./dom.js";
import {PLANES, nearestSlice} from "./geometry.js";
import {SUPPRESS} from "./guard.js";

const PAINT_TOOLS = [["crosshair", "Look", "Escape"], ["brush", "Brush", "b"], ["erase", "Eraser", "e"], ["polygon", "Polygon", "p"]];
const REPAIRS = [["undo", "Undo", "Control+Z"], ["redo", "Redo", "Control+Y"], ["between", "Fill between slices", "t"], ["islands", "Remove islands", "i"], ["holes", "Fill holes", "h"], ["restart", "Start again", ""]];
const SIZE_STEP = 1.15, SIZES_MM = [0.5, 80], CURSOR = "#f0e442";
export const PAINT_KEYS = [
  ["b, e, p, Escape", "brush, eraser, polygon, no painting"], [", and .", "brush smaller, larger"], ["B", "brush flat or a ball"], ["Space", "dab at the crosshair"],
  ["Enter", "close the polygon (double click closes it as well)"], ["Alt", "held: brush erases, eraser paints"], ["Ctrl + Z, Ctrl + Y", "undo, redo"],
  ["t, i, h", "fill between the slices painted on, remove islands, fill holes"], ["l", "both sides, left, right"], ["y", "mask as it was before, on or off"], ["k", "save"],
];
const press = (props, ...children) => make("button", {type: "button", ...props, ...SUPPRESS}, ...children);
const field = (props) => make("input", {...props, ...SUPPRESS});
const named = (label, node) => make("label", {}, make("span", {textContent: label}), node);

export class Paint {
  constructor(scene, input, speak) {
    this.scene = scene;
    this.state = scene.state;
    this.input = input;
    this.speak = speak;
    this.updates = [];
    this.stroke = null; // {panel, places} on its way
    this.corners = null; // {panel, places} of a polygon
    this.hover = null;
  }
  get tool() { const tool = this.state.get("tool"); return tool === "crosshair" || !PAINT_TOOLS.some(([name]) => name === tool) ? null : tool; }
  send(did, more = {}) { this.state.model.send({type: "paint", did, ...more}); }
  plane(panel) { return panel.plane; }

  // -- pointer --
  down(panel, event) {
    const place = this.input.placeAt(panel, event), add = (this.tool === "brush") !== event.altKey;
    if (this.tool === "polygon") {
      if (this.corners?.panel !== panel) this.corners = {panel, places: []};
      this.corners.places.push(place);
      this.corners.add = !event.altKey;
    } else {
      this.stroke = {panel, add, last: place, places: [], begun: false};
      this.piece([place], false);
    }
    this.scene.redraw();
  }
  move(panel, event) {
    this.hover = {panel, place: this.input.placeAt(panel, event)};
    if (this.stroke?.panel !== panel) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) this.stroke.places.push(this.input.placeAt(panel, one));
    this.frame ??= requestAnimationFrame(() => { this.frame = null; if (this.stroke?.places.length) this.piece(this.stroke.places.splice(0), false); });
  }
  up() {
    if (!this.stroke) return;
    this.piece(this.stroke.places.splice(0), true);
    this.stroke = null;
    this.speak();
  }
  leave() { this.hover = null; }
  piece(places, end) {
    const {stroke} = this, radius = this.state.get("brush_mm"), plane = this.state.get("brush_3d") ? null : stroke.panel.plane;
    const line = stroke.begun ? [stroke.last, ...places] : places;
    this.send("stroke", {places: line, radius, plane, add: stroke.add, begin: !stroke.begun, end});
    stroke.begun = true;
    stroke.last = line.at(-1);
  }
  close() {
    const {corners} = this;
    if (corners?.places.length > 2) this.send("polygon", {places: corners.places, plane: corners.panel.plane, add: corners.add});
    this.corners = null;
    this.scene.redraw();
  }
  // A dab at the crosshair, or a corner there, for those who use no pointer.
  dab(panel) {
    const {grid} = this.scene.shown(panel.image), axis = PLANES[panel.plane][2], place = grid.index(this.state.get("position_mm")).map((v, a) => (a === axis ? nearestSlice(v) : v));
    if (this.tool === "polygon") {
      if (this.corners?.panel !== panel) this.corners = {panel, places: [], add: true};
      this.corners.places.push(place);
      return this.scene.redraw();
    }
    this.stroke = {panel, add: this.tool !== "erase", last: place, places: [], begun: false};
    this.piece([place], true);
    this.stroke = null;
  }

  // -- keys --
  key(panel, event) {
    const {key} = event, state = this.state;
    if (event.ctrlKey || event.metaKey) {
      const did = {z: event.shiftKey ? "redo" : "undo", Z: "redo", y: "redo"}[key];
      return did && (() => this.send(did));
    }
    if (event.altKey) return null;
    const size = (factor) => () => this.resize(factor), choose = (tool) => () => { this.corners = null; state.set({tool}); };
    if (this.tool && {",": 1, ".": 1}[key]) return size(key === "." ? SIZE_STEP : 1 / SIZE_STEP);
    if (this.tool && key === " ") return () => this.dab(panel);
    if (this.tool === "polygon" && key === "Enter") return () => this.close();
    if (this.tool && key === "Escape") return this.corners ? () => { this.corners = null; this.scene.redraw(); } : choose("crosshair");
    return {
      b: choose("brush"), e: choose("erase"), p: choose("polygon"), B: () => state.set({brush_3d: !state.get("brush_3d")}),
      t: () => this.repair("between", panel), i: () => this.repair("islands", panel), h: () => this.repair("holes", panel),
      l: () => { const sides = ["both", "left", "right"]; state.set({brush_side: sides[(sides.indexOf(state.get("brush_side")) + 1) % 3]}); },
      y: () => this.compare(), k: () => this.send("save"),
    }[key];
  }
  resize(factor) {
    const [least, most] = SIZES_MM;
    this.state.set({brush_mm: Math.min(most, Math.max(least, this.state.get("brush_mm") * factor))});
  }
  repair(did, panel) { this.send(did, {plane: did === "holes" && this.state.get("brush_3d") ? null : panel.plane}); }
  compare() {
    const {before} = this.state.get("_painting"), at = before - this.scene.images.length;
    this.state.set({visible: this.state.get("visible").map((on, n) => (n === at ? !on : on))});
  }

  // -- what is drawn over a panel --
  draw(ctx, panel) {
    const scale = panel.place.step, [c, r] = PLANES[panel.plane], {spacing} = this.scene.shown(panel.image).grid;
    ctx.strokeStyle = CURSOR;
    ctx.lineWidth = 1.5;
    const at = (place) => [panel.place.x(place[c]), panel.place.y(place[r])];
    if (this.corners?.panel === panel) {
      ctx.beginPath();
      this.corners.places.forEach((place, n) => ctx[n ? "lineTo" : "moveTo"](...at(place)));
      if (this.hover?.panel === panel) ctx.lineTo(...at(this.hover.place));
      ctx.stroke();
    }
    if (this.hover?.panel !== panel || !this.tool || this.tool === "polygon") return;
    const mm = this.state.get("brush_mm"), [x, y] = at(this.hover.place);
    ctx.setLineDash(this.tool === "erase" ? [4, 3] : []);
    ctx.beginPath();
    ctx.ellipse(x, y, (mm / spacing[c]) * scale[0], (mm / spacing[r]) * scale[1], 0, 0, 7);
    ctx.stroke();
    ctx.setLineDash([]);
  }

  // -- controls --
  sync() { for (const update of this.updates) update(); }
  bars(panels) {
    const {state} = this, first = () => panels()[0];
    const tools = PAINT_TOOLS.map(([tool, label, key]) => {
      const button = press({textContent: label, title: `key ${key}`, "aria-keyshortcuts": key.toUpperCase(), onclick: () => { this.corners = null; state.set({tool}); }});
      this.updates.push(() => button.setAttribute("aria-pressed", state.get("tool") === tool));
      return button;
    });
    const size = field({type: "range", min: Math.log(SIZES_MM[0]), max: Math.log(SIZES_MM[1]), step: 0.01, oninput: () => state.set({brush_mm: Math.exp(size.valueAsNumber)}, true)}), mm = make("output");
    this.updates.push(() => { size.value = Math.log(state.get("brush_mm")); mm.textContent = `${state.get("brush_mm").toPrecision(2)} mm`; size.setAttribute("aria-valuetext", mm.textContent); });
    const ball = field({type: "checkbox", onchange: () => state.set({brush_3d: ball.checked})});
    this.updates.push(() => { ball.checked = state.get("brush_3d"); });
    const limit = (name) => {
      const box = field({type: "number", step: "any", placeholder: "any", "aria-label": name === "brush_low" ? "Only from value" : "Only up to value", onchange: () => state.set({[name]: Number.isFinite(box.valueAsNumber) ? box.valueAsNumber : null})});
      this.updates.push(() => { if (document.activeElement !== box) box.value = state.get(name) ?? ""; });
      return box;
    };
    const side = make("select", {"aria-label": "Side", onchange: () => state.set({brush_side: side.value}), ...SUPPRESS}, ...["both", "left", "right"].map((value) => make("option", {value, textContent: value})));
    this.updates.push(() => { side.value = state.get("brush_side"); });
    const repairs = REPAIRS.map(([did, label, key]) => {
      const button = press({textContent: label, title: key ? `key ${key}` : "", onclick: () => this.repair(did, first())});
      if (did === "undo" || did === "redo") this.updates.push(() => { button.disabled = !state.get("numbers").find(([name]) => name === did)?.[1]; });
      return button;
    });
    const before = press({textContent: "Compare with before", title: "key y", onclick: () => this.compare()});
    this.updates.push(() => before.setAttribute("aria-pressed", state.get("visible")[state.get("_painting").before - this.scene.images.length]));
    const numbers = make("output", {className: "ipha-numbers"});
    this.updates.push(() => numbers.replaceChildren(...state.get("numbers").filter(([, text]) => typeof text === "string").map(([name, text]) => make("span", {}, `${name} `, make("b", {textContent: text})))));
    return [
      make("div", {className: "ipha-bar", role: "toolbar", "aria-label": "Paint"}, ...tools, named("Size", size), mm, make("label", {}, ball, make("span", {textContent: "ball (3-D)"})), named("Only values", limit("brush_low")), named("to", limit("brush_high")), named("Side", side)),
      make("div", {className: "ipha-bar", role: "toolbar", "aria-label": "Repair and keep"}, ...repairs, before, press({textContent: "Save", title: "key k", onclick: () => this.send("save")}), press({textContent: "Measure again", className: "ipha-measure", onclick: () => this.send("measure")})),
      make("div", {className: "ipha-bar"}, numbers), this.report(),
    ];
  }
  // What measuring again gave: every number that changed, and the reading.
  report() {
    const node = make("div", {className: "ipha-report", role: "status"});
    const cells = (row, tag = "td") => make("tr", {}, ...row.map((textContent) => make(tag, {textContent})));
    const told = () => {
      const {text, state, rows, reading} = this.state.get("report");
      node.replaceChildren(...(text ? [make("p", {textContent: text, className: `ipha-${state}`})] : []));
      if (reading) node.append(make("table", {}, cells(["reading", "phase", "because"], "th"), ...reading.map((row) => cells(row))));
      if (rows?.length) node.append(make("div", {className: "ipha-scroll", tabIndex: 0}, make("table", {}, cells(["image", "region", "measure", "before", "after", "unit"], "th"), ...rows.map((row) => cells(row)))));
    };
    let shown = null;
    this.updates.push(() => { if (shown !== this.state.get("report")) { shown = this.state.get("report"); told(); } });
    return node;
  }
}
