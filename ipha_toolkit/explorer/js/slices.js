// The chosen session's slices: our own viewer where a kernel or the page's copy gives it, else the small picture.
import {make} from "../../viewer/js/dom.js";
import {SUPPRESS} from "../../viewer/js/guard.js";
import {drawTile} from "./tiles.js";

const PATIENCE_MS = 3000;

export class Slices {
  constructor(explorer) {
    this.explorer = explorer;
    const button = (textContent, title, onclick) => make("button", {type: "button", textContent, title, onclick, ...SUPPRESS});
    this.title = make("h3", {className: "ipha-who"});
    this.before = button("◀ previous", "The session before in the table's order", () => this.step(-1));
    this.after = button("next ▶", "The next session in the table's order", () => this.step(1));
    this.pair = make("select", {onchange: () => explorer.set({beside: this.pair.value}), ...SUPPRESS});
    this.which = make("select", {onchange: () => explorer.set({images: this.which.value}), ...SUPPRESS}, make("option", {value: "measure", textContent: "of the number"}), make("option", {value: "all", textContent: "all"}));
    this.said = make("p", {className: "ipha-caption"});
    this.stage = make("div", {className: "ipha-viewers"});
    this.bar = make("div", {className: "ipha-bar"}, this.before, this.after, make("label", {}, make("span", {textContent: "Beside"}), this.pair), make("label", {}, make("span", {textContent: "Images"}), this.which));
    this.node = make("section", {className: "ipha-slices", "aria-label": "Slices of the chosen session"}, this.title, this.bar, this.stage, this.said);
    this.shown = "";
  }
  close() {
    clearTimeout(this.waiting);
    this.view?.remove?.();
  }
  step(by) {
    const {explorer} = this, order = explorer.rows.sessions().map((s) => s.label), at = order.indexOf(explorer.get("session"));
    const to = at < 0 ? order[by > 0 ? 0 : order.length - 1] : order[at + by];
    if (to) explorer.open(to);
  }
  draw() {
    const {explorer} = this, {cohort} = explorer, session = cohort.session(explorer.get("session")), order = explorer.rows.sessions().map((s) => s.label), at = order.indexOf(session?.label);
    this.before.disabled = at === 0 || !order.length;
    this.after.disabled = at === order.length - 1;
    this.bar.hidden = this.stage.hidden = !session;
    if (!session) {
      this.title.textContent = "Slices";
      this.said.textContent = "Choose a session in the plot or in the table to see its slices.";
      return;
    }
    this.title.textContent = cohort.who(session);
    const others = cohort.visits(session.subject).filter((s) => s !== session);
    this.pair.replaceChildren(make("option", {value: "", textContent: "nothing"}), ...others.map((s) => make("option", {value: s.label, textContent: [s.session, s.days == null ? "" : `day ${s.days}`].filter(Boolean).join(", ")})));
    this.pair.value = explorer.get("beside");
    this.pair.disabled = !others.length;
    this.which.value = explorer.get("images");
    this.show(session);
  }
  // The viewer in place, as soon as it is there; the small picture or words until then.
  async show(session) {
    const {explorer} = this, {model} = explorer, ref = this.reference(session);
    clearTimeout(this.waiting);
    if (!ref) return this.stand(session);
    this.said.textContent = model.exported ? "" : explorer.get("_said");
    if (ref === this.shown) return;
    this.shown = ref;
    const manager = model.widget_manager, view = await manager.create_view(await manager.get_model(ref.replace("IPY_MODEL_", "")));
    if (explorer.closed || this.shown !== ref) return view.remove?.();
    this.put(view.el);
    this.view = view;
  }
  // The viewer that shows the session: the kernel's, or that of the page's copy.
  reference(session) {
    const {explorer} = this;
    if (explorer.model.exported) return explorer.get("_full")?.[session.label] ?? "";
    return explorer.get("_shown") === session.label ? explorer.get("_viewer") ?? "" : "";
  }
  put(node) {
    this.view?.remove?.();
    this.view = null;
    this.stage.replaceChildren(node);
  }
  async stand(session) {
    const {explorer} = this, tile = explorer.get("_tiles")?.[session.label], {exported} = explorer.model, words = explorer.get("_said");
    const answered = !exported && explorer.get("_shown") === session.label;
    if (!exported && !answered) this.waiting = setTimeout(() => { this.said.textContent = "No kernel answers: run the cell again for the slices."; }, PATIENCE_MS);
    const what = JSON.stringify([session.label, explorer.y().modality, explorer.y().measure, explorer.y().region, !!tile]);
    if (tile && this.shown !== what) {
      this.shown = what;
      const {canvas, words: said} = await drawTile(tile, explorer.y(), session.label);
      if (explorer.closed || this.shown !== what) return;
      this.put(canvas);
      this.said.textContent = said;
    } else if (!tile && (exported || answered)) {
      this.shown = "";
      this.put(make("p", {textContent: exported ? "No picture of this session travels with the page; explorer.embed() takes pictures along." : words}));
      this.said.textContent = "";
    } else if (!exported && !answered) this.said.textContent = "…";
  }
}
