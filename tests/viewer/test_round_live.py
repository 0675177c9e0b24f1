"""The round of notebook 09 in a real JupyterLab, by mouse and keys, and then in the page exported from it, offline."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from browsing import HAS_AXE, barriers, becomes, resting_box

import ipha_toolkit as ipha
from ipha_toolkit.io.ratings import read_ratings

_spec = importlib.util.spec_from_file_location("viewer_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None and _spec.loader is not None
lab = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lab)

EXPLORE = "modality='ct', measure='attenuation_mean', region='lung', against='group'"
CELLS = [
    "import ipha_toolkit as ipha\nresults = ipha.open_results('out')",
    f"explorer = ipha.explore(results, {EXPLORE})\nexplorer",
    "painter = results[explorer.session].paint('ct', rater='AB', crosshair=False, brush_mm=20.0)\npainter",
    "import numpy; numpy.save('painted', painter.mask.array); print(len(painter.editor.done), 'changes')",
    f"now = ipha.explore('out', {EXPLORE})\n"
    "print(*(e.table().set_index('label')['value'][explorer.session] for e in (explorer, now)))",
    "queue = ipha.review('out', ratings='ratings', rater='AB')\nqueue",
    "explorer.embed(); queue.embed()",
]
READY = ".ipha-viewer[data-ready]"
IMAGE = "canvas.ipha-slice"
PAINTER = "[...document.querySelectorAll('*')].find((e) => e.iphaViewer?.get('_painting'))?.iphaViewer"
HELD = "document.querySelector('.ipha-explorer').parentNode.iphaExplorer"
PATIENT, CONTROL = "sub-p1_ses-1", "sub-c1_ses-1"


@pytest.fixture
def page(browser: Any, analyzed: Path) -> Iterator[Any]:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, analyzed / "round.ipynb")
    with lab.jupyter_lab(analyzed) as (url, _):
        page = browser.new_page(viewport={"width": 1300, "height": 1400})
        page.address = f"{url}&reset" % "round.ipynb"
        lab.open_notebook(page, page.address)
        yield page
        page.close()


def look(page: Any, name: str) -> None:
    """Keep a screenshot where a folder for them is named, to be looked at."""
    if os.environ.get("IPHA_SCREENSHOTS"):
        page.screenshot(path=str(Path(os.environ["IPHA_SCREENSHOTS"]) / f"{name}.png"))


def click_point(page: Any, label: str) -> None:
    """Click a session in the plot with the mouse."""
    box = resting_box(page.locator(".ipha-drawing").first.locator(f"[data-session={label}]"))
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_the_round(browser: Any, page: Any, analyzed: Path) -> None:
    lab.run_cell(page, 0)
    find_the_outlier(page)
    paint(page, analyzed)
    measure_again(page, analyzed)
    rate(page, analyzed)
    lab.run_cell(page, 6)
    html = analyzed / "round.html"
    html.write_bytes(lab.save_and_export(page, page.address))
    exported(browser, html)


def find_the_outlier(page: Any) -> None:
    lab.run_cell(page, 1)
    page.wait_for_selector(".ipha-explorer[data-ready]")
    values = page.evaluate(f"() => {HELD}.chart.points.map((p) => [p.y, p.session.label])")
    assert max(values)[1] == PATIENT
    click_point(page, PATIENT)
    page.wait_for_selector(f".ipha-slices {READY}")
    look(page, "found")


def paint(page: Any, folder: Path) -> None:
    lab.run_cell(page, 2)
    page.wait_for_function(f"() => {PAINTER}?.root.dataset.ready")
    image = page.locator(".ipha-viewer:has(.ipha-measure) canvas.ipha-slice")
    lungs = ipha.open_results(folder / "out")["p1", "1"].mask("ct")
    before = page.evaluate(f"{PAINTER}.get('numbers')")[0][1]
    assert before == f"{lungs.volume_ml:.0f} mL"
    box = resting_box(image)
    where = page.evaluate(f"""() => {{ const p = {PAINTER}.panels[0].place; return [p.x(20), p.y(15)]; }}""")
    x, y = box["x"] + where[0], box["y"] + where[1]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 10, steps=4)
    page.mouse.up()
    page.wait_for_function(f"() => {PAINTER}.get('numbers')[0][1] !== '{before}'")
    page.wait_for_function(f"() => {PAINTER}.get('numbers').at(-2)[1] === 1")
    look(page, "painted")
    # What the browser shows is what the kernel holds.
    lab.run_until(page, 3, "1 changes")
    painted = np.load(folder / "painted.npy")
    index = int(image.get_attribute("data-index"))
    shown = f"{PAINTER}.source.cache.get('1/axial/{index}')"
    wanted = painted[:, :, index].T.ravel().astype(int).tolist()
    page.wait_for_function(f"(wanted) => wanted.every((on, n) => {shown}?.[n] === on)", arg=wanted)
    assert page.evaluate(f"{shown}.length") == len(wanted)
    assert painted[20, 15, index]
    image.focus()
    page.keyboard.press("Control+z")
    page.wait_for_function(f"() => {PAINTER}.get('numbers')[0][1] === '{before}'")
    page.keyboard.press("Control+y")
    page.wait_for_function(f"() => {PAINTER}.get('numbers')[0][1] !== '{before}'")
    page.keyboard.press("e")
    assert page.evaluate(f"{PAINTER}.get('tool')") == "erase"
    page.keyboard.press("Space")
    page.wait_for_function(f"() => {PAINTER}.get('numbers').at(-2)[1] === 2")
    page.keyboard.press("y")
    page.keyboard.press("i")
    page.wait_for_function("() => /^Removing islands: /.test(document.querySelector('.ipha-report').textContent)")


def measure_again(page: Any, folder: Path) -> None:
    page.get_by_role("button", name="Measure again").click()
    page.wait_for_selector(".ipha-report .ipha-done")
    look(page, "measured")
    if HAS_AXE:
        assert barriers(page, ".ipha-viewer:has(.ipha-measure)") == []
    assert "lung volume" in page.locator(".ipha-report").inner_text()
    assert (folder / "cohort" / "derivatives" / "manual" / "sub-p1" / "ses-1").is_dir()
    assert page.locator(".jp-CodeCell").count() == len(CELLS)  # no key went to the notebook
    before, now = map(float, lab.run_until(page, 4, r"\S+ \S+").split())
    assert now > before + 1  # HU: the body painted in is denser than lung


def rate(page: Any, folder: Path) -> None:
    lab.run_cell(page, 5)
    page.wait_for_selector(f".ipha-review {READY}")
    page.locator(f".ipha-review {IMAGE}").focus()
    page.keyboard.press("Shift+Digit3")
    page.keyboard.press("d")
    page.wait_for_function("() => document.querySelector('.ipha-review-head select').selectedIndex === 1")
    page.wait_for_selector(f".ipha-review {READY}")
    look(page, "rated")
    becomes(page, (folder / "ratings" / "ratings.tsv").exists, True)
    table = read_ratings(folder / "ratings")
    assert table[["rater", "verdict", "reasons"]].to_numpy().tolist() == [["AB", "unusable", "wrong mask"]]
    page.wait_for_function("() => document.activeElement.classList.contains('ipha-slice')")
    page.keyboard.press("g")
    page.wait_for_function("() => document.querySelector('.ipha-review-head select').selectedIndex === 2")
    assert page.locator(".jp-CodeCell").count() == len(CELLS)


def exported(browser: Any, html: Path) -> None:
    """The page of the notebook without a network: select, small picture, rate, save both tables."""
    page, asked = browser.new_context(offline=True, viewport={"width": 1300, "height": 1400}).new_page(), list[str]()
    page.goto(html.as_uri())
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    page.wait_for_selector(".ipha-explorer[data-ready]")
    still = page.locator(".ipha-saved").last  # of what was painted: its images were not taken along
    assert "overlays: lung, lung before" in still.locator("img").get_attribute("alt")
    assert "Still picture: the images themselves do not travel" in still.inner_text()
    page.locator(".ipha-drawing").first.focus()
    for key in ("a", "Space"):  # all, less the one in hand
        page.keyboard.press(key)
    click_point(page, CONTROL)
    page.wait_for_selector(".ipha-tile")
    assert page.locator(".ipha-tile").get_attribute("aria-label").startswith(CONTROL)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as TSV").first.click()
    assert len(Path(saved.value.path()).read_text("utf-8").splitlines()) > 1
    page.wait_for_selector(f".ipha-review {READY}")
    page.locator(f".ipha-review {IMAGE}").focus()
    page.keyboard.press("u")
    look(page, "exported")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save ratings.tsv").click()
    table = Path(saved.value.path()).read_text("utf-8")
    assert [line.split("\t")[4] for line in table.splitlines()[1:]] == ["unusable", "good", "usable"]
    assert asked == []
    page.context.close()
