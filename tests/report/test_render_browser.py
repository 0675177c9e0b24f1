"""Rendered pages and slides in a headless Chromium without network: nothing asked for, everything alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import opened, pixels, settle

FORMATS = pytest.mark.parametrize("kind", ["html", "slides"])
LEFT_OUT = "script, style, noscript"


@pytest.fixture(scope="module", autouse=True)
def _before_the_browser_starts(rendered: dict[str, Path]) -> None:
    """Kernels are run before the browser's event loop is there."""


def show(page: Any, rendered: dict[str, Path], kind: str) -> Any:
    """The page, at the slide of the viewer where it is slides."""
    if kind == "html":
        return opened(page, rendered["html"].as_uri())
    page.goto(rendered["slides"].as_uri())
    page.wait_for_function("() => Reveal.isReady()")
    index = page.evaluate(
        "() => [...document.querySelectorAll('.slides > section')].findIndex((s) => s.querySelector('.ipha-exported'))"
    )
    page.evaluate(f"() => Reveal.slide({index})")
    page.wait_for_function("() => document.querySelector('.present .ipha-viewer')?.dataset.ready")
    settle(page)
    return page


@FORMATS
def test_page_asks_for_nothing_and_nothing_fails(offline_page: Any, rendered: dict[str, Path], kind: str) -> None:
    asked = []
    offline_page.on("request", lambda r: asked.append(r.url) if not r.url.startswith(("data:", "blob:")) else None)
    complaints = []
    offline_page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    show(offline_page, rendered, kind)
    assert [url.partition("#")[0] for url in asked] == [rendered[kind].as_uri()]
    assert complaints == []
    assert offline_page.errors == []


@FORMATS
def test_policy_stops_what_a_script_would_fetch(offline_page: Any, rendered: dict[str, Path], kind: str) -> None:
    page = show(offline_page, rendered, kind)
    page.context.set_offline(False)
    refused = page.evaluate(
        "async () => { const found = [];"
        " addEventListener('securitypolicyviolation', (e) => found.push(e.violatedDirective));"
        " await fetch('http://127.0.0.1:9/').catch(() => {}); new Image().src = 'http://127.0.0.1:9/';"
        " await new Promise((r) => setTimeout(r, 100)); return found; }"
    )
    assert {"connect-src", "img-src"} <= set(refused)


@FORMATS
def test_wheel_keys_and_linked_slider_change_both_images(
    offline_page: Any, rendered: dict[str, Path], kind: str
) -> None:
    page = show(offline_page, rendered, kind)
    canvas = page.locator("canvas.ipha-slice").first
    canvas.scroll_into_view_if_needed()
    before = pixels(page, 0), pixels(page, 1)

    def changed() -> None:
        nonlocal before
        now = pixels(page, 0), pixels(page, 1)
        assert all((new != old).mean() > 0.3 for new, old in zip(now, before, strict=True))
        before = now

    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.wheel(0, 100)
    changed()
    canvas.focus()
    page.keyboard.press("ArrowUp")
    changed()
    page.locator(".ipha-control input[type=range]").first.fill("10")
    changed()
    assert "z 10.0 mm" in canvas.get_attribute("aria-label")


@FORMATS
def test_text_from_data_stays_text(offline_page: Any, rendered: dict[str, Path], kind: str) -> None:
    page = show(offline_page, rendered, kind)
    assert page.evaluate("window.hacked") is None
    hostile = "<script>window.hacked=1</script>"
    assert page.evaluate("() => document.querySelector('table').textContent").count(hostile) == 1
    assert page.evaluate("() => document.querySelector('.output.text').textContent").count(hostile) == 1
    assert hostile in page.locator("span.ipha-control").inner_text()
    assert hostile in page.locator(".ipha-viewer").get_attribute("aria-label")


