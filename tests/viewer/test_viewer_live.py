"""The viewer in a live JupyterLab, and in the page that its saved notebook becomes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import nbformat
import pytest

_spec = importlib.util.spec_from_file_location("view_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None and _spec.loader is not None
lab = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lab)

CELLS = [
    "import numpy as np, ipha_toolkit as ipha",
    "ramp = np.broadcast_to(np.arange(40.0), (64, 48, 40)) * 20\n"
    "viewer = ipha.view(ipha.Volume(ramp, np.diag([4, 4, 5, 1]), name='ramp'), position_mm=(0, 0, 50))\n"
    "viewer",
    "print('z is', viewer.z_mm, 'n is', len(viewer.rois))",
]


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    path = tmp_path / "live.ipynb"
    nbformat.write(made, path)
    return path


def test_viewer_lives_in_jupyterlab_and_in_what_it_saves(browser: Any, notebook: Path) -> None:
    with lab.jupyter_lab(notebook.parent) as (url, _):
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        lab.open_notebook(page, url % notebook.name)
        lab.run_cell(page, 0)
        lab.run_cell(page, 1)
        page.wait_for_selector(".ipha-viewer[data-ready]")
        canvas = page.locator("canvas.ipha-slice")
        assert canvas.count() == 1  # the export script beside it stays inert
        assert canvas.get_attribute("data-value") == "200"
        canvas.focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("r")
        page.wait_for_function("() => document.querySelector('canvas.ipha-slice').dataset.value === '240'")
        assert page.locator(".jp-CodeCell").count() == 3  # JupyterLab's own one-key commands did not act
        page.wait_for_timeout(300)
        lab.run_cell(page, 2)
        assert "z is 60.0 n is 1" in page.locator(".jp-OutputArea-output").last.inner_text()
        filled = "() => [...document.querySelectorAll('*')].some((e) => e.iphaViewer?.model.get('_export').length)"
        page.wait_for_function(filled, timeout=60_000)
        html = notebook.with_suffix(".html")
        html.write_bytes(lab.save_and_export(page, url))
        page.close()
    page = browser.new_context(offline=True).new_page()
    page.goto(html.as_uri())
    page.wait_for_selector(".ipha-viewer[data-ready]")
    assert page.locator("canvas.ipha-slice").get_attribute("data-value") == "240"
