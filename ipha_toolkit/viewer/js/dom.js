// Elements, and what has to be undone when a view closes. Text from data only ever becomes textContent.

export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// Whoever listens to anything that outlives the view does it through the view's Disposer.
export class Disposer {
  constructor() { this.controller = new AbortController(); this.todo = []; }
  get closed() { return this.controller.signal.aborted; }
  add(undo) { this.todo.push(undo); }
  listen(target, name, call, options = {}) { target.addEventListener(name, call, {...options, signal: this.controller.signal}); }
  on(model, name, call) {
    model.on(name, call);
    this.add(() => model.off(name, call));
  }
  close() {
    this.controller.abort();
    for (const undo of this.todo.splice(0).reverse()) undo();
  }
}

// A call that waits until nobody has asked for it for some milliseconds; `flush` makes it now if it is waiting.
export function later(call, milliseconds) {
  let timer = 0;
  const run = () => { timer = 0; call(); };
  return {
    ask() { clearTimeout(timer); timer = setTimeout(run, milliseconds); },
    flush() { if (timer) { clearTimeout(timer); run(); } },
    cancel() { clearTimeout(timer); timer = 0; },
  };
}
