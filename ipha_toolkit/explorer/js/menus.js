// Menus of what is plotted and filters of who is shown: each says what the state says and sets what was chosen.
import {make} from "../../viewer/js/dom.js";
import {SUPPRESS} from "../../viewer/js/guard.js";
import {CATEGORIES} from "./chart.js";
import {CONTROL_SCORE, NOT_SAID, ordered, spoken, unique, withUnit} from "./cohort.js";

const AGAINST = [["group", "group"], ["phase", "phase (clinic)"], ["reading", "phase (as read)"], ["days", "days"], ["age", "age"], ["measure", "another measure"]];
const labelled = (label, node) => make("label", {}, make("span", {textContent: label}), node);
const bare = (measure) => measure.replace(CONTROL_SCORE, "");

export class Menus {
  constructor(explorer) {
    this.explorer = explorer;
    this.updates = [];
    this.definition = make("p", {className: "ipha-definition"});
    this.node = make("div", {className: "ipha-menus"}, this.numbers("", "Plot"), this.across(), this.definition, this.filters());
  }
  sync() { for (const update of this.updates) update(); }
  menu(label, options, get, set) {
    const box = make("select", {onchange: () => set(box.value), ...SUPPRESS}), node = labelled(label, box);
    this.updates.push(() => {
      const pairs = options(), said = JSON.stringify(pairs);
      if (said !== box.dataset.said) {
        box.replaceChildren(...pairs.map(([value, textContent]) => make("option", {value, textContent})));
        box.dataset.said = said;
      }
      box.value = get();
    });
    return node;
  }
  tick(label, key, possible, why) {
    const box = make("input", {type: "checkbox", onchange: () => this.explorer.set({[key]: box.checked}), ...SUPPRESS}), node = labelled(label, box);
    this.updates.push(() => {
      box.checked = this.explorer.get(key) && possible();
      box.disabled = !possible();
      node.title = possible() ? "" : why;
    });
    return node;
  }
  // Image, measure and region of the number on one axis; `x_` for the horizontal one.
  numbers(prefix, name) {
    const {explorer} = this, {cohort} = explorer, column = () => (prefix ? explorer.x() : explorer.y());
    const ask = (changes) => {
      const now = column(), wanted = cohort.nearest(changes.modality ?? now.modality, changes.measure ?? now.measure, changes.region ?? now.region);
      explorer.set({[`${prefix}modality`]: wanted.modality, [`${prefix}measure`]: wanted.measure, [`${prefix}region`]: wanted.region});
    };
    const same = (values) => values.map((value) => [value, spoken(value)]);
    const measures = () => same(unique(cohort.measuresOf(column().modality).map(bare)));
    const score = make("input", {type: "checkbox", onchange: () => ask({measure: bare(column().measure) + (score.checked ? CONTROL_SCORE : "")}), ...SUPPRESS});
    const scored = labelled("SD from controls", score);
    scored.title = "The number's distance from the mean of the controls, in their standard deviations";
    this.updates.push(() => {
      const {modality, measure, region} = column();
      score.checked = measure.endsWith(CONTROL_SCORE);
      score.disabled = !score.checked && !cohort.column(modality, measure + CONTROL_SCORE, region);
    });
    return make("div", {className: "ipha-bar", role: "group", "aria-label": name},
      this.menu(prefix ? "Across: image" : "Image", () => cohort.modalities().map((value) => [value, value]), () => column().modality, (modality) => ask({modality})),
      this.menu("Measure", measures, () => bare(column().measure), (measure) => ask({measure})),
      this.menu("Region", () => same(cohort.regionsOf(column().modality, column().measure)), () => column().region, (region) => ask({region})), scored);
  }
  across() {
    const {explorer} = this, second = this.numbers("x_", "Measure on the horizontal axis");
    const there = AGAINST.filter(([name]) => name === "measure" || explorer.cohort.sessions.some((s) => s[name] != null && s[name] !== NOT_SAID));
    const colours = Object.entries(CATEGORIES).filter(([name]) => there.some(([one]) => one === name) || name === "group");
    this.updates.push(() => { second.hidden = explorer.get("against") !== "measure"; });
    this.updates.push(() => { this.definition.textContent = this.said(explorer.y()); });
    const category = () => explorer.get("against") in CATEGORIES, logX = this.tick("log across", "log_x", () => explorer.chart.logs?.x, "some values are 0 or below");
    this.updates.push(() => { logX.hidden = category(); });
    return make("div", {}, make("div", {className: "ipha-bar", role: "group", "aria-label": "Axes"},
      this.menu("Against", () => there, () => explorer.get("against"), (against) => explorer.set({against})),
      this.menu("Colour", () => colours, () => explorer.get("colour"), (colour) => explorer.set({colour})),
      this.tick("log scale", "log_y", () => explorer.chart.logs?.y, "some values are 0 or below"), logX), second);
  }
  said({measure}) {
    const {definition, worse, source} = this.explorer.cohort.measures[measure] ?? {}, direction = {higher: " Higher is worse.", lower: " Lower is worse."}[worse] ?? "";
    return definition ? `${withUnit(spoken(measure), this.explorer.cohort.unit(measure))}: ${definition}.${direction}${source && source !== "definition" ? ` Source: ${source}.` : ""}` : "";
  }

