// Slice viewer: draws what the model says, asks the kernel for slices (live) or reads them from the export. This file
// puts the parts together; ipha_toolkit/viewer/bundle.py joins them to the one text that anywidget loads (main.js).
import {Controls} from "./controls.js";
import {Disposer, make} from "./dom.js";
import {Painter} from "./drawing.js";
import {Extras} from "./extras.js";
import {SUPPRESS, guard} from "./guard.js";
import {Input} from "./input.js";
import {Paint} from "./paint.js";
import {Scene} from "./scene.js";
import {State} from "./state.js";
import {Speaker} from "./words.js";

const SHORTCUTS = "ArrowUp ArrowDown Home End Shift+Arrows A C S M [ ] - = 1 2 3 Z F 0 N O X R , . Delete Q W J D G V K U Shift+U Shift+P Shift+J Shift+M Shift+R Shift+S Shift+D Space Enter Escape ?";

export class Viewer {
  constructor(model, el) {
    this.model = model;
    this.disposer = new Disposer();
    this.panels = [];
    this.frames = 0;
    this.redraw = this.redraw.bind(this);
    this.root = make("div", {className: "ipha-viewer", role: "group", ...SUPPRESS});
    el.append(this.root);
    this.state = new State(model, this.disposer, () => this.changed());
    this.scene = new Scene(this.state, this.disposer, {redraw: this.redraw, root: this.root});
    this.root.setAttribute("aria-label", `Slice viewer: ${this.scene.images.map((i) => i.name).join(", ")}`);
    this.painter = new Painter(this.scene);
    this.scene.onNewSource = () => this.painter.forget();
    this.live = make("div", {className: "ipha-hidden", role: "status", "aria-live": "polite"});
    this.speaker = new Speaker(this.scene, this.live, this.disposer, () => this.panels);
    this.input = new Input(this.scene, {speak: () => this.speaker.soon(), help: () => { this.controls.helpBox.open = !this.controls.helpBox.open; }});
    if (this.get("_painting") && !model.exported) this.scene.paint = this.input.paint = new Paint(this.scene, this.input, () => this.speaker.soon());
    const [tools, repairs, ...below] = this.scene.paint?.bars(() => this.panels) ?? [];
    this.input.extras = new Extras(this.scene, this.input, this.root, () => this.panels);
    this.disposer.add(() => this.input.extras.close());
    this.controls = new Controls(this.scene, this.input);
    this.stage = make("div", {className: "ipha-stage"});
    this.observer = new ResizeObserver(this.redraw);
    this.observer.observe(this.stage);
    this.disposer.add(() => this.observer.disconnect());
    const {extras} = this.input;
    this.root.append(this.controls.toolbar(), extras.bar(), ...[tools, repairs].filter(Boolean), this.stage, ...this.controls.overlayBar(), ...extras.nodules(), ...below, this.live, this.controls.help());
    // The browser's own Escape ends full screen without a key pressed.
    this.disposer.listen(document, "fullscreenchange", () => {
      const full = document.fullscreenElement === this.root;
      if (full && !extras.large) extras.leaveFullScreen(); // it came after the large view was left
      else if (!full && this.filled && extras.large && !extras.leaving) extras.maximise();
      if (!full) extras.leaving = false;
      this.filled = full;
    });
    guard(this.root, this.disposer, {onKey: (event) => this.key(event), aloneOnPage: !!model.exported});
    this.layout();
    this.speaker.say();
  }
  close() {
    this.closed = true;
    this.disposer.close();
    this.panelListeners?.close();
  }
  // Shorthands for whoever holds a viewer: tests, benchmarks, a page's own script.
  get(key) { return this.state.get(key); }
  get source() { return this.scene.source; }
  get complete() { return this.source.layers.every((layer) => !layer || layer.ready?.every(Boolean)); }
  view(panel) { return this.scene.view(panel); }
  roiStatistics(panel, roi) { return this.scene.roiStatistics(panel, roi); }

  key(event) {
    const panel = this.panels.find(({canvas}) => canvas === event.composedPath()[0]);
    return (!!panel && this.input.key(panel, event)) || this.escaped(event);
  }
  // Escape leaves the large view, unless a line, a polygon or a tool was there to be left first.
  escaped({key}) {
    if (key !== "Escape" || !this.input.extras.large) return false;
    this.input.extras.maximise();
    return true;
  }
  changed() {
    if (this.closed) return;
    if (this.shape() !== this.laidOut) this.layout();
    this.syncControls();
    this.redraw();
  }
  syncControls() {
    this.controls.sync();
    this.input.extras.sync();
    this.scene.paint?.sync();
  }
  shape() { return `${this.get("plane")}/${this.get("height_px")}`; }
  layout() {
    this.laidOut = this.shape();
    const focused = this.panels.findIndex((panel) => panel.canvas === document.activeElement), planes = this.scene.planes(), {images} = this.scene;
    this.panelListeners?.close();
    this.panelListeners = new Disposer();
    this.stage.replaceChildren();
    const columns = planes.length > 1 ? planes.length : images.length === 4 ? 2 : images.length;
    this.stage.style.setProperty("--columns", columns);
    this.stage.style.setProperty("--rows", (images.length * planes.length) / columns);
    this.panels = images.flatMap((image) => planes.map((plane) => this.panel(image, plane)));
    if (focused >= 0) this.panels[Math.min(focused, this.panels.length - 1)].canvas.focus();
    this.syncControls();
    this.redraw();
  }
  panel(image, plane) {
    const canvas = make("canvas", {className: "ipha-slice", tabIndex: 0, role: "application", "aria-roledescription": "image slice", "aria-keyshortcuts": SHORTCUTS, ...SUPPRESS});
    canvas.style.height = `${this.get("height_px")}px`;
    const panel = {image, plane, canvas};
    this.input.listen(panel, this.panelListeners);
    this.observer.observe(canvas);
    this.panelListeners.add(() => this.observer.unobserve(canvas));
    this.stage.append(canvas);
    return panel;
  }
  redraw() {
    if (this.pending || this.closed) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }
  draw() {
    if (this.closed) return;
    const there = this.panels.map((panel) => this.painter.panel(panel, this.input.pointer, this.input.drawing));
    if (!this.drawn && there.some(Boolean)) {
      this.drawn = true;
      this.root.dataset.ready = performance.now().toFixed(0);
      this.speaker.say();
    }
    this.frames++;
  }
}

export function renderViewer({model, el}) {
  const viewer = new Viewer(model, el);
  el.iphaViewer = viewer;
  return () => viewer.close();
}
