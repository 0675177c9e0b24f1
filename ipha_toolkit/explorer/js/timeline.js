// One patient over time: images, bleeds, hemoglobin, ferritin, dose and the number shown, each on its own axis above one
// axis of days. Choosing a date shows its slices.
import {make} from "../../viewer/js/dom.js";
import {SUPPRESS} from "../../viewer/js/guard.js";
import {number} from "../../viewer/js/marks.js";
import {GREY} from "./chart.js";
import {DAYS, NOT_SAID, spoken, withUnit} from "./cohort.js";
import {Plot} from "./plot.js";

const IMAGES = [["MRI", ["T1w", "T2w", "MEGRE"]], ["CT", ["ct"]], ["film", ["dx"]]], INK = "#0072b2", BLEED = "#d55e00";
const LEFT = 150, RIGHT = 16, LANE = 58, DOSE = /dose|prednis|steroid|per_day/i, MOST_LANES = 6;

export class Timeline {
  constructor(explorer) {
    this.explorer = explorer;
    this.title = make("h3", {className: "ipha-who"});
    this.dates = make("div", {className: "ipha-bar", role: "group", "aria-label": "Dates of the patient"});
    this.lanes = make("div", {className: "ipha-lanes"});
    this.log = make("input", {type: "checkbox", onchange: () => this.draw(), ...SUPPRESS});
    this.logLabel = make("label", {}, this.log, make("span", {textContent: "early days apart (logarithmic axis)"}));
    this.words = make("p", {className: "ipha-caption"});
    this.node = make("div", {role: "region", className: "ipha-timeline", "aria-label": "Timeline of the patient"}, this.title, this.dates, this.logLabel, this.lanes, this.words);
  }
  draw() {
    const {explorer} = this, {cohort} = explorer, session = cohort.session(explorer.get("session"));
    this.node.hidden = !session;
    if (!session) return;
    const visits = cohort.visits(session.subject), course = cohort.courses[session.subject] ?? [];
    this.title.textContent = `${session.subject} over time`;
    this.dates.replaceChildren(...visits.map((visit) => this.date(visit, session)));
    const dated = visits.filter((visit) => visit.days != null);
    this.logLabel.hidden = true;
    if (!dated.length) {
      this.lanes.replaceChildren();
      this.words.textContent = `No day is known of ${session.subject}'s sessions (column days of ${session.subject}_sessions.tsv): there is no axis to draw.`;
      return;
    }
    const days = [...course, ...dated].map((visit) => visit.days), first = Math.min(...days), last = Math.max(...days), pad = Math.max((last - first) * 0.03, 0.5);
    this.logLabel.hidden = first < 0 || last - first < 60;
    const log = this.log.checked && !this.logLabel.hidden;
    this.scale = {log, top: last, domain: log ? [first, last * 1.25] : [first - pad, last + pad], width: Math.max(320, this.node.clientWidth || 900)};
    const lanes = [this.images(dated, session), ...this.numbers(course, dated)];
    this.lanes.replaceChildren(...lanes.map((lane, n) => this.lane(lane, session, n === lanes.length - 1)));
    this.words.textContent = this.said(session, dated, course);
  }
  date(visit, session) {
    const images = IMAGES.filter(([, roles]) => roles.some((role) => visit.modalities.includes(role))).map(([name]) => name), day = visit.days == null ? visit.session || "visit" : `day ${number(visit.days)}`;
    const label = [day, visit.phase === NOT_SAID ? "" : visit.phase, images.join(" ")].filter(Boolean).join(" · ");
    return make("button", {type: "button", textContent: label, title: visit.label, "aria-pressed": visit === session, onclick: () => this.explorer.open(visit.label), ...SUPPRESS});
  }
  bleeds(course, dated) {
    const acute = dated.filter((visit) => visit.phase === "acute").map((visit) => ({days: visit.days, why: "acute phase"}));
    const yes = this.explorer.cohort.clinic.filter(({kind}) => kind === "yes");
    const said = course.flatMap((visit) => yes.filter(({name}) => /^(yes|true|1)$/i.test(visit.seen[name] ?? "")).map(({label}) => ({days: visit.days, why: label})));
    return [...acute, ...said];
  }
  images(dated, session) {
    const rows = IMAGES.filter(([, roles]) => dated.some((visit) => roles.some((role) => visit.modalities.includes(role)))).map(([name]) => name);
    const marks = dated.flatMap((visit) => IMAGES.filter(([, roles]) => roles.some((role) => visit.modalities.includes(role))).map(([name]) => ({days: visit.days, name, label: visit.label})));
    const bleeds = this.bleeds(this.explorer.cohort.courses[session.subject] ?? [], dated);
    if (bleeds.length) rows.push("bleed");
    return {
      height: 22 + 19 * rows.length, y: {domain: rows, label: null, type: "point", padding: 0.5}, visits: marks,
      marks: [
        Plot.dot(marks, {x: "days", y: "name", r: 5.5, symbol: "square", fill: (m) => (m.label === session.label ? INK : "currentColor"), fillOpacity: (m) => (m.label === session.label ? 1 : 0.55), ariaDescription: "sessions"}),
        Plot.dot(bleeds, {x: "days", y: () => "bleed", r: 5, symbol: "triangle", fill: BLEED}),
      ],
    };
  }
  numbers(course, dated) {
    const {cohort} = this.explorer, y = this.explorer.y();
    const lanes = cohort.clinic.filter(({kind}) => kind === "number").map(({name, label, unit}) => ({label: withUnit(label, unit), dose: DOSE.test(name), points: course.map((visit) => ({days: visit.days, value: visit.seen[name]})).filter(({value}) => typeof value === "number")}));
    const own = {label: withUnit(`${y.modality} ${spoken(y.measure)}`, cohort.unit(y.measure)), points: dated.map((visit) => ({days: visit.days, value: cohort.value(y, visit)})).filter(({value}) => Number.isFinite(value)), range: cohort.controlRange(y)};
    return [...lanes.filter(({points}) => points.length).slice(0, MOST_LANES), ...(own.points.length ? [own] : [])].map((lane) => this.number(lane));
  }
  number({label, dose, points, range}) {
    const shape = {x: "days", y: "value", stroke: INK, strokeWidth: 1.4}, marks = [];
    if (range) marks.push(Plot.rectY([range], {y1: "low", y2: "high", fill: GREY, fillOpacity: 0.18}));
    // A dose is given until the next date; of all else nothing is known in between.
    if (dose) marks.push(Plot.areaY(points, {x: "days", y: "value", fill: INK, fillOpacity: 0.25, curve: "step-after"}));
    marks.push(Plot.line(points, {...shape, strokeOpacity: 0.6, curve: dose ? "step-after" : "linear"}), Plot.dot(points, {x: "days", y: "value", fill: INK, r: 2.8}));
    return {height: LANE, y: {label: null, ticks: 3, nice: true, grid: true, zero: dose}, marks, label};
  }
  lane({height, y, marks, label, visits}, session, last) {
    const {domain, width, log, top} = this.scale;
    const svg = Plot.plot({
      width, height: height + (last ? 30 : 0), marginLeft: LEFT, marginRight: RIGHT, marginTop: 7, marginBottom: last ? 34 : 5, style: {background: "none", overflow: "visible"},
      x: {domain, label: "days since the first visit", labelArrow: "none", axis: last ? "bottom" : null, ...(log ? {type: "symlog", ticks: DAYS.filter((day) => day <= top)} : {ticks: width / 90})}, y,
      marks: [Plot.ruleX([session.days].filter((day) => day != null), {stroke: INK, strokeOpacity: 0.35, strokeWidth: 5}), ...marks],
    });
    svg.setAttribute("aria-hidden", "true"); // the dates above and the words below say the same
    svg.addEventListener("click", (event) => this.pick(event, svg));
    for (const node of svg.querySelectorAll('g[aria-description="sessions"] path')) node.dataset.session = visits[node.__data__].label;
    return make("div", {className: "ipha-lane"}, ...(label ? [make("span", {textContent: label})] : []), svg);
  }
  pick(event, svg) {
    const frame = svg.getBoundingClientRect(), {width} = this.scale, x = svg.scale("x"), zoom = frame.width / width || 1, at = (event.clientX - frame.x) / zoom;
    const {cohort} = this.explorer, visits = cohort.visits(cohort.session(this.explorer.get("session")).subject).filter((visit) => visit.days != null);
    const nearest = visits.reduce((a, b) => (Math.abs(x.apply(b.days) - at) < Math.abs(x.apply(a.days) - at) ? b : a));
    this.explorer.open(event.target.dataset?.session ?? nearest.label);
  }
  said(session, dated, course) {
    const lanes = this.numbers(course, dated).length, bleeds = this.bleeds(course, dated);
    const marks = bleeds.map(({days, why}) => `day ${number(days)} (${why})`).join(", ");
    return `${dated.length} dates with images over ${number(Math.max(...dated.map((v) => v.days)) - Math.min(...dated.map((v) => v.days)))} days, with ${lanes} numbers below them. ${bleeds.length ? `Bleeds: ${marks}. ` : ""}Click a date to see its slices.`;
  }
}
