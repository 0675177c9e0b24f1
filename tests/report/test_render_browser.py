"""Rendered pages and slides in a headless Chromium without network: nothing asked for, everything alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import VIEWER, becomes, cut_slides, hacked, opened, pixels, settle

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
    page.wait_for_function("() => window.Reveal?.isReady()")
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
        " while (new Set(found).size < 2) await new Promise((r) => setTimeout(r, 20)); return found; }"
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
        old = before

        def now() -> tuple[Any, Any]:
            nonlocal before
            before = pixels(page, 0), pixels(page, 1)
            return before

        becomes(page, now, lambda new: all((one != other).mean() > 0.3 for one, other in zip(new, old, strict=True)))

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
    assert hacked(page) is None
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
    assert states == [False, True, False]  # of the viewer, of nothing, of the choice
    assert page.locator("b", has_text="bold").inner_text() == "bold"


@FORMATS
def test_a_choice_shows_one_figure_of_several(offline_page: Any, rendered: dict[str, Path], kind: str) -> None:
    page = show(offline_page, rendered, kind)
    if kind == "slides":
        page.evaluate("() => Reveal.slide([...document.querySelectorAll('.slides > section')].findIndex("
                      "(s) => s.querySelector('.ipha-choice')))")  # fmt: skip
    pictures = page.locator(".ipha-choice img")
    assert [pictures.nth(n).is_visible() for n in (0, 1)] == [True, False]
    control = page.locator(".ipha-control", has_text="height").locator("input")
    control.focus()
    page.keyboard.press("ArrowRight")
    assert [pictures.nth(n).is_visible() for n in (0, 1)] == [False, True]
    assert pictures.nth(1).get_attribute("alt") == "An empty plot, 6 inches high"
    box = pictures.nth(1).bounding_box()
    assert kind == "html" or box["y"] + box["height"] <= page.viewport_size["height"]


def test_contents_lead_to_their_headings(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = show(offline_page, rendered, "html")
    names = page.locator(".contents a").all_inner_texts()
    assert names == ["A table", "A figure", "A viewer", "And its slider", "A choice", "Long"]
    page.locator(".contents a").nth(2).click()
    top = "() => document.getElementById('a-viewer').getBoundingClientRect().top"
    becomes(page, lambda: page.evaluate(top), lambda now: 0 <= now < 60)
    page.wait_for_function("() => document.querySelector('.contents [aria-current]')?.textContent === 'A viewer'")


def test_code_folds_one_by_one_and_all_at_once(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = show(offline_page, rendered, "html")
    opened_cells = "() => document.querySelectorAll('details.code[open]').length"
    assert page.evaluate(opened_cells) == 7
    page.locator("details.code summary").first.click()
    assert page.evaluate(opened_cells) == 6
    page.get_by_role("button", name="Hide code").click()
    assert page.evaluate(opened_cells) == 0
    page.get_by_role("button", name="Show code").click()
    assert page.evaluate(opened_cells) == 7


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
    page.wait_for_function(f"() => window.Reveal?.isReady() && {VIEWER}.length && {VIEWER}.every((v) => v.complete)")
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert pixels(page, 0).max() > 100
    assert all(page.locator(".slide h2").nth(n).is_visible() for n in range(page.locator(".slide h2").count()))
    assert not page.locator(".ipha-bar").first.is_visible()


LATE = """
    const url = URL.createObjectURL, later = setTimeout;
    window.setTimeout = (call, ms, ...given) => later(call, ms / 20, ...given);
    window.rest = () => new Promise((r) => later(r, 1500));  // half a minute of the page's own
    URL.createObjectURL = (blob) => url(new Blob(["await rest();", blob], {type: blob.type}));
    const built = () => document.querySelectorAll(".ipha-viewer").length, ready = () => document.querySelector(".reveal.ready");
    new MutationObserver(() => { if (ready()) window.built ??= built(); }).observe(document, {attributes: true, childList: true, subtree: true});
