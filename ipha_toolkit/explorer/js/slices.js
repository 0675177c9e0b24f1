// The chosen session's slices: our own viewer where a kernel or the page's copy gives it, else the small picture.
import {make} from "../../viewer/js/dom.js";
import {SUPPRESS} from "../../viewer/js/guard.js";
import {FullVoxels, drawTile} from "./tiles.js";

const PATIENCE_MS = 3000, AHEAD_MS = 500, TOGETHER = ["position_mm", "plane", "zoom", "pan_mm"];

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
    this.node = make("div", {role: "region", className: "ipha-slices", "aria-label": "Slices of the chosen session"}, this.title, this.bar, this.stage, this.said);
    this.shown = "";
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
    this.which.parentNode.hidden = explorer.model.exported;
    if (explorer.model.exported) this.page([session.label, explorer.get("beside")].filter(Boolean));
    else this.live(session);
  }
  put(parts) {
    this.close();
    this.parts = parts;
    this.stage.replaceChildren(...parts.map(({node}) => node));
  }
  close() {
    clearTimeout(this.waiting);
    for (const part of this.parts ?? []) part.close?.();
    this.parts = [];
  }

  // -- in a page: viewers of the sessions whose images travel with it, small pictures of all others --
  async page(labels) {
    const {explorer} = this, column = explorer.y(), what = labels.join(), number = JSON.stringify([column.modality, column.measure, column.region]);
    if (what === this.shown && number === this.numbered) return this.tell();
    const known = what === this.shown ? this.parts ?? [] : [];
    [this.shown, this.numbered] = [what, number];
    const parts = await Promise.all(labels.map((label, n) => (known[n]?.voxels ? known[n] : this.picture(label))));
    if (explorer.closed || this.shown !== what || this.numbered !== number) return;
    if (!known.length || parts.some((part, n) => part !== known[n])) this.put(parts);
    for (const part of parts) part.begin?.();
    this.stage.classList.toggle("ipha-two", parts.length > 1 && parts.every((part) => part.voxels));
    this.tell();
  }
  // Two viewers go to the same place of the patient, until one is unlinked; linked again, the other comes to its place.
  join() {
    const viewers = (this.parts ?? []).map(({node}) => node.iphaViewer), models = viewers.map((viewer) => viewer?.model);
    if (models.length < 2 || !models.every(Boolean) || this.joined === this.parts) return;
    this.joined = this.parts;
    for (const viewer of viewers) { viewer.scene.together = true; viewer.syncControls(); }
    for (const [one, other] of [models, [...models].reverse()]) {
      const pass = () => { if (one.get("linked") && other.get("linked")) for (const key of TOGETHER) other.set(key, one.get(key)); };
      one.on("change:linked", () => { other.set("linked", one.get("linked")); pass(); });
      for (const key of TOGETHER) one.on(`change:${key}`, pass);
    }
  }
  tell() { this.said.textContent = (this.parts ?? []).map(({words}) => words).filter(Boolean).join(" "); }
  async picture(label) {
    const {explorer} = this, ref = explorer.get("_full")?.[label], tile = explorer.get("_tiles")?.[label];
    if (ref) return this.whole(label, ref);
    if (!tile && explorer.get("_shown") === label && explorer.get("_viewer")) return this.still(explorer.get("_viewer"));
    if (!tile) return {node: make("p", {textContent: `No picture of ${label} travels with this page; explorer.embed() takes pictures along.`}), words: ""};
    const {canvas, words} = await drawTile(tile, explorer.y(), label);
    return {node: canvas, words};
  }
  // What was open when the notebook was saved, where no picture was taken along for it.
  async still(ref) {
    const manager = this.explorer.model.widget_manager, view = await manager.create_view(await manager.get_model(ref.replace("IPY_MODEL_", "")));
    return {node: view.el, words: this.explorer.get("_said"), close: () => view.remove?.()};
  }
  async whole(label, ref) {
    const manager = this.explorer.model.widget_manager, view = await manager.create_view(await manager.get_model(ref.replace("IPY_MODEL_", "")));
    const part = {node: view.el, words: "", voxels: null, close: () => { part.closed = true; part.voxels?.close?.(); view.remove?.(); }};
    part.voxels = {};
    part.begin = () => {
      const {iphaViewer: viewer} = view.el;
      if (part.closed) return;
      if (!viewer) return void setTimeout(part.begin, 30);
      if (!part.voxels.show) {
        part.voxels = new FullVoxels(viewer, this.explorer.get("_codes")?.[label] ?? []);
        part.voxels.onWords = (words) => { part.words = words; this.tell(); };
      }
      part.voxels.show(this.explorer.y());
      this.join();
    };
    return part;
  }

  // -- with a kernel: the viewer it makes of the session --
  async live(session) {
    const {explorer} = this, {model} = explorer, answered = explorer.get("_shown") === session.label, ref = answered ? explorer.get("_viewer") : "";
    clearTimeout(this.waiting);
    this.said.textContent = answered ? explorer.get("_said") : "…";
    if (!answered) {
      this.waiting = setTimeout(() => { this.said.textContent = "No kernel answers: run the cell again for the slices."; }, PATIENCE_MS);
      return;
    }
    if (ref === this.shown) return;
    this.shown = ref;
    if (!ref) return this.put([]);
    const manager = model.widget_manager, view = await manager.create_view(await manager.get_model(ref.replace("IPY_MODEL_", "")));
    if (explorer.closed || this.shown !== ref) return view.remove?.();
    this.put([{node: view.el, close: () => view.remove?.()}]);
    const order = explorer.rows.sessions(), after = order[order.indexOf(session) + 1];
    if (after) setTimeout(() => { if (!explorer.closed && explorer.get("session") === session.label) explorer.soon(after.label); }, AHEAD_MS);
  }
}
