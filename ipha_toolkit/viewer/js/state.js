// What is shown, as the model holds it. Two things in it have a second name, for sliders: the position, and the window
// of the active image. They are kept alike here and nowhere else in the browser.
import {later} from "./dom.js";

const COORDINATES = ["x_mm", "y_mm", "z_mm"];

export class State {
  constructor(model, disposer, changed) {
    this.model = model;
    this.changed = changed;
    this.own = false; // whether a change comes from here, so that it is not followed again
    this.sent = {};
    this.unsent = {};
    this.saving = later(() => {
      Object.assign(this.sent, this.unsent);
      this.unsent = {};
      model.save_changes();
    }, 60);
    disposer.add(() => this.saving.flush());
    disposer.on(model, "change", () => this.own || (this.keepNewer(), changed()));
    const alike = (first) => () => this.own || (this.keepNewer(), this.alike(first));
    for (const name of ["position_mm", "window", "active"]) disposer.on(model, `change:${name}`, alike(true));
    for (const name of [...COORDINATES, "level", "width"]) disposer.on(model, `change:${name}`, alike(false));
  }
  get(key) { return this.model.get(key); }
  // `late` for what changes many times a second: the kernel hears of it 60 ms after the last change.
  set(changes, late = false) {
    this.own = true;
    try { for (const [key, value] of Object.entries(changes)) this.model.set(key, value); } finally { this.own = false; }
    Object.assign(this.unsent, changes);
    this.saving.ask();
    if (!late) this.saving.flush();
    this.changed();
  }
  // A kernel repeats what it was told. Where that is older than what the reader has done since, what he did stays.
  keepNewer() {
    const repeated = ([key, value]) => this.model.get(key) !== value && JSON.stringify(this.model.get(key)) === JSON.stringify(this.sent[key]);
    const newer = Object.entries(this.unsent).filter(repeated);
    this.own = true;
    try { for (const [key, value] of newer) this.model.set(key, value); } finally { this.own = false; }
  }
  setPosition(position) {
    const [x_mm, y_mm, z_mm] = position;
    this.set({position_mm: position, x_mm, y_mm, z_mm}, true);
  }
  // Where an image is looked at: linked, all at one place; unlinked, each where it was left, and the active one at position_mm.
  positionOf(image) { return (!this.get("linked") && image !== this.get("active") && this.get("_places")[image]) || this.get("position_mm"); }
  activate(image) {
    const before = this.get("active"), [level, width] = this.get("window")[image];
    if (image === before) return;
    this.set({active: image, level, width, ...this.placed(image, before)}, true);
  }
  placed(image, before) {
    if (this.get("linked")) return {};
    const [x_mm, y_mm, z_mm] = this.positionOf(image), _places = this.get("window").map((_, n) => (n === before ? this.get("position_mm") : this.positionOf(n)));
    return {_places, position_mm: [x_mm, y_mm, z_mm], x_mm, y_mm, z_mm};
  }
  link(linked) { this.set({linked, _places: linked ? [] : this.get("window").map(() => this.get("position_mm"))}); }
  setWindow(image, level, width) {
    this.activate(image);
    const window = this.get("window").map((pair) => [...pair]);
    window[image] = [level, Math.max(width, 1e-6)];
    this.set({window, active: image, level, width: window[image][1]}, true);
  }
  // A widget linked in the browser, or the kernel, set one of two names: the other follows (the second the first, or not).
  alike(first) {
    const position = this.get("position_mm"), coordinates = COORDINATES.map((name) => this.get(name));
    if (coordinates.some((v, a) => v !== position[a])) this.setPosition(first ? position : coordinates);
    const image = this.get("active"), pair = this.get("window")[image], scalars = [this.get("level"), this.get("width")];
    if (pair && scalars.some((v, n) => v !== pair[n])) this.setWindow(image, ...(first ? pair : scalars));
  }
}
