// The table: all sessions shown, or only those selected, sorted, searched, with the columns chosen, and saved as TSV.
import {later, make} from "../../viewer/js/dom.js";
import {SUPPRESS} from "../../viewer/js/guard.js";
import {number} from "../../viewer/js/marks.js";
import {NOT_SAID, spoken, unique, withUnit} from "./cohort.js";

const ALWAYS = ["subject", "value", "x", "flags"];
const MOST_ROWS = 2000, FIRST_ROWS = 40, REST_MS = 120;

export class Rows {
  constructor(explorer) {
    this.explorer = explorer;
    this.head = make("thead");
    this.body = make("tbody");
    this.table = make("table", {className: "ipha-table", role: "grid", "aria-multiselectable": "true"}, this.head, this.body);
    this.count = make("span", {className: "ipha-count"});
    this.search = make("input", {type: "search", placeholder: "search", "aria-label": "Search the table", oninput: () => explorer.set({search: this.search.value}), ...SUPPRESS});
    const button = (textContent, onclick, title) => make("button", {type: "button", textContent, title, onclick, ...SUPPRESS});
    this.clear = button("Clear selection", () => explorer.select([]), "Show all sessions again");
    this.only = make("input", {type: "checkbox", onchange: () => { this.narrow = this.only.checked; this.draw(); }, ...SUPPRESS});
    this.onlyLabel = make("label", {}, this.only, make("span", {textContent: "selected only"}));
    this.save = button("Save as TSV", () => this.download(), "The table as it stands here, tab-separated");
    this.choice = make("div", {className: "ipha-shown", role: "group", "aria-label": "Columns"});
    const columns = make("details", {className: "ipha-columns"}, make("summary", {textContent: "Columns", ...SUPPRESS}), this.choice);
    this.meanings = make("dl", {className: "ipha-meanings"});
    this.flagBox = make("details", {}, make("summary", {textContent: "What the flags mean", ...SUPPRESS}), this.meanings);
    this.scroll = make("div", {className: "ipha-scroll", tabIndex: 0, role: "group", "aria-label": "Table of sessions: arrow keys go from row to row, Enter opens, Space selects", ...SUPPRESS}, this.table);
    this.node = make("div", {className: "ipha-rows"}, make("div", {className: "ipha-bar"}, this.count, this.onlyLabel, this.clear, this.search, this.save, columns), this.scroll, this.flagBox);
  }

