"""How fast the explorer is on a cohort of 300 sessions, live in JupyterLab and in an exported page of 200 sessions.

``python benchmarks/explorer.py [FOLDER]`` prints the table and writes benchmarks/results/explorer.md. A few subjects
are simulated and analyzed in FOLDER (a temporary one where none is given; what is there already is taken as it is).
Their files are linked under many names, their rows written anew with noise. Needs Chromium and the ``bench``
dependencies.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

import ipha_toolkit as ipha
from ipha_toolkit.io import proof
from ipha_toolkit.report.page import page as whole_page

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("view_conftest", ROOT / "tests" / "viewer" / "conftest.py")
lab = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lab)
sys.path.insert(0, str(ROOT / "tests"))
from browsing import FLAGS, find_chromium  # noqa: E402

SESSIONS, MEASURES, REGIONS, EXPORTED = 300, 60, 10, 200
READY = ".ipha-explorer[data-ready]"
CHANGE = """async (count) => {
  const explorer = [...document.querySelectorAll('*')].find((node) => node.iphaExplorer).iphaExplorer;
  const menus = [...explorer.root.querySelectorAll('.ipha-menus select')], measure = menus[1], taken = [];
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  for (let n = 0; n < count; n++) {
    measure.selectedIndex = (measure.selectedIndex + 1) % measure.options.length;
    const began = performance.now();
    measure.dispatchEvent(new Event('change'));
    await frame();
    taken.push(performance.now() - began);
  }
  return taken;
}"""
CLICK = """async (label) => {
  const explorer = [...document.querySelectorAll('*')].find((node) => node.iphaExplorer).iphaExplorer;
  const old = explorer.root.querySelector('.ipha-viewer'), began = performance.now();
  explorer.open(label);
  for (;;) {
    await new Promise((done) => requestAnimationFrame(done));
    const now = explorer.root.querySelector('.ipha-viewer');
    if (now && now !== old && now.dataset.ready) return performance.now() - began;
    if (performance.now() - began > 20000) return NaN;
  }
}"""

# From letting go of a point to its slices.
AWAIT = """() => {
  const explorer = [...document.querySelectorAll('*')].find((node) => node.iphaExplorer).iphaExplorer, old = explorer.root.querySelector('.ipha-viewer');
  window.taken = null;
  addEventListener('pointerup', () => {
    const began = performance.now(), look = () => {
      const now = explorer.root.querySelector('.ipha-viewer');
      if (now && now !== old && now.dataset.ready) window.taken = performance.now() - began; else requestAnimationFrame(look);
    };
    look();
  }, {once: true, capture: true});
}"""  # noqa: E501
POINT = (
    """(label) => document.querySelector(`.ipha-drawing [data-session="${label}"]`).getBoundingClientRect().toJSON()"""
)
REST_MS = 400
"""That a hand rests on a point, reading who it is, before it clicks; images are read meanwhile."""


def clicked(page: Any, label: str) -> float:
    """Milliseconds from a click on a session in the plot to its slices, the hand having rested there."""
    box = page.evaluate(POINT, label)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(REST_MS)
    page.evaluate(AWAIT)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_function("() => window.taken !== null", timeout=30_000)
    return float(page.evaluate("window.taken"))


def changed(page: Any, count: int) -> tuple[list[float], float]:
    """Milliseconds of menu changes, and of the main thread for each, to which no other program adds."""
    metrics = page.context.new_cdp_session(page)
    metrics.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    metrics.send("Performance.enable")

    def busy() -> float:
        return float(
            next(m["value"] for m in metrics.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration")
        )

    began, times = busy(), page.evaluate(CHANGE, count)
    return times, 1000 * (busy() - began) / count


def cohort(demo: Path, out: Path, sessions: int) -> Path:
    """A results folder of many sessions, with its cohort folder, whose files are links to a demo's."""
    results, rng = ipha.open_results(demo / "results"), np.random.default_rng(0)
    sources = [one for one in results if "ct" in one.modalities]
    rows = results.rows[~results.rows["measure"].str.endswith("_vs_controls")]
    regions = ["lung", "left", "right", "upper", "middle", "lower", "central", "peripheral", "dorsal", "ventral"]
    keys = rows[["modality", "measure"]].drop_duplicates().head(MEASURES)
    kept = rows.merge(keys)[lambda table: table["region"].isin(regions[:REGIONS])]
    frames, people, visits = [], [], []
    for n in range(sessions):
        subject, visit = f"sub-{1 + n // 2:03d}", 1 + n % 2
        source = sources[(n // 2 * 3 + n % 2) % len(sources)]
        label = f"{subject}_ses-{visit:02d}"
        own = kept[(kept["subject"] == source.subject) & (kept["session"] == source.session)]
        for part in ("results", "cohort"):
            made = out / part / subject / f"ses-{visit:02d}"
            _linked(demo / part / source.subject / source.session, made, source.label, label)
        _seal(out / "results" / subject / f"ses-{visit:02d}", proof.FILES)
        noise = rng.normal(1, 0.15, len(own))
        frames.append(own.assign(subject=subject, session=f"ses-{visit:02d}", value=own["value"] * noise))
        group = "control" if n % 5 == 0 else "iph"
        people += [{"participant_id": subject, "group": group, "age": 6 + n % 9}] if visit == 1 else []
        clinic = {"phase": ["acute", "subacute", "chronic"][n % 3], "hemoglobin_g_dl": round(rng.normal(11, 1.5), 1)}
        day = 0 if visit == 1 else int(rng.integers(5, 900))
        visits.append({"subject": subject, "session_id": f"ses-{visit:02d}", "days": day} | clinic)
    _tables(demo, out, pd.concat(frames), pd.DataFrame(people), pd.DataFrame(visits))
    return out / "results"


def _linked(source: Path, target: Path, old: str, new: str) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source).parent / path.name.replace(old, new)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)


