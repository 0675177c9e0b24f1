"""What is to be said of lungs in a single coronal or sagittal slice of a CT, which no rib cage frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import block_mean
from ipha_toolkit.image.morphology import dilate_by, local_mean
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

_COARSE_MM = 2.5
_TISSUE_HU, _DENSE_HU, _NEAR_MM = -250.0, -500.0, 6.0
"""Tissue beside the mask, and the mean density of lung within some mm from which tissue may be lung as well. Chosen."""
_MOST_DENSE = 0.5
"""Of the mask's border to tissue. Chosen on 96 coronal slices of phantoms: health, subacute and chronic disease 0 to
0.23, slices that lost a tenth and more 0.48 to 0.79, all but one over a half."""
_EMPHYSEMA_HU = -900.0
"""Median of lung so light that the air of a lumen does not stand out. Chosen: 100 HU from room air, as in a lumen."""
_MIDDLE, _SMALL, _OWN_MM2 = (0.4, 0.6), 0.25, 75.0
"""Pieces of the mask of their own, small beside the largest, in the middle of a coronal slice, and their least area.
Chosen on 84 slices of phantoms: six of seven that held over 60 mm2 of an airway, six of the others."""


def dense_border(lungs: Mask, ct: Volume) -> bool:
    """Whether most of the mask's border to tissue lies beside dense lung, so that the lung may go on unseen.

    Parameters
    ----------
    lungs : Mask
    ct : Volume
        In HU, on the same grid; only one coronal or sagittal slice is asked.
    """
    if not _is_upright(ct):
        return False
    hu, inside, spacing = _seen_coarsely(lungs, ct)
    near = float(max(s for s, n in zip(spacing, hu.shape, strict=True) if n > 1)) * 1.05
    border = inside & dilate_by(~inside & (hu > _TISSUE_HU), spacing, near)
    if not border.any():
        return False
    return bool(np.mean(local_mean(hu, inside, spacing, _NEAR_MM)[border] > _DENSE_HU) > _MOST_DENSE)


def airway_perhaps_inside(lungs: Mask, ct: Volume) -> bool:
    """Whether trachea or bronchi may be in the mask: emphysema hides them, or pieces lie in the middle by themselves.

    Parameters
    ----------
    lungs : Mask
    ct : Volume
        In HU, on the same grid; only one coronal or sagittal slice is asked, of a sagittal one only for emphysema.
    """
    from scipy import ndimage

    if not _is_upright(ct):
        return False
    hu, inside, spacing = _seen_coarsely(lungs, ct)
    if not inside.any():
        return False
    if np.median(hu[inside]) < _EMPHYSEMA_HU:
        return True
    if hu.shape[0] == 1:
        return False
    labels, _ = ndimage.label(inside)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    columns = np.flatnonzero(inside.any(axis=(1, 2)))
    place = (np.arange(len(inside)) - columns[0]) / max(1, columns[-1] - columns[0])
    middle = ((place > _MIDDLE[0]) & (place < _MIDDLE[1]))[:, None, None]
    own = inside & (sizes < _SMALL * sizes.max())[labels] & middle
    return bool(np.count_nonzero(own) * spacing[0] * spacing[2] > _OWN_MM2)


def _is_upright(ct: Volume) -> bool:
    shape = ct.to_ras().shape
    return ct.modality is Modality.CT and min(shape[:2]) == 1 and shape[2] > 1


def _seen_coarsely(lungs: Mask, ct: Volume) -> tuple[FloatArray, BoolArray, npt.NDArray[np.float64]]:
    ct.require_same_grid(lungs)
    image = ct.to_ras()
    factors = image.grid.block_factors(_COARSE_MM)
    spacing = np.array(image.grid.coarser(factors).spacing_mm)
    hu = block_mean(image.array, factors, missing=-1000.0)
    return hu, block_mean(lungs.to_ras().array, factors) >= 0.5, spacing
