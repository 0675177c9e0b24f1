"""Trachea and main bronchi by their shape: round holes in the middle of the chest, one plane above another, of any
resolution; upright lumens in a single coronal or sagittal slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.morphology import dilate_by, open_by

_AREA_MM2 = (40.0, 700.0)
_WIDEST_MM = 38.0
_ROUND = 0.45
_MIDDLE = (0.33, 0.67)
_BACK = 0.7
_SHORTEST_MM = 20.0
_LEAST_SIDE = 0.15

_ROOM_AIR_HU = -1000.0
_LUMEN_HU, _SAGITTAL_LUMEN_HU = (-930.0, -850.0), (-930.0, -890.0)
"""Least and most below which air may be a lumen's; what is left of clear lung between haze is near -850, and a sagittal
slice has no middle that would tell. Chosen."""
_LUMEN_MM2 = (60.0, 4500.0)
_LUMEN_WIDTH_MM = 28.0
"""Of the median row: the trachea of a wide adult, and a main bronchus that runs aslant. Chosen."""
_WALLED = 0.6
_WALL_MM, _WALL_STEP_HU = 5.0, 120.0
"""Share of what lies within 5 mm of a lumen and is so much denser: wall; lung beside it is less. Chosen."""
_UPRIGHT = 1.5
_LUNG_MM2, _ABOVE_MM = 300.0, 10.0
"""Of a piece of air that may be lung, and how far beyond it the trachea reaches into the neck. Chosen."""
_PURE_SHARE = 1 / 3
"""Of a piece of air of its own, nearer to room air than to lung: the rest is the blurred border of a lumen. Chosen."""


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


def upright_lumens(air: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Trachea and main bronchi in a single coronal or sagittal slice of a CT.

    Parameters
    ----------
    air : bool array, shape (i, 1, k) or (1, j, k)
        Air inside the body, RAS order.
    hu : array, same shape
    spacing : array, shape (3,)
        mm.

    Returns
    -------
    bool array, same shape
        Air nearer to room air than to the slice's lung, and pieces of air of their own that hold a third of such or
        reach above the rest, if they are slender, walled, and in the middle third (coronal) or upright (sagittal).

    Notes
    -----
    Air of the room is lighter than lung by 100 HU and more, unless emphysema fills the lung: there a lumen that touches
    it is not told. Chosen on the phantom, and looked at on four real slices.
    """
    from scipy import ndimage

    if not air.any():
        return air
    lung = float(np.median(hu[air]))
    most = _LUMEN_HU if air.shape[0] > 1 else _SAGITTAL_LUMEN_HU
    pure = open_by(air & (hu < np.clip((lung + _ROOM_AIR_HU) / 2, *most)), spacing, 2.0)
    labels, count = ndimage.label(air)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    light = np.bincount(labels[pure], minlength=count + 1) > _PURE_SHARE * sizes
    light |= _above_the_rest(labels, sizes, spacing)
    return _slender(light[labels] & air, air, hu, spacing) | _slender(pure, air, hu, spacing)


def _above_the_rest(
    labels: npt.NDArray[np.integer], sizes: npt.NDArray[np.integer], spacing: npt.NDArray[np.float64]
) -> BoolArray:
    """Pieces that leave the image at its top or, in a coronal slice, reach above all others that are no specks."""
    from scipy import ndimage

    tops = np.array([0, *(box[2].stop for box in ndimage.find_objects(labels))])
    if labels.shape[0] == 1:  # beside the heart one strip of lung reaches above another
        return np.asarray(tops == labels.shape[2])
    large = np.flatnonzero(sizes * spacing.prod() / spacing[np.argmin(labels.shape)] >= _LUNG_MM2)
    others = np.array([max((tops[k] for k in large if k not in (0, one)), default=1e9) for one in range(len(tops))])
    return np.asarray((tops == labels.shape[2]) | ((tops - others) * spacing[2] > _ABOVE_MM))


def _slender(pieces: BoolArray, air: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """The pieces that have the shape and place of a lumen, and a wall."""
    from scipy import ndimage

    across = 0 if air.shape[0] > 1 else 1
    columns = np.flatnonzero(air.any(axis=tuple({0, 1, 2} - {across})))
    labels, count = ndimage.label(pieces, np.ones((3, 3, 3)))
    chosen = np.zeros(count + 1, bool)
    for index in range(1, count + 1):
        piece = labels == index
        rows = piece.sum(axis=(0, 1))
        width, height = np.median(rows[rows > 0]) * spacing[across], np.count_nonzero(rows) * spacing[2]
        if not _LUMEN_MM2[0] < rows.sum() * spacing[across] * spacing[2] < _LUMEN_MM2[1] or width > _LUMEN_WIDTH_MM:
            continue
        place = (np.nonzero(piece)[across].mean() - columns[0]) / max(1, columns[-1] - columns[0])
        placed = _MIDDLE[0] < place < _MIDDLE[1] if across == 0 else height > _UPRIGHT * width
        wall = dilate_by(piece, spacing, _WALL_MM) & ~piece
        chosen[index] = placed and bool((hu[wall] > np.median(hu[piece]) + _WALL_STEP_HU).mean() > _WALLED)
    return np.asarray(chosen[labels])
