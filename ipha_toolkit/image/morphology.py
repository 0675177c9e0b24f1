"""Morphology of masks in mm, and means over Gaussian neighborhoods inside a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import depth_mm
from ipha_toolkit.volume import Mask

_FWHM_PER_SD = 2.3548

_LEAST_WEIGHT = 1e-5


def mean_over(values: FloatArray, chosen: BoolArray, grid: Mask, width_mm: float) -> tuple[FloatArray, float]:
    """Gaussian mean over the chosen voxels, NaN out of their reach, and how many voxels it averages."""
    from scipy import ndimage

    sd = [width_mm / _FWHM_PER_SD / step if n > 1 else 0.0 for step, n in zip(grid.spacing_mm, grid.shape, strict=True)]
    weight = ndimage.gaussian_filter(chosen.astype(np.float32), sd, mode="constant", truncate=3)
    total = ndimage.gaussian_filter(np.where(chosen, values, np.float32(0)), sd, mode="constant", truncate=3)
    mean = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > _LEAST_WEIGHT)
    return mean, float(np.prod([max(1.0, 2 * np.sqrt(np.pi) * s) for s in sd]))


def local_mean(values: FloatArray, where: BoolArray, spacing: npt.NDArray[np.float64], sigma_mm: float) -> FloatArray:
    """Gaussian-weighted mean of the values where True; far from any, their overall mean."""
    from scipy import ndimage

    sigma = [sigma_mm / s if n > 1 else 0 for s, n in zip(spacing, values.shape, strict=True)]
    overall = values[where].mean(dtype=np.float64)
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma, mode="constant") + 1e-3
    total = ndimage.gaussian_filter(np.where(where, values, 0), sigma, mode="constant") + 1e-3 * overall
    return np.asarray(total / weight, np.float32)


def touching(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """Pieces of the mask that hold a seed."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    hit = np.zeros(count + 1, bool)
    hit[np.unique(labels[seeds])] = True
    hit[0] = False
    return np.asarray(hit[labels])


def ball(radius: int) -> BoolArray:
    grid = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    return np.asarray(grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2 <= radius**2)


def largest_piece(mask: BoolArray) -> BoolArray:
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def dilate_by(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    return np.asarray(depth_mm(~mask, spacing) <= radius_mm)


def open_by(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    core = depth_mm(mask, spacing) > radius_mm
    return np.asarray(mask & dilate_by(core, spacing, radius_mm)) if core.any() else core


def close_by(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    reach = [int(np.ceil(radius_mm / s)) + 1 if n > 1 else 0 for s, n in zip(spacing, mask.shape, strict=True)]
    padded = np.pad(mask, [(r, r) for r in reach], mode="edge")
    grown = dilate_by(padded, spacing, radius_mm)
    shrunk = depth_mm(grown, spacing) > radius_mm
    inner = tuple(slice(r, r + n) for r, n in zip(reach, mask.shape, strict=True))
    return np.asarray(mask | shrunk[inner])
