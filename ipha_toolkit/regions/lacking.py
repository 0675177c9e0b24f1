"""How much lung a CT mask perhaps lacks, beside the rib cage and the other lung."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import block_mean
from ipha_toolkit.image.morphology import dilate_by, local_mean, open_by, touching
from ipha_toolkit.regions.lung_shape import lacking_behind
from ipha_toolkit.regions.rib_cage import inside_rib_cage
from ipha_toolkit.regions.zones import Sides, split_left_right
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

_COARSE_MM = 4.0
_DENSE_HU = -500.0
_MOTTLED_HU, _AIRWAY_HU = (-700.0, -130.0), -850.0
"""Between fat and lung, and away from pure air: lung that holds a rest of air."""
_BORDER_MM, _AIRWAY_MM, _AROUND_MM = 4.5, 6.0, 10.0
"""Blurred border of the mask and of airways, and how far around a rest of air dense lung is counted. Chosen."""
_BESIDE_SPINE, _OUTER = 0.35, 0.45
"""The back of the chest: directions this far (cosine) from the spine's, beyond this share of the way to the ribs."""
_TALLEST_FOOT = 0.25
"""Share of the lungs' height above their lowest slice in which nothing is told. Chosen."""
_OTHER_SIDE, _LEFT_OVER_RIGHT, _ONE_LUNG = 0.4, 0.8, 0.05
"""A lung that holds less than this share of the other has lost some; how much it should hold; below the last share it
is flagged as ``one_lung`` instead. Chosen: single slices of phantoms, either side, 0.5 to 1."""
_FATTY_HU = (-250.0, -50.0)
_DENSE_LUNG_HU, _NEAR_MM, _LED_ON = -350.0, 6.0, 0.03
"""Mean density of lung within some mm from which what is as dense as fat beside it may be more of it, and from which
share of the lungs that is said. Chosen on 26 phantoms: 0 to 0.022 where up to 5.4 % of the lung was lost, 0.036 to 0.27
where 5.5 to 37 % was. The amount of what is as dense as fat alone overlaps (0.03 to 0.13, 0.08 to 0.46), so does the
steepness of its border (led on gently: 0 to 0.003, and 0.007 to 0.13, but 0.02 where 3 % was lost)."""
_PERHAPS_MISSING, _IN_A_SLICE = 0.07, 0.1
_PERHAPS_MISSING_ML = 30.0
_PERHAPS_MISSING_MM2 = 1000.0
"""Share of the mask, in a volume and in one slice, mL, and mm2 in one slice, over all of which it is said. Chosen:
healthy phantoms reach 1.5 % in volumes and 3.6 % in slices."""


def missing_lung_ml(lungs: Mask, ct: Volume, *, sides: Sides | None = None) -> float:
    """How much lung a CT mask perhaps lacks: at its back out to the ribs, around rests of air, beside the other lung.

    Parameters
    ----------
    lungs : Mask
    ct : Volume
        In HU, on the same grid.
    sides : (Mask, Mask), optional
        Left and right lung on this grid, where they are known already.

    Returns
    -------
    float
        mL. 0 where the mask reaches the ribs. Consolidation and fluid count alike: nothing in the image tells them
        apart. Where no rib cage is seen only the other lung is a measure, and it is NaN where the two are alike; NaN
        also where the image is no CT.

    Raises
    ------
    GridError
        Where the mask lies on another grid.

    Notes
    -----
    Told on coarse voxels. What lies behind a lung with no lung further out counts whole; dense tissue at the back that
    has lung further out counts within 10 mm of voxels between fat and lung in HU, as ground glass in consolidation is:
    the liver's dome is even, and in its ring of lung. What is as dense as fat counts where the lung beside it is dense
    as well. Not told: even consolidation against heart or diaphragm.
    """
    ct.require_same_grid(lungs)
    if ct.modality is not Modality.CT or not lungs.n_voxels:
        return float("nan")
    image, mask = ct.to_ras(), lungs.to_ras()
    factors = image.grid.block_factors(_COARSE_MM)
    spacing = np.array(image.grid.coarser(factors).spacing_mm)
    hu = block_mean(image.array, factors, missing=-1000.0)
    halves = [block_mean(side.to_ras().array, factors) >= 0.5 for side in sides or split_left_right(mask)]
    if not (halves[0] | halves[1]).any():
        return float("nan")
    voxel_ml = float(spacing.prod() / 1000)
    less = _less_than_the_other(*(np.count_nonzero(half) * voxel_ml for half in halves))
    whole = halves[0] | halves[1]
    cage = inside_rib_cage(hu, whole, spacing)
    if cage is None:
        return less if less > 0 else float("nan")
    dense = _lacking(halves, cage, hu, spacing)
    return max(less, float(np.count_nonzero(dense | _as_dense_as_fat(cage, whole, hu, spacing))) * voxel_ml)


