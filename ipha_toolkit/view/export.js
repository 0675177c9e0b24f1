// In an exported page: build the slice viewers, and the plain sliders and menus linked to them, from the saved widget
// state, without network or kernel. Inert in live Jupyter, whose pages hold no saved state.
(() => {
  if (window.iphaExport) return;
  window.iphaExport = true;
  const STATE = "application/vnd.jupyter.widget-state+json", VIEW = "application/vnd.jupyter.widget-view+json";
  const el = (tag, props = {}, ...children) => { const node = Object.assign(document.createElement(tag), props); node.append(...children); return node; };

  class Model {
    constructor(entry) { this.state = {...entry.state}; this.name = this.state._model_name ?? entry.model_name; this.listeners = []; this.pending = []; }
    get(key) { return this.state[key]; }
    set(key, value) {
      if (JSON.stringify(this.state[key]) === JSON.stringify(value)) return;
      this.state[key] = value;
      this.fire(`change:${key}`);
      this.fire("change");
    }
    save_changes() {}
    send() {}
    on(name, call) { this.listeners.push([name, call]); }
    off(name, call) { this.listeners = this.listeners.filter(([n, c]) => (name && n !== name) || (call && c !== call)); }
    fire(name) { for (const [n, call] of [...this.listeners]) if (n === name) call({}); }
  }

  const models = new Map(), modules = new Map();
  const of = (ref) => models.get(String(ref).replace("IPY_MODEL_", ""));
  const isViewer = (model) => Array.isArray(model.get("_export")) && String(model.get("_anywidget_id")).endsWith("SliceViewer");
  const bind = (model, key, update) => { model.on(`change:${key}`, update); update(); };

  const labelled = (model, ...nodes) => el("label", {className: "ipha-control"}, el("span", {textContent: model.get("description") ?? ""}), ...nodes);
  function range(model) {
    const input = el("input", {type: "range", min: model.get("min"), max: model.get("max"), step: model.get("step") ?? 1}), out = el("output");
    input.oninput = () => model.set("value", input.valueAsNumber);
    bind(model, "value", () => { input.value = model.get("value"); out.textContent = +(+model.get("value")).toPrecision(4); });
    return labelled(model, input, out);
  }
  function text(model) {
    const input = el("input", {type: "number", step: "any"});
    input.onchange = () => Number.isFinite(input.valueAsNumber) && model.set("value", input.valueAsNumber);
    bind(model, "value", () => { input.value = model.get("value"); });
    return labelled(model, input);
  }
  function menu(model) {
    const input = el("select", {}, ...model.get("_options_labels").map((name) => el("option", {textContent: name})));
    input.onchange = () => { model.set("index", input.selectedIndex); model.set("value", input.value); };
    bind(model, "index", () => { input.selectedIndex = model.get("index") ?? -1; });
    return labelled(model, input);
  }
  function tick(model) {
    const input = el("input", {type: "checkbox"});
    input.onchange = () => model.set("value", input.checked);
    bind(model, "value", () => { input.checked = model.get("value"); });
    return labelled(model, input);
  }
  function label(model) {
    const node = el("span", {className: "ipha-control"});
    bind(model, "value", () => { node.textContent = model.get("value"); });
    return node;
  }
  function box(model) {
    const node = el("div"), column = model.name === "VBoxModel";
    Object.assign(node.style, {display: "flex", flexDirection: column ? "column" : "row", flexWrap: column ? "nowrap" : "wrap", gap: "8px"});
    for (const child of model.get("children")) {
      const inner = draw(of(child));
      if (!column && isViewer(of(child))) inner.style.flex = "1 1 320px";
      node.append(inner);
    }
    return node;
  }
  function viewer(model) {
    const node = el("div", {className: "ipha-exported"}), source = model.get("_esm");
    if (!modules.has(source)) {
      document.head.append(el("style", {textContent: model.get("_css")}));
      modules.set(source, import(URL.createObjectURL(new Blob([source], {type: "text/javascript"}))));
    }
    modules.get(source).then((module) => { model.standIn?.remove(); module.default.render({model, el: node}); }, (error) => {
      console.error(error);
      if (!model.standIn) node.append(el("img", {src: model.get("_picture"), alt: model.get("description")}));
    });
    return node;
  }
  const DRAW = {
    IntSliderModel: range, FloatSliderModel: range, IntTextModel: text, FloatTextModel: text, BoundedIntTextModel: text, BoundedFloatTextModel: text,
    DropdownModel: menu, SelectModel: menu, ToggleButtonsModel: menu, RadioButtonsModel: menu, CheckboxModel: tick, ToggleButtonModel: tick,
    LabelModel: label, BoxModel: box, HBoxModel: box, VBoxModel: box, GridBoxModel: box,
  };
  const draw = (model) => (isViewer(model) ? viewer : DRAW[model.name] ?? (() => el("span", {textContent: "(needs a kernel)"})))(model);
  const known = (model) => !!model && (isViewer(model) || (model.name in DRAW && (model.get("children") ?? []).every((child) => known(of(child)))));

  function link(model) {
    const [from, key] = model.get("source"), [to, other] = model.get("target"), a = of(from), b = of(to);
    if (!a || !b) return;
    const push = (p, k, q, l) => () => q.set(l, p.get(k));
    a.on(`change:${key}`, push(a, key, b, other));
    if (model.name === "LinkModel") b.on(`change:${other}`, push(b, other, a, key));
    b.set(other, a.get(key));
  }

  function start() {
    const tags = document.querySelectorAll(`script[type="${STATE}"]`);
    if (!tags.length) return;
    for (const tag of tags) for (const [id, entry] of Object.entries(JSON.parse(tag.textContent).state)) models.set(id, new Model(entry));
    if (![...models.values()].some(isViewer)) return;
    for (const img of document.querySelectorAll("img[data-ipha-model]")) of(img.dataset.iphaModel).standIn = img;
    for (const model of models.values()) if (/^(Directional)?LinkModel$/.test(model.name)) link(model);
    for (const tag of document.querySelectorAll(`script[type="${VIEW}"]`)) {
      const model = of(JSON.parse(tag.textContent).model_id);
      if (!known(model)) continue;
      tag.type = `${VIEW};drawn=ipha`; // so that the html-manager, where there is one, does not draw it again
      tag.after(draw(model));
    }
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
