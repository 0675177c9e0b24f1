"""Pulmonary vessels in CT, so that they do not count as disease."""

from __future__ import annotations

import numpy as np

from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.volume import BoolArray, FloatArray, Mask, Volume

_SCALES_MM = (1.0, 2.0, 3.5)
_CONTRAST_HU = 150.0


def segment_vessels(ct: Volume, lungs: Mask, *, protocol: Protocol = DEFAULT) -> Mask:
    """Find pulmonary vessels within the lungs.

    Parameters
    ----------
    ct : Volume
        In HU.
    lungs : Mask
        On the same grid.
    protocol : Protocol

    Returns
    -------
    Mask
        Bright, thin structures: denser than their surroundings, and lost when the image is opened by a ball wider
        than a vessel. Ground glass and consolidation are wider, and stay out.

    Raises
    ------
    GridError
        Where lungs lie on another grid.
    """
    ct.require_same_grid(lungs)
    vessels = np.zeros(ct.shape, bool)
    if lungs.n_voxels:
        from ipha_toolkit.image.geometry import bounding_box

        box = tuple(slice(a, b) for a, b in bounding_box(lungs.array))
        vessels[box] = _bright_and_thin(ct.array[box], lungs.array[box], ct.spacing_mm)
    return lungs.replace(array=vessels, name="vessels")


def _bright_and_thin(hu: FloatArray, lung: BoolArray, spacing: tuple[float, float, float]) -> BoolArray:
    from scipy import ndimage

    share = lung.astype(np.float32)
    level = np.where(lung & np.isfinite(hu), hu, np.float32(0))
    sigma = [8.0 / s if n > 1 else 0 for s, n in zip(spacing, hu.shape, strict=True)]
    weight = ndimage.gaussian_filter(share, sigma, truncate=2)
    local = ndimage.gaussian_filter(level, sigma, truncate=2) / np.maximum(weight, 1e-3)
    return np.asarray(lung & (hu > local + _CONTRAST_HU) & (hu > -600.0))
