// The cohort as the page holds it: sessions, their numbers by measure, and what is seen of them under the filters set.
import {number} from "../../viewer/js/marks.js";

export const CONTROL_SCORE = "_vs_controls"; // ends the name of a measure's distance from the controls
export const DAYS = [0, 1, 3, 10, 30, 100, 300, 1000, 3000]; // ticks of a logarithmic axis of days, which begins at 0
export const NOT_SAID = "not said";
const PHASES = ["none", "acute", "subacute", "chronic", "indeterminate"];
const keyOf = (modality, measure, region) => `${modality}\n${measure}\n${region}`;

export const spoken = (name) => name.replaceAll("_", " ");
export const withUnit = (name, unit) => (unit && unit !== "1" ? `${name} (${unit})` : name);
export const unique = (values) => [...new Set(values)];
export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};
// Categories in the order a reader expects: controls first, phases as the disease runs, what is not said last.
export function ordered(words) {
  const place = (word) => (/^controls?$/i.test(word) ? -2 : word === NOT_SAID ? 99 : PHASES.indexOf(word));
  return unique(words).sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

export class Cohort {
  constructor(text) {
    const given = JSON.parse(text);
    Object.assign(this, {sessions: given.sessions, measures: given.measures, meanings: given.flags, clinic: given.clinic, courses: given.courses, withheld: given.withheld});
    this.combinations = given.combinations.map((cell) => cell.split(";").filter(Boolean));
    this.sessions.forEach((session, n) => { session.n = n; });
    this.places = new Map(this.sessions.map((session) => [session.label, session]));
    this.columns = new Map(given.columns.map((column) => [keyOf(column.modality, column.measure, column.region), column]));
  }
  session(label) { return this.places.get(label); }
  column(modality, measure, region) { return this.columns.get(keyOf(modality, measure, region)); }
  value(column, session) { return column?.v[session.n] ?? NaN; }
  flagsOf(column, session) { return this.combinations[column?.f?.[session.n] ?? 0]; }
  unit(measure) { return this.measures[measure]?.unit ?? ""; }
  reading(column, session) { return number(this.value(column, session), this.unit(column.measure)); }

  modalities() { return unique([...this.columns.values()].map((column) => column.modality)); }
  measuresOf(modality) { return unique([...this.columns.values()].filter((column) => column.modality === modality).map((column) => column.measure)); }
  regionsOf(modality, measure) { return [...this.columns.values()].filter((column) => column.modality === modality && column.measure === measure).map((column) => column.region); }
  // The column nearest to what is asked for: another region, measure or modality where that one is not there.
  nearest(modality, measure, region) {
    const first = (values, wanted) => (values.includes(wanted) ? wanted : values[0]);
    const image = first(this.modalities(), modality), name = first(this.measuresOf(image), measure);
    return this.column(image, name, first(this.regionsOf(image, name), region));
  }
  visits(subject) { return this.sessions.filter((session) => session.subject === subject); }

  // Sessions that the filters let through; flags are those of the number shown.
  shown(filters, column) {
    const among = (name, of) => { const kept = filters[name]; return kept?.length ? (session) => kept.some((one) => of(session).includes(one)) : () => true; };
    const rules = [among("group", (s) => [s.group]), among("phase", (s) => [s.phase]), among("modality", (s) => s.modalities)];
    const hidden = filters.without_flags ?? [], [youngest, oldest] = filters.age ?? [null, null];
    rules.push((s) => !hidden.some((code) => this.flagsOf(column, s).includes(code)));
    if (youngest != null) rules.push((s) => s.age >= youngest);
    if (oldest != null) rules.push((s) => s.age != null && s.age <= oldest);
    return this.sessions.filter((session) => rules.every((rule) => rule(session)));
  }
  // Lowest and highest number of the controls, and how many they are; null with fewer than two, who have no range. Filters
  // do not narrow it.
  controlRange(column) {
    const own = this.sessions.filter((session) => session.control && Number.isFinite(this.value(column, session)));
    const values = own.map((session) => this.value(column, session)), people = unique(own.map((s) => s.subject)).length;
    return people > 1 ? {low: Math.min(...values), high: Math.max(...values), people} : null;
  }
  // What two scans of an unchanged lung differ by less than, at a level; NaN where that is not known.
  detectable(column, level) {
    const [pooled, atZero, share] = column.limit ?? [NaN, 0, 0];
    return Math.max(pooled, Math.hypot(atZero, share * level));
  }
  who(session) {
    const said = [session.group, session.phase, session.days == null ? "" : `day ${number(session.days)}`].filter((word) => word && word !== NOT_SAID);
    return [session.subject, session.session].filter(Boolean).join(", ") + (said.length ? ` (${said.join(", ")})` : "");
  }
}