  // -- filters --
  filters() {
    const {explorer} = this, {cohort} = explorer, count = make("span", {className: "ipha-count"});
    const box = make("details", {className: "ipha-filters"}, make("summary", {...SUPPRESS}, make("span", {textContent: "Filters "}), count));
    const groups = ordered(cohort.sessions.map((s) => s.group)), phases = ordered(cohort.sessions.map((s) => s.phase)), images = unique(cohort.sessions.flatMap((s) => s.modalities));
    if (groups.length > 1) box.append(this.ticks("Group", "group", groups));
    if (phases.length > 1) box.append(this.ticks("Phase (clinic)", "phase", phases));
    if (images.length > 1) box.append(this.ticks("Has image", "modality", images));
    const codes = Object.keys(cohort.meanings).sort();
    if (codes.length) box.append(this.ticks("Leave out numbers flagged", "without_flags", codes, (code) => cohort.meanings[code]));
    if (cohort.sessions.some((s) => s.age != null)) box.append(this.ages());
    box.append(make("button", {type: "button", textContent: "No filters", onclick: () => explorer.set({filters: {}}), ...SUPPRESS}));
    this.updates.push(() => {
      const shown = explorer.shown().length;
      count.textContent = shown < cohort.sessions.length ? `(${shown} of ${cohort.sessions.length} sessions)` : "(none)";
    });
    return box;
  }
  ticks(label, name, values, meaning = () => "") {
    const {explorer} = this, boxes = values.map((value) => make("input", {type: "checkbox", onchange: () => {
      const kept = boxes.filter((one) => one.checked).map((one) => one.value);
      explorer.set({filters: {...explorer.get("filters"), [name]: kept}});
    }, value, ...SUPPRESS}));
    this.updates.push(() => { for (const one of boxes) one.checked = (explorer.get("filters")[name] ?? []).includes(one.value); });
    return make("fieldset", {}, make("legend", {textContent: label}), ...boxes.map((one) => make("label", {title: meaning(one.value)}, one, make("span", {textContent: spoken(one.value)}))));
  }
  ages() {
    const {explorer} = this, field = (place, name) => {
      const box = make("input", {type: "number", min: 0, step: "any", onchange: () => {
        const age = [...(explorer.get("filters").age ?? [null, null])];
        age[place] = Number.isFinite(box.valueAsNumber) ? box.valueAsNumber : null;
        explorer.set({filters: {...explorer.get("filters"), age: age.some((v) => v != null) ? age : undefined}});
      }, ...SUPPRESS});
      this.updates.push(() => { if (document.activeElement !== box) box.value = explorer.get("filters").age?.[place] ?? ""; });
      return labelled(name, box);
    };
    return make("fieldset", {}, make("legend", {textContent: "Age (years)"}), field(0, "from"), field(1, "to"));
  }
}
