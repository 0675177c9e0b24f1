"""How far an MR image can be trusted: its noise, from the air outside the body, or without it from smooth tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.measure.echo_noise import AGREE, darkest_allow
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.volume import Mask, Volume

RAYLEIGH_MEDIAN = np.sqrt(2 * np.log(2))
_RAYLEIGH_MEAN_OVER_SD = np.sqrt(np.pi / (4 - np.pi))
_FEWEST_VALUES = 5
_FEWEST_VOXELS = 500
_BLOCK_MM = 12.0
_FEWEST_IN_BLOCK = 24
_STEADY = 0.86
_SMOOTHEST, _SMOOTH = 0.05, 0.2
"""Shares of tissue that vary least from block to block. Chosen on cropped phantoms."""
_FEWEST_BLOCKS = 1000
_FAR_ABOVE = 5.0
_MAD_OF_NORMAL = 0.67449
_PARTS = 3


@dataclass(frozen=True)
class Noise:
    """Noise of one channel of a magnitude image.

    ``sigma`` in the image's unit, NaN where it could not be estimated; ``n_voxels`` of air it rests on. ``ghost``:
    signal of ghosts in that air, same unit; 0 where none stands out, NaN where nobody can say. ``remarks``: flags that
    say from what else it was estimated, or that estimates part. ``places``: smallest and largest sigma among places,
    NaN where they cannot be told.
    """

    sigma: float
    n_voxels: int
    ghost: float = np.nan
    remarks: tuple[str, ...] = ()
    places: tuple[float, float] = (np.nan, np.nan)

    @property
    def flags(self) -> tuple[str, ...]:
        """``noise_not_estimable`` where there is no number, then the remarks."""
        return self.remarks if np.isfinite(self.sigma) else ("noise_not_estimable", *self.remarks)


def estimate_noise(volume: Volume, lungs: Mask) -> Noise:
    """Noise sigma of a magnitude MR image from air outside the body, or where there is none from smooth tissue.

    Parameters
    ----------
    volume : Volume
        Magnitude signal as acquired (no bias field removed).
    lungs : Mask
        On the same grid; kept out of the air, however dark.

    Returns
    -------
    Noise
        Where the air holds fewer than 500 voxels or 5 distinct values (coarse integers, a background set to zero), from
        tissue, flagged ``noise_from_tissue``: what neighbours differ by in the twentieth of tissue that varies least
        from block to block. NaN there where along, across and diagonally they differ by more than 15 % from each other,
        or by as much from the smoothest fifth of tissue (structure, interpolated images); and, flagged
        ``noise_uncertain``, where the darkest voxels do not allow it. NaN also where the air is not distributed like
        noise (mean over SD off Rayleigh's 1.91 by more than 15 %). Places are the thirds of the air along each axis,
        and smooth tissue: parallel imaging makes noise stronger inside the body than beside it.

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
    if kept.size < _FEWEST_VOXELS or np.unique(kept).size < _FEWEST_VALUES:
        return _from_tissue(volume, lungs, int(kept.size), ghost)
    known = float(sigma) if _is_rayleigh(kept) else np.nan
    within = _tissue_sigma(volume.array, lungs.array, volume.spacing_mm)[0] if np.isfinite(known) else np.nan
    places = [sigma, *([] if ghost > 0 else _sigma_of_thirds(air, np.nonzero(outside), volume.shape)), within]
    return Noise(known, int(kept.size), ghost, places=(float(np.nanmin(places)), float(np.nanmax(places))))


def image_flags(
    noise: Noise, volume: Volume, lungs: Mask, reference_level: float, *, protocol: Protocol = DEFAULT
) -> set[str]:
    """What of an MR image's noise speaks against everything measured in its lungs.

    Parameters
    ----------
    noise : Noise
        Of the image.
    volume : Volume
        Magnitude signal as acquired.
    lungs : Mask
        On the same grid.
    reference_level : float
        Signal of the reference muscle, unit of the image.
    protocol : Protocol
        ``gate.ghost_share``, ``gate.uneven_noise``, ``gate.near_noise``, ``gate.emptied_share``.

    Returns
    -------
    set of str
        ``ghosts``; ``uneven_noise`` where noise differs between places and lies near the lung's signal;
        ``emptied_lung`` where much of the lung holds exactly 0.
    """
    gate, signal = protocol.gate, volume.array[lungs.array]
    low, high = noise.places
    lifted = float(np.nanmedian(signal)) < gate.near_noise * high
    found = {
        "ghosts": noise.ghost > gate.ghost_share * reference_level,
        "uneven_noise": high > gate.uneven_noise * low and lifted,
        "emptied_lung": float(np.mean(signal == 0)) > gate.emptied_share,
    }
    return {flag for flag, carried in found.items() if carried}


def _sigma_of_thirds(
    air: npt.NDArray[np.float64], where: tuple[npt.NDArray[np.int64], ...], shape: tuple[int, ...]
) -> list[float]:
    """Rayleigh sigma of the air in each third along each axis, of thirds with enough voxels.

    Of 500 voxels it is known within 4 % (SD of the median over the median, 0.72 / sqrt(n)).
    """
    found = []
    for index, size in zip(where, shape, strict=True):
        third = index * _PARTS // size
        for n in range(_PARTS if size >= _PARTS else 0):
            sigma, kept = _rayleigh_sigma(air[third == n])
            if kept.size >= _FEWEST_VOXELS and np.unique(kept).size >= _FEWEST_VALUES:
                found.append(float(sigma))
    return found


def _from_tissue(volume: Volume, lungs: Mask, n_air: int, ghost: float) -> Noise:
    """Noise where there is no air: of smooth tissue, if all it is read from agrees."""
    sigma, n_voxels = _tissue_sigma(volume.array, lungs.array, volume.spacing_mm)
    if np.isnan(sigma):
        return Noise(np.nan, n_air, ghost)
    seen = volume.array[np.isfinite(volume.array) & (volume.array > 0)]
    if darkest_allow(seen[:, None]) < AGREE * sigma:
        return Noise(np.nan, n_voxels, ghost, ("noise_uncertain",))
    return Noise(sigma, n_voxels, ghost, ("noise_from_tissue",))


def _tissue_sigma(array: FloatArray, lungs: BoolArray, spacing_mm: tuple[float, ...]) -> tuple[float, int]:
    """Sigma and the voxels it rests on; NaN where its sources do not agree.

    Blocks of 2x2 voxels of the finest plane: of white noise, sum and differences (along, across, diagonal: Haar
    wavelets) are independent, so that choosing where sums hardly vary leaves the noise of the differences as it is.
    Structure raises the differences along and across over the diagonal ones, interpolation lowers the diagonal ones.
    """
    through = int(np.argmax(spacing_mm)) if min(array.shape) > 1 else int(np.argmin(array.shape))
    planes = np.moveaxis(np.where(lungs | ~np.isfinite(array), 0, array), through, 0)
    planes = planes[:, : planes.shape[1] // 2 * 2, : planes.shape[2] // 2 * 2].astype(np.float64)
    a, b, c, d = (planes[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
    total, differences = (a + b + c + d) / 2, [(a - b - c + d) / 2, (a + b - c - d) / 2, (a - b + c - d) / 2]
    mean = ndimage.uniform_filter(total, (0, 3, 3))
    uneven = ndimage.uniform_filter(total**2, (0, 3, 3)) - mean**2
    whole = np.minimum(np.minimum(a, b), np.minimum(c, d)) > 0
    found, n_blocks = _of_smooth(total, differences, np.where(whole, uneven, np.inf), _SMOOTHEST)
    wider = _of_smooth(total, differences[:1], uneven, _SMOOTH)[0]
    steady = [*found, *wider]
    agree = n_blocks >= _FEWEST_BLOCKS and min(steady) > AGREE * max(steady)
    return (found[0], 4 * n_blocks) if agree else (np.nan, 4 * n_blocks)


def _of_smooth(
    total: npt.NDArray[np.float64], differences: list[npt.NDArray[np.float64]], uneven: npt.NDArray[np.float64],
    share: float,
) -> tuple[list[float], int]:  # fmt: skip
    """Sigma by each kind of difference where blocks far above the noise are least uneven, and how many those are."""
    sigma, chosen = 0.0, np.zeros(total.shape, bool)
    for _ in range(30):
        tissue = (total / 2 > _FAR_ABOVE * sigma) & np.isfinite(uneven)
        if not np.count_nonzero(tissue) * share >= _FEWEST_VALUES:
            return [np.nan], 0
        chosen = tissue & (uneven <= np.quantile(uneven[tissue], share))
        previous, sigma = sigma, float(np.median(np.abs(differences[0][chosen]))) / _MAD_OF_NORMAL
        if abs(sigma - previous) <= 1e-3 * sigma:
            break
    if np.unique(np.abs(differences[0][chosen])).size < _FEWEST_VALUES:
        return [np.nan], 0
    return [float(np.median(np.abs(kind[chosen]))) / _MAD_OF_NORMAL for kind in differences], int(chosen.sum())


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