"""  # noqa: E501


def test_a_deck_waits_for_viewers_that_a_busy_browser_builds_late(offline_page: Any, rendered: dict[str, Path]) -> None:
    page = offline_page
    page.add_init_script(LATE)
    page.goto(rendered["slides"].as_uri())
    page.wait_for_function("() => window.built !== undefined")
    assert page.evaluate("window.built") == 1


LONG = [
    "# Too much of everything",
    "## Rows\n\n"
    + "a word or two before it\n\n| n | square |\n| --- | --- |\n"
    + "\n".join(f"| row {n} | {n * n} |" for n in range(60)),
    "## Points\n\n" + "\n".join(f"- point {n}" for n in range(40)) + "\n\n" + "A paragraph at the end. " * 60,
    "## Lines\n\n```\n" + "\n".join(f"line {n}" for n in range(90)) + "\n```",
    "## Tall\n\n" + "words " * 60 + "\n\n![tall]({picture})\n\n" + "more words " * 80,
    "## Wide\n\n|" + " column |" * 30 + "\n|" + " --- |" * 30 + "\n|" + " 1234.5 |" * 30,
]


@pytest.fixture(scope="module")
def long_deck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides of texts, tables and a picture none of which fits."""
    import nbformat
    from PIL import Image

    from ipha_toolkit.report._cells import Cells, slides
    from ipha_toolkit.report.page import deck

    folder = tmp_path_factory.mktemp("long")
    Image.new("RGB", (300, 2000), "navy").save(folder / "tall.png")
    cells = [nbformat.v4.new_markdown_cell(text.replace("{picture}", "tall.png")) for text in LONG]
    cells.append(nbformat.v4.new_markdown_cell("said, not shown", metadata={"tags": ["notes"]}))
    pieces = list(Cells(nbformat.v4.new_notebook(cells=cells), folder).pieces())
    path = folder / "long.slides.html"
    path.write_text(deck("Long", slides(pieces)), encoding="utf-8")
    return path


def test_what_is_too_long_goes_on_overleaf_and_nothing_is_cut(offline_page: Any, long_deck: Path) -> None:
    assert cut_slides(offline_page, long_deck.as_uri()) == []
    text = offline_page.evaluate("() => [...document.querySelectorAll('.slide')].map((s) => s.textContent).join()")
    for said in (
        *(f"row {n}" for n in range(60)),
        *(f"point {n}" for n in range(40)),
        *(f"line {n}" for n in range(90)),
    ):
        assert text.count(said) >= 1, said
    tables = offline_page.locator(".slide table")
    heads = [tables.nth(n).locator("thead").count() for n in range(tables.count())]
    assert len(heads) > 2 and all(heads)
    assert offline_page.locator("h2.continued").count() >= 6


def _parts(page: Any, cells: list[str], folder: Path, inside: str) -> list[int]:
    """How many of a kind stand on each slide, its first, the title, left out."""
    import nbformat

    from ipha_toolkit.report._cells import Cells, slides
    from ipha_toolkit.report.page import deck

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in ["# Title", *cells]])
    path = folder / "parts.slides.html"
    path.write_text(deck("Parts", slides(list(Cells(notebook, folder).pieces()))), encoding="utf-8")
    assert cut_slides(page, path.as_uri()) == []
    counts = f"() => [...document.querySelectorAll('.slide')].map((s) => s.querySelectorAll('{inside}').length)"
    return list(page.evaluate(counts)[1:])


def _rows(count: int) -> str:
    return "| n | square |\n| --- | --- |\n" + "\n".join(f"| {n} | {n * n} |" for n in range(count))


def test_a_table_a_little_too_long_is_set_smaller_and_a_longer_one_halved(offline_page: Any, tmp_path: Path) -> None:
    offline_page.set_viewport_size({"width": 1280, "height": 720})
    found = {
        count: _parts(offline_page, ["## Rows\n\n" + _rows(count)], tmp_path, "tbody tr") for count in (18, 20, 28)
    }
    assert found[18] == [18] and found[20] == [20] and found[28] == [14, 14]


