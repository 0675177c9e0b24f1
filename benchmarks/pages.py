"""Rendered pages and slides opened without network: size, requests, first image, frames per second while scrolling.

    python benchmarks/pages.py

Beside them the page that plain ``jupyter nbconvert --execute --to html`` makes of ``interact`` and ``imshow``, which is
what most notebooks use: it asks the network for its scripts and shows no picture that could be scrolled.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from browsing import FLAGS, find_chromium  # noqa: E402

from ipha_toolkit.report.render import render_all  # noqa: E402

CELLS = {
    "MRI pair 256x256x60": (
        "noise = np.random.default_rng(0).normal(300, 12, (256, 256, 60)).astype(np.float32)\n"
        "one = ipha.Volume(noise, np.diag([1.4, 1.4, 4, 1]), modality='T1w', name='T1w')\n"
        "ipha.view(one, one.replace(modality='T2w', name='T2w'))"
    ),
    "CT 512x512x300": (
        "noise = np.random.default_rng(0).normal(-700, 60, (512, 512, 300)).astype(np.float32).round()\n"
        "ipha.view(ipha.Volume(noise, np.diag([0.7, 0.7, 1, 1]), modality='ct', unit='HU', name='CT'))"
    ),
    "interact + imshow, MRI": (
        "import matplotlib.pyplot as plt\nfrom ipywidgets import interact\n"
        "noise = np.random.default_rng(0).normal(300, 12, (256, 256, 60)).astype(np.float32)\n"
        "interact(lambda k: plt.imshow(noise[:, :, k]) and plt.show(), k=(0, 59))"
    ),
}
SCROLL = """async () => {
  const canvas = document.querySelector('.present canvas.ipha-slice') ?? document.querySelector('canvas.ipha-slice');
  let frames = 0;
  const start = performance.now();
  while (performance.now() - start < 3000) {
    const key = frames++ % 40 < 20 ? 'ArrowUp' : 'ArrowDown';
    canvas.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
    await new Promise(requestAnimationFrame);
  }
  return frames / 3;
}"""


def write_notebook(path: Path, code: str) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [
        nbformat.v4.new_code_cell("import numpy as np\nimport ipha_toolkit as ipha"),
        nbformat.v4.new_code_cell(code),
    ]
    notebook.cells = [nbformat.v4.new_markdown_cell(f"# {path.stem}"), *cells]
    nbformat.write(notebook, path)
    return path


def plain(path: Path) -> Path:
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path.with_suffix(".html")


def measured(browser: Any, page_file: Path) -> tuple[str, ...]:
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 900})
    page, asked = context.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    page.goto(page_file.as_uri())
    page.wait_for_timeout(4000)
    first = page.evaluate("() => document.querySelector('.ipha-viewer')?.dataset.ready ?? ''")
    rate = f"{page.evaluate(SCROLL):.0f}" if first else ""
    context.close()
    return f"{page_file.stat().st_size / 1e6:.1f}", str(len(asked)), first or "none", rate or "none"


def main() -> None:
    rows = [("page", "size MB", "requests", "first image ms", "frames per s")]
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name), list[tuple[str, Path]]()
        for number, (what, code) in enumerate(CELLS.items()):
            notebook = write_notebook(folder / f"page{number}.ipynb", code)
            if "interact" in what:
                files.append((f"{what}, plain nbconvert", plain(notebook)))
            else:
                pages = render_all([notebook], folder / "out", to=["html", "slides"], progress=False)
                files += [
                    (f"{what}, ipha render --to {to}", page) for to, page in zip(("html", "slides"), pages, strict=True)
                ]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
            rows += [(what, *measured(browser, file)) for what, file in files]
            browser.close()
    table = ["| " + " | ".join(row) + " |" for row in rows]
    table.insert(1, "|" + " --- |" * len(rows[0]))
    text = "\n".join(table) + "\n"
    (Path(__file__).parent / "results" / "pages.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
