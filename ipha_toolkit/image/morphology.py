"""Morphology of masks in mm, and means over Gaussian neighborhoods inside a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from ipha_toolkit.compiled import compiled
from ipha_toolkit.grid import BoolArray, FloatArray

_FWHM_PER_SD = 2.3548

_LEAST_WEIGHT = 1e-5

_TIE = 1e-6
"""Sides of voxels are known to so many digits: what is as far as the radius to within this lies within it."""


def masked_mean(
    values: FloatArray,
    inside: BoolArray,
    sigma: Sequence[float],
    *,
    truncate: float = 3.0,
    least: float = _LEAST_WEIGHT,
    mode: Literal["reflect", "constant"] = "reflect",
) -> FloatArray:
    """Gaussian mean over the voxels inside only.

    Parameters
    ----------
    values : ndarray of float32, any shape
        What lies outside does not matter.
    inside : ndarray of bool, same shape
    sigma : sequence of float
        SD along each axis in voxels; 0 does not average.
    truncate : float
        The Gaussian ends after so many SD.
    least : float
        NaN where the share of the Gaussian that lies inside is not above this.
    mode : {"reflect", "constant"}
        How the image goes on beyond its border: mirrored, or as not inside.
    """
    from scipy import ndimage

    weight = inside.astype(np.float32)
    total = np.zeros(values.shape, np.float32)
    np.copyto(total, values, where=inside)
    for array in (weight, total):
        ndimage.gaussian_filter(array, sigma, mode=mode, truncate=truncate, output=array)
    enough = weight > least
    np.divide(total, weight, out=total, where=enough)
    total[~enough] = np.nan
    return total


def sigma_voxels(sigma_mm: float, spacing_mm: Sequence[float], shape: Sequence[int]) -> list[float]:
    """A Gaussian's SD in voxels along each axis; 0 along an axis of one voxel."""
    return [sigma_mm / step if n > 1 else 0.0 for step, n in zip(spacing_mm, shape, strict=True)]


def mean_over(
    values: FloatArray, chosen: BoolArray, spacing_mm: Sequence[float], width_mm: float
) -> tuple[FloatArray, float]:
    """Gaussian mean of a full width at half maximum over the chosen voxels, NaN out of their reach, and how many voxels
    it averages."""
    sd = sigma_voxels(width_mm / _FWHM_PER_SD, spacing_mm, values.shape)
    return masked_mean(values, chosen, sd, mode="constant"), float(
        np.prod([max(1.0, 2 * np.sqrt(np.pi) * s) for s in sd])
    )


def local_mean(values: FloatArray, where: BoolArray, spacing: npt.NDArray[np.float64], sigma_mm: float) -> FloatArray:
    """Gaussian-weighted mean of the values where True; far from any, their overall mean."""
    from scipy import ndimage

    sigma = sigma_voxels(sigma_mm, spacing.tolist(), values.shape)
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
    """A ball of a radius in voxels, shape (2 radius + 1,) three times."""
    grid = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    return np.asarray(grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2 <= radius**2)


def largest_piece(mask: BoolArray) -> BoolArray:
    """The piece with most voxels; all of the mask where it is empty."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def within_mm(mask: BoolArray, spacing_mm: npt.ArrayLike, radius_mm: float) -> BoolArray:
    """Where a True voxel lies within a distance, by the centers of voxels.

    Exact, and for a few voxels of radius a tenth of the time of a map of distances.

    Parameters
    ----------
    mask : ndarray of bool, shape (i, j, k)
    spacing_mm : array_like, shape (3,)
        Voxel sides, mm.
    radius_mm : float
        0 or more.

    Examples
    --------
    >>> within_mm(np.array([[[True, False, False, False]]]), (1.0, 1.0, 2.0), 4.0).ravel()
    array([ True,  True,  True, False])
    """
    sides = np.asarray(spacing_mm, np.float64)
    reach = np.floor(radius_mm / sides + _TIE).astype(np.int64)
    return np.asarray(_within(np.ascontiguousarray(mask), sides, reach, float(radius_mm) ** 2 * (1 + _TIE)))


@compiled(nogil=True)
def _within(mask, sides, reach, limit):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Squared distance to the nearest True voxel along k, then over j, then over i, as far as it matters."""
    ni, nj, nk = mask.shape
    far = np.float64(1e30)
    line = np.full(mask.shape, far)
    for i in range(ni):
        for j in range(nj):
            last = -nk - reach[2] - 1
            for k in range(nk):
                if mask[i, j, k]:
                    last = k
                if k - last <= reach[2]:
                    line[i, j, k] = ((k - last) * sides[2]) ** 2
            last = 2 * nk + reach[2] + 1
            for k in range(nk - 1, -1, -1):
                if mask[i, j, k]:
                    last = k
                if last - k <= reach[2]:
                    line[i, j, k] = min(line[i, j, k], ((last - k) * sides[2]) ** 2)
    plane = np.full(mask.shape, far)
    for i in range(ni):
        for j in range(nj):
            for other in range(max(0, j - reach[1]), min(nj, j + reach[1] + 1)):
                step = ((other - j) * sides[1]) ** 2
                for k in range(nk):
                    plane[i, j, k] = min(plane[i, j, k], line[i, other, k] + step)
    found = np.zeros(mask.shape, np.bool_)
    for i in range(ni):
        for other in range(max(0, i - reach[0]), min(ni, i + reach[0] + 1)):
            step = ((other - i) * sides[0]) ** 2
            for j in range(nj):
                for k in range(nk):
                    if plane[other, j, k] + step <= limit:
                        found[i, j, k] = True
    return found


def dilate_by(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    """The mask and what lies within a radius of it, in mm."""
    return within_mm(mask, spacing, radius_mm)


def open_by(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    """The mask without what a ball of a radius in mm does not fit into; the array's border is no edge."""
    core = ~within_mm(~mask, spacing, radius_mm)
    return np.asarray(mask & dilate_by(core, spacing, radius_mm)) if core.any() else core


def close_by(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    """The mask with gaps filled that a ball of a radius in mm does not fit into; the border value continues."""
    reach = [int(np.ceil(radius_mm / s)) + 1 if n > 1 else 0 for s, n in zip(spacing, mask.shape, strict=True)]
    padded = np.pad(mask, [(r, r) for r in reach], mode="edge")
    grown = dilate_by(padded, spacing, radius_mm)
    shrunk = ~within_mm(~grown, spacing, radius_mm)
    inner = tuple(slice(r, r + n) for r, n in zip(reach, mask.shape, strict=True))
    return np.asarray(mask | shrunk[inner])