def test_a_cell_over_many_rows_stands_on_both_slides(offline_page: Any, tmp_path: Path) -> None:
    inner = {n: f'<th rowspan="7">measure {n}</th>' for n in range(0, 28, 7)}
    lines = "".join(
        f"<tr>{'<th rowspan=28>ct</th>' if not n else ''}{inner.get(n, '')}<th>site {n}</th><td>{n}</td></tr>"
        for n in range(28)
    )
    table = f"<table><thead><tr><th></th><th></th><th></th><th>mean</th></tr></thead><tbody>{lines}</tbody></table>"
    assert _parts(offline_page, [f"## Rows\n\nA word.\n\n{table}\n"], tmp_path, "tbody tr") == [14, 14]
    bodies = "[...document.querySelectorAll('.slide tbody')]"
    first, second = offline_page.evaluate(f"() => {bodies}.map((b) => [...b.rows].map((r) => r.lastChild.offsetLeft))")
    assert len({*first}) == 1 and len({*second}) == 1
    texts = offline_page.evaluate(f"() => {bodies}.map((b) => b.textContent)")
    assert all("ct" in text for text in texts) and "measure 14" in texts[1]


def test_small_tables_and_code_are_not_smaller_than_they_need_to_be(offline_page: Any, tmp_path: Path) -> None:
    _parts(offline_page, ["## Rows\n\nSome `code` here.\n\n" + _rows(4)], tmp_path, "tr")
    size = "(what) => parseFloat(getComputedStyle(document.querySelectorAll('.slide')[1].querySelector(what)).fontSize)"
    text, table, code = (offline_page.evaluate(size, what) for what in ("p", "table", "code"))
    assert table >= 0.95 * text and code >= 0.8 * text


def test_a_text_is_parted_between_sentences(offline_page: Any, tmp_path: Path) -> None:
    _parts(
        offline_page, ["## Words\n\n" + "Some words that are one sentence of eleven words or so. " * 90], tmp_path, "p"
    )
    ends = offline_page.evaluate("() => [...document.querySelectorAll('.slide p')].map((p) => p.textContent.trim())")
    assert len(ends) > 1 and all(end.startswith("Some words") and end.endswith("so.") for end in ends)


def test_notes_are_shown_to_the_speaker_alone(offline_page: Any, long_deck: Path) -> None:
    page = offline_page
    page.goto(long_deck.as_uri())
    page.wait_for_function("() => window.Reveal?.isReady()")
    notes = page.locator("aside.notes")
    assert notes.count() == 1 and not notes.is_visible()
    page.evaluate("() => Reveal.slide(Reveal.getIndices(document.querySelector('aside.notes').closest('section')).h)")
    page.keyboard.press("s")
    settle(page)
    assert notes.is_visible()


def test_a_handout_has_a_page_a_slide(long_deck: Path, offline_page: Any, tmp_path: Path) -> None:
    import re

    from ipha_toolkit.report.handout import print_deck

    offline_page.set_viewport_size({"width": 1280, "height": 720})
    offline_page.goto(long_deck.as_uri())
    offline_page.wait_for_function("() => window.Reveal?.isReady()")
    print_deck(long_deck.read_text("utf-8"), tmp_path / "long.pdf")
    pages = re.findall(rb"/Type\s*/Page\b", (tmp_path / "long.pdf").read_bytes())
    assert len(pages) == offline_page.evaluate("() => Reveal.getTotalSlides()")


@pytest.mark.parametrize("which", ["long", "viewer"])
def test_a_handout_is_loaded_when_it_is_laid_out_and_its_viewers_hold_all_their_voxels(
    which: str, rendered: dict[str, Path], long_deck: Path, offline_page: Any, tmp_path: Path
) -> None:
    """A browser prints at the end of loading."""
    from ipha_toolkit.report.handout import for_paper

    deck, paper = (long_deck if which == "long" else rendered["slides"]), tmp_path / "paper.html"
    paper.write_text(for_paper(deck.read_text("utf-8")), encoding="utf-8")
    offline_page.add_init_script(f"""
    const unpacked = Response.prototype.arrayBuffer, later = () => new Promise((go) => setTimeout(go, 300));
    Response.prototype.arrayBuffer = async function () {{ await later(); return unpacked.call(this); }};
    addEventListener("load", () => {{
        const viewers = {VIEWER};
        window.atLoad = [Reveal.isReady(), viewers.map((v) => v.complete), document.querySelectorAll(".slide").length];
    }})""")
    offline_page.goto(paper.as_uri())
    offline_page.wait_for_function("() => window.atLoad")
    ready, complete, slides = offline_page.evaluate("() => window.atLoad")
    assert ready and complete == [True] * (which == "viewer")
    assert slides == offline_page.evaluate("() => Reveal.getTotalSlides()") > 7