def _seal(folder: Path, key: str) -> None:
    """Make what lies in a folder of results count as written."""
    path = folder / "provenance.json"
    record = {name: value for name, value in json.loads(path.read_text()).items() if name != proof.SEAL}
    path.unlink()
    path.write_text(json.dumps(proof.sealed(record | {key: proof.digests(folder)})))


def _tables(demo: Path, out: Path, rows: pd.DataFrame, people: pd.DataFrame, visits: pd.DataFrame) -> None:
    for path in (demo / "results").iterdir():
        if path.is_file() and path.suffix != ".tsv":
            (out / "results" / path.name).write_bytes(path.read_bytes())
    rows.to_csv(out / "results" / "measures.tsv", sep="\t", index=False, na_rep="n/a")
    for name in ("readings", "findings", "failures", "acquisitions"):
        table = pd.read_csv(demo / "results" / f"{name}.tsv", sep="\t")
        table.head(0).to_csv(out / "results" / f"{name}.tsv", sep="\t", index=False)
    people.to_csv(out / "cohort" / "participants.tsv", sep="\t", index=False)
    for subject, own in visits.groupby("subject"):
        own.drop(columns="subject").to_csv(
            out / "cohort" / str(subject) / f"{subject}_sessions.tsv", sep="\t", index=False
        )
    _seal(out / "results", proof.WRITTEN)


