"""The inside of the rib cage in CT: a frame for what must be lung, however dense disease has made it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray

_BONE_HU = 180.0
"""Ribs after blocks of voxels are averaged, contrast agent in the heart seldom. Chosen."""

_ANGLES = 90

_WINDOW_MM = 25.0
"""Ribs run obliquely: this far up and down a plane they close the circle. Chosen."""

_LEAST_CLOSED = 0.5
"""Share of the directions in which a rib must be met; else there is no frame. Chosen."""

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
    Seen from the middle of the chest, the nearest bone in each direction, within 25 mm up and down, is the wall;
    directions without any are filled in between their neighbors. The chest is taken as star-shaped about its middle.
    """
    if min(hu.shape[:2]) == 1:
        return None
    i, j, _ = np.nonzero(lung)
    middle = (np.quantile(i, 0.02) + np.quantile(i, 0.98)) / 2, np.median(j)
    angle, radius = _polar(hu.shape, middle, spacing)
    walls = np.full((hu.shape[2], _ANGLES), np.inf)
    reach = np.full((hu.shape[2], _ANGLES), 0.0)
    bone = hu > _BONE_HU
    for k in range(hu.shape[2]):
        np.minimum.at(walls[k], angle[bone[:, :, k]], radius[bone[:, :, k]])
        np.maximum.at(reach[k], angle[lung[:, :, k]], radius[lung[:, :, k]])
    walls[walls < reach] = np.inf  # calcified vessels and nodes, medial to lung
    planes = np.flatnonzero(lung.any(axis=(0, 1)))
    near = _nearest_bone(walls, max(1, int(_WINDOW_MM / spacing[2])))
    if not np.isfinite(near[planes]).mean() >= _LEAST_CLOSED:
        return None
    inside = np.zeros(hu.shape, bool)
    for plane in planes[np.isfinite(near[planes]).any(axis=1)]:
        inside[:, :, plane] = radius < np.maximum(_closed(near[plane]) - _PLEURA_MM, reach[plane])[angle]
    return inside | lung


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

    return np.asarray(ndimage.minimum_filter(walls, size=(2 * reach + 1, 3), mode=("nearest", "wrap")))


def _closed(wall: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The wall in every direction, between the ones that met a bone."""
    known = np.flatnonzero(np.isfinite(wall))
    return np.interp(np.arange(_ANGLES), known, wall[known], period=_ANGLES)
