// The cohort explorer: plot, table, slices and timeline of one results folder. This file puts the parts together and is
// the only place that changes the state, which the model holds; viewer/bundle.py joins the files to one module.
import {Disposer, later, make} from "../../viewer/js/dom.js";
import {SUPPRESS, guard} from "../../viewer/js/guard.js";
import {Chart, namesOf} from "./chart.js";
import {Cohort, unique} from "./cohort.js";
import {Menus} from "./menus.js";
import {Rows} from "./rows.js";
import {Slices} from "./slices.js";
import {Timeline} from "./timeline.js";

const KEYS = [
  ["Tab", "to the next menu, the plot, the table, the slices"], ["arrow keys", "in the plot: to the next session across or along the numbers; in the table: from row to row"],
  ["Enter", "open the session's slices"], ["Space", "select the session, or not"], ["Shift + arrows", "select on the way"], ["a, Escape", "in the plot: select all shown, none"],
  ["click, drag", "in the plot: open a session, select those in a box; with Shift or Ctrl added to the selection"],
];
const DRAWN_BY = ["modality", "measure", "region", "against", "x_modality", "x_measure", "x_region", "colour", "log_x", "log_y", "filters"];
const HAND_RESTS_MS = 80; // that the hand rests on a session
let made = 0;

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.id = `ipha-${++made}`;
    this.disposer = new Disposer();
    this.cohort = new Cohort(model.get("_cohort"));
    this.live = make("div", {className: "ipha-hidden", role: "status", "aria-live": "polite"});
    this.chart = new Chart(this);
    this.rows = new Rows(this);
    this.menus = new Menus(this);
    this.slices = new Slices(this);
    this.timeline = new Timeline(this);
    const people = unique(this.cohort.sessions.map((s) => s.subject)).length;
    const parts = make("div", {className: "ipha-parts"}, this.chart.node, this.rows.node);
    this.root = make("div", {className: "ipha-explorer", role: "group", "aria-label": `Cohort explorer: ${this.cohort.sessions.length} sessions of ${people} subjects`, ...SUPPRESS});
    this.carried = make("p", {className: "ipha-caption"});
    this.root.append(this.menus.node, parts, this.slices.node, this.timeline.node, this.help(), this.carried, this.live);
    el.append(this.root);
    guard(this.root, this.disposer, {onKey: (event) => this.key(event), aloneOnPage: !!model.exported});
    const seen = new ResizeObserver(() => this.resized());
    seen.observe(this.chart.drawing);
    this.disposer.add(() => seen.disconnect());
    this.own = false;
    this.changes = new Set();
    this.disposer.on(model, "change", () => this.own || this.follow());
    this.disposer.on(model, "change:selection", () => { if (!this.own) this.rows.narrow = model.get("selection").length > 0; });
    this.saving = later(() => model.save_changes(), 0);
    this.disposer.add(() => this.saving.flush());
    this.resting = later(() => { if (!model.exported && this.wanted !== this.get("session")) model.send({type: "soon", session: this.wanted}); }, HAND_RESTS_MS);
    this.disposer.add(() => this.resting.cancel());
    this.rows.narrow = this.get("selection").length > 0;
    this.before = this.snapshot();
    this.draw(Object.keys(this.before));
    this.root.dataset.ready = performance.now().toFixed(0);
  }
  close() {
    this.closed = true;
    this.slices.close();
    this.rows.rest?.cancel();
    this.disposer.close();
  }

  // -- state --
  get(key) { return this.model.get(key); }
  set(changes) {
    this.own = true;
    try { for (const [key, value] of Object.entries(changes)) this.model.set(key, value); } finally { this.own = false; }
    this.saving.ask();
    this.follow();
  }
  snapshot() {
    const keys = [...DRAWN_BY, "selection", "session", "beside", "images", "columns", "sort", "search", "_viewer", "_tiles", "_full", "_said", "_shown", "_carried"];
    return Object.fromEntries(keys.map((key) => [key, this.get(key)]));
  }
  follow() {
    const now = this.snapshot(), changed = Object.keys(now).filter((key) => JSON.stringify(now[key]) !== JSON.stringify(this.before[key]));
    this.before = now;
    if (changed.length) this.draw(changed);
  }
  y() { return this.cohort.nearest(this.get("modality"), this.get("measure"), this.get("region")); }
  x() { return this.cohort.nearest(this.get("x_modality"), this.get("x_measure"), this.get("x_region")); }
  shown() { return this.cohort.shown(this.get("filters"), this.y()); }

  // -- drawing --
  draw(changed) {
    if (this.closed) return;
    const any = (...keys) => keys.some((key) => changed.includes(key));
    const began = performance.now(), plotted = any(...DRAWN_BY) || (any("session") && this.get("against") === "days");
    if (plotted) this.chart.draw();
    else if (any("selection", "session", "beside")) this.chart.mark();
    if (any(...DRAWN_BY, "selection", "columns", "sort", "search")) this.rows.draw();
    else if (any("session")) this.rows.mark();
    if (any(...DRAWN_BY)) this.menus.sync();
    if (any("session", "beside", "images", "modality", "measure", "region", "_viewer", "_tiles", "_full", "_said", "_shown", "filters", "sort", "search", "selection")) this.slices.draw(changed);
    if (any("session", "modality", "measure", "region")) this.timeline.draw();
    if (any("_carried")) this.carried.textContent = this.get("_carried");
    this.root.dataset.drawn = (performance.now() - began).toFixed(1);
  }
  resized() {
    const width = this.chart.drawing.clientWidth;
    if (this.closed || !width || width === this.width) return;
    this.width = width;
    this.chart.draw();
    this.timeline.draw();
  }
  help() {
    const list = make("dl", {}, ...KEYS.flatMap(([key, what]) => [make("dt", {textContent: key}), make("dd", {textContent: what})]));
    return make("details", {className: "ipha-help"}, make("summary", {textContent: "Keys and mouse", ...SUPPRESS}), list);
  }

  // -- acts --
  say(words) { this.live.textContent = words; }
  // The table narrows to what is selected elsewhere, and stays as it is while rows of its own are.
  select(labels, {more = false, narrow = true} = {}) {
    const selection = more ? unique([...this.get("selection"), ...labels]) : labels;
    if (narrow || !selection.length) this.rows.narrow = selection.length > 0;
    this.set({selection});
    this.say(selection.length ? `${selection.length} selected: ${namesOf(selection)}` : "nothing selected");
  }
  // A session that may be opened next: its images are read meanwhile.
  soon(label) {
    this.wanted = label;
    this.resting.ask();
  }
  toggle(label, how) {
    const now = this.get("selection");
    this.select(now.includes(label) ? now.filter((one) => one !== label) : [...now, label], how);
  }
  open(label) {
    const session = this.cohort.session(label);
    if (!session) return;
    this.set({session: label, beside: ""});
    this.say(`${this.cohort.who(session)} opened`);
  }
  key(event) {
    const path = event.composedPath();
    if (path.includes(this.chart.drawing)) return this.chart.keyed(event);
    if (path.includes(this.rows.scroll) && !["BUTTON", "INPUT"].includes(path[0].tagName)) return this.rows.keyed(event);
    return false;
  }
}

function render({model, el}) {
  const explorer = new Explorer(model, el);
  el.iphaExplorer = explorer;
  return () => explorer.close();
}

export default {render};
