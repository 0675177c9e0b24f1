// Fit every slide into the window, then start reveal.js. The slides fill the window unscaled, so that a viewer's pixels and
// pointer stay exact. What does not fit goes onto further slides: a figure shrinks to the height that is left, down to half a
// slide; whatever follows it, the rows of a table, the points of a list and the lines of a printout go on overleaf under the same heading.
// A slide that is only a little too full is set smaller instead, and tables and printouts with room around them are set larger.
// Keys that a viewer or a control needs are not taken for turning slides; Escape gives them back. S shows the speaker's notes.
(() => {
  const OWN = ".ipha-viewer, .ipha-explorer, .ipha-control, input, select, textarea, button, summary";
  const MOST_TRIES = 1200; // a minute, for viewers that a busy machine builds late
  const paper = document.body.matches(".handout");
  const LEAST_FIGURE = 0.5, LEAST_VIEWER = 0.42, SLACK = 2, SMALLER = [94, 88], LARGER = [1.4, 1.3, 1.2, 1.1];
  for (const node of document.querySelectorAll(".output")) node.setAttribute("data-prevent-swipe", "");
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.closest?.(OWN)) { event.target.blur(); event.stopPropagation(); }
  }, true);

  const over = (slide) => slide.scrollHeight - slide.clientHeight;
  const bottom = (slide) => slide.getBoundingClientRect().bottom - parseFloat(getComputedStyle(slide).paddingBottom);
  const isHeading = (node) => /^H[1-6]$/.test(node.tagName);
  const isHeld = (node) => node.matches("aside, script, style") || !node.getBoundingClientRect().height;

  // Tables wider than the slide are set smaller, never cut.
  function narrow(slide) {
    const padding = getComputedStyle(slide), inner = slide.clientWidth - parseFloat(padding.paddingLeft) - parseFloat(padding.paddingRight);
    for (const table of slide.querySelectorAll("table")) {
      const room = Math.min(inner, table.closest(".output")?.clientWidth ?? inner);
      if (table.scrollWidth <= room + SLACK) continue;
      table.style.fontSize = `${Math.max(9, Math.floor(parseFloat(getComputedStyle(table).fontSize) * room / table.scrollWidth * 10) / 10)}px`;
      if (table.scrollWidth > room + SLACK) table.classList.add("wrapped");
    }
  }
  function shrink(slide, node, least) {
    if (over(slide) <= SLACK) return;
    const figures = [...node.querySelectorAll("img, svg, canvas.ipha-slice")].concat(node.matches("img, svg") ? [node] : []).filter((one) => one.getBoundingClientRect().height > 60);
    const tops = new Set(figures.map((one) => Math.round(one.getBoundingClientRect().top)));
    for (const figure of figures) {
      const height = figure.getBoundingClientRect().height - (over(slide) + SLACK) / Math.max(1, tops.size);
      if (height >= least) figure.dataset.fit = height;
    }
    // of figures to choose from, those that are hidden get the room of the one that is shown
    const alike = (one) => [...one.closest(".ipha-choice")?.querySelectorAll("img") ?? [one]];
    for (const figure of figures) if (figure.dataset.fit)
      for (const one of alike(figure)) Object.assign(one.style, {maxHeight: `${Math.floor(figure.dataset.fit)}px`, maxWidth: "100%"});
  }

  // The nodes that are left for the next slide, taken out of this one; none where the slide is full with what cannot be parted.
  function rest(slide, edge) {
    const blocks = [...slide.children].filter((node) => !isHeld(node));
    const at = blocks.findIndex((node) => node.getBoundingClientRect().bottom > edge + SLACK);
    if (at < 0) return [];
    let first = at;
    while (first > 0 && isHeading(blocks[first - 1])) first -= 1;
    const parted = part(blocks[at], edge);
    if (parted) return take(slide, [parted], blocks.slice(at + 1));
    // what announces something ("...:") goes along with it, unless nothing else is here
    while (first > 1 && !isHeading(blocks[first - 2]) && blocks[first - 1].textContent.trim().endsWith(":")) first -= 1;
    return first > 0 ? take(slide, [], blocks.slice(first)) : take(slide, [], blocks.slice(at + 1));
  }
  function take(slide, made, nodes) {
    for (const node of nodes) node.remove();
    return [...made, ...nodes];
  }
  // A copy of a table, list or printout with what lies below the edge, which leaves the original; null where nothing can be parted.
  function part(node, edge) {
    if (node.matches(".ipha-exported, .ipha-viewer, .ipha-explorer, .ipha-choice, details, img, svg")) return null;
    if (node.querySelector(":scope > .ipha-choice")) return null; // the control stays with what it chooses
    if (node.matches(".output") && node.querySelector(".ipha-control") && node.querySelector(".ipha-exported")) return null;
    const below = (one) => one.getBoundingClientRect().bottom > edge + SLACK;
    if (node.matches("pre")) return partText(node, edge, /\n/g);
    if (node.matches("p") && !node.querySelector("img, math")) return partText(node, edge, /(?<=[.:;!?])\s/g, 1) ?? partText(node, edge, /\s/g);
    const items = node.matches("table") ? [...node.querySelectorAll(":scope > tbody > tr")] : node.matches("ul, ol") ? [...node.children] : null;
    if (items) {
      let at = items.findIndex(below);
      if (at < 1 || items.length < 2) return null;
      if (node.matches("table") && items.length - at < at) at = Math.ceil(items.length / 2); // two halves, not all rows and one
      const copy = node.cloneNode(false);
      if (node.matches("table")) {
        spanBoth(items, at);
        for (const head of node.querySelectorAll(":scope > thead, :scope > colgroup, :scope > caption")) copy.append(head.cloneNode(true));
        copy.append(document.createElement("tbody"));
        copy.lastChild.append(...items.slice(at));
      } else {
        if (node.matches("ol")) copy.start = (node.start ?? 1) + at;
        copy.append(...items.slice(at));
      }
      return copy;
    }
    if (!node.matches("div, blockquote, section")) return null;
    const inner = [...node.children].filter((one) => !isHeld(one)), at = inner.findIndex(below);
    if (at < 0) return null;
    const deeper = part(inner[at], edge);
    if (!deeper && at < 1) return null;
    const copy = node.cloneNode(false);
    if (deeper) copy.append(deeper);
    copy.append(...inner.slice(deeper ? at + 1 : at));
    return copy;
  }
  // Cells that reach over the row where a table is parted stand in both parts.
  function spanBoth(rows, at) {
    const over = rows.slice(0, at).flatMap((row, n) => [...row.cells].filter((cell) => n + cell.rowSpan > at).map((cell) => [cell, n]));
    over.sort(([one], [other]) => other.getBoundingClientRect().left - one.getBoundingClientRect().left);
    for (const [cell, n] of over) {
      const again = cell.cloneNode(true);
      again.rowSpan = n + cell.rowSpan - at;
      cell.rowSpan = at - n;
      rows[at].prepend(again);
    }
  }
  // The part of a text from the last gap (a line's end, or a space) above the edge on, with whatever marks stand around it.
  function partText(node, edge, gap, least = 3) {
    const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT), gaps = [], range = document.createRange();
    for (let text = texts.nextNode(); text; text = texts.nextNode())
      for (const found of text.data.matchAll(gap)) gaps.push([text, found.index + 1]);
    const fits = ([text, at]) => { range.setStart(node, 0); range.setEnd(text, at); return range.getBoundingClientRect().bottom <= edge; };
    let low = 0, high = gaps.length;
    while (low < high) { const middle = (low + high) >> 1; if (fits(gaps[middle])) low = middle + 1; else high = middle; }
    if (low < least || (least > 1 && low === gaps.length)) return null;
    range.setStart(...gaps[low - 1]);
    range.setEnd(node, node.childNodes.length);
    const copy = node.cloneNode(false);
    copy.append(range.extractContents());
    return copy;
  }

  function split(slide) {
    narrow(slide);
    const blocks = () => [...slide.children].filter((node) => !isHeld(node));
    const figure = blocks().find((node) => node.querySelector("img, svg, canvas.ipha-slice") || node.matches("img, svg"));
    if (figure && over(slide) > SLACK) {
      const room = bottom(slide) - slide.getBoundingClientRect().top;
      const text = blocks().filter((node) => !isHeading(node) && node !== figure);
      const least = figure.querySelector("canvas.ipha-slice") ? LEAST_VIEWER : LEAST_FIGURE;
      shrink(slide, figure, room * (text.length ? least : 0.3));
    }
    if (over(slide) > SLACK) smaller(slide);
    if (over(slide) <= SLACK) { larger(slide); return; }
    const nodes = rest(slide, bottom(slide));
    if (over(slide) > SLACK && figure) shrink(slide, figure, 80);
    for (let size = 95; over(slide) > SLACK && size >= 55; size -= 5) slide.style.fontSize = `${size}%`;
    larger(slide);
    if (nodes.length) split(follow(slide, nodes));
  }
  // A slide of text and tables that is a little too full; back to its size where that does not help.
  function smaller(slide) {
    for (const size of SMALLER) {
      slide.style.fontSize = `${size}%`;
      if (over(slide) <= SLACK) return;
    }
    slide.style.fontSize = "";
  }
  // Tables and printouts as large as the room around them allows, up to the size of the text.
  function larger(slide) {
    if (slide.style.fontSize || over(slide) > SLACK) return;
    const nodes = [...slide.querySelectorAll("table, .output > pre")].filter((node) => !node.closest(".ipha-viewer, .ipha-explorer, details") && !node.style.fontSize);
    const before = nodes.map((node) => [node, parseFloat(getComputedStyle(node).fontSize)]);
    for (const scale of LARGER) {
      for (const [node, size] of before) node.style.fontSize = `${size * scale}px`;
      const wide = nodes.some((node) => node.scrollWidth > (node.closest(".output") ?? node.parentElement).clientWidth + SLACK);
      if (!wide && over(slide) <= SLACK && nodes.every((node) => node.scrollHeight <= node.clientHeight + SLACK)) return;
      for (const [node] of before) node.style.fontSize = "";
    }
  }
  // A further slide after this one, in its own column, under the heading it goes on from.
  function follow(slide, nodes) {
    const section = document.createElement("section"), next = document.createElement("div");
    next.className = "slide";
    const heading = slide.querySelector(":scope > h1, :scope > h2, :scope > h3");
    if (heading && !isHeading(nodes[0])) {
      const again = document.createElement("h2");
      again.className = "continued";
      again.textContent = heading.matches(".continued") ? heading.textContent : `${heading.textContent} (continued)`;
      next.append(again);
    }
    next.append(...nodes);
    section.append(next);
    slide.closest("section").after(section);
    return next;
  }
  function fitAll() {
    document.body.classList.add("measuring");
    for (const slide of [...document.querySelectorAll(".slides .slide")]) split(slide);
    document.body.classList.remove("measuring");
  }

  // On paper every slide is there: viewers that were not looked at yet are drawn for it.
  addEventListener("beforeprint", () => {
    document.body.classList.add("printing");
    for (const node of document.querySelectorAll(".ipha-exported")) node.iphaViewer?.draw();
  });
  addEventListener("afterprint", () => document.body.classList.remove("printing"));
  addEventListener("keydown", (event) => {
    if (event.key === "s" && !event.ctrlKey && !event.metaKey && !event.target.closest?.(OWN)) document.body.classList.toggle("speaking");
  });
  const start = () => {
    fitAll();
    return Reveal.initialize({
      disableLayout: true, center: false, hash: true, respondToHashChanges: true, slideNumber: "c/t", transition: "none", backgroundTransition: "none",
      controlsTutorial: false, viewDistance: 2, pdfSeparateFragments: false, keyboardCondition: (event) => !event.target.closest?.(OWN),
    });
  };
  // Pictures have a height once they are read, viewers once they are built.
  const read = Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  const built = () => !document.querySelector(".ipha-exported:empty:not([data-failed])") && (!paper || whole());
  const whole = () => [...document.querySelectorAll(".ipha-exported")].every(({iphaViewer: viewer}) => !viewer || viewer.complete);
  const wait = (tries = MOST_TRIES) => (built() || tries <= 0 ? start() : new Promise((go) => setTimeout(go, 50)).then(() => wait(tries - 1)));
  // A browser that is told to print does so when a page is loaded: a handout is not, until its slides are laid out and its viewers hold their voxels.
  if (paper) {
    const pending = document.body.appendChild(Object.assign(document.createElement("iframe"), {hidden: true}));
    pending.contentDocument.open();
    addEventListener("DOMContentLoaded", () => read.then(() => wait()).finally(() => { pending.contentDocument.close(); pending.remove(); }));
  } else addEventListener("load", () => read.then(() => wait()));
})();
