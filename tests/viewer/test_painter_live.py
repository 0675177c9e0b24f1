"""Painting and rating in a real JupyterLab, by mouse and keys, on one page."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.io.ratings import read_ratings

_spec = importlib.util.spec_from_file_location("viewer_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None and _spec.loader is not None
lab = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lab)

CELLS = [
    "import ipha_toolkit as ipha\nresults = ipha.open_results('out')",
    "painter = results['p1', '1'].paint('ct', rater='AB', crosshair=False, brush_mm=20.0)\npainter",
    "import numpy; numpy.save('painted', painter.mask.array); print(len(painter.editor.done), 'changes')",
    "queue = ipha.review('out', ratings='ratings', rater='AB')\nqueue",
]
READY = ".ipha-viewer[data-ready]"
IMAGE = "canvas.ipha-slice"
VIEWER = "[...document.querySelectorAll('*')].find((e) => e.iphaViewer).iphaViewer"


@pytest.fixture
def page(browser: Any, analyzed: Path) -> Iterator[Any]:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, analyzed / "round.ipynb")
    with lab.jupyter_lab(analyzed) as (url, _):
        page = browser.new_page(viewport={"width": 1300, "height": 1400})
        lab.open_notebook(page, f"{url}&reset" % "round.ipynb")
        yield page
        page.close()


def look(page: Any, name: str) -> None:
    """Keep a screenshot where a folder for them is named, to be looked at."""
    if os.environ.get("IPHA_SCREENSHOTS"):
        page.screenshot(path=str(Path(os.environ["IPHA_SCREENSHOTS"]) / f"{name}.png"))


def numbers(page: Any) -> dict[str, Any]:
    return dict(page.evaluate(f"{VIEWER}.get('numbers')"))


def output(page: Any) -> str:
    return str(page.locator(".jp-OutputArea-output").last.inner_text())


def test_the_round_of_painting_measuring_and_rating(page: Any, analyzed: Path) -> None:
    lab.run_cell(page, 0)
    lab.run_cell(page, 1)
    page.wait_for_selector(READY)
    assert page.locator(IMAGE).count() == 1
    lungs = ipha.open_results(analyzed / "out")["p1", "1"].mask("ct")
    before = numbers(page)
    assert before["lung"] == f"{lungs.volume_ml:.0f} mL"
    box = page.locator(IMAGE).bounding_box()
    where = page.evaluate(f"""() => {{ const v = {VIEWER}, p = v.panels[0].place; return [p.x(20), p.y(15)]; }}""")
    x, y = box["x"] + where[0], box["y"] + where[1]

    def drag() -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 30, y + 10, steps=4)
        page.mouse.up()

    drag()
    page.wait_for_function(f"() => {VIEWER}.get('numbers')[0][1] !== '{before['lung']}'")
    page.wait_for_function(f"() => {VIEWER}.get('numbers').at(-2)[1] === 1")
    look(page, "painted")
    # What the browser shows is what the kernel holds.
    lab.run_cell(page, 2)
    assert "1 changes" in output(page)
    painted = np.load(analyzed / "painted.npy")
    index = int(page.locator(IMAGE).get_attribute("data-index"))
    shown = page.evaluate(f"() => Array.from({VIEWER}.source.cache.get('1/axial/{index}'))")
    assert np.array_equal(np.array(shown), painted[:, :, index].T.ravel())
    assert painted[20, 15, index]
    page.locator(IMAGE).focus()
    page.keyboard.press("Control+z")
    page.wait_for_function(f"() => {VIEWER}.get('numbers')[0][1] === '{before['lung']}'")
    page.keyboard.press("Control+y")
    page.wait_for_function(f"() => {VIEWER}.get('numbers')[0][1] !== '{before['lung']}'")
    page.keyboard.press("e")
    assert page.evaluate(f"{VIEWER}.get('tool')") == "erase"
    page.keyboard.press("Space")
    page.wait_for_function(f"() => {VIEWER}.get('numbers').at(-2)[1] === 2")
    page.keyboard.press("y")
    page.get_by_role("button", name="Measure again").click()
    page.wait_for_selector(".ipha-report .ipha-done", timeout=120_000)
    look(page, "measured")
    assert "lung volume" in page.locator(".ipha-report").inner_text()
    assert (analyzed / "cohort" / "derivatives" / "manual" / "sub-p1" / "ses-1").is_dir()
    assert page.locator(".jp-CodeCell").count() == len(CELLS)  # no key went to the notebook

    lab.run_cell(page, 3)
    page.wait_for_selector(f".ipha-review {READY}")
    page.locator(f".ipha-review {IMAGE}").focus()
    page.keyboard.press("Shift+Digit3")
    page.keyboard.press("d")
    page.wait_for_function("() => document.querySelector('.ipha-review-head select').selectedIndex === 1")
    page.wait_for_selector(f".ipha-review {READY}")
    look(page, "rated")
    for _ in range(50):
        if (analyzed / "ratings" / "ratings.tsv").exists():
            break
        page.wait_for_timeout(100)
    table = read_ratings(analyzed / "ratings")
    assert table[["rater", "verdict", "reasons"]].to_numpy().tolist() == [["AB", "unusable", "wrong mask"]]
    page.wait_for_function("() => document.activeElement.classList.contains('ipha-slice')")
    page.keyboard.press("g")
    page.wait_for_function("() => document.querySelector('.ipha-review-head select').selectedIndex === 2")
    assert page.locator(".jp-CodeCell").count() == len(CELLS) + 1  # the one that running the last cell adds
