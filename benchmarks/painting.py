"""How long a stroke takes on a large CT: from the message of the browser to the changed voxels sent, and what is sent.

Run from the project: ``python benchmarks/painting.py``. Goal: 50 ms a stroke on 512 x 512 x 300.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ipha_toolkit.io.strokes import Strokes
from ipha_toolkit.viewer.mask_editor import MaskEditor
from ipha_toolkit.viewer.painter import PaintingSliceViewer
from ipha_toolkit.volume import Mask, Volume, handed_over

SHAPE, SPACING_MM = (512, 512, 300), (0.7, 0.7, 1.0)
REPEATS = 30


def chest() -> tuple[Volume, Mask]:
    """Noise of a CT's size, and two ellipsoids for lungs."""
    rng, affine = np.random.default_rng(0), np.diag([*SPACING_MM, 1.0])
    array = np.empty(SHAPE, np.float32)
    for slab in array:
        slab[:] = rng.normal(-800, 80, SHAPE[1:])
    x, y, z = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in SHAPE)]
    lungs = sum((((x - side) / 0.35) ** 2 + (y / 0.5) ** 2 + (z / 0.8) ** 2 < 1) for side in (-0.42, 0.42)) > 0
    return Volume(handed_over(array), affine, modality="ct", unit="HU"), Mask(lungs, affine)


def timed(act: Callable[[int], Any], repeats: int = REPEATS) -> tuple[float, float, float]:
    """Of some calls the median and slowest, in ms, and the median of what the processor was busy, in ms on one core."""
    times, busy = [], []
    for n in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        act(n)
        times.append(1000 * (time.perf_counter() - start))
        busy.append(1000 * (time.process_time() - used))
    return float(np.median(times)), max(times), float(np.median(busy))


def painter(image: Volume, lungs: Mask, folder: Path, sent: list[int]) -> Any:
    """The widget's own answers, without its comm."""
    own = SimpleNamespace(
        editor=MaskEditor(lungs, image), strokes=Strokes(folder / "strokes", {}), brush_low=None, brush_high=None,
        brush_side="both", numbers=[], report={}, _values=image, _measure="attenuation", seconds=0.0, _heard=0.0,
        send=lambda message, buffers=(): sent.append(sum(part.nbytes for part in buffers)),
    )  # fmt: skip
    for name in ("_answer", "_do", "_change", "_limits", "_send_box", "_follow", "_count_time", "_repaired"):
        setattr(own, name, getattr(PaintingSliceViewer, name).__get__(own))
    return own


def strokes(places: Sequence[Any], own: Any, **more: Any) -> tuple[float, float, float]:
    """A stroke of one piece at each of some places."""
    base = {"type": "paint", "did": "stroke", "begin": True, "end": True, "add": True, "radius": 10.0, "plane": "axial"}
    return timed(lambda n: own._answer(own, base | {"places": places[n]} | more, []))


def main() -> None:
    image, lungs = chest()
    rng = np.random.default_rng(1)
    ends = rng.uniform((80, 150, 60), (430, 360, 240), (REPEATS, 1, 3))
    lines = np.concatenate([ends, ends + rng.uniform(-40, 40, (REPEATS, 1, 3)) * (1, 1, 0)], axis=1).tolist()
    rows: list[tuple[str, float, float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        sent: list[int] = []
        own = painter(image, lungs, Path(folder), sent)

        def add(name: str, found: tuple[float, float, float]) -> None:
            rows.append((name, *found, max(sent, default=0) / 1000))
            sent.clear()

        def ask(did: str, **more: Any) -> Callable[[int], Any]:
            return lambda _: own._answer(own, {"type": "paint", "did": did} | more, [])

        add("brush 10 mm, axial, a line of 40 voxels", strokes(lines, own))
        add("brush 10 mm, coronal", strokes(lines, own, plane="coronal"))
        add("ball of 10 mm", strokes(lines, own, plane=None))
        own.brush_low, own.brush_high = -900.0, -700.0
        add("ball of 30 mm, only -900 to -700 HU", strokes(lines, own, plane=None, radius=30.0))
        own.brush_low = own.brush_high = None
        add("undo", timed(ask("undo")))
        add("redo", timed(ask("redo")))
        corners = [(100, 100, 150), (250, 90, 150), (300, 300, 150), (120, 280, 150)]
        add("polygon of 200 voxels, axial", timed(ask("polygon", places=corners, plane="axial"), 3))
        add("remove islands (whole mask)", timed(ask("islands"), 1))
        add("fill holes in axial slices (whole mask)", timed(ask("holes", plane="axial"), 1))
    load = f"Load of the machine at the end: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores."
    text = ["# Painting on a CT of 512 x 512 x 300 voxels", "", f"{REPEATS} times each. {load}", ""]
    text += ["| what | median ms | slowest ms | busy ms | sent kB |", "| --- | ---: | ---: | ---: | ---: |"]
    text += [
        f"| {name} | {median:.1f} | {slowest:.1f} | {busy:.1f} | {kb:.0f} |" for name, median, slowest, busy, kb in rows
    ]
    out = Path(__file__).parent / "results" / "painting.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join(text) + "\n", "utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
