"""Pulmonary vessels in CT, so that they do not count as disease."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import block_factors, block_mean, bounding_box, enlarged_slabs
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.volume import Mask, Volume

_COARSE_MM = 1.5
_WIDEST_MM = 10.0
_RIM_MM = 3.0
_CONTRAST_HU = 200.0
_DENSEST_GAP_HU = -500.0
_SHORTEST_MM = 15.0
_TISSUE_HU = 0.0
_NEIGHBORHOOD_MM = 20.0
_AIRY_HU = -400.0
_FEWEST_AIRY = 0.5


def segment_vessels(ct: Volume, lungs: Mask, *, protocol: Protocol = DEFAULT) -> Mask:
    """Find pulmonary vessels within the lungs.

    Parameters
    ----------
    ct : Volume
        In HU.
    lungs : Mask
        On the same grid.
    protocol : Protocol
        Not read yet; here so that a later setting changes no caller.

    Returns
    -------
    Mask
        Dense structures narrower than 10 mm and longer than 15 mm.

    Raises
    ------
    GridError
        Where lungs lie on another grid.

    Notes
    -----
    A vessel stands at least 200 HU above what is left when the image is opened with a 10 mm cube (white top-hat), and
    above -500 HU. Ground glass and consolidation are wider and stay out, as do nodules, which are short. Bands of
    fibrosis and thick septa are taken for vessels; vessels within consolidation are not seen without contrast agent. In
    slices thicker than 3 mm small oblique vessels are cut into short pieces and missed. Limits chosen on blocks of lung
    with drawn vessels and looked at on real scans.
    """
    ct.require_same_grid(lungs)
    vessels = np.zeros(ct.shape, bool)
    if lungs.n_voxels:
        margin = [int(np.ceil(_WIDEST_MM / s)) if n > 1 else 0 for s, n in zip(ct.spacing_mm, ct.shape, strict=True)]
        box = tuple(
            slice(max(0, low - m), high + m) for (low, high), m in zip(bounding_box(lungs.array), margin, strict=True)
        )
        factors = block_factors(ct, _COARSE_MM)
        vessels[box] = _narrow_and_long(ct.array[box], lungs.array[box], factors, np.array(ct.spacing_mm))
    return lungs.replace(array=vessels, name="vessels")


def _narrow_and_long(
    hu: FloatArray, lung: BoolArray, factors: tuple[int, int, int], spacing: npt.NDArray[np.float64]
) -> BoolArray:
    background = _opened_background(hu, lung, factors, spacing * factors)
    vessels = np.empty(hu.shape, bool)
    for where, around in enlarged_slabs(background, factors, hu.shape):
        part = hu[where]
        vessels[where] = lung[where] & (part > around + _CONTRAST_HU) & (part > _DENSEST_GAP_HU)
    return _long_pieces(vessels & ~_crowded(hu, lung, factors, spacing), spacing)


def _crowded(
    hu: FloatArray, lung: BoolArray, factors: tuple[int, int, int], spacing: npt.NDArray[np.float64]
) -> BoolArray:
    """Where too little of the lung around holds air for what is dense there to be vessels: consolidation."""
    from scipy import ndimage

    size = [
        int(np.ceil(_NEIGHBORHOOD_MM / s)) if n > 1 else 1 for s, n in zip(spacing * factors, hu.shape, strict=True)
    ]
    inside = ndimage.uniform_filter(block_mean(lung, factors), size)
    airy = ndimage.uniform_filter(block_mean(lung & (hu < _AIRY_HU), factors), size)
    crowded = np.empty(hu.shape, bool)
    for where, share in enlarged_slabs(airy - _FEWEST_AIRY * inside, factors, hu.shape):
        crowded[where] = share < 0
    return crowded


def _opened_background(
    hu: FloatArray, lung: BoolArray, factors: tuple[int, int, int], spacing: npt.NDArray[np.float64]
) -> FloatArray:
    """The lung without its narrow dense structures; what lies outside counts as wide tissue, so that edges vanish.

    A cube does not reach into the round corners of what is wide: those come back by growing it a little.
    """
    from scipy import ndimage

    coarse = block_mean(hu, factors, missing=_TISSUE_HU)
    outside = block_mean(lung, factors) < 0.75
    coarse = np.where(outside, np.maximum(coarse, _TISSUE_HU), coarse)
    size = [max(1, 2 * int(_WIDEST_MM / 2 / s) + 1) if n > 1 else 1 for s, n in zip(spacing, hu.shape, strict=True)]
    opened = ndimage.grey_opening(coarse, size=tuple(size))
    rim = [2 * max(1, round(_RIM_MM / s)) + 1 if n > 1 else 1 for s, n in zip(spacing, hu.shape, strict=True)]
    return np.asarray(ndimage.grey_dilation(opened, size=tuple(rim)), np.float32)


def _long_pieces(mask: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Pieces whose box is longer than a nodule along some axis."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3, 3), bool))
    long = np.zeros(count + 1, bool)
    for index, where in enumerate(ndimage.find_objects(labels), 1):
        sizes = [(part.stop - part.start) * s for part, s in zip(where, spacing, strict=True)]
        long[index] = np.hypot.reduce(sizes) >= _SHORTEST_MM
    return np.asarray(long[labels])
