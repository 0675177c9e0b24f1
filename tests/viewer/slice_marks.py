"""The table that slice marks of Python and of the browser are held to; run as a script, this file writes it anew.

Each case is a slice: the grid it is of, where it lies, how it is windowed, and all that is to be written beside it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ipha_toolkit.viewer import marks
from ipha_toolkit.viewer.layers import Layer, Share
from ipha_toolkit.wording import fixed, number

TABLE = Path(__file__).with_name("slice_marks.json")

NUMBERS = [
    0, -0.0, 1, -1, 2.5, -2.5, 0.125, 0.0005, -0.0004, 9.995, 10.05, 12.25, -12.25, 99.95, 99.99, 100.5, 1234.5, 1e-9,
    1e9, 1 / 3, -600, 4095,
]  # fmt: skip
WIDTHS_MM = [0.5, 3.9, 4, 4.1, 8.01, 20, 41, 80, 81, 200, 350, 400, 401, 5000]


def grids() -> dict[str, tuple[list[int], np.ndarray]]:
    """Shape and affine: straight, off centre, and turned about each axis by more and by less than letters tell."""
    straight = np.diag([2.0, 3.0, 4.0, 1.0])
    straight[:3, 3] = -11, -16.5, -22
    found = {"straight": ([12, 11, 12], straight), "one slice": ([12, 11, 1], straight)}
    for degrees, (a, b) in product((8, 35), ((0, 1), (1, 2), (0, 2))):
        turn, angle = np.eye(4), np.deg2rad(degrees)
        turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        found[f"turned {degrees} about {'xyz'[3 - a - b]}"] = ([12, 11, 12], turn @ straight)
    return found


POSITIONS = [(0.0, 0.0, 0.0), (-7.25, 12.05, -3.95), (500.0, -500.0, 31.0), (1.0, 1.5, -22.04)]
LOOKS = [((-600.0, 1500.0), "HU"), ((390.5, 12.25), ""), ((0.0625, 0.5), "1")]


def table() -> dict[str, Any]:
    """Everything that both sides have to answer alike."""
    looks, slices = list(LOOKS), []
    for n, ((name, (shape, affine)), plane, position) in enumerate(
        product(grids().items(), ("axial", "coronal", "sagittal"), POSITIONS)
    ):
        window, unit = looks[n % len(looks)]
        layer = Layer(np.zeros(shape, bool), affine, "image", name, unit)
        here = marks.place(layer, plane, position)
        slices.append({
            "name": name, "plane": plane, "position_mm": list(position), "window": list(window), "unit": unit,
            "letters": marks.letters(layer, plane)._asdict(),
            "place": [here.number, here.count, here.axis, here.text], "away_mm": here.away_mm,
            "window_text": marks.window_text(window, unit), "away_text": marks.away_text(here.away_mm),
            "words": marks.describe_slice(layer, plane, position, window=window),
        })  # fmt: skip
    share = Share((0.0, 0.5, 1.0, 1.5, 2.0), (800, 600, 200, 1, 0), "lung")
    nothing = Share((0.0, 1.0), (0, 0), "the map")
    scenes = [
        {"slices": ["one"], "overlays": [], "nodules": 0, "regions": 0, "thresholds": []},
        {"slices": ["one", "two"], "overlays": ["lung"], "nodules": 1, "regions": 2, "thresholds": []},
        {"slices": ["one"], "overlays": ["a", "b"], "nodules": 3, "regions": 1, "thresholds": ["half"]},
    ]
    return {
        "numbers": [[value, number(value), number(value, "HU"), fixed(value, 1)] for value in NUMBERS],
        "scale_bars": [[width, *marks.scale_bar(width)] for width in WIDTHS_MM],
        "slabs": [[slab, mm, marks.slab_text(slab, mm)] for slab in ("max", "min") for mm in (10, 12.5, 27.25)],
        "grids": [[name, shape, affine.ravel().tolist()] for name, (shape, affine) in grids().items()],
        "slices": slices,
        "shares": [
            {"table": asdict(one), "threshold": cut, "unit": unit, "words": marks.share_text(one, cut, unit)}
            for one in (share, nothing)
            for cut, unit in ((None, ""), (0.5, "HU"), (0.8, "1/s"), (1.5, ""), (3, ""))
        ],
        "scenes": [scene | {"words": marks.describe(**scene)} for scene in scenes],
    }


def as_text() -> str:
    """The table as it is committed: one case a line."""
    parts = [
        f' "{name}": [\n' + ",\n".join(f"  {json.dumps(case, ensure_ascii=False)}" for case in cases) + "\n ]"
        for name, cases in table().items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    TABLE.write_text(as_text(), encoding="utf-8")
