// Behaviour of the page: fold all code, say where in the contents the reader is.
(() => {
  const wide = matchMedia("(min-width: 75rem)"), contents = document.querySelector(".contents");
  if (contents && !wide.matches) contents.open = false;
  wide.addEventListener("change", () => { if (contents) contents.open = wide.matches; });

  const toggle = document.getElementById("code-toggle");
  toggle?.addEventListener("click", () => {
    const hide = toggle.getAttribute("aria-pressed") === "false";
    toggle.setAttribute("aria-pressed", hide);
    toggle.textContent = hide ? "Show code" : "Hide code";
    for (const cell of document.querySelectorAll("details.code")) cell.open = !hide;
  });

  // Paper unfolds nothing by itself.
  const folded = () => [...document.querySelectorAll(".readings details:not([open])")];
  let unfolded = [];
  addEventListener("beforeprint", () => { unfolded = folded(); for (const each of unfolded) each.open = true; });
  addEventListener("afterprint", () => { for (const each of unfolded) each.open = false; });

  const links = [...document.querySelectorAll(".contents a")];
  const marks = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
  const mark = () => {
    const last = marks.findLastIndex((node) => node && node.getBoundingClientRect().top < 80);
    links.forEach((link, n) => (n === Math.max(last, 0) ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  };
  if (links.length) { addEventListener("scroll", mark, {passive: true}); mark(); }
})();
