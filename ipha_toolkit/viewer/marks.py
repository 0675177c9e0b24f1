"""What stands beside a slice, in letters, lengths and words, for still pictures and plots.

The browser's ``js/marks.js`` says the same; ``tests/viewer/slice_marks.json`` holds both to one table.

>>> import numpy as np
>>> from ipha_toolkit.viewer.layers import image_layer
>>> from ipha_toolkit.volume import Volume
>>> layer = image_layer(Volume(np.zeros((8, 8, 4)), np.eye(4), modality="ct", unit="HU", name="empty"), 0)
>>> letters(layer, "axial")
Letters(left='R', right='L', top='A', bottom='P')
>>> describe_slice(layer, "axial", (4, 4, 2), window=(-600, 1500))
"empty, axial slice 3 of 4 at z 2.0 mm, patient's R on the left of the picture; window level −600, width 1500 HU"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import PLANES
from ipha_toolkit.viewer.layers import Layer, Share, nearest_slice
from ipha_toolkit.wording import fixed, number

SCALE_BAR_MM = (1, 2, 5, 10, 20, 50, 100)
"""Lengths that a scale bar may have."""


class Letters(NamedTuple):
    """Letters of the patient's sides at the four borders of a picture, the main direction first."""

    left: str
    right: str
    top: str
    bottom: str


@dataclass(frozen=True)
class Place:
    """Where a slice lies: its number from 1, of how many, at which coordinate of which axis."""

    number: int
    count: int
    axis: str
    at_mm: float
    away_mm: float
    """From the slice to the place asked for, where the image does not reach it; 0 where it does."""

    @property
    def text(self) -> str:
        return f"{self.axis} {fixed(self.at_mm, 1)} mm   {self.number}/{self.count}"


def letters(layer: Layer, plane: str) -> Letters:
    """Letters of the patient's sides around a slice, in radiological convention."""
    columns, rows, _ = PLANES[plane]
    return Letters(*layer.grid.letters(columns), *layer.grid.letters(rows))


def scale_bar(width_mm: float) -> tuple[int, str]:
    """Length in mm of the scale bar in a picture ``width_mm`` wide, and its label.

    The longest of :data:`SCALE_BAR_MM` that is shorter than a quarter of the picture.
    """
    mm = max((length for length in SCALE_BAR_MM if length < width_mm / 4), default=SCALE_BAR_MM[0])
    return mm, f"{mm // 10} cm" if mm >= 10 else f"{mm} mm"


def place(layer: Layer, plane: str, position_mm: npt.ArrayLike) -> Place:
    """Which slice of a layer is shown at a world position (x, y, z in mm): the nearest."""
    across = PLANES[plane][2]
    count = layer.shape[across]
    index = nearest_slice(layer.to_index(position_mm)[across], count)
    at = float(np.asarray(position_mm, float)[across])
    return Place(index + 1, count, "xyz"[across], at, layer.grid.beyond_mm(position_mm, across))


def away_text(away_mm: float) -> str:
    return f"nearest slice, {number(away_mm)} mm away"


def window_text(window: tuple[float, float], unit: str) -> str:
    return f"L {number(window[0])}  W {number(window[1], unit)}"


def slab_text(slab: str, thickness_mm: float) -> str:
    return f"{'MIP' if slab == 'max' else 'minIP'} {number(thickness_mm)} mm"


def describe_slice(
    layer: Layer, plane: str, position_mm: npt.ArrayLike, *, window: tuple[float, float], shown: str = ""
) -> str:
    """What a picture of one slice shows, without a full stop.

    ``shown`` says in other words what is seen, such as several slices, in place of "axial slice 3 of 4 at z 2.0 mm".
    """
    here = place(layer, plane, position_mm)
    coordinate = fixed(here.at_mm, 1).replace("\u2212", "-")
    one = f"{plane} slice {here.number} of {here.count} at {here.axis} {coordinate} mm"
    level, width = window
    return (
        f"{layer.name}, {shown or one}, patient's {letters(layer, plane).left} on the left of the picture; "
        f"window level {number(level)}, width {number(width, layer.unit)}"
        + (f"; {away_text(here.away_mm)}" if here.away_mm > 0 and not shown else "")
    )


def describe(
    slices: Sequence[str], *, overlays: Sequence[str], nodules: int, regions: int, thresholds: Sequence[str] = ()
) -> str:
    """Everything that a viewer shows, in sentences.

    Parameters
    ----------
    slices : sequence of str
        As of :func:`describe_slice`.
    overlays : sequence of str
        Names of those that are visible.
    nodules, regions : int
        How many are marked, and drawn.
    thresholds : sequence of str
        As of :func:`share_text`.
    """
    parts = list(slices)
    if overlays:
        parts.append(f"overlays: {', '.join(overlays)}")
    if nodules:
        parts.append(f"{_counted(nodules, 'nodule')} marked")
    if regions:
        parts.append(f"{_counted(regions, 'region')} drawn")
    return ". ".join([*parts, *thresholds]) + "."


def share_text(share: Share, threshold: float | None, unit: str) -> str:
    """How much of a map lies at or above a threshold; None is the map's lowest value."""
    least = share.edges[0] if threshold is None else threshold
    part = share.fraction(least)
    said = f"{fixed(100 * part, 1)} %" if np.isfinite(part) else "no voxel"
    return f"{said} of {share.region} at or above {number(least, unit)}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
