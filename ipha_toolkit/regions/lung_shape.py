"""What a lung of usual shape holds beyond the dark part of it that was found: holes, and dents on the ribs' side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray
from ipha_toolkit.image.morphology import open_by

_SMALLEST_PLANE_MM2 = 500.0

_LARGEST_HOLE_MM2 = 300.0
"""Of a vessel or nodule in a single slice; the dome of the liver is soon larger. Chosen."""

_MOST_ADDED = 0.5
"""Of a lung's area in a plane, behind it and out to the ribs. Chosen."""

_LEAST_BEHIND_MM = 6.0
"""Half the thickness of what is filled behind a lung: fat and muscle under the ribs are thinner. Chosen."""

_LEAST_BEHIND_ML = 10.0
"""Less is muscle between the ribs of the apex. Chosen on the phantom: 4 mL in health."""

_ANGLES = 120


def without_enclosed_holes(lung: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """One lung with what it surrounds in axial or coronal planes: vessels, consolidation, masses.

    In axial planes only what has lung below it too: the top of the liver's dome lies in a ring of lung as well. In a
    single axial slice nothing tells a dome from a mass: there only holes up to 3 cm2 are filled.
    """
    from scipy import ndimage

    above = np.logical_or.accumulate(lung, axis=2)
    for axis in (2, 1):
        if axis == 1 and lung.shape[2] == 1:
            continue
        planes = np.moveaxis(lung, axis, 0)
        filled = np.stack([ndimage.binary_fill_holes(plane) for plane in planes], axis=axis)
        if axis == 2:
            filled &= above if lung.shape[2] > 1 else _small_holes(lung, filled, spacing)
        lung = lung | filled
    return lung


def _small_holes(lung: BoolArray, filled: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    from scipy import ndimage

    holes, count = ndimage.label(filled & ~lung)
    small = np.bincount(holes.ravel(), minlength=count + 1) * spacing[0] * spacing[1] <= _LARGEST_HOLE_MM2
    return np.asarray(lung | small[holes])


def costal_gaps(
    lung: BoolArray, spacing: npt.NDArray[np.float64], medial: int, *, cage: BoolArray | None = None
) -> BoolArray:
    """What one lung lacks of its convex outline in axial planes, on the side of the ribs, and at its back of the cage.

    The surface under the ribs is convex: a dent there is consolidation, mass or fluid. Heart, spine, hilum and the
    domes of the diaphragm dent the lung from the medial side (``medial``: 1 for the left lung, -1 for the right) and
    have lung lateral to them; they stay out. So does what has no aerated lung below it: diaphragm, abdomen. In front
    the liver lies against the ribs as well: only at the back is the lung filled out to them, and by no more than
    half of what was found.
    """
    from skimage.morphology import convex_hull_image, remove_small_objects

    gaps, backs = np.zeros(lung.shape, bool), np.zeros(lung.shape, bool)
    if min(lung.shape[:2]) == 1:
        return gaps
    for k in np.flatnonzero(lung.sum(axis=(0, 1)) * spacing[0] * spacing[1] > _SMALLEST_PLANE_MM2):
        plane = lung[:, :, k]
        gap = _beyond(plane, convex_hull_image(plane) & ~plane, spacing, medial)
        if cage is not None:
            back = cage[:, :, k] & ~plane
            back[:, int(np.median(np.nonzero(plane)[1])) :] = False
            back = _beyond(plane, back, spacing, medial)
            backs[:, :, k] = back & (np.count_nonzero(back) < _MOST_ADDED * np.count_nonzero(plane))
        gaps[:, :, k] = gap
    backs = remove_small_objects(
        open_by(backs, spacing, _LEAST_BEHIND_MM), max_size=int(1000 * _LEAST_BEHIND_ML / spacing.prod())
    )
    gaps = open_by(gaps, spacing, 3.0) | backs
    return np.asarray(gaps & (np.logical_or.accumulate(lung, axis=2) if lung.shape[2] > 1 else True))


def _beyond(plane: BoolArray, gap: BoolArray, spacing: npt.NDArray[np.float64], medial: int) -> BoolArray:
    """Gap voxels with no lung further out, seen from the middle of the lung's medial border."""
    i, j = np.nonzero(plane)
    origin = (np.quantile(i, 0.98 if medial > 0 else 0.02), np.median(j))
    angle, radius = _polar(i, j, origin, spacing)
    farthest = np.zeros(_ANGLES)
    np.maximum.at(farthest, angle, radius)
    farthest = np.maximum(farthest, np.maximum(np.roll(farthest, 1), np.roll(farthest, -1)))
    where = np.nonzero(gap)
    angle, radius = _polar(where[0], where[1], origin, spacing)
    beyond = gap.copy()
    lateral = (where[0] - origin[0]) * medial < 0
    beyond[where] = (radius > farthest[angle]) & lateral
    return beyond


def _polar(
    i: npt.NDArray[np.intp],
    j: npt.NDArray[np.intp],
    origin: tuple[float, float],
    spacing: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    x, y = (i - origin[0]) * spacing[0], (j - origin[1]) * spacing[1]
    angle = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * _ANGLES).astype(np.intp) % _ANGLES
    return angle, np.hypot(x, y)


def lacking_behind(lung: BoolArray, free: BoolArray, spacing: npt.NDArray[np.float64], medial: int) -> BoolArray:
    """What lies behind one lung, out to the ribs, in axial planes that show it; ``free``: inside the cage, no lung."""
    backs = np.zeros(lung.shape, bool)
    if min(lung.shape[:2]) == 1:
        return backs
    for k in np.flatnonzero(lung.sum(axis=(0, 1)) * spacing[0] * spacing[1] > _SMALLEST_PLANE_MM2):
        back = free[:, :, k].copy()
        back[:, int(np.median(np.nonzero(lung[:, :, k])[1])) :] = False
        backs[:, :, k] = _beyond(lung[:, :, k], back, spacing, medial)
    return open_by(backs, spacing, _LEAST_BEHIND_MM)
