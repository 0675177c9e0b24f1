// The chosen session's slices: our own viewer where a kernel or the page's copy gives it, else the small picture.
import {make} from "../../viewer/js/dom.js";
import {SUPPRESS} from "../../viewer/js/guard.js";

const WAIT_MS = 4000;

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
  // The viewer in place, as soon as it is there; a picture or words until then.
  async show(session) {
    const {explorer} = this, ref = this.reference(session);
    this.said.textContent = explorer.get("_said");
    if (ref === this.shown) return;
    this.shown = ref;
    if (!ref) return this.stand(session);
    const manager = explorer.model.widget_manager, model = await manager.get_model(ref.replace("IPY_MODEL_", ""));
    const view = await manager.create_view(model);
    if (explorer.closed || this.shown !== ref) return view.remove?.();
    const old = this.view;
    this.view = view;
    this.stage.replaceChildren(view.el);
    old?.remove?.();
  }
  reference(session) {
    const full = this.explorer.get("_full")?.[session.label];
    return this.explorer.model.exported ? full ?? "" : this.explorer.get("_viewer") ?? "";
  }
  stand(session) {
    this.view?.remove?.();
    this.view = null;
    this.stage.replaceChildren(make("p", {textContent: "no picture of this session is here"}));
  }
}
