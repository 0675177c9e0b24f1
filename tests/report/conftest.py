"""Notebooks small enough to run in seconds, and one that is rendered once for all who look at its pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

HOSTILE = "<script>window.hacked=1</script>"

_CELLS = [
    (
        "# Iron in the lung\n\nHow bright is it, $R_2^* = 1/T_2^*$?\n\n$$S = S_0\\, e^{-t R_2^*}$$\n\n"
        "![far away](https://example.org/far.png)"
    ),
    ["seed = 3\nslices = 20"],
    [
        "import numpy as np, pandas as pd, ipywidgets as widgets\nimport ipha_toolkit as ipha\n"
        "from IPython.display import HTML, display"
    ],
    "## A table",
    [f"hostile = {HOSTILE!r}\npd.DataFrame({{'subject': ['sub-001', hostile], 'value': [1.5, np.nan]}})"],
    ["print('subject', hostile)\nHTML('<script src=\"https://example.org/a.js\"></script><p>near</p>')"],
    "## A figure",
    [
        "import matplotlib.pyplot as plt\nfrom io import BytesIO\nfigure, axes = plt.subplots(figsize=(3, 2))\n"
        "axes.plot(range(slices)); axes.set_title(hostile)\nkept = BytesIO(); figure.savefig(kept); plt.close(figure)\n"
        "import base64\ndisplay({'image/png': base64.b64encode(kept.getvalue()).decode()},\n"
        "        metadata={'image/png': {'alt': 'A line from 0 to \"19\"'}}, raw=True)"
    ],
    "## A viewer\n\n### And its slider",
    [
        "noise = np.random.default_rng(seed).normal(400, 40, (32, 32, slices)).round()\n"
        "one = ipha.Volume(noise, np.diag([8, 8, 5, 1.0]), modality='T1w', name=hostile)\n"
        "viewer = ipha.view(one, one.replace(modality='T2w', name='T2w'), height_px=240)\n"
        "slider = widgets.FloatSlider(value=50, min=0, max=95, description='z (mm)')\n"
        "link = widgets.jslink((slider, 'value'), (viewer, 'z_mm'))\n"
        "idle = widgets.IntSlider(description='idle')\n"
        "widgets.VBox([viewer, slider, idle, widgets.HTML('<b>bold</b>'), widgets.Label(hostile)])"
    ],
    "## A choice",
    [
        "pictures = {}\nfor height in (3, 6):\n    ax = ipha.plots.new_figure(4, height).subplots()\n"
        "    pictures[f'{height} in'] = ipha.plots.describe(ax, f'An empty plot, {height} inches high')\n"
        "ipha.plots.choose(pictures, by='height', ordered=True)"
    ],
    "## Long\n\n" + "\n".join(f"- point {n}" for n in range(60)),
]


def put_notebook(path: Path, cells: list[Any], **metadata: Any) -> Path:
    """Write a notebook: text for text cells, a list of one text for code cells; the first code cell is parameters."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata.update(metadata)
    for cell in cells:
        new = nbformat.v4.new_code_cell(cell[0]) if isinstance(cell, list) else nbformat.v4.new_markdown_cell(cell)
        notebook.cells.append(new)
    next((cell for cell in notebook.cells if cell.cell_type == "code"), notebook).metadata["tags"] = ["parameters"]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook into a temporary folder: ``notebook(cells, name="toy")``."""
    return lambda cells, name="toy", **metadata: put_notebook(tmp_path / f"{name}.ipynb", cells, **metadata)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The toy notebook as page and as slides."""
    from ipha_toolkit.report.render import render_all

    folder = tmp_path_factory.mktemp("rendered")
    pages = render_all(
        [put_notebook(folder / "toy.ipynb", _CELLS)], folder / "out", to=["html", "slides"], progress=False
    )
    return dict(zip(("html", "slides"), pages, strict=True))
