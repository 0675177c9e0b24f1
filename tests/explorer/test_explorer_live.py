"""The explorer in a real JupyterLab: what is picked reaches Python, slices come back, no key reaches the notebook."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import nbformat
from browsing import becomes


def _module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


visits = _module("visits", Path(__file__).with_name("visits.py"))
lab = _module("viewer_conftest", Path(__file__).parents[1] / "viewer" / "conftest.py")

CELLS = [
    "import ipha_toolkit as ipha",
    "explorer = ipha.explore('out')\nexplorer",
    "print(explorer.session, explorer.selection, explorer.viewer.z_mm, len(explorer.table()))",
]
KEYS = "d d b a x c v z y m r 1 0 0 i i j k Escape Shift+M Control+b Control+Shift+c Home"


def test_picking_looking_and_keys(browser: Any, toy_analysis: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_analysis, tmp_path, dirs_exist_ok=True)
    visits.add_visit(tmp_path)
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, tmp_path / "explore.ipynb")
    with lab.jupyter_lab(tmp_path) as (url, _):
        page = browser.new_page(viewport={"width": 1300, "height": 1400})
        lab.open_notebook(page, f"{url}&reset" % "explore.ipynb")
        for cell in (0, 1):
            lab.run_cell(page, cell)
        page.wait_for_selector(".ipha-explorer[data-ready]")
        page.locator(".ipha-drawing").focus()
        for key in ("End", "Space", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector(".ipha-slices .ipha-viewer[data-ready]")
        caption = page.locator(".ipha-slices .ipha-caption")
        becomes(page, caption.inner_text, lambda words: words.startswith("Coloured: "))
        before, opened = _cells(page), page.locator(".ipha-slices h3").inner_text()
        page.evaluate("""() => {
            window.reached = [];
            for (const name of ["keydown", "keypress", "keyup"])
                for (const early of [true, false])
                    document.addEventListener(name, (event) => window.reached.push(name + event.key), early);
        }""")
        parts = (
            ".ipha-drawing",
            ".ipha-scroll",
            ".ipha-rows tbody tr",
            ".ipha-rows th button",
            ".ipha-slices select",
            ".ipha-filters summary",
            ".ipha-rows input[type=search]",
            "canvas.ipha-slice",
            ".ipha-timeline button",
        )
        for part in parts:
            for key in KEYS.split():
                page.locator(f".ipha-explorer {part}").first.focus()
                page.keyboard.press(key)
        assert page.evaluate("window.reached") == [] and _cells(page) == before
        page.evaluate("document.querySelector('.ipha-slices .ipha-viewer').removeAttribute('data-ready')")
        page.get_by_role("button", name="◀ previous").click()
        page.wait_for_selector(".ipha-slices .ipha-viewer[data-ready]")
        assert page.locator(".ipha-slices h3").inner_text() != opened
        assert page.locator(".ipha-slices .ipha-viewer").count() == 1
        shown = page.evaluate("document.querySelector('.ipha-explorer').parentNode.iphaExplorer.get('session')")
        lab.run_until(page, 2, rf"^{shown} \[\] \S+ 4\s*$")
        page.close()


def _cells(page: Any) -> list[str]:
    found: list[str] = page.locator(".jp-CodeCell .cm-content").all_inner_texts()
    return found
