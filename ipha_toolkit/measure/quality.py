"""How far an MR image can be trusted: its noise, from the air outside the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ipha_toolkit.volume import Mask, Volume

RAYLEIGH_MEDIAN = np.sqrt(2 * np.log(2))
_RAYLEIGH_MEAN_OVER_SD = np.sqrt(np.pi / (4 - np.pi))
_FEWEST_VALUES = 5
_FEWEST_VOXELS = 500
_BLOCK_MM = 12.0
_FEWEST_IN_BLOCK = 24
_STEADY = 0.86


@dataclass(frozen=True)
class Noise:
    """Noise of one channel of a magnitude image.

    ``sigma`` in the image's unit, NaN where it could not be estimated; ``n_voxels`` of air it rests on. ``ghost``:
    signal of ghosts in that air, same unit; 0 where none stands out, NaN where nobody can say.
    """

    sigma: float
    n_voxels: int
    ghost: float = np.nan

    @property
    def flags(self) -> tuple[str, ...]:
        """``noise_not_estimable`` where there is no number."""
        return () if np.isfinite(self.sigma) else ("noise_not_estimable",)


def estimate_noise(volume: Volume, lungs: Mask) -> Noise:
    """Noise sigma of a magnitude MR image from air outside the body.

    Parameters
    ----------
    volume : Volume
        Magnitude signal as acquired (no bias field removed).
    lungs : Mask
        On the same grid; kept out of the air, however dark.

    Returns
    -------
    Noise
        NaN where the air holds fewer than 500 voxels or 5 distinct values (coarse integers, a background set to
        zero), or is not distributed like noise (mean over SD off Rayleigh's 1.91 by more than 15 %).

    Raises
    ------
    GridError
        Where the lungs are on another grid.

    References
    ----------
    Rayleigh noise of magnitude images: Gudbjartsson & Patz, Magn Reson Med 1995;34:910,
    doi 10.1002/mrm.1910340618.
    """
    volume.require_same_grid(lungs)
    outside = _outside_air(volume, lungs)
    air = volume.array[outside].astype(np.float64)
    sigma, kept = _rayleigh_sigma(air)
    ghost = _ghosts(volume, outside)
    if kept.size < _FEWEST_VOXELS or np.unique(kept).size < _FEWEST_VALUES or not _is_rayleigh(kept):
        return Noise(np.nan, int(kept.size), ghost)
    return Noise(float(sigma), int(kept.size), ghost)


def _ghosts(volume: Volume, outside: npt.NDArray[np.bool_]) -> float:
    """Signal of ghosts in the air: of blocks brighter than the darker ones, where it is steadier than noise can be.

    Of noise alone the mean is 0.785 of the mean square, squared; a ghost of twice the noise makes it 0.86, and noise
    that is merely stronger there (coils, reconstruction) leaves it. Fainter ghosts are not told from noise.
    """
    places = np.stack(np.nonzero(outside))
    sizes = [max(3, round(_BLOCK_MM / step)) for step in volume.spacing_mm]
    blocks = [n // size for n, size in zip(places, sizes, strict=True)]
    shape = [1 + n // size for n, size in zip(volume.shape, sizes, strict=True)]
    label = np.ravel_multi_index(blocks, shape)
    signal = volume.array[outside].astype(np.float64)
    count = np.bincount(label)
    enough = count >= _FEWEST_IN_BLOCK
    if np.count_nonzero(enough) < 20:
        return np.nan
    mean = np.bincount(label, signal)[enough] / count[enough]
    square = np.bincount(label, signal**2)[enough] / count[enough]
    low = float(np.percentile(square, 20))
    bright = square > 2 * max(low, 1e-12)
    if bright.mean() < 0.03 or low <= 0:
        return 0.0
    steady = np.percentile(mean[bright] ** 2 / square[bright], 80)  # the rest lie across a ghost's border
    return float(np.sqrt(np.mean(square[bright] - low))) if steady > _STEADY else 0.0


def _outside_air(volume: Volume, lungs: Mask) -> npt.NDArray[np.bool_]:
    """Dark voxels connected to the image border, away from the body and from the lungs.

    The body is what is brighter, smoothed by a voxel, than a quarter of the tissue next to the lungs.
    """
    array = np.nan_to_num(volume.array, nan=0.0)
    smooth = ndimage.gaussian_filter(array, [1.0 if size > 2 else 0.0 for size in array.shape])
    beside = ndimage.binary_dilation(lungs.array, iterations=4) & ~ndimage.binary_dilation(lungs.array, iterations=1)
    tissue = float(np.median(array[beside])) if beside.any() else float(array.max())
    wall = ndimage.binary_dilation((smooth > 0.25 * tissue) | lungs.array, iterations=1)
    labels, _ = ndimage.label(~wall)
    border = np.zeros(array.shape, bool)
    for axis in range(3):
        if array.shape[axis] > 2:
            edge = np.moveaxis(border, axis, 0)
            edge[[0, -1]] = True
    seen = np.unique(labels[border])
    air = np.isin(labels, seen[seen > 0])
    return np.asarray(air & ~ndimage.binary_dilation(~air, iterations=1) & np.isfinite(volume.array))


def _rayleigh_sigma(air: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    """Sigma from the median, the bright tail (ghosts, skin) trimmed until nothing changes."""
    kept, sigma = air, np.nan
    for _ in range(20):
        if kept.size == 0:
            return np.nan, kept
        sigma = float(np.median(kept)) / RAYLEIGH_MEDIAN
        trimmed = kept[kept <= 4 * sigma]
        if trimmed.size == kept.size:
            break
        kept = trimmed
    return sigma, kept


def _is_rayleigh(air: npt.NDArray[np.float64]) -> bool:
    spread = float(air.std())
    return spread > 0 and abs(float(air.mean()) / spread / _RAYLEIGH_MEAN_OVER_SD - 1) < 0.15
