// The plot: what Observable Plot draws of the sessions shown, and picking them by pointer, by a drawn box and by keys.
import {make} from "../../viewer/js/dom.js";
import {SUPPRESS} from "../../viewer/js/guard.js";
import {number} from "../../viewer/js/marks.js";
import {DAYS, NOT_SAID, median, ordered, spoken, unique, withUnit} from "./cohort.js";
import {Plot} from "./plot.js";

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
export const GREY = "#6a6a6a"; // dark enough to be told from pink and green where red and green look alike
const SYMBOLS = ["circle", "triangle", "square", "diamond", "star", "wye"];
const OF_PHASE = {none: [GREY, "circle"], acute: ["#d55e00", "triangle"], subacute: ["#e69f00", "square"], chronic: ["#0072b2", "diamond"], indeterminate: ["#009e73", "cross"]};
const RADIUS = [4.2, 3.6, 3, 2.5, 2, 1.6];
const MANY = 30; // subjects whose lines are drawn fainter
const LEAST_FOR_MEDIAN = 3; // of fewer the points say all there is
const NEAR_PX = 14, DRAG_PX = 4, MOST_NAMES = 8;
export const CATEGORIES = {group: "group", phase: "phase (clinic)", reading: "phase (as read)"};
const NUMBERS = {days: "days since the first visit", age: "age (years)"};

// Colour and symbol of every category, the same wherever it is drawn; never colour alone.
export function looksOf(words) {
  let next = 0;
  return new Map(ordered(words).map((word) => {
    const grey = /^controls?$/i.test(word) ? [GREY, "circle"] : word === NOT_SAID ? [GREY, "cross"] : OF_PHASE[word];
    return [word, grey ?? [COLOURS[next % COLOURS.length], SYMBOLS[(1 + next++) % SYMBOLS.length]]];
  }));
}

export class Chart {
  constructor(explorer) {
    this.explorer = explorer;
    this.tip = make("div", {className: "ipha-tip", hidden: true});
    this.box = make("div", {className: "ipha-box", hidden: true});
    this.drawing = make("div", {className: "ipha-drawing", tabIndex: 0, role: "listbox", "aria-multiselectable": "true", ...SUPPRESS});
    this.caption = make("p", {className: "ipha-caption"});
    this.legend = make("div", {className: "ipha-legend"});
    this.node = make("div", {className: "ipha-plot"}, this.legend, make("div", {className: "ipha-stack"}, this.drawing, this.box, this.tip), this.caption);
    this.points = [];
    this.listen();
  }

