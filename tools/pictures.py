"""Make the README's pictures of slices, the viewer and the explorer, from the results of ``ipha demo``.

    ipha demo --out ipha-demo && python tools/pictures.py ipha-demo/results

Viewer and explorer are drawn by Chromium from the page a reader would have, and saved with 256 colours. The picture of
the phantom's phases is ``python benchmarks/look_phantom.py FILE --small``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

import ipha_toolkit as ipha
from ipha_toolkit.report.page import page
from ipha_toolkit.run.machine import find_browser

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
NOTEBOOKS = IMAGES.parents[1] / "notebooks" / "images"
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=15000")


def photograph(html: str, target: Path, size: tuple[int, int]) -> Path:
    """A page as a small PNG, from its upper left corner."""
    browser = find_browser()
    if browser is None:
        raise SystemExit("no Chromium or Chrome on the path: name one in IPHA_CHROMIUM")
    with TemporaryDirectory() as scratch:
        source, shot = Path(scratch) / "page.html", Path(scratch) / "shot.png"
        source.write_text(html, encoding="utf-8")
        window = f"--window-size={size[0]},{size[1] + 120}"
        command = [
            browser,
            *_FLAGS,
            f"--user-data-dir={scratch}/profile",
            window,
            f"--screenshot={shot}",
            source.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        picture = Image.open(shot).convert("RGB").crop((0, 0, *size))
        picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)
    return target


def slices(session: Any) -> None:
    """A week after a bleed: T1w with what was found on it, its map, T2w and CT."""
    lungs = {kind: session.mask(kind) for kind in ("T1w", "T2w", "ct")}
    ratio = session.map("T1w")
    ratio = ratio.replace(array=np.where(lungs["T1w"].array, ratio.array, np.nan), name="lung-to-muscle ratio")
    laid_on = [
        {"lungs": lungs["T1w"], "muscle": session.mask("T1w", "muscle")},
        {ratio.name: ratio},
        {"lungs": lungs["T2w"]},
        {"lungs": lungs["ct"]},
    ]
    images = [session.image(kind) for kind in ("T1w", "T1w", "T2w", "ct")]
    axes = ipha.plots.plot_comparison(
        *images, titles=["T1w", "T1w, map", "T2w", "CT"], overlays=laid_on, position_mm=(0, 0, 5)
    )
    (NOTEBOOKS / "first-analysis.png").write_bytes(ipha.plots.to_png(axes[0], dpi=80))


def main() -> int:
    """Draw all."""
    results = ipha.open_results(sys.argv[1])
    slices(results["sub-006", "ses-02"])
    session = next(one for one in results if {"T1w", "ct"} <= set(one.modalities) and one.subject == "sub-006")
    viewer = session.view("T1w", "ct", plane="coronal", height_px=380)
    viewer.visible = [
        name in ("lung", "muscle", "opacity") for name in ("lung", "muscle", "ratio", "signature", "lung", "opacity")
    ]
    explorer = ipha.explore(results)
    for name, widget, size in (("viewer", viewer, (1000, 568)), ("explorer", explorer, (1100, 760))):
        html = page("", f"<style>main{{max-width:none!important;padding:8px!important}}</style>{widget.to_html()}")
        made = photograph(html, IMAGES / f"{name}.png", size)
        print(f"{made} {made.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
