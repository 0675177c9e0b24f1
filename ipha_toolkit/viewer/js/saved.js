// In a notebook that is opened again after its kernel has ended, JupyterLab writes "Error displaying widget: model not found"
// where a viewer stood: it looks at no other form of that output. This function is called by a script that is saved as an
// output of its own before the viewer's, and shows the pictures and words it is given in place of the error. JupyterLab
// runs it with `element` for its output, in a notebook that it trusts; an untrusted one shows no widgets, but pictures.
((stills, hint) => {
  const node = typeof element === "undefined" ? null : element, PATIENCE_MS = 2000, GIVE_UP_MS = 600_000, started = performance.now();
  if (!node?.closest) return;
  const el = (tag, props, ...children) => { const made = Object.assign(document.createElement(tag), props); made.append(...children); return made; };
  const shown = ([picture, words]) => [el("img", {src: picture, alt: words, style: "max-width: 100%"}), el("p", {}, words)];
  const made = () => el("div", {className: "ipha-saved"}, ...stills.flatMap(shown), el("p", {}, el("em", {}, hint)));
  // The script runs before its output is on the page, which may be as late as when it is scrolled to.
  const attached = () => {
    const own = node.closest(".jp-OutputArea-child"), age = performance.now() - started;
    if (own?.parentNode) watch(own);
    else if (age < GIVE_UP_MS) setTimeout(attached, 50 + age / 20);
  };
  const watch = (own) => {
    let still = null;
    const look = () => {
      const viewer = own.nextElementSibling?.querySelector(".jp-OutputArea-output"), text = viewer?.firstChild?.nodeType === 3 ? viewer.textContent : "";
      const loading = text.startsWith("Loading widget"), lost = text.startsWith("Error displaying widget") || (loading && performance.now() - started >= PATIENCE_MS);
      if (lost && !still) {
        viewer.after((still = made()));
        viewer.style.display = "none";
      } else if (still && !lost) {
        still.remove();
        still = null;
        viewer.style.display = "";
      }
    };
    new MutationObserver(look).observe(own.parentNode, {childList: true, subtree: true});
    setTimeout(look, PATIENCE_MS);
    look();
  };
  attached();
})
