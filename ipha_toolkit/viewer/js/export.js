// In an exported page: build the slice viewers, and the plain widgets around them, from the saved widget state, without
// network or kernel. Controls that no link in the browser joins to anything would need the kernel: they are shown switched
// off. Inert in live Jupyter, whose pages hold no saved state. On a page of the toolkit's own (data-ipha-page) it draws all
// widgets; elsewhere only those of notebooks that hold a viewer.
(() => {
  if (window.iphaExport) return;
  window.iphaExport = true;
  const STATE = "application/vnd.jupyter.widget-state+json", VIEW = "application/vnd.jupyter.widget-view+json";
  const el = (tag, props = {}, ...children) => { const node = Object.assign(document.createElement(tag), props); node.append(...children); return node; };

  class Model {
    constructor(entry) { this.state = {...entry.state}; this.name = this.state._model_name ?? entry.model_name; this.listeners = []; }
    get exported() { return true; } // no notebook around it that keys have to be kept from
    get widget_manager() { return manager; }
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
  // Widgets of the toolkit, drawn by the module they bring; one may draw others, as Jupyter's manager lets it.
  const isViewer = (model) => !!model.get("_esm") && /^ipha_toolkit\.|SliceViewer$/.test(model.get("_anywidget_id"));
  const manager = {get_model: async (id) => of(id), create_view: async (model) => viewer(model, true)};
  const bind = (model, key, update) => { model.on(`change:${key}`, update); update(); };

  const linked = new Set();
  const labelled = (model, ...nodes) => {
    for (const node of nodes)
      if ("disabled" in node && !linked.has(model)) Object.assign(node, {disabled: true, title: "needs a running kernel"});
    return el("label", {className: "ipha-control"}, el("span", {textContent: model.get("description") ?? ""}), ...nodes);
  };
  const short = (value) => String(+(+value).toPrecision(4));
  function range(model) {
    const input = el("input", {type: "range", min: model.get("min"), max: model.get("max"), step: model.get("step") ?? 1}), out = el("output");
    input.oninput = () => model.set("value", input.valueAsNumber);
    bind(model, "value", () => { input.value = model.get("value"); out.textContent = short(model.get("value")); });
    return labelled(model, input, out);
  }
  function interval(model) {
    const inputs = [0, 1].map(() => el("input", {type: "range", min: model.get("min"), max: model.get("max"), step: model.get("step") ?? 1})), out = el("output");
    for (const input of inputs) input.oninput = () => model.set("value", inputs.map((one) => one.valueAsNumber).sort((a, b) => a - b));
    bind(model, "value", () => { model.get("value").forEach((v, n) => { inputs[n].value = v; }); out.textContent = model.get("value").map(short).join(" – "); });
    return labelled(model, ...inputs, out);
  }
  function stops(model) {
    const names = model.get("_options_labels"), input = el("input", {type: "range", min: 0, max: names.length - 1, step: 1}), out = el("output");
    input.oninput = () => { model.set("index", input.valueAsNumber); model.set("value", names[input.valueAsNumber]); };
    bind(model, "index", () => { input.value = model.get("index"); out.textContent = names[model.get("index")]; });
    return labelled(model, input, out);
  }
  const entry = (type, read) => (model) => {
    const input = el("input", {type, step: "any"});
    input.onchange = () => { const value = read(input); if (value === value) model.set("value", value); };
    bind(model, "value", () => { input.value = model.get("value"); });
    return labelled(model, input);
  };
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
  function play(model) {
    const button = el("button", {type: "button", textContent: "▶"});
    button.setAttribute("aria-label", "Play");
    let timer = 0;
    const next = () => {
      const value = model.get("value") + model.get("step"), [min, max] = [model.get("min"), model.get("max")];
      if (value <= max) model.set("value", value);
      else if (model.get("loop") ?? model.get("repeat") ?? model.get("_repeat")) model.set("value", min);
      else button.click();
    };
    button.onclick = () => {
      if (timer) timer = clearInterval(timer) ?? 0;
      else timer = setInterval(next, model.get("interval"));
      button.textContent = timer ? "⏸" : "▶";
    };
    return labelled(model, button);
  }
  const press = (model) => labelled({get: () => ""}, el("button", {type: "button", textContent: model.get("description")}));
  function bar(model) {
    const node = el("progress", {max: model.get("max") - model.get("min")});
    bind(model, "value", () => { node.value = model.get("value") - model.get("min"); });
    return labelled(model, node);
  }
  function label(model) {
    const node = el("span", {className: "ipha-control"});
    bind(model, "value", () => { node.textContent = model.get("value"); });
    return node;
  }
  function html(model) {
    const node = el("div");
    bind(model, "value", () => { node.innerHTML = model.get("value"); });
    return model.get("description") ? labelled(model, node) : node;
  }
  function output(model) {
    const node = el("div", {className: "ipha-output"});
    for (const {data = {}, metadata = {}, text, traceback} of model.get("outputs") ?? []) {
      const shown = data[VIEW] && of(data[VIEW].model_id), png = data["image/png"];
      if (known(shown)) node.append(draw(shown));
      else if (data["text/html"]) node.append(el("div", {innerHTML: data["text/html"]}));
      else if (data["application/javascript"] && !data["text/plain"]) continue; // scripts have no picture
      else if (png) node.append(el("img", {src: `data:image/png;base64,${png}`, alt: metadata["image/png"]?.alt ?? data["text/plain"] ?? ""}));
      else node.append(el("pre", {textContent: text ?? data["text/plain"] ?? (traceback ?? []).join("\n").replace(/\x1b\[[0-9;]*m/g, "")}));
    }
    return node;
  }
  function folds(model) {
    const titles = model.get("titles") ?? [], chosen = model.get("selected_index");
    return el("div", {}, ...model.get("children").map((child, n) =>
      el("details", {open: n === chosen}, el("summary", {textContent: titles[n] || `Part ${n + 1}`}), draw(of(child)))));
  }
  function stack(model) {
    const parts = model.get("children").map((child) => el("div", {}, draw(of(child))));
    bind(model, "selected_index", () => parts.forEach((part, n) => { part.style.display = n === model.get("selected_index") ? "" : "none"; }));
    return el("div", {className: "ipha-choice"}, ...parts);
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
  function viewer(model, inside = false) {
    const node = el("div", {className: "ipha-exported"}), source = model.get("_esm");
    if (!modules.has(source)) {
      document.head.append(el("style", {textContent: model.get("_css")}));
      modules.set(source, import(URL.createObjectURL(new Blob([source], {type: "text/javascript"}))));
    }
    let close = null;
    modules.get(source).then((module) => { model.standIn?.remove(); close = module.default.render({model, el: node}); }, (error) => {
      console.error(error);
      node.dataset.failed = "";
      if (!model.standIn) node.append(el("img", {src: model.get("_picture") ?? "", alt: model.get("description") ?? ""}));
    });
    return inside ? {el: node, remove: () => { close?.(); node.remove(); }} : node;
  }
  const number = entry("number", (input) => input.valueAsNumber), text = entry("text", (input) => input.value);
  const DRAW = {
    IntSliderModel: range, FloatSliderModel: range, IntRangeSliderModel: interval, FloatRangeSliderModel: interval, SelectionSliderModel: stops,
    IntTextModel: number, FloatTextModel: number, BoundedIntTextModel: number, BoundedFloatTextModel: number, TextModel: text, TextareaModel: text,
    DropdownModel: menu, SelectModel: menu, ToggleButtonsModel: menu, RadioButtonsModel: menu, CheckboxModel: tick, ToggleButtonModel: tick,
    PlayModel: play, ButtonModel: press, IntProgressModel: bar, FloatProgressModel: bar, LabelModel: label, HTMLModel: html, HTMLMathModel: html,
    OutputModel: output, BoxModel: box, HBoxModel: box, VBoxModel: box, GridBoxModel: box, AccordionModel: folds, TabModel: folds, StackModel: stack,
  };
  const draw = (model) => (isViewer(model) ? viewer : DRAW[model?.name] ?? (() => el("span", {className: "ipha-control", textContent: "(needs a running kernel)"})))(model);
  const known = (model) => !!model && (isViewer(model) || (model.name in DRAW && (model.get("children") ?? []).every((child) => known(of(child)))));
  const own = document.documentElement.hasAttribute("data-ipha-page");

  function link(model) {
    const [from, key] = model.get("source"), [to, other] = model.get("target"), a = of(from), b = of(to);
    if (!a || !b) return;
    linked.add(a).add(b);
    const push = (p, k, q, l) => () => q.set(l, p.get(k));
    a.on(`change:${key}`, push(a, key, b, other));
    if (model.name === "LinkModel") b.on(`change:${other}`, push(b, other, a, key));
    b.set(other, a.get(key));
  }

  function start() {
    const tags = document.querySelectorAll(`script[type="${STATE}"]`);
    if (!tags.length) return;
    for (const tag of tags) for (const [id, entry] of Object.entries(JSON.parse(tag.textContent).state)) models.set(id, new Model(entry));
    if (!own && ![...models.values()].some(isViewer)) return;
    for (const img of document.querySelectorAll("img[data-ipha-model]")) of(img.dataset.iphaModel).standIn = img;
    for (const model of models.values()) if (/^(Directional)?LinkModel$/.test(model.name)) link(model);
    for (const tag of document.querySelectorAll(`script[type="${VIEW}"]`)) {
      const model = of(JSON.parse(tag.textContent).model_id);
      if (!own && !known(model)) continue;
      tag.type = `${VIEW};drawn=ipha`; // so that the html-manager, where there is one, does not draw it again
      tag.after(draw(model));
    }
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
