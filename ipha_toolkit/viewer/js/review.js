// The queue of images to rate: the viewer of one image, a verdict by one key, and the next image at hand. What is rated
// stands in the model; a kernel writes it to disk, an exported page gives it to save.
import {Disposer, make} from "./dom.js";
import {SUPPRESS, guard} from "./guard.js";
import {keyOf, ratingsTable} from "./ratings.js";
import {Viewer} from "./viewer.js";

const VERDICT_KEYS = {g: "good", u: "usable", d: "unusable"};
const REVIEW_KEYS = [
  ["g, u, d", "good, usable, unusable: kept, and the next image shown"], ["Shift + 1 – 9", "reason on or off"], ["t", "note; Escape or Enter goes back to the image"],
  ["Enter, Backspace", "next, previous image"], ["i", "next image without a verdict"], ["w", "save ratings.tsv"],
];
const controlOf = (tag, props, ...children) => make(tag, {...props, ...SUPPRESS}, ...children);

class ReviewPanel {
  constructor(model, el) {
    this.model = model;
    this.disposer = new Disposer();
    this.chosen = new Set();
    this.root = make("div", {className: "ipha-review", role: "group", "aria-label": "Images to rate", ...SUPPRESS});
    el.append(this.root);
    // Keys of the review come before those of the viewer in it, whose guard is asked later.
    this.disposer.listen(window, "keydown", (event) => {
      if (!event.composedPath().includes(this.root) || !this.key(event)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    }, {capture: true});
    guard(this.root, this.disposer, {onKey: () => false, aloneOnPage: !!model.exported});
    this.build();
    for (const name of ["current", "_viewers"]) this.disposer.on(model, `change:${name}`, () => this.show());
    for (const name of ["ratings", "rater", "_saved"]) this.disposer.on(model, `change:${name}`, () => this.sync());
    this.show();
  }
  close() {
    this.closed = true;
    this.disposer.close();
    this.viewer?.close();
  }
  get item() { return this.model.get("_queue")[this.model.get("current")]; }
  get rater() { return this.model.get("rater").trim(); }
  set(changes) {
    for (const [name, value] of Object.entries(changes)) this.model.set(name, value);
    this.model.save_changes();
  }

  // -- parts --
  build() {
    const {model} = this, reasons = model.get("reasons"), queue = model.get("_queue");
    this.title = make("strong", {className: "ipha-review-title"});
    this.why = make("span", {className: "ipha-review-why"});
    this.slot = make("div", {className: "ipha-review-image"});
    this.live = make("div", {className: "ipha-hidden", role: "status", "aria-live": "polite"});
    this.list = controlOf("select", {"aria-label": "Image", onchange: () => this.go(this.list.selectedIndex)}, ...queue.map(() => make("option")));
    this.initials = controlOf("input", {type: "text", className: "ipha-initials", maxLength: 12, "aria-label": "Your initials", onchange: () => { this.set({rater: this.initials.value.trim()}); this.fill(); }});
    this.note = controlOf("input", {type: "text", className: "ipha-note", "aria-label": "Note", placeholder: "note (t)"});
    this.buttons = Object.entries(VERDICT_KEYS).map(([key, verdict]) => controlOf("button", {type: "button", className: `ipha-verdict ipha-${verdict}`, "aria-keyshortcuts": key.toUpperCase(), onclick: () => this.rate(verdict)}, make("kbd", {textContent: key}), ` ${verdict}`));
    this.boxes = reasons.map((reason, n) => {
      const box = controlOf("input", {type: "checkbox", onchange: () => this.choose(reason, box.checked)});
      return {reason, box, node: make("label", {}, box, make("span", {textContent: n < 9 ? `${n + 1} ${reason}` : reason}))};
    });
    this.state = make("output", {className: "ipha-review-state"});
    const step = (text, label, by) => controlOf("button", {type: "button", textContent: text, "aria-label": label, onclick: () => this.go(model.get("current") + by)});
    this.root.append(
      make("div", {className: "ipha-bar ipha-review-head"}, step("◀", "Previous image", -1), this.list, step("▶", "Next image", 1), this.title, this.why),
      this.slot,
      make("div", {className: "ipha-bar", role: "group", "aria-label": "Verdict"}, ...this.buttons, make("label", {}, make("span", {textContent: "Initials"}), this.initials), this.note),
      make("div", {className: "ipha-bar", role: "group", "aria-label": "Reasons"}, make("span", {textContent: "Reasons (Shift + number)"}), ...this.boxes.map(({node}) => node)),
      make("div", {className: "ipha-bar"}, controlOf("button", {type: "button", textContent: "Save ratings.tsv", onclick: () => this.save()}), this.state),
      ...(this.model.exported ? [make("p", {className: "ipha-review-carried", textContent: this.model.get("_carried")})] : []), this.live, this.help());
  }
  help() {
    const list = make("dl", {}, ...REVIEW_KEYS.flatMap(([key, what]) => [make("dt", {textContent: key}), make("dd", {textContent: what})]));
    return make("details", {className: "ipha-help"}, controlOf("summary", {textContent: "Keys of the review"}), list);
  }

  // -- what is shown --
  async show() {
    const number = this.model.get("current"), ref = this.model.get("_viewers")[number];
    if (this.shown !== number) this.fill();
    this.sync();
    if (this.mounted === ref) return;
    this.mounted = ref;
    const focused = this.slot.contains(document.activeElement) || this.wantsFocus;
    this.viewer?.close();
    this.viewer = null;
    this.slot.replaceChildren(make("p", {className: "ipha-review-wait", textContent: this.model.exported ? `The slices of this image are not on this page. ${this.model.get("_carried")}` : "loading…"}));
    if (!ref) return;
    const child = await this.model.widget_manager.get_model(ref.replace("IPY_MODEL_", ""));
    if (this.closed || this.mounted !== ref) return;
    this.slot.replaceChildren();
    if (this.model.exported) Object.defineProperty(child, "exported", {value: true, configurable: true});
    this.viewer = new Viewer(child, this.slot);
    this.slot.iphaViewer = this.viewer;
    // whoever went elsewhere while the image came, to the note or into a code cell, stays there: what is typed is no verdict
    const active = document.activeElement, typing = active === this.note || active === this.initials;
    const free = !active || active.contains(this.root) || (this.root.contains(active) && !typing);
    if (focused && free) this.viewer.panels[0]?.canvas.focus();
    this.wantsFocus = false;
  }
  own() { return this.model.get("ratings").filter((row) => row.rater === this.rater); }
  given() { return this.own().find((row) => keyOf(row) === keyOf(this.item)); }
  // Fields as the rater left them for this image.
  fill() {
    this.shown = this.model.get("current");
    const known = this.given();
    this.chosen = new Set((known?.reasons ?? "").split("; ").filter(Boolean));
    this.note.value = known?.note ?? "";
    this.sync();
  }
  sync() {
    const queue = this.model.get("_queue"), number = this.model.get("current"), rated = new Map(this.own().map((row) => [keyOf(row), row.verdict])), verdict = this.given()?.verdict;
    const name = (item) => [item.subject, item.session, item.image].filter(Boolean).join(" ");
    queue.forEach((item, n) => { this.list.options[n].textContent = `${n + 1}  ${name(item)}${rated.has(keyOf(item)) ? `  ✓ ${rated.get(keyOf(item))}` : ""}`; });
    this.list.selectedIndex = number;
    this.title.textContent = name(this.item);
    this.why.textContent = this.item.why ? `look at: ${this.item.why}` : "nothing speaks against it";
    if (document.activeElement !== this.initials) this.initials.value = this.model.get("rater");
    this.buttons.forEach((button) => { const on = button.classList.contains(`ipha-${verdict}`); button.setAttribute("aria-pressed", on); });
    this.boxes.forEach(({reason, box}) => { box.checked = this.chosen.has(reason); });
    const count = queue.filter((item) => rated.has(keyOf(item))).length, saved = this.model.get("_saved");
    this.state.textContent = `${count} of ${queue.length} rated${this.rater ? ` by ${this.rater}` : ""}. ${this.model.exported ? "Save the table and send it back: this page keeps nothing." : saved}`;
  }
  say(text) { this.live.textContent = text; }

  // -- what the rater does --
  go(number) {
    const last = this.model.get("_queue").length - 1, next = Math.min(Math.max(number, 0), last);
    if (next === this.model.get("current")) return;
    this.wantsFocus = true;
    this.set({current: next});
    this.say(`Image ${next + 1} of ${last + 1}: ${this.title.textContent}. ${this.why.textContent}`);
  }
  nextOpen() {
    const rated = new Set(this.own().map(keyOf)), queue = this.model.get("_queue"), from = this.model.get("current"), n = queue.length;
    for (let step = 1; step <= n; step++) if (!rated.has(keyOf(queue[(from + step) % n]))) return this.go((from + step) % n);
    this.say("Every image has a verdict.");
  }
  choose(reason, on) {
    if (on) this.chosen.add(reason); else this.chosen.delete(reason);
    this.sync();
    this.say(`${reason} ${on ? "chosen" : "taken back"}`);
    const verdict = this.given()?.verdict;
    if (verdict) this.keep(verdict); // a rating that is there already follows
  }
  keep(verdict) {
    const {subject, session, image, hash} = this.item, note = this.note.value.replace(/\s+/g, " ").trim();
    const reasons = [...this.model.get("reasons"), ...this.chosen].filter((r, n, all) => this.chosen.has(r) && all.indexOf(r) === n).join("; ");
    const row = {subject, session, image, rater: this.rater, verdict, reasons, note, hash};
    this.set({ratings: [...this.model.get("ratings").filter((old) => old.rater !== this.rater || keyOf(old) !== keyOf(row)), row]});
  }
  rate(verdict) {
    if (!this.rater) {
      this.initials.focus();
      return this.say("First give your initials.");
    }
    this.keep(verdict);
    this.say(`${this.title.textContent}: ${verdict}`);
    if (this.model.get("current") + 1 < this.model.get("_queue").length) this.go(this.model.get("current") + 1);
  }
  save() {
    const link = make("a", {href: URL.createObjectURL(new Blob([ratingsTable(this.own())], {type: "text/tab-separated-values"})), download: "ratings.tsv"});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    this.say("ratings.tsv saved");
  }
  key(event) {
    const {target} = {target: event.composedPath()[0]}, typing = target === this.note || target === this.initials;
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (typing) {
      if (event.key !== "Enter" && event.key !== "Escape") return false;
      target.blur();
      if (target === this.note && this.given()) this.keep(this.given().verdict);
      (this.viewer?.panels[0]?.canvas ?? this.list).focus();
      return true;
    }
    if (target.tagName === "SELECT" || target.type === "number" || (target.tagName !== "CANVAS" && ["Enter", " "].includes(event.key))) return false;
    const reason = event.shiftKey && /^Digit[1-9]$/.test(event.code) && this.boxes[event.code.slice(5) - 1];
    if (reason) { this.choose(reason.reason, !this.chosen.has(reason.reason)); return true; }
    const verdict = VERDICT_KEYS[event.key], at = this.model.get("current");
    const act = verdict ? () => this.rate(verdict) : {Enter: () => this.go(at + 1), Backspace: () => this.go(at - 1), t: () => this.note.focus(), i: () => this.nextOpen(), w: () => this.save()}[event.key];
    if (!act || event.shiftKey) return false;
    act();
    return true;
  }
}

function renderReview({model, el}) {
  const panel = new ReviewPanel(model, el);
  el.iphaReview = panel;
  return () => panel.close();
}

export default {render: renderReview};