@FORMATS
def test_figures_keep_their_alt_text_and_math_is_drawn(offline_page: Any, rendered: dict[str, Path], kind: str) -> None:
    page = show(offline_page, rendered, kind)
    alts = page.evaluate("() => [...document.images].map((image) => image.alt)")
    assert 'A line from 0 to "19"' in alts
    assert all(alts)
    page.evaluate("() => window.Reveal?.slide(0)")
    settle(page)
    math = page.locator('math[display="block"]')
    assert math.count() == 1
    assert page.locator("math msubsup").count() == 3
    assert math.bounding_box()["height"] > 15
    assert "$" not in page.locator("h1 + p").inner_text()


def test_controls_without_a_link_are_switched_off(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = show(offline_page, rendered, "html")
    states = page.evaluate("() => [...document.querySelectorAll('.ipha-control input')].map((e) => e.disabled)")
    assert states == [False, True]
    assert page.locator(".ipha-control b").inner_text() == "bold"


def test_contents_lead_to_their_headings(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = show(offline_page, rendered, "html")
    names = page.locator(".contents a").all_inner_texts()
    assert names == ["A table", "A figure", "A viewer", "And its slider", "Long"]
    page.locator(".contents a").nth(2).click()
    settle(page)
    top = page.evaluate("() => document.getElementById('a-viewer').getBoundingClientRect().top")
    assert 0 <= top < 60
    page.wait_for_function("() => document.querySelector('.contents [aria-current]')?.textContent === 'A viewer'")


def test_code_folds_one_by_one_and_all_at_once(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = show(offline_page, rendered, "html")
    opened_cells = "() => document.querySelectorAll('details.code[open]').length"
    assert page.evaluate(opened_cells) == 6
    page.locator("details.code summary").first.click()
    assert page.evaluate(opened_cells) == 5
    page.get_by_role("button", name="Hide code").click()
    assert page.evaluate(opened_cells) == 0
    page.get_by_role("button", name="Show code").click()
    assert page.evaluate(opened_cells) == 6


def test_print_leaves_out_what_paper_cannot_do(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = show(offline_page, rendered, "html")
    page.emulate_media(media="print")
    for hidden in (".tools", ".ipha-bar >> nth=0", "details.code summary >> nth=0"):
        assert not page.locator(hidden).is_visible()
    for shown in ("h1", "table", "footer p >> nth=0", "canvas >> nth=0", "details.code pre >> nth=0"):
        assert page.locator(shown).is_visible()


@pytest.mark.parametrize("width", [390, 800, 1600])
def test_nothing_runs_over_the_edge(offline_page: Any, rendered: dict[str, Path], width: int) -> None:
    offline_page.set_viewport_size({"width": width, "height": 800})
    page = show(offline_page, rendered, "html")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_slides_turn_by_key_but_not_from_within_a_viewer(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = show(offline_page, rendered, "slides")
    here = page.evaluate("() => Reveal.getIndices().h")
    page.locator("canvas.ipha-slice").first.focus()
    for key in ("ArrowRight", "ArrowLeft", "Space", "n", "PageDown", "f", "b"):
        page.keyboard.press(key)
    page.locator(".ipha-control input").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => Reveal.getIndices().h") == here
    page.keyboard.press("Escape")
    before = pixels(page)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => Reveal.getIndices().h") == here + 1
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("() => Reveal.getIndices().h") == here
    assert (pixels(page) == before).all()


def test_slides_on_paper_are_all_there_with_their_viewers_drawn(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = offline_page
    page.goto(rendered["slides"].as_uri())
    page.wait_for_function("() => Reveal.isReady() && document.querySelector('canvas.ipha-slice')")
    page.wait_for_timeout(300)
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert pixels(page, 0).max() > 100
    assert all(page.locator(".slide h2").nth(n).is_visible() for n in range(page.locator(".slide h2").count()))
    assert not page.locator(".ipha-bar").first.is_visible()


def test_a_long_slide_scrolls_and_none_is_cut(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = show(offline_page, rendered, "slides")
    page.evaluate("() => Reveal.slide(Reveal.getTotalSlides() - 1)")
    settle(page)
    slide = page.locator(".present > .slide")
    box = slide.bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= 800
    last = slide.locator("li").last
    last.scroll_into_view_if_needed()
    assert last.bounding_box()["y"] < 800