def live(browser: Any, results: Path, folder: Path) -> list[tuple[str, str, str]]:
    """Open, menu change and click to slices in a JupyterLab."""
    imports = "import ipha_toolkit as ipha, ipha_toolkit.explorer.slices, ipha_toolkit.figures.cohort, scipy.stats\n"
    shown = "explorer = ipha.explore(results)\nexplorer"
    cells = [f"{imports}results = ipha.open_results({str(results)!r})", shown, shown]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    with lab.jupyter_lab(folder) as (url, _):
        nbformat.write(made, folder / "bench.ipynb")
        page = browser.new_page(viewport={"width": 1300, "height": 1200})
        lab.open_notebook(page, f"{url}&reset" % "bench.ipynb")
        lab.run_cell(page, 0)
        opened = []
        for cell in (1, 2):
            page.evaluate("document.querySelector('.ipha-explorer')?.removeAttribute('data-ready')")
            page.locator(".jp-CodeCell").nth(cell).locator(".cm-content").click()
            began = time.perf_counter()
            page.keyboard.press("Shift+Enter")
            page.wait_for_selector(f".jp-CodeCell:nth-child({cell + 1}) {READY}", timeout=60_000)
            opened.append(time.perf_counter() - began)
            if cell == 1:
                page.locator(".jp-CodeCell").nth(2).locator(".cm-content").click()
        changes, busy = changed(page, 25)
        by_mouse = [clicked(page, f"sub-{n:03d}_ses-01") for n in (4, 13, 26, 35, 48, 57, 70, 79)]
        clicks = [page.evaluate(CLICK, f"sub-{n:03d}_ses-01") for n in (3, 14, 25, 36, 47, 58, 69, 80)]
        page.close()
    return [
        ("open, first time in a kernel (s)", f"{opened[0]:.2f}", ""), ("open (s)", f"{opened[1]:.2f}", "1.5"),
        ("menu change, median (ms)", f"{median(changes):.0f}", "100"),
        ("menu change, slowest (ms)", f"{max(changes):.0f}", ""),
        ("menu change, main thread busy (ms)", f"{busy:.0f}", ""),
        ("click on a point to slices, median (ms)", f"{median(by_mouse[1:]):.0f}", "300"),
        ("opened without a hand over it, to slices, median (ms)", f"{median(clicks[1:]):.0f}", "300"),
    ]  # fmt: skip


def exported(browser: Any, results: Path, folder: Path) -> list[tuple[str, str, str]]:
    """Size, time to make, first picture and requests of a page."""
    began = time.perf_counter()
    explorer = ipha.explore(results, full=["sub-003_ses-01"], session="sub-005_ses-01")
    html = whole_page("Explorer", explorer.to_html())
    seconds = time.perf_counter() - began
    path = folder / "explorer.html"
    path.write_text(html, encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": 1300, "height": 1200})
    page, asked = context.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    page.wait_for_selector(".ipha-tile", timeout=30_000)
    first = page.evaluate("performance.now()")
    changes, busy = changed(page, 15)
    page.close()
    return [
        (f"page of {EXPORTED} sessions (MB)", f"{path.stat().st_size / 1e6:.1f}", "25"),
        ("of which", explorer._carried.removeprefix("With this page travel "), ""),
        ("first picture (s)", f"{first / 1000:.2f}", "2"),
        ("menu change in the page, median (ms)", f"{median(changes):.0f}", "100"),
        ("menu change in the page, main thread busy (ms)", f"{busy:.0f}", ""),
        ("requests", str(len(asked)), "0"), ("made in (s)", f"{seconds:.0f}", ""),
    ]  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch)
        demo = _demo(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else folder / "demo")
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        found = live(browser, cohort(demo, folder / "many", SESSIONS), _made(folder / "lab"))
        found += exported(browser, cohort(demo, folder / "some", EXPORTED), folder)
        browser.close()
    size = f"{SESSIONS} sessions, {MEASURES} measures, {REGIONS} regions"
    head = f"# Cohort explorer\n\n{size}; T1w, T2w, MEGRE, CT at 3 mm and radiographs of the demo.\n"
    load = f"Load of the machine at the end: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores.\n"
    lines = ["| what | measured | at most |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in found)]
    text = "\n".join([head, load, *lines, ""])
    print(text, json.dumps(found))
    (ROOT / "benchmarks" / "results" / "explorer.md").write_text(text, encoding="utf-8")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _demo(folder: Path) -> Path:
    """A few simulated subjects and their results, as large as those of the demo."""
    if not (folder / "results").exists():
        ipha.simulate_cohort(folder / "cohort", subjects=3, seed=5, progress=False)
        ipha.analyze(folder / "cohort", folder / "results", progress=False)
    return folder


if __name__ == "__main__":
    main()
