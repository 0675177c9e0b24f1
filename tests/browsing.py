"""What tests in a headless Chromium share: finding it, and reading the pixels of viewers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
VIEWER = "[...document.querySelectorAll('*')].map((e) => e.iphaViewer).filter(Boolean)"
HAS_AXE = importlib.util.find_spec("axe_playwright_python") is not None
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT_MS = 180_000
"""Longest that a page is waited for; no test is to end by it, however busy the machine."""


def find_chromium() -> str | None:
    """Path of the browser: environment variable IPHA_CHROMIUM, or the first that is installed."""
    return os.environ.get("IPHA_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


def patient(browser: Any) -> Any:
    """The browser, whose pages are waited for with patience, and run IPHA_SLOW_PAGES times slower where that is set."""

    def prepared(make: Callable[..., Any], prepare: Callable[[Any], Any]) -> Callable[..., Any]:
        def made(**options: Any) -> Any:
            new = make(**options)
            new.set_default_timeout(LIMIT_MS)
            prepare(new)
            return new

        return made

    def slow(page: Any) -> None:
        rate = float(os.environ.get("IPHA_SLOW_PAGES", 1))
        if rate > 1:
            page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})

    def with_slow_pages(context: Any) -> None:
        context.new_page = prepared(context.new_page, slow)

    browser.new_page = prepared(browser.new_page, slow)
    browser.new_context = prepared(browser.new_context, with_slow_pages)
    return browser


def opened(page: Any, url: str) -> Any:
    """The page, once all its viewers are drawn and hold all their voxels."""
    page.goto(url)
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.ipha-viewer')];"
        " return all.length && all.every((v) => v.dataset.ready); }"
    )
    page.wait_for_function(f"() => {VIEWER}.every((v) => v.source.layers.every((l) => l.ready.every(Boolean)))")
    settle(page)
    return page


def settle(page: Any) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(r))))")


def becomes(page: Any, found: Callable[[], Any], wanted: Any) -> None:
    """Wait until what is found on a page is what is wanted, or what a function says is good."""
    good = wanted if callable(wanted) else lambda now: now == wanted
    until = time.monotonic() + LIMIT_MS / 1000
    while not good(now := found()) and time.monotonic() < until:
        page.wait_for_timeout(50)
    assert good(now), (now, wanted)


def resting_box(locator: Any) -> dict[str, float]:
    """Where an element lies in the window, once it is scrolled to and nothing on the page moves it any more."""
    locator.scroll_into_view_if_needed()
    before, now = None, locator.bounding_box()
    while now != before:
        settle(locator.page)
        before, now = now, locator.bounding_box()
    return dict(now)


def past(page: Any, milliseconds: int) -> None:
    """Wait until timers have gone off that were set on the page for as long: its own runs after them."""
    page.evaluate("(ms) => new Promise((r) => setTimeout(r, ms))", milliseconds)
    settle(page)


def hacked(page: Any) -> Any:
    """What planted text has set on a page, once a picture put in after it has failed as that of a payload would."""
    page.evaluate("""() => new Promise((failed) => {
        const picture = document.createElement("img");
        picture.onerror = failed;
        picture.src = "data:,x";
    })""")
    settle(page)
    return page.evaluate("window.hacked ?? window.__pwned ?? null")


def pixels(page: Any, panel: int = 0) -> Any:
    """Green of a panel's pixels, 2-D."""
    settle(page)
    url = page.evaluate(f"() => document.querySelectorAll('canvas.ipha-slice')[{panel}].toDataURL()")
    return np.array(Image.open(BytesIO(b64decode(url.partition(",")[2]))).convert("RGB"))[..., 1]


def bundled(page: Any, call: str, *given: Any) -> Any:
    """What a JavaScript function answers that is called with the viewer's module and what else is given."""
    from ipha_toolkit.viewer.bundle import bundle

    load = "import(URL.createObjectURL(new Blob([source], {type: 'text/javascript'})))"
    return page.evaluate(
        f"async ([source, given]) => ({call})(await {load}, ...given)",
        [bundle(), list(given)],
    )


def barriers(page: Any, within: str) -> list[str]:
    """What axe-core finds in a part of the page that keeps someone out: WCAG 2 A and AA, and good practice."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(page, within, {"resultTypes": ["violations"]}).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


_NEXT_SLIDE = """(number) => {
  const at = Reveal.getIndices(Reveal.getSlides()[number]);
  Reveal.slide(at.h, at.v);
}"""
_CUT = """() => {
  const slide = document.querySelector("section.present:not(.stack) > .slide");
  const cut = (node) => node.scrollHeight > node.clientHeight + 2 || node.scrollWidth > node.clientWidth + 2;
  const scrolls = (node) => ["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowY);
  const inside = [...slide.querySelectorAll("*")].filter((node) => !node.closest("aside, .ipha-viewer"));
  return [slide, ...inside.filter((node) => node.clientHeight && scrolls(node))].filter(cut).map(
    (node) => `${node.tagName} ${node.className} in ${slide.innerText.slice(0, 40)}`);
}"""


def cut_slides(page: Any, url: str) -> list[str]:
    """What scrolls or is cut on any slide of a presentation in a window of 1280 x 720; every slide is opened."""
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(url)
    page.wait_for_function("() => window.Reveal?.isReady()")
    found = []
    for number in range(page.evaluate("() => Reveal.getTotalSlides()")):
        page.evaluate(_NEXT_SLIDE, number)
        settle(page)
        found += [f"{number + 1}: {each}" for each in page.evaluate(_CUT)]
    return found
