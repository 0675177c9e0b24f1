// What a notebook around the viewer must not see: keys pressed in it, and the menu of the right button over its images.
// JupyterLab listens on the document (since 4.1 while events rise, before while they sink) and on the notebook, so both
// are stopped on the window, which every event passes first. Its `data-lm-suppress-shortcuts` counts only on the very
// element that has the focus or above what a shortcut is meant for (`:focus`), so every control carries it besides.

export const SUPPRESS = {"data-lm-suppress-shortcuts": "true"};

const AFTERWARDS_MS = 500; // Windows opens the menu when the button is let go, wherever the pointer is by then

export function guard(root, disposer, {onKey, aloneOnPage}) {
  const stop = (event) => event.stopImmediatePropagation();
  root.dataset.iphaGuarded = ""; // of guarded widgets inside each other, the innermost answers
  const inside = (event) => event.composedPath().find((node) => node.dataset && "iphaGuarded" in node.dataset) === root;
  for (const name of ["keydown", "keypress", "keyup"])
    disposer.listen(window, name, (event) => {
      if (!inside(event)) return;
      const used = name === "keydown" && onKey(event);
      if (used) event.preventDefault();
      // In a page without a notebook (slides) what the viewer does not use goes on to the page.
      if (used || !aloneOnPage) stop(event);
    }, {capture: true});
  let dragged = -Infinity;
  const overImage = (event) => event.composedPath().find((node) => node.classList?.contains("ipha-slice") && root.contains(node));
  disposer.listen(window, "pointerdown", (event) => { if (event.button === 2 && overImage(event)) dragged = Infinity; }, {capture: true});
  for (const name of ["pointerup", "pointercancel"])
    disposer.listen(window, name, (event) => { if (dragged === Infinity) dragged = event.timeStamp; }, {capture: true});
  disposer.listen(window, "contextmenu", (event) => {
    if (!overImage(event) && !(event.timeStamp - dragged < AFTERWARDS_MS)) return;
    event.preventDefault();
    stop(event);
  }, {capture: true});
}
