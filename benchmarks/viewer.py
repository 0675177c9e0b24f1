"""How fast the viewer is, live in JupyterLab and in exported pages, peers beside it in the same run.

``python benchmarks/viewer.py`` prints the tables and writes benchmarks/results/viewer.md. Needs Chromium and the
``bench`` dependencies; ipympl, stackview, ipyniivue and nilearn are measured where installed. Times are in ms
unless said otherwise. A slice change is the time from the key or slider event to the first frame with other pixels.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import psutil
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
_spec = importlib.util.spec_from_file_location("view_conftest", ROOT / "tests" / "viewer" / "conftest.py")
lab = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lab)
from browsing import FLAGS, find_chromium  # noqa: E402

DATA = {
    "MRI 256x256x60": (
        "noise = np.random.default_rng(0).normal(300, 12, (256, 256, 60)).astype(np.float32).round()\n"
        "noise[:40] = noise[:40] / 20 // 1\n"
        "volume = ipha.Volume(noise, np.diag([1.4, 1.4, 5, 1]), modality='T1w', name='T1w'); del noise"
    ),
    "CT 512x512x300": (
        "noise = np.random.default_rng(0).standard_normal((512, 512, 300), dtype=np.float32)\n"
        "noise *= 25; noise -= 850; noise[150:350, 150:350] += 880; np.rint(noise, out=noise)\n"
        "volume = ipha.Volume(noise, np.diag([.7, .7, 1, 1]), modality='ct', unit='HU', name='CT'); del noise"
    ),
}
VIEWERS = {
    "ours": "viewer = ipha.view(volume)\nviewer",
    "interact + imshow": (
        "import matplotlib.pyplot as plt\nfrom ipywidgets import interact\n"
        "a = volume.array\n"
        "@interact(k=(0, a.shape[2] - 1))\n"
        "def show(k=a.shape[2] // 2):\n"
        "    plt.imshow(a[:, :, k].T, cmap='gray', vmin=a.min(), vmax=a.max()); plt.show()"
    ),
    "ipympl": (
        "%matplotlib widget\nimport matplotlib.pyplot as plt\nfrom ipywidgets import IntSlider\n"
        "a = volume.array\nfig, ax = plt.subplots()\n"
        "shown = ax.imshow(a[:, :, a.shape[2] // 2].T, cmap='gray', vmin=a.min(), vmax=a.max())\n"
        "slider = IntSlider(a.shape[2] // 2, 0, a.shape[2] - 1)\n"
        "slider.observe(lambda c: (shown.set_data(a[:, :, c.new].T), fig.canvas.draw_idle()), 'value')\n"
        "display(slider)\nplt.show()"
    ),
    "stackview": "import stackview\nstackview.slice(volume.array.T)",
    "ipyniivue": (
        "import ipyniivue, tempfile, os\npath = os.path.join(tempfile.mkdtemp(), 'v.nii.gz'); ipha.save(volume, path)\n"
        "viewer = ipyniivue.NiiVue()\nviewer.load_volumes([{'path': path}])\nviewer"
    ),
}
NILEARN = (
    "import nibabel\nfrom nilearn.plotting import view_img\n"
    "image = nibabel.Nifti1Image(volume.array, volume.affine)\n"
    "view_img(image, bg_img=False, threshold=None, resampling_interpolation='nearest')"
)
MODULES = {"nilearn view_img": "nilearn", "ipympl": "ipympl", "stackview": "stackview", "ipyniivue": "ipyniivue"}

# A hash of what the output area's pictures show; changes when the pixels do.
LOOK = """() => {
  const area = document.querySelectorAll('.jp-CodeCell')[2].querySelector('.jp-OutputArea');
  const all = [...area.querySelectorAll('canvas.ipha-slice')];
  const nodes = all.length ? all.slice(0, 1) : [...area.querySelectorAll('canvas, img')];
  let hash = '';
  for (const node of nodes) {
    if (node.tagName === 'IMG') { hash += node.src.length + node.src.slice(-400, -100); continue; }
    const ctx = node.getContext('2d'), w = node.width, h = node.height;
    if (!ctx || !w || !h) continue;
    const data = ctx.getImageData(w * 0.3 | 0, h * 0.4 | 0, Math.max(1, w * 0.4 | 0), 6).data;
    let sum = 0;
    for (let n = 0; n < data.length; n += 4) sum = (sum * 31 + data[n]) | 0;
    hash += sum;
  }
  return hash;
}"""
CHANGES = (
    """async (count) => {
  const look = """
    + LOOK
    + """, out = [];
  const canvas = document.querySelector('canvas.ipha-slice');
  const handle = document.querySelector('.jp-OutputArea .noUi-handle, .jp-OutputArea .jupyter-widgets canvas');
  const target = canvas ?? handle;
  target.focus();
  for (let n = 0; n < count; n++) {
    const before = look(), start = performance.now();
    const key = n < count / 2 ? 'ArrowUp' : 'ArrowDown';
    target.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
    while (look() === before && performance.now() - start < 3000) await new Promise((r) => requestAnimationFrame(r));
    out.push(performance.now() - start);
    await new Promise((r) => setTimeout(r, 40));
  }
  return out;
}"""
)
FRAMES = """async (count) => {
  const canvas = document.querySelector('canvas.ipha-slice'), seen = new Set(), times = [];
  let up = 1;
  for (let n = 0; n < count; n++) {
    const at = canvas.dataset.index;
    if (n && n % 50 === 0) up = -up;
    canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: 100 * up, bubbles: true, cancelable: true}));
    await new Promise((r) => requestAnimationFrame(r));
    times.push(performance.now());
    if (canvas.dataset.index !== at) seen.add(n);
  }
  return [1000 * (count - 1) / (times.at(-1) - times[0]), seen.size / count];
}"""
HEAP = "() => performance.memory.usedJSHeapSize / 1e6"


def notebook(path: Path, *cells: str) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, path)
    return path


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def live(browser: Any, data: str, viewer: str) -> dict[str, Any]:
    """First image, slice changes, heap and kernel memory in a live JupyterLab."""
    with folder() as home:
        path = notebook(home / "live.ipynb", "import numpy as np, ipha_toolkit as ipha", DATA[data], VIEWERS[viewer])
        with lab.jupyter_lab(home) as (url, pid):
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            lab.open_notebook(page, url % path.name)
            lab.run_cell(page, 0)
            lab.run_cell(page, 1)
            page.wait_for_timeout(500)
            kernel = psutil.Process(pid).children(recursive=True)[-1]
            before = kernel.memory_info().rss
            page.locator(".jp-CodeCell").nth(2).locator(".cm-content").click()
            start = time.perf_counter()
            page.keyboard.press("Shift+Enter")
            shown = "canvas.ipha-slice" if viewer == "ours" else ".jp-OutputArea :is(canvas, img)"
            ready = f"() => document.querySelector('{shown}') && ({LOOK})() !== ''"
            if viewer == "ours":
                ready = "() => document.querySelector('.ipha-viewer[data-ready]')"
            page.wait_for_function(ready, timeout=60_000)
            first = time.perf_counter() - start
            page.wait_for_timeout(1500)
            changes = page.evaluate(CHANGES, 30)
            heap = page.evaluate(HEAP)
            page.wait_for_timeout(9000 if viewer == "ours" else 0)
            memory = kernel.memory_info().rss
            result = {
                "data": data, "viewer": viewer, "first image (s)": round(first, 2),
                "slice change, median": round(median(changes)),
                "90th percentile": round(sorted(changes)[26]), "JS heap (MB)": round(max(heap, page.evaluate(HEAP))),
                "kernel (MB)": round(memory / 1e6), "of which viewer (MB)": round((memory - before) / 1e6),
            }  # fmt: skip
            page.close()
            return result


PAGES = ("nbconvert html", "nbconvert slides", "ipha render html", "ipha render slides")
PEER_PAGES = VIEWERS | {"nilearn view_img": NILEARN}
BLANK = """() => {
  const big = [...document.querySelectorAll('canvas, img, svg.marks')].filter((node) => node.clientWidth > 100);
  const lit = big.some((node) => node.tagName === 'IMG' ? node.naturalWidth > 0 : node.tagName === 'CANVAS');
  return lit ? 'a picture' : 'blank';
}"""


def exported(browser: Any, data: str, how: str) -> dict[str, Any]:
    """Size, first image and frame rate of a page made of our viewer, opened without network."""
    shown = "ipha.view(volume, volume.replace(modality='T2w', name='T2w'))" if "MRI" in data else "ipha.view(volume)"
    with folder() as home:
        path = notebook(home / "page.ipynb", "import numpy as np, ipha_toolkit as ipha", DATA[data], shown)
        made = convert(path, how)
        context = browser.new_context(offline=True, viewport={"width": 1300, "height": 1000})
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
        page.goto(made.as_uri())
        start = 0.0
        for _ in range(5):  # in slides, on to the one with the viewer
            page.wait_for_timeout(300)
            if page.locator("canvas.ipha-slice:visible").count():
                break
            start = page.evaluate("() => performance.now()")
            page.keyboard.press("ArrowRight")
        page.wait_for_selector(".ipha-viewer[data-ready]")
        first = float(page.locator(".ipha-viewer").get_attribute("data-ready")) - start
        page.wait_for_timeout(1500)
        rate, moved = page.evaluate(FRAMES, 150)
        heap = page.evaluate(HEAP)
        context.close()
        return {
            "page": data + (" pair" if "MRI" in data else ""), "made by": how,
            "size (MB)": round(made.stat().st_size / 1e6, 1), "first image": round(first),
            "frames per second": round(rate), "frames with a new slice (%)": round(100 * moved),
            "JS heap (MB)": round(heap), "requests tried": len(asked),
        }  # fmt: skip


def convert(path: Path, how: str) -> Path:
    """Execute a notebook and write its page, plainly by nbconvert or by ``ipha render``."""
    tool, to = how.rsplit(" ", 1)
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", to, str(path)]
    if tool == "ipha render":
        run = "import sys; from ipha_toolkit.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", run, "render", str(path), "--to", to, "--out", str(path.parent)]
    environment = {**dict(psutil.Process().environ()), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return path.with_suffix(".slides.html" if to == "slides" else ".html")


def peer_page(browser: Any, data: str, viewer: str) -> dict[str, Any]:
    """What the plain nbconvert page of a peer shows offline, its size, and how long it took to make."""
    with folder() as home:
        path = notebook(home / "page.ipynb", "import numpy as np, ipha_toolkit as ipha", DATA[data], PEER_PAGES[viewer])
        start = time.perf_counter()
        made = convert(path, "nbconvert html")
        took = time.perf_counter() - start
        context = browser.new_context(offline=True, viewport={"width": 1300, "height": 1000})
        page = context.new_page()
        page.goto(made.as_uri())
        page.wait_for_timeout(5000)
        frames = [frame.evaluate(BLANK) for frame in page.frames]
        context.close()
        return {
            "data": data, "viewer": viewer, "shows": "a picture" if "a picture" in frames else "blank",
            "size (MB)": round(made.stat().st_size / 1e6, 1), "making it (s)": round(took),
        }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    heads = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(str(row.get(head, "")) for head in heads) + " |" for row in rows])


def measured(measure: Any, browser: Any, data: str, what: str) -> dict[str, Any]:
    """One row, or the reason there is none: a peer that cannot show the data is a result too."""
    if what in MODULES and importlib.util.find_spec(MODULES[what]) is None:
        return {"data": data, "viewer": what, "note": "not installed"}
    try:
        found: dict[str, Any] = measure(browser, data, what)
    except Exception as error:
        found = {"data": data, "viewer": what, "note": type(error).__name__}
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    wanted = sys.argv[1:] or list(VIEWERS)
    with sync_playwright() as playwright:
        flags = [*FLAGS, "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
        shown = [measured(live, browser, data, viewer) for data in DATA for viewer in wanted]
        pages = [measured(exported, browser, data, how) for data in DATA for how in PAGES if "ours" in wanted]
        peers = [viewer for viewer in PEER_PAGES if viewer != "ours" and len(wanted) > 1]
        beside = [measured(peer_page, browser, "MRI 256x256x60", viewer) for viewer in peers]
        browser.close()
    parts = {
        "Live JupyterLab": shown,
        "Exported pages, offline": pages,
        "Peers' pages of plain nbconvert, offline": beside,
    }
    load = f"Load of the machine at the end: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores.\n"
    text = "\n".join(["# Slice viewers\n", load, *(f"## {title}\n\n{table(rows)}\n" for title, rows in parts.items())])
    print(text)
    (ROOT / "benchmarks" / "results").mkdir(exist_ok=True)
    (ROOT / "benchmarks" / "results" / "viewer.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
