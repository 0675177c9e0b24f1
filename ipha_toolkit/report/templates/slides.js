// Start reveal.js. The slides fill the window unscaled, so that a viewer's pixels and pointer stay exact; a slide that
// is too long scrolls. Keys that a viewer or a control needs are not taken for turning slides; Escape gives them back.
(() => {
  const OWN = ".ipha-viewer, .ipha-control, input, select, textarea, button, summary";
  for (const node of document.querySelectorAll(".output")) node.setAttribute("data-prevent-swipe", "");
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.closest?.(OWN)) { event.target.blur(); event.stopPropagation(); }
  }, true);
  // On paper every slide is there: viewers that were not looked at yet are drawn for it.
  addEventListener("beforeprint", () => {
    document.body.classList.add("printing");
    for (const node of document.querySelectorAll(".ipha-exported")) node.iphaViewer?.draw();
  });
  addEventListener("afterprint", () => document.body.classList.remove("printing"));
  Reveal.initialize({
    disableLayout: true, center: false, hash: true, respondToHashChanges: true, slideNumber: "c/t", transition: "none", backgroundTransition: "none",
    controlsTutorial: false, viewDistance: 2, pdfSeparateFragments: false, keyboardCondition: (event) => !event.target.closest?.(OWN),
  });
})();
