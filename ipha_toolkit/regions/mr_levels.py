"""Levels of signal in MRI of a chest: less the shading of its coil, of muscle around lungs, and whether fat is dark."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import block_factors, block_mean
from ipha_toolkit.image.morphology import dilate_by, local_mean
from ipha_toolkit.regions.muscle import darkest_mode
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

SPACING_MM = 3.0

AIR_SHARE = 0.25
"""Of muscle's level: what is darker and open to the sides is the air of the room."""

_SKIN_MM, _RIND_MM = 4.0, 14.0
"""Under the surface of the body lies fat, in lean people muscle. Chosen."""

_DARK_FAT = 0.85
"""Of muscle's level, the median under the skin. Chosen: suppressed fat of phantoms 0.39 to 0.80, fat and muscle under
the skin of phantoms, a second generator and four real chests 0.98 to 1.81."""


def evened(array: FloatArray, spacing: npt.NDArray[np.float64]) -> FloatArray:
    """Signal, smoothed, over the level of the tissue within some centimetres: most of a bias field is gone."""
    from skimage.filters import threshold_otsu

    signal = _smoothed(array, spacing)
    tissue = signal > 0.5 * threshold_otsu(np.minimum(signal, np.percentile(signal, 98)).ravel())
    level = local_mean(signal, tissue, spacing, 50.0)
    return np.asarray(signal / np.maximum(level, 0.1 * np.median(signal[tissue])))


def _smoothed(array: FloatArray, spacing: npt.NDArray[np.float64]) -> FloatArray:
    """Smoothed over 0.7 of the finest voxel spacing: noise goes, thick slices do not mix."""
    from scipy import ndimage

    sigma = [0.7 * spacing.min() / s if n > 1 else 0 for s, n in zip(spacing, array.shape, strict=True)]
    return np.asarray(ndimage.gaussian_filter(array, sigma))


def log_otsu(signal: FloatArray) -> float:
    """Otsu's cut on the logarithm of the signal."""
    from skimage.filters import threshold_otsu

    top = float(np.percentile(signal, 98))
    logs = np.log(np.clip(signal, 0.02 * top, top))
    return float(np.exp(threshold_otsu(logs.ravel())))


def muscle_around(even: FloatArray, lungs: BoolArray, spacing: npt.NDArray[np.float64]) -> float:
    """Level of the darkest tissue around the lungs."""
    around = dilate_by(lungs, spacing, 25.0) & ~dilate_by(lungs, spacing, 3.0)
    return darkest_mode(even[around & (even > log_otsu(even))])


def open_to_the_sides(dark: BoolArray) -> BoolArray:
    """Dark space that reaches the left or right border of the image within its axial plane: room air, never lung.

    In a single sagittal slice, the borders in front and behind."""
    from scipy import ndimage

    in_plane = ndimage.generate_binary_structure(3, 1)
    in_plane[:, :, [0, 2]] = False
    labels, count = ndimage.label(dark, in_plane)
    hit = np.zeros(count + 1, bool)
    sides = labels[[0, -1]] if dark.shape[0] > 1 else labels[:, [0, -1]]
    hit[np.unique(sides)] = True
    hit[0] = False
    return np.asarray(hit[labels])


def fat_is_dark(even: FloatArray, lungs: BoolArray, muscle: float, spacing: npt.NDArray[np.float64]) -> bool:
    """Whether what lies under the skin, beside the lungs, is darker than muscle: fat that was suppressed.

    Not told in single slices, or where no air is seen beside the body.
    """
    air = open_to_the_sides(even < AIR_SHARE * muscle)
    if min(even.shape) < 3 or not air.any():
        return False
    rind = dilate_by(air, spacing, _RIND_MM) & ~dilate_by(air, spacing, _SKIN_MM) & ~dilate_by(lungs, spacing, 6.0)
    rind &= lungs.any(axis=(0, 1))
    return bool(rind.any() and np.median(even[rind]) < _DARK_FAT * muscle)


def suppressed_fat(lungs: Mask, image: Volume) -> bool:
    """Whether fat is darker than muscle in a T1w image: it may then be as dark as lung, which borders on it.

    Parameters
    ----------
    lungs : Mask
    image : Volume
        On the same grid; only T1w is asked.
    """
    if image.modality is not Modality.T1W:
        return False
    image, lungs = image.to_ras(), lungs.to_ras()
    factors = block_factors(image, SPACING_MM)
    spacing = np.array(image.grid.coarser(factors).spacing_mm)
    inside = block_mean(lungs.array, factors) >= 0.5
    signal = block_mean(image.array, factors)
    if not inside.any() or not signal.max() > signal.min():
        return False
    even = evened(signal, spacing)
    return fat_is_dark(even, inside, muscle_around(even, inside, spacing), spacing)