  // -- what is drawn --
  draw() {
    const {explorer} = this, {cohort} = explorer, against = explorer.get("against"), y = explorer.y(), x = against === "measure" ? explorer.x() : null;
    const across = (s) => (x ? cohort.value(x, s) : against in CATEGORIES ? s[against] : s[against] ?? NaN);
    const shown = explorer.shown(), there = shown.filter((s) => Number.isFinite(cohort.value(y, s)) && (against in CATEGORIES || Number.isFinite(across(s))));
    const by = explorer.get("colour"), looks = looksOf(cohort.sessions.map((s) => s[by]));
    this.points = there.map((session) => ({session, x: across(session), y: cohort.value(y, session), kind: session[by]}));
    this.logs = {y: this.points.every((p) => p.y > 0), x: !(against in CATEGORIES) && (against === "days" || this.points.every((p) => p.x > 0))};
    const focused = this.at?.session.label;
    this.svg = this.plot({y, x, against, looks});
    this.drawing.replaceChildren(this.svg);
    this.name(looks);
    this.at = this.points.find((p) => p.session.label === focused) ?? null;
    this.words({shown, y, x, against, looks});
    this.mark();
  }
  plot({y, x, against, looks}) {
    const {explorer} = this, {cohort} = explorer, {points} = this, category = against in CATEGORIES, range = cohort.controlRange(y);
    const style = (p) => looks.get(p.kind), [kinds, values] = [[...looks.keys()], [...looks.values()]];
    const days = against === "days" && explorer.get("log_x");
    const scale = (log, label) => ({type: log ? "log" : "linear", nice: true, label, labelArrow: "none", ...(log ? {tickFormat: (v) => number(v)} : {})});
    const marks = [];
    if (range) marks.push(Plot.rectY([range], {y1: "low", y2: "high", fill: GREY, fillOpacity: 0.18, ariaDescription: "range of the controls", ...(category ? {} : {x1: null, x2: null})}));
    const band = this.band(y, against);
    if (band) marks.push(Plot.rect([band], {x1: "from", x2: "to", y1: "low", y2: "high", fill: "#cc79a7", fillOpacity: 0.25, stroke: "#cc79a7", strokeDasharray: "3 2", ariaDescription: "detectable change"}));
    if (!category) {
      const joined = points.filter((p) => cohort.visits(p.session.subject).length > 1).sort((a, b) => (a.session.days ?? 0) - (b.session.days ?? 0));
      marks.push(Plot.line(joined, {x: "x", y: "y", z: (p) => p.session.subject, stroke: (p) => p.session[explorer.get("colour")], strokeOpacity: unique(joined.map((p) => p.session.subject)).length > MANY ? 0.25 : 0.55, strokeWidth: 1.3, ariaDescription: "visits of a subject"}));
    }
    const width = Math.max(280, this.drawing.clientWidth || 520), height = Math.round(Math.min(430, Math.max(300, width * 0.66)));
    const dots = {y: "y", fill: "kind", symbol: "kind", r: category ? this.radius(width, height) : RADIUS[0], fillOpacity: 0.85, stroke: "var(--ipha-back)", strokeWidth: 0.7, ariaDescription: "sessions"};
    if (category) {
      marks.push(Plot.tickY(this.middles(), {fx: "x", y: "y", stroke: "currentColor", strokeWidth: 1.6, insetLeft: 12, insetRight: 12, ariaDescription: "median"}));
      marks.push(Plot.dot(points, Plot.dodgeX("middle", {...dots, fx: "x", padding: 0.5})));
    } else marks.push(Plot.dot(points, {...dots, x: "x"}));
    const label = (column) => withUnit(this.title(column), cohort.unit(column.measure));
    const words = category ? ordered(points.map((p) => p.x)) : [], counts = new Map(words.map((word) => [word, points.filter((p) => p.x === word)]));
    const people = (own) => unique(own.map((p) => p.session.subject)).length, subjects = (n) => `${n} subject${n === 1 ? "" : "s"}`;
    const tick = (word) => { const own = counts.get(word); return `${word}\nn = ${own.length}` + (people(own) < own.length ? ` (${subjects(people(own))})` : ""); };
    return Plot.plot({
      width, height, marginLeft: 62, marginBottom: category ? 50 : 42, marginTop: 26, style: {background: "none", overflow: "visible"},
      y: {...scale(explorer.get("log_y") && this.logs.y, label(y)), grid: true},
      ...(category ? {x: {axis: null}, fx: {domain: words, label: null, axis: "bottom", tickFormat: tick, padding: 0.06}}
        : {x: {...scale(explorer.get("log_x") && this.logs.x && !days, x ? label(x) : NUMBERS[against]), grid: true, ...(days ? {type: "symlog", ticks: DAYS.filter((day) => day <= Math.max(...points.map((p) => p.x)))} : {})}}),
      color: {domain: kinds, range: values.map(([colour]) => colour)}, symbol: {domain: kinds, range: values.map(([, symbol]) => symbol)}, marks,
    });
  }
  // What a change has to leave to be told from the scatter of two scans, about the first number of the chosen subject.
  band(y, against) {
    const {explorer} = this, {cohort} = explorer, chosen = cohort.session(explorer.get("session"));
    if (against !== "days" || !chosen) return null;
    const own = cohort.visits(chosen.subject).filter((s) => s.days != null && Number.isFinite(cohort.value(y, s))), [first] = own;
    const limit = first ? cohort.detectable(y, Math.abs(cohort.value(y, first))) : NaN;
    if (own.length < 2 || !Number.isFinite(limit)) return null;
    const level = cohort.value(y, first), lowest = Math.min(...this.points.map((p) => p.y)), low = explorer.get("log_y") && this.logs.y ? Math.max(level - limit, lowest) : level - limit;
    return {from: first.days, to: own.at(-1).days, low, high: level + limit, limit, subject: chosen.subject};
  }
  // As large as lets the crowd of every category stand side by side within its band.
  radius(width, height) {
    const log = this.explorer.get("log_y") && this.logs.y, of = (p) => (log ? Math.log(p.y) : p.y), values = this.points.map(of), [low, high] = [Math.min(...values), Math.max(...values)];
    const words = unique(this.points.map((p) => p.x)), band = (width - 90) / Math.max(words.length, 1), scale = (height - 90) / (high - low || 1);
    const fits = (r) => words.every((word) => {
      const counts = new Map();
      for (const p of this.points) if (p.x === word) { const bin = Math.floor(((of(p) - low) * scale) / (2 * r)); counts.set(bin, (counts.get(bin) ?? 0) + 1); }
      return Math.max(0, ...counts.values()) * (2 * r + 0.5) <= band * 0.8;
    });
    return RADIUS.find(fits) ?? RADIUS.at(-1);
  }
  middles() {
    const found = [];
    for (const word of unique(this.points.map((p) => p.x))) {
      const own = this.points.filter((p) => p.x === word).map((p) => p.y);
      if (own.length >= LEAST_FOR_MEDIAN) found.push({x: word, y: median(own)});
    }
    return found;
  }
  title({modality, measure, region}) { return `${modality} ${spoken(measure).replace(/ vs controls$/, ", distance from controls")}` + (region === "lung" ? "" : `, ${spoken(region)}`); }

