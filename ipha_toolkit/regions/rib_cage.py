"""The inside of the rib cage in CT: a frame for what must be lung, however dense disease has made it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.morphology import dilate_by, open_by

_BONE_HU = 180.0
"""Ribs after blocks of voxels are averaged, contrast agent in the heart seldom. Chosen."""

_BRIGHT_HU, _THICK_MM = 120.0, 7.0
"""What is brighter and more than twice as thick is no rib: vertebrae, heart and aorta with contrast. Chosen between
ribs, 10 to 12 mm, and an aorta, 20 mm and more."""

_ANGLES = 90

_WINDOW_MM = 25.0
"""Ribs run obliquely: this far up and down a plane they close the circle. Chosen."""

_LEAST_CLOSED = 0.5
"""Share of the directions in which a rib must be met; else there is no frame. Chosen."""

_BESIDE, _BESIDE_IN_A_SLICE = 3, 5
"""Directions of which the nearest bone is the wall's: in a single slice ribs leave wider gaps. Chosen."""

_TOO_FAR, _QUARTER = 1.25, 25
"""Bone this much farther than the median of a quarter and more of the circle is an arm's or a table's. Chosen."""

_PLEURA_MM = 2.0


def inside_rib_cage(hu: FloatArray, lung: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray | None:
    """What ribs, spine and sternum enclose, in every axial plane with lung.

    Parameters
    ----------
    hu : array, shape (i, j, k)
        On a coarse grid in RAS order.
    lung : bool array, same shape
        Lung found so far; what it reaches is inside.
    spacing : array, shape (3,)
        mm.

    Returns
    -------
    bool array or None
        None where too few directions meet a bone: bones are cut off, or not seen at this resolution.

    Notes
    -----
    Seen from the middle of the chest, the nearest bone beyond the lung in each direction, within 25 mm up and down, is
    the wall; directions without any are filled in between their neighbors. The chest is taken as star-shaped about its
    middle.
    """
    if min(hu.shape[:2]) == 1:
        return None
    i, j, _ = np.nonzero(lung)
    middle = (np.quantile(i, 0.02) + np.quantile(i, 0.98)) / 2, np.median(j)
    angle, radius = _polar(hu.shape, middle, spacing)
    walls = np.full((hu.shape[2], _ANGLES), np.inf)
    reach = np.full((hu.shape[2], _ANGLES), 0.0)
    bone = (hu > _BONE_HU) & ~_thick(hu, spacing)
    for k in range(hu.shape[2]):
        np.maximum.at(reach[k], angle[lung[:, :, k]], radius[lung[:, :, k]])
        beyond = bone[:, :, k] & (radius >= reach[k][angle])  # not calcified vessels and nodes, medial to lung
        np.minimum.at(walls[k], angle[beyond], radius[beyond])
    planes = np.flatnonzero(lung.any(axis=(0, 1)))
    near = _without_far(_nearest_bone(walls, max(1, int(_WINDOW_MM / spacing[2]))))
    if not np.isfinite(near[planes]).mean() >= _LEAST_CLOSED:
        return None
    inside = np.zeros(hu.shape, bool)
    for plane in planes[np.isfinite(near[planes]).any(axis=1)]:
        inside[:, :, plane] = radius < np.maximum(_closed(near[plane]) - _PLEURA_MM, reach[plane])[angle]
    return inside | lung


def _thick(hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Bright pieces thicker than a rib, with their blurred border."""
    wide = open_by(hu > _BRIGHT_HU, spacing, _THICK_MM)
    return dilate_by(wide, spacing, 4.0) if wide.any() else wide


def _without_far(near: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Walls without those much farther than the wall around."""
    from scipy import ndimage

    known = np.isfinite(near)
    if not known.any():
        return near
    usual = np.median(near[known])
    around = ndimage.median_filter(np.where(known, near, usual), size=(1, _QUARTER), mode="wrap")
    return np.where(near > _TOO_FAR * around, np.inf, near)


def _polar(
    shape: tuple[int, ...], middle: tuple[float, float], spacing: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Direction, as one of the bins, and distance in mm of every voxel of an axial plane from the middle."""
    x, y = (np.arange(shape[0]) - middle[0]) * spacing[0], (np.arange(shape[1]) - middle[1]) * spacing[1]
    turn = np.arctan2(y[None, :], x[:, None]) / (2 * np.pi) + 0.5
    return (turn * _ANGLES).astype(np.intp) % _ANGLES, np.hypot(x[:, None], y[None, :])


def _nearest_bone(walls: npt.NDArray[np.float64], reach: int) -> npt.NDArray[np.float64]:
    """The nearest bone in each direction, in the planes around and the directions beside."""
    from scipy import ndimage

    beside = _BESIDE if len(walls) > 1 else _BESIDE_IN_A_SLICE
    return np.asarray(ndimage.minimum_filter(walls, size=(2 * reach + 1, beside), mode=("nearest", "wrap")))


def _closed(wall: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The wall in every direction, between the ones that met a bone."""
    known = np.flatnonzero(np.isfinite(wall))
    return np.interp(np.arange(_ANGLES), known, wall[known], period=_ANGLES)