def perhaps_missing(lungs: Mask, missing_ml: float) -> bool:
    """Whether so much is perhaps missing that it is to be said: 7 % and 30 mL, in one slice a tenth and 10 cm2."""
    least, share = _PERHAPS_MISSING_ML, _PERHAPS_MISSING
    if min(lungs.shape) == 1:
        least, share = _PERHAPS_MISSING_MM2 * lungs.spacing_mm[int(np.argmin(lungs.shape))] / 1000, _IN_A_SLICE
    return bool(missing_ml > max(least, share * lungs.volume_ml))


def _less_than_the_other(left_ml: float, right_ml: float) -> float:
    """What the smaller lung lacks beside the larger, where it holds less than 0.4 of it; else 0."""
    smaller, larger = sorted((left_ml, right_ml))
    return _LEFT_OVER_RIGHT * larger - smaller if _ONE_LUNG * larger < smaller < _OTHER_SIDE * larger else 0.0


def _as_dense_as_fat(cage: BoolArray, lungs: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """What touches the lungs and is as dense as fat, where much of it lies beside dense lung; else nothing.

    Disease of such density is told from fat by the lung beside it, which is diseased as well, and by nothing else.
    """
    from scipy import ndimage

    none = np.zeros_like(lungs)
    if min(hu.shape) == 1:
        return none
    even = ndimage.gaussian_filter(hu, 0.7)
    like_fat = open_by(cage & ~lungs & (even > _FATTY_HU[0]) & (even < _FATTY_HU[1]), spacing, _COARSE_MM)
    like_fat = touching(like_fat, dilate_by(lungs, spacing, _BORDER_MM + 0.5))
    beside_dense = like_fat & (local_mean(hu, lungs, spacing, _NEAR_MM) > _DENSE_LUNG_HU)
    return like_fat if np.count_nonzero(beside_dense) > _LED_ON * np.count_nonzero(lungs) else none


def _lacking(halves: list[BoolArray], cage: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Dense voxels at the back of the rib cage that are perhaps lung."""
    whole = halves[0] | halves[1]
    free = cage & ~whole
    lacking = _around_rests_of_air(free, whole, hu, spacing)
    for half, medial in zip(halves, (1, -1), strict=True):
        if half.any():
            lacking |= lacking_behind(half, free, spacing, medial)
    lowest = np.flatnonzero(whole.any(axis=(0, 1)))
    foot = lowest[0] + int(_TALLEST_FOOT * (lowest[-1] - lowest[0]))  # below, liver and spleen lie behind the ribs
    lacking[:, :, :foot] = False
    return np.asarray(lacking & (hu > _DENSE_HU))


def _around_rests_of_air(
    free: BoolArray, lungs: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]
) -> BoolArray:
    """What is near a rest of air in the back of the rib cage, away from the mask's blurred border and from airways."""
    back = free & _back(free | lungs, lungs, spacing)
    low, high = _MOTTLED_HU
    mottled = back & (hu > low) & (hu < high) & ~dilate_by(lungs, spacing, _BORDER_MM)
    pure = (hu < _AIRWAY_HU) & ~lungs
    mottled &= ~dilate_by(pure, spacing, _AIRWAY_MM) if pure.any() else True
    return back & dilate_by(mottled, spacing, _AROUND_MM) if mottled.any() else mottled


def _back(cage: BoolArray, lungs: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """The outer part of the cage behind the middle of the lungs, the spine's directions left out."""
    i, j, _ = np.nonzero(lungs)
    x = (np.arange(cage.shape[0]) - (np.quantile(i, 0.02) + np.quantile(i, 0.98)) / 2) * spacing[0]
    y = (np.arange(cage.shape[1]) - np.median(j)) * spacing[1]
    radius = np.hypot(x[:, None], y[None, :])
    away = (np.abs(x)[:, None] > _BESIDE_SPINE * radius) & (y[None, :] < 0.1 * radius)
    widest = np.where(cage, radius[..., None], 0.0).max(axis=(0, 1))
    return np.asarray(away[..., None] & (radius[..., None] > _OUTER * widest))