  // Every column that says something of some session.
  columns() {
    const all = this.every(), {sessions} = this.explorer.cohort, silent = (v) => v == null || v === "" || v === NOT_SAID || Number.isNaN(v);
    this.silent ??= new Set(all.filter(({name, of}) => !ALWAYS.includes(name) && sessions.every((s) => silent(of(s)))).map(({name}) => name));
    return all.filter(({name}) => !this.silent.has(name));
  }
  // Every column there may be: its name, head, how it reads and what it is sorted by.
  every() {
    const {cohort} = this.explorer, y = this.explorer.y(), x = this.explorer.get("against") === "measure" ? this.explorer.x() : null;
    const plain = (name, head, of, shown = of) => ({name, head, of, shown, text: true}), value = (name, head, of) => ({name, head, of, shown: (s) => (of(s) == null || Number.isNaN(of(s)) ? "" : number(of(s)))});
    const measured = (name, column) => value(name, withUnit(this.explorer.chart.title(column), cohort.unit(column.measure)), (s) => cohort.value(column, s));
    return [
      plain("subject", "subject", (s) => s.subject), plain("session", "session", (s) => s.session), plain("group", "group", (s) => s.group), plain("phase", "phase (clinic)", (s) => s.phase),
      plain("reading", "phase (as read)", (s) => s.reading), value("days", "day", (s) => s.days), value("age", "age (years)", (s) => s.age), plain("sex", "sex", (s) => s.sex),
      plain("modalities", "images", (s) => s.modalities.join(", ")), measured("value", y), ...(x ? [measured("x", x)] : []),
      plain("flags", "flags", (s) => cohort.flagsOf(y, s).map(spoken).join(", ")),
      ...cohort.clinic.map(({name, label, unit, kind}) => (kind === "number" ? value : plain)(`clinic:${name}`, withUnit(label, unit), (s) => s.clinic[name] ?? (kind === "number" ? null : ""))),
    ];
  }
  chosen() {
    const wanted = new Set(this.explorer.get("columns"));
    return this.columns().filter(({name}) => wanted.has(name) || name === "x");
  }
  // Sessions of the table, in its order.
  sessions(columns = this.chosen()) {
    const {explorer} = this, selected = new Set(explorer.get("selection")), wanted = explorer.get("search").trim().toLowerCase();
    let found = explorer.shown();
    if (selected.size && this.narrow) found = explorer.cohort.sessions.filter((s) => selected.has(s.label));
    if (wanted) found = found.filter((s) => [s.label, ...columns.map((c) => String(c.shown(s)))].some((text) => text.toLowerCase().includes(wanted)));
    const [name, down] = explorer.get("sort") ?? [], by = this.columns().find((column) => column.name === name);
    if (!by) return found;
    const place = (s) => by.of(s), missing = (v) => v == null || v === "" || Number.isNaN(v);
    return [...found].sort((a, b) => {
      const [p, q] = [place(a), place(b)];
      if (missing(p) || missing(q)) return missing(p) - missing(q) || a.n - b.n;
      return (down ? -1 : 1) * (by.text ? String(p).localeCompare(String(q), undefined, {numeric: true}) : p - q) || a.n - b.n;
    });
  }
  draw() {
    const {explorer} = this, columns = this.chosen(), sessions = this.sessions(columns), selected = explorer.get("selection").length;
    this.shown = sessions;
    this.count.textContent = `${sessions.length} sessions${selected ? `, ${selected} selected` : ""}`;
    this.clear.hidden = this.onlyLabel.hidden = !selected;
    this.only.checked = this.narrow;
    if (document.activeElement !== this.search) this.search.value = explorer.get("search");
    const [by, down] = explorer.get("sort") ?? [];
    this.head.replaceChildren(make("tr", {}, ...columns.map((column) => this.header(column, by, down))));
    this.build(sessions.slice(0, MOST_ROWS), columns);
    this.meaningsOf(sessions);
    this.choices(columns);
    this.mark();
  }
  // The rows that are seen now, and the rest once the browser has drawn them.
  build(sessions, columns) {
    this.rest?.cancel();
    const focused = document.activeElement?.closest?.("tr")?.dataset.session;
    this.body.replaceChildren(...sessions.slice(0, FIRST_ROWS).map((session) => this.row(session, columns)));
    this.rest = later(() => {
      this.body.append(...sessions.slice(FIRST_ROWS).map((session) => this.row(session, columns)));
      this.mark();
    }, REST_MS);
    if (sessions.length > FIRST_ROWS) this.rest.ask();
    if (!focused) return;
    if (sessions.findIndex(({label}) => label === focused) >= FIRST_ROWS) this.rest.flush();
    ([...this.body.rows].find((row) => row.dataset.session === focused) ?? this.scroll).focus({preventScroll: true});
  }
  header({name, head}, by, down) {
    const sorted = by === name, turn = () => explorer.set({sort: [name, sorted ? !down : false]}), {explorer} = this;
    const button = make("button", {type: "button", onclick: turn, ...SUPPRESS}, head, make("span", {"aria-hidden": "true", textContent: sorted ? (down ? " ▼" : " ▲") : ""}));
    return make("th", {scope: "col", "aria-sort": sorted ? (down ? "descending" : "ascending") : "none"}, button);
  }
  row(session, columns) {
    const {cohort} = this.explorer;
    const cells = columns.map((column) => {
      const node = make("td", {textContent: column.shown(session), className: column.text ? "" : "ipha-number"});
      if (column.name === "flags") node.title = cohort.flagsOf(this.explorer.y(), session).map((code) => `${spoken(code)}: ${cohort.meanings[code] ?? ""}`).join("\n");
      return node;
    });
    const row = make("tr", {tabIndex: -1, "aria-selected": "false", onclick: (event) => this.pick(session, event), onpointerenter: () => this.explorer.soon(session.label), onfocus: () => this.explorer.soon(session.label), ...SUPPRESS}, ...cells);
    row.dataset.session = session.label;
    return row;
  }
  pick(session, event) {
    if (event.shiftKey || event.ctrlKey || event.metaKey) this.explorer.toggle(session.label, {narrow: false});
    else this.explorer.open(session.label);
  }
  mark() {
    const {explorer} = this, selected = new Set(explorer.get("selection")), open = explorer.get("session");
    for (const row of this.body.rows) {
      row.setAttribute("aria-selected", selected.has(row.dataset.session));
      row.classList.toggle("ipha-open", row.dataset.session === open);
      if (row.dataset.session === open && !this.scroll.contains(document.activeElement)) this.reveal(row);
    }
  }
  reveal(row) {
    const top = row.offsetTop - this.head.offsetHeight, bottom = row.offsetTop + row.offsetHeight - this.scroll.clientHeight;
    if (this.scroll.scrollTop > top) this.scroll.scrollTop = top;
    else if (this.scroll.scrollTop < bottom) this.scroll.scrollTop = bottom;
  }
  meaningsOf(sessions) {
    const {cohort} = this.explorer, codes = unique(sessions.flatMap((s) => cohort.flagsOf(this.explorer.y(), s))).sort();
    this.meanings.replaceChildren(...codes.flatMap((code) => [make("dt", {textContent: spoken(code)}), make("dd", {textContent: cohort.meanings[code] ?? "no meaning is written down for it"})]));
    this.flagBox.hidden = !codes.length;
  }
  choices(chosen) {
    const {explorer} = this, all = this.columns().filter(({name}) => name !== "x");
    if (this.offered === all.map(({name}) => name).join()) return;
    this.offered = all.map(({name}) => name).join();
    this.choice.replaceChildren(...all.map(({name, head}) => {
      const box = make("input", {type: "checkbox", checked: chosen.some((column) => column.name === name), onchange: () => {
        const kept = explorer.get("columns").filter((one) => one !== name);
        explorer.set({columns: box.checked ? [...kept, name] : kept});
      }, ...SUPPRESS});
      return make("label", {}, box, name === "value" ? "the number shown" : head);
    }));
    const {withheld} = explorer.cohort;
    if (withheld.length) this.choice.append(make("p", {className: "ipha-caption", textContent: `Not shown, as they might say who someone is: ${withheld.join(", ")}. explore(..., also=[...]) shows them.`}));
  }

