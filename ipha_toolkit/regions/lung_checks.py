"""Whether a lung mask can be one: size, both sides, cut by the field of view."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.regions.chest import perhaps_no_chest
from ipha_toolkit.regions.field_of_view import unseen
from ipha_toolkit.regions.lacking import missing_lung_ml, perhaps_missing
from ipha_toolkit.regions.mr_levels import suppressed_fat
from ipha_toolkit.regions.upright import airway_perhaps_inside, dense_border
from ipha_toolkit.regions.zones import Sides, split_left_right
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

_PLAUSIBLE_ML = (60.0, 9000.0)

_MR = (Modality.T1W, Modality.T2W, Modality.MEGRE)

_ONE_LUNG_SHARE = 0.05

_SMALLEST_LUNG_ML = 15.0

_CUT_MM2 = 100.0

_MISSING_SHARE = 0.01
"""Chosen: a coil's hot voxels are fewer, a slab that was lost is more."""


def lung_flags(lungs: Mask, image: Volume, *, sides: Sides | None = None, missing_ml: float | None = None) -> list[str]:
    """Flags of a lung mask, our own or foreign, on the image it was made for.

    Parameters
    ----------
    lungs : Mask
    image : Volume
        On the same grid.
    sides : (Mask, Mask), optional
        Left and right lung where they are known already, on any grid of the same voxels.
    missing_ml : float, optional
        :func:`missing_lung_ml` of this mask where it is known already.

    Returns
    -------
    list of str
        Codes of :data:`ipha_toolkit.flags.FLAGS`: ``single_slice`` (the image has one), ``one_lung`` (one side
        holds under 5 % of the mask), ``lung_perhaps_missing`` (CT: see :func:`missing_lung_ml` for how much, mL),
        ``airway_perhaps_inside`` (a single coronal or sagittal slice of a CT: see :mod:`ipha_toolkit.regions.upright`),
        ``perhaps_no_chest`` (MRI: :func:`ipha_toolkit.regions.chest.perhaps_no_chest`), ``suppressed_fat`` (T1w),
        ``cut_field_of_view`` (lungs on the border of the image), ``lung_voxels_missing`` (over 1 % of the lungs have no
        value, NaN), and
        ``implausible_lung_volume`` (not within 60 mL, an infant's, to 9 L; not asked of one slice).

    Raises
    ------
    GridError
        Where the mask lies on another grid.
    ImageError
        Where the mask is empty.
    """
    image.require_same_grid(lungs)
    if not lungs.n_voxels:
        raise ImageError(f"{lungs.name or 'lung mask'}: is empty for {image.name or 'volume'}: no lung to measure")
    flags = ["single_slice"] if min(lungs.shape) == 1 else []
    left, right = split_left_right(lungs) if sides is None else sides
    if min(left.n_voxels, right.n_voxels) < _ONE_LUNG_SHARE * lungs.n_voxels:
        flags.append("one_lung")
    missing_ml = missing_lung_ml(lungs, image) if missing_ml is None else missing_ml
    if image.modality is Modality.CT and (perhaps_missing(lungs, missing_ml) or dense_border(lungs, image)):
        flags.append("lung_perhaps_missing")
    if airway_perhaps_inside(lungs, image):
        flags.append("airway_perhaps_inside")
    if image.modality in _MR and perhaps_no_chest(lungs, image):
        flags.append("perhaps_no_chest")
    if suppressed_fat(lungs, image):
        flags.append("suppressed_fat")
    if _is_cut(lungs, image):
        flags.append("cut_field_of_view")
    if np.count_nonzero(np.isnan(image.array) & lungs.array) > _MISSING_SHARE * lungs.n_voxels:
        flags.append("lung_voxels_missing")
    if min(lungs.shape) > 1 and not _PLAUSIBLE_ML[0] <= lungs.volume_ml <= _PLAUSIBLE_ML[1]:
        flags.append("implausible_lung_volume")
    return flags


def _is_cut(lungs: Mask, image: Volume) -> bool:
    """Whether more than 1 cm2 of lung lies on a border of the image (axes of one voxel aside), or of what it shows."""
    lungs, image = lungs.to_ras(), image.to_ras()
    hidden = unseen(image) if image.modality is Modality.CT else np.isnan(image.array)
    beside = 0.0
    for axis in range(3):
        if lungs.shape[axis] == 1:
            continue
        area = np.prod([s for a, s in enumerate(lungs.spacing_mm) if a != axis])
        for end in (0, -1):
            if np.count_nonzero(lungs.array.take(end, axis)) * area > _CUT_MM2:
                return True
        if hidden.any():
            lung, beyond = np.moveaxis(lungs.array & ~hidden, axis, 0), np.moveaxis(hidden, axis, 0)
            beside += float(area * np.count_nonzero(lung[1:] & beyond[:-1]))
            beside += float(area * np.count_nonzero(lung[:-1] & beyond[1:]))
    return bool(beside > _CUT_MM2)


def lung_sized(n_voxels: int, shape: tuple[int, ...], spacing: npt.NDArray[np.float64]) -> bool:
    """Whether a piece is large enough for a lung: 15 mL, a fourth of an infant's, or 3 cm2 in a single slice."""
    volume = n_voxels * spacing.prod()
    flat = [axis for axis in range(3) if shape[axis] == 1]
    return bool(volume >= 300.0 * spacing[flat[0]] if flat else volume >= _SMALLEST_LUNG_ML * 1000)


def no_lung(volume: Volume, seen: str, values: npt.NDArray[Any]) -> ImageError:
    low, middle, high = np.percentile(values, [1, 50, 99])
    return ImageError(
        f"{volume.name or 'volume'}: no lung found: {seen}; signal 1st, 50th, 99th percentile {low:.4g}, {middle:.4g}, "
        f"{high:.4g}. Does the image show the chest, with modality {volume.modality} right? Else pass a lung mask"
    )