  // Give every point its session, its words and its place on the drawing.
  name(looks) {
    // Only the sessions are said, one by one; axes, ranges and medians stand in the caption.
    for (const part of this.svg.querySelectorAll("g[aria-label]")) {
      const sessions = part.getAttribute("aria-description") === "sessions";
      if (sessions) part.setAttribute("role", "group"); else part.removeAttribute("aria-label");
      part.setAttribute(...(sessions ? ["aria-label", "sessions"] : ["aria-hidden", "true"]));
    }
    const {cohort} = this.explorer, y = this.explorer.y(), x = this.explorer.get("against") === "measure" ? this.explorer.x() : null;
    for (const node of this.svg.querySelectorAll('g[aria-description="sessions"] path')) {
      const point = this.points[node.__data__], {session} = point, [px, py] = placed(node, this.svg);
      Object.assign(point, {node, px, py});
      const flags = cohort.flagsOf(y, session).map(spoken);
      point.lines = [cohort.who(session), ...[y, x].filter(Boolean).map((column) => `${this.title(column)}: ${cohort.reading(column, session)}`), ...(flags.length ? [`flags: ${flags.join(", ")}`] : [])];
      node.dataset.session = session.label;
      node.id = `${this.explorer.id}-${session.label}`;
      node.setAttribute("role", "option");
      node.setAttribute("aria-label", point.lines.join("; "));
    }
    this.points = this.points.filter((point) => point.node);
    this.legend.replaceChildren(...[...looks].filter(([word]) => this.points.some((p) => p.kind === word)).map(([word, [colour, symbol]]) => this.key(word, colour, symbol)));
  }
  key(word, colour, symbol) {
    const like = this.points.find((p) => p.kind === word).node.cloneNode(), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const name of ["id", "role", "data-session", "aria-label", "class"]) like.removeAttribute(name);
    like.setAttribute("transform", "translate(7,7)");
    for (const name of ["cx", "cy"]) if (like.hasAttribute(name)) like.setAttribute(name, 0);
    for (const [name, value] of [["width", 14], ["height", 14], ["aria-hidden", true], ["fill", colour]]) svg.setAttribute(name, value);
    svg.append(like);
    return make("span", {}, svg, make("span", {textContent: word}));
  }
  words({shown, y, x, against}) {
    const {cohort} = this.explorer, range = cohort.controlRange(y), unit = cohort.unit(y.measure), band = this.band(y, against), {points} = this;
    const people = unique(points.map((p) => p.session.subject)).length, without = shown.length - points.length, left = cohort.sessions.length - shown.length;
    const on = x ? `against ${this.title(x)}` : `by ${CATEGORIES[against] ?? NUMBERS[against]}`;
    const said = [`${withUnit(this.title(y), unit)} ${on}: ${points.length} sessions of ${people} subjects.`];
    if (against in CATEGORIES && this.middles().length) said.push(`Bars: medians of ${LEAST_FOR_MEDIAN} sessions or more${people < points.length ? "; a subject with several visits counts several times" : ""}.`);
    if (range) said.push(`Gray: range of ${range.people} controls, ${number(range.low)} to ${number(range.high, unit)}.`);
    if (band) said.push(`Shaded: ${band.subject}'s first number plus and minus the smallest detectable change, ${number(band.limit, unit)}, of test-retest pairs on the phantom.`);
    else if (against === "days" && y.limit) said.push("Choose a session to see what change of its subject could be told from scatter.");
    if (without) said.push(`${without} without ${x ? "one of the two numbers" : against in NUMBERS ? "the number or the date" : "this number"}.`);
    if (left) said.push(`${left} left out by filters.`);
    this.caption.textContent = said.join(" ");
    this.drawing.setAttribute("aria-label", `${this.caption.textContent} Arrow keys go from session to session, Enter opens, Space selects.`);
  }

  // -- what is picked --
  mark() {
    const {explorer} = this, selected = new Set(explorer.get("selection")), open = explorer.get("session"), beside = explorer.get("beside");
    this.drawing.classList.toggle("ipha-some", selected.size > 0);
    for (const {node, session} of this.points) {
      node.setAttribute("aria-selected", selected.has(session.label));
      node.classList.toggle("ipha-on", selected.has(session.label));
      node.classList.toggle("ipha-open", session.label === open || session.label === beside);
    }
    this.svg.querySelectorAll(".ipha-ring").forEach((ring) => ring.remove());
    for (const [label, kind] of [[open, "open"], [beside, "open"], [this.at?.session.label, "at"]]) {
      const point = this.points.find((p) => p.session.label === label);
      if (point && (kind === "open" || document.activeElement === this.drawing)) this.ring(point, kind);
    }
    if (this.at) this.drawing.setAttribute("aria-activedescendant", this.at.node.id);
    else this.drawing.removeAttribute("aria-activedescendant");
  }
  ring({px, py}, kind) {
    const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [name, value] of [["cx", px], ["cy", py], ["r", kind === "open" ? 8 : 11], ["class", `ipha-ring ipha-ring-${kind}`]]) ring.setAttribute(name, value);
    this.svg.append(ring);
  }
  place(event) {
    const frame = this.svg.getBoundingClientRect(), zoom = frame.width / this.svg.clientWidth || 1;
    return [(event.clientX - frame.x) / zoom, (event.clientY - frame.y) / zoom];
  }
  under(event) {
    const [x, y] = this.place(event);
    let best = null, least = NEAR_PX;
    for (const point of this.points) {
      const away = Math.hypot(point.px - x, point.py - y);
      if (away < least) [best, least] = [point, away];
    }
    return best;
  }
  listen() {
    const {drawing} = this;
    drawing.addEventListener("pointerdown", (event) => this.down(event));
    drawing.addEventListener("pointermove", (event) => this.move(event));
    drawing.addEventListener("pointerup", (event) => this.up(event));
    drawing.addEventListener("pointercancel", () => this.drop());
    drawing.addEventListener("pointerleave", () => this.show(null));
    drawing.addEventListener("focus", () => { this.at ??= this.points.find((p) => p.session.label === this.explorer.get("session")) ?? null; this.mark(); });
    drawing.addEventListener("blur", () => { this.show(null); this.mark(); });
  }
  down(event) {
    if (event.button || !this.svg) return;
    event.preventDefault();
    drawingFocus(this.drawing);
    try { this.drawing.setPointerCapture(event.pointerId); } catch { /* a synthetic pointer */ }
    this.drag = {from: this.place(event), more: event.shiftKey || event.ctrlKey || event.metaKey};
  }
  move(event) {
    if (!this.svg) return;
    if (!this.drag) return this.show(this.under(event));
    const [x, y] = this.place(event), [x0, y0] = this.drag.from;
    this.drag.box ||= Math.hypot(x - x0, y - y0) > DRAG_PX;
    if (!this.drag.box) return;
    this.show(null);
    this.drag.to = [x, y];
    Object.assign(this.box.style, {left: `${Math.min(x, x0)}px`, top: `${Math.min(y, y0)}px`, width: `${Math.abs(x - x0)}px`, height: `${Math.abs(y - y0)}px`});
    this.box.hidden = false;
  }
  up(event) {
    const {drag} = this, {explorer} = this;
    this.drop();
    if (!drag) return;
    if (drag.box) {
      const [[x0, y0], [x1, y1]] = [drag.from, drag.to], within = (v, a, b) => v >= Math.min(a, b) && v <= Math.max(a, b);
      return explorer.select(this.points.filter((p) => within(p.px, x0, x1) && within(p.py, y0, y1)).map((p) => p.session.label), {more: drag.more});
    }
    const point = this.under(event);
    if (!point) return drag.more || explorer.select([]);
    this.at = point;
    if (drag.more) explorer.toggle(point.session.label);
    else explorer.open(point.session.label);
  }
  drop() {
    this.drag = null;
    this.box.hidden = true;
  }
  show(point) {
    this.tip.hidden = !point;
    if (!point) return;
    this.explorer.soon(point.session.label);
    this.tip.replaceChildren(...point.lines.map((line) => make("div", {textContent: line})));
    const right = point.px > this.svg.clientWidth / 2;
    Object.assign(this.tip.style, {top: `${point.py + 10}px`, left: right ? "auto" : `${point.px + 12}px`, right: right ? `${this.svg.clientWidth - point.px + 12}px` : "auto"});
  }

  // -- keys --
  keyed(event) {
    const {explorer} = this, {key} = event;
    if (event.altKey || ((event.ctrlKey || event.metaKey) && key.toLowerCase() !== "a")) return false;
    const go = this.step(key);
    if (go) {
      this.at = go;
      this.show(go);
      if (event.shiftKey) explorer.select([go.session.label], {more: true});
      else this.mark();
      explorer.say(go.lines.join("; ") + (explorer.get("selection").includes(go.session.label) ? "; selected" : ""));
      return true;
    }
    if (key === "Enter" && this.at) explorer.open(this.at.session.label);
    else if (key === " ") this.at && explorer.toggle(this.at.session.label);
    else if (key.toLowerCase() === "a") explorer.select(this.points.map((p) => p.session.label));
    else if (key === "Escape") { this.drop(); this.show(null); explorer.select([]); }
    else return false;
    return true;
  }
  // The session that an arrow key goes to: right and left across the plot, up and down along the numbers.
  step(key) {
    const {points, at} = this, along = {ArrowRight: ["px", 1], ArrowLeft: ["px", -1], ArrowUp: ["py", -1], ArrowDown: ["py", 1]}[key];
    if (!points.length || !(along || key === "Home" || key === "End")) return null;
    const [axis, sign] = along ?? ["px", 1], other = axis === "px" ? "py" : "px";
    const sorted = [...points].sort((a, b) => sign * (a[axis] - b[axis]) || sign * (a[other] - b[other]) || a.session.n - b.session.n);
    if (key === "Home") return sorted[0];
    if (key === "End") return sorted.at(-1);
    return at ? sorted[sorted.indexOf(at) + 1] ?? at : sorted[0];
  }
}

export const namesOf = (labels) => labels.slice(0, MOST_NAMES).join(", ") + (labels.length > MOST_NAMES ? ` and ${labels.length - MOST_NAMES} more` : "");

// Where a mark lies on its drawing: the sum of all shifts above it.
function placed(node, svg) {
  let x = 0, y = 0;
  for (let at = node; at !== svg; at = at.parentNode) {
    const shift = at.transform.baseVal.consolidate()?.matrix;
    if (shift) { x += shift.e; y += shift.f; }
  }
  return [x, y];
}

function drawingFocus(node) { node.focus({preventScroll: true}); }