  // -- saving --
  download() {
    const columns = this.chosen(), lines = [columns.map(({head}) => safe(head)), ...this.sessions(columns).map((s) => columns.map((column) => (column.text ? safe(column.of(s)) : plainNumber(column.of(s)))))];
    const address = URL.createObjectURL(new Blob([lines.map((cells) => cells.join("\t")).join("\n") + "\n"], {type: "text/tab-separated-values"}));
    const link = make("a", {href: address, download: "sessions.tsv"});
    this.node.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    this.explorer.say(`${lines.length - 1} sessions saved as sessions.tsv`);
  }

  // -- keys --
  keyed(event) {
    this.rest?.flush();
    const row = event.composedPath().find((node) => node.tagName === "TR"), rows = [...this.body.rows], at = rows.indexOf(row);
    if (event.ctrlKey || event.metaKey || event.altKey || !rows.length || (at < 0 && event.composedPath()[0] !== this.scroll)) return false;
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1, PageDown: at + 10, PageUp: at - 10}[event.key];
    if (to !== undefined) {
      const next = rows[Math.min(Math.max(to, 0), rows.length - 1)];
      next.focus({preventScroll: true});
      this.reveal(next);
      if (event.shiftKey) this.explorer.select([next.dataset.session], {more: true, narrow: false});
    } else if (at >= 0 && event.key === "Enter") this.explorer.open(row.dataset.session);
    else if (at >= 0 && event.key === " ") this.explorer.toggle(row.dataset.session, {narrow: false});
    else if (event.key === "Escape") this.explorer.select([]);
    else return false;
    return true;
  }
}

// Text for a cell of a TSV: one line, and nothing that a spreadsheet would take for a formula.
export function safe(text) {
  const line = String(text).replace(/[\t\r\n]+/g, " ");
  return /^\s*[=+\-@|%]/.test(line) ? `'${line}` : line;
}
const plainNumber = (value) => (value == null || Number.isNaN(value) ? "n/a" : String(value));
