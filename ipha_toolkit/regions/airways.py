"""Trachea and main bronchi as round holes in the middle of the chest, one plane above another: of any resolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray

_AREA_MM2 = (40.0, 700.0)
_WIDEST_MM = 38.0
_ROUND = 0.45
_MIDDLE = (0.33, 0.67)
_BACK = 0.7
_SHORTEST_MM = 20.0
_LEAST_SIDE = 0.15


def midline_tubes(air: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Round holes near the middle of the chest that follow one another from plane to plane.

    Parameters
    ----------
    air : bool array, shape (i, j, k)
        Air or dark space inside the body, RAS order.
    spacing : array, shape (3,)
        mm.

    Returns
    -------
    bool array, same shape
        Chains of at least 20 mm, and in a single axial slice every such hole; none where air lies on one side of the
        chest only, as in a cut field of view.

    Notes
    -----
    A hole is taken that covers 40 to 700 mm2 (the trachea of an infant, and of a wide adult), no side of it over 38 mm,
    in the middle third between the outer borders of all air. Chosen on real chests of 0.6 to 4 mm voxels.
    """
    found = np.zeros(air.shape, bool)
    columns = np.flatnonzero(air.any(axis=(1, 2)))
    if min(air.shape[:2]) == 1 or len(columns) < 3 or not _on_both_sides(air, columns):
        return found
    rows = np.flatnonzero(air.any(axis=(0, 2)))
    first, width = columns[0], columns[-1] - columns[0]
    back = int(rows[0] + _BACK * (rows[-1] - rows[0])) + 1  # in front of it the lungs' tips meet behind the sternum
    for k in range(air.shape[2]):
        found[:, :back, k] = _round_holes(air[:, :back, k], first, width, spacing)
    return _long_chains(found, spacing) if air.shape[2] > 1 else found


def _on_both_sides(air: BoolArray, columns: npt.NDArray[np.intp]) -> bool:
    middle = (columns[0] + columns[-1]) // 2
    left = np.count_nonzero(air[:middle]) / np.count_nonzero(air)
    return bool(_LEAST_SIDE < left < 1 - _LEAST_SIDE)


def _round_holes(plane: BoolArray, first: int, width: int, spacing: npt.NDArray[np.float64]) -> BoolArray:
    from scipy import ndimage

    labels, count = ndimage.label(plane)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    chosen = np.zeros(count + 1, bool)
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        sides = [(part.stop - part.start) * step for part, step in zip(box, spacing, strict=False)]
        area = sizes[index] * spacing[0] * spacing[1]
        place = ((box[0].start + box[0].stop - 1) / 2 - first) / width
        chosen[index] = (
            _AREA_MM2[0] < area < _AREA_MM2[1] and max(sides) < _WIDEST_MM and area > _ROUND * sides[0] * sides[1]
            and _MIDDLE[0] < place < _MIDDLE[1]
        )  # fmt: skip
    return np.asarray(chosen[labels])


def _long_chains(holes: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    from scipy import ndimage

    labels, count = ndimage.label(holes, np.ones((3, 3, 3)))
    long = np.zeros(count + 1, bool)
    boxes: list[Any] = ndimage.find_objects(labels)
    for index, box in enumerate(boxes, 1):
        long[index] = (box[2].stop - box[2].start) * spacing[2] >= _SHORTEST_MM
    return np.asarray(long[labels])
