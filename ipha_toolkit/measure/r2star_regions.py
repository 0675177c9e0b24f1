"""R2* of a region, from signal pooled in blocks before it is fitted, or the reason why there is none.

Single voxels of lung stand a few sigmas above the noise, and hold vessels whose blood outlasts the lung's decay: the
median of their R2* falls short by a third, and falls further as iron rises, for what decays fastest is lost first. So
the echoes of each block of lung are pooled, the noise floor is taken off, and a decay on a constant (blood) is fitted.
A block that is gone by the first echo, or decays faster than the echoes can follow, has only a lower limit; medians
are taken as of survival times.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.grid import BoolArray
from ipha_toolkit.measure.censoring import censored_quantile
from ipha_toolkit.measure.rows import row
from ipha_toolkit.settings import RelaxometrySettings
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask

Array = npt.NDArray[np.float64]

_POOLED = 0.6
"""Quantile of magnitude a block's echo is represented by. Chosen on the phantom: uneven signal within a block draws the
median's decay 7 % up, higher quantiles follow vessels."""
_FEWEST_VOXELS = 12
_LEAST_SIGMAS = 1.5
"""Pooled signal that 12 voxels of noise pass in one of a thousand blocks (numerical)."""
_FEWEST_ECHOES = 4
_RATES = 200
_SLOWEST, _FASTEST = 0.05, 5.0
_LARGEST_TABLED = 8.0


@dataclass(frozen=True)
class BlockDecays:
    """Decay of each block of lung.

    ``rate``: R2* in 1/s, or where ``censored`` the limit above which it lies. ``signal``: of what decays, at the first
    echo, in sigmas; 0 where censored by it. ``block``: number of the block of each lung voxel, -1 where its block holds
    too few. ``first_ms``: time of the first echo in ms.
    """

    rate: Array
    censored: BoolArray
    signal: Array
    block: npt.NDArray[np.int64]
    first_ms: float


def pooled_decays(
    echoes: npt.NDArray[np.floating], te_ms: npt.ArrayLike, lungs: Mask, sigma: float, *, block_mm: float
) -> BlockDecays:
    """Fit the decay of every block of lung.

    Parameters
    ----------
    echoes : ndarray, shape (n, n_echoes)
        Magnitude signal of the lung's voxels, in the order of ``lungs.array``; rows with NaN are left out.
    te_ms : array_like, shape (n_echoes,)
        Echo times in ms, increasing, at least 4.
    lungs : Mask
    sigma : float
        Noise of one channel, unit of the echoes.
    block_mm : float
        Side of a block in mm; at least 3 voxels, where the image has so many.

    Returns
    -------
    BlockDecays
    """
    te = np.asarray(te_ms, float)
    block = _blocks(lungs, block_mm)
    known = pd.DataFrame(np.asarray(echoes, float) / sigma).dropna()
    grouped = known.groupby(block[known.index.to_numpy()])
    enough = grouped.size() >= _FEWEST_VOXELS
    pooled = _without_floor(grouped.quantile(_POOLED)[enough].to_numpy())
    names = enough.index[enough].to_numpy()
    number = np.searchsorted(names, block)
    found = names[np.minimum(number, len(names) - 1)] == block if len(names) else np.zeros(block.shape, bool)
    rate, start, too_fast = _fit(pooled, te)
    gone = pooled[:, 0] < _LEAST_SIGMAS
    visible = start[~gone]
    limit = 1000 * np.log(max(float(np.median(visible)) / _LEAST_SIGMAS, 1.0)) / te[0] if visible.size else 0.0
    at_first = np.where(gone, 0.0, start * np.exp(-rate * te[0] / 1000))
    return BlockDecays(
        np.where(gone, limit, rate), gone | too_fast, at_first, np.where(found, number, -1), float(te[0])
    )


def region_rows(
    decays: BlockDecays,
    lungs: Mask,
    regions: Mapping[str, Mask],
    censored: Mask,
    *,
    other: BlockDecays | None = None,
    withheld: Collection[str],
    flags: Collection[str],
    settings: RelaxometrySettings,
) -> list[dict[str, object]]:
    """Rows of R2* by region: median with its interval, spread between blocks, share of voxels at the noise floor.

    ``withheld`` holds flags of the whole series for which no region has an answer; a region's own come from
    :func:`reasons_against`, and where the noise is uncertain from ``other``, the decays as of the lower noise. Where
    there is a reason the values are NaN and the row carries it.
    """
    rows = []
    for name, region in regions.items():
        inside = region.array[lungs.array]
        dark = censored.array[region.array]
        share = float(dark.mean()) if dark.size else np.nan
        chosen = _of_region(decays.block, inside, len(decays.rate))
        values = _quantiles(decays.rate[chosen], decays.censored[chosen])
        reasons = set(withheld) or reasons_against(
            values, decays.signal[chosen], decays.censored[chosen], share, decays.first_ms, settings
        )
        if not reasons and other is not None and _depends_on_noise(values, other, chosen, settings):
            reasons = {"noise_uncertain"}
        for measure, value in values.items():
            rows.append(
                row(measure, np.nan if reasons else value, modality=Modality.MEGRE, region=name,
                    n_voxels=int(inside.sum()), flags={*flags, *reasons})
            )  # fmt: skip
        rows.append(
            row("r2star_censored_share", 100 * share, modality=Modality.MEGRE, region=name, n_voxels=dark.size,
                flags=flags)
        )  # fmt: skip
    return rows


def reasons_against(
    values: Mapping[str, float], signal: Array, censored: BoolArray, share: float, first_ms: float,
    settings: RelaxometrySettings,
) -> set[str]:  # fmt: skip
    """Flags of :data:`ipha_toolkit.flags.FLAGS` that say why a region's R2* is not to be given; empty where it is."""
    if len(signal) < settings.fewest_blocks:
        return {"few_blocks"}
    if max(share, float(censored.mean())) > settings.censored_share:
        return {"mostly_censored"}
    median, low, high = (values[name] for name in ("r2star_median", "r2star_median_lower", "r2star_median_upper"))
    found = set()
    if not median * first_ms / 1000 <= settings.most_first_decay:
        found.add("late_first_echo")
    if float(np.median(signal)) < settings.least_signal_sigmas:
        found.add("low_echo_signal")
    if not (high - low) / 2 <= settings.widest_interval * median:
        found.add("uncertain_r2star")
    return found


def _depends_on_noise(
    values: Mapping[str, float], other: BlockDecays, chosen: BoolArray, settings: RelaxometrySettings
) -> bool:
    """Whether the median would be another one if the noise were."""
    median = values["r2star_median"]
    moved = abs(_quantiles(other.rate[chosen], other.censored[chosen])["r2star_median"] - median)
    return not moved <= settings.most_noise_effect * median


def saturated(echoes: npt.NDArray[np.floating], *, fewest: int = 20, least_share: float = 1e-4) -> BoolArray:
    """Voxels one of whose echoes lies at the top of its scale, where a receiver or a file clips.

    Parameters
    ----------
    echoes : ndarray, shape (n, n_echoes)
        Magnitude signal; NaN is none.
    fewest : int
    least_share : float
        An echo is clipped where at least so many of its voxels, and this share of them, have exactly the series'
        largest value: noise leaves the largest value to one voxel. (Chosen.)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    if not echoes.size:
        return np.zeros(len(echoes), bool)
    at_top = np.asarray(echoes == np.fmax.reduce(echoes, axis=None), bool)
    clipped = at_top.sum(axis=0) >= max(fewest, least_share * len(echoes))
    return np.asarray((at_top & clipped).any(axis=1), bool)


def few_echoes(te_ms: npt.ArrayLike) -> bool:
    """Whether there are too few echoes to tell a decay from what stays."""
    return len(np.asarray(te_ms)) < _FEWEST_ECHOES


def _blocks(lungs: Mask, block_mm: float) -> npt.NDArray[np.int64]:
    """Number of the block that each voxel of the lungs lies in."""
    factors = [min(max(3, round(block_mm / step)), n) for step, n in zip(lungs.spacing_mm, lungs.shape, strict=True)]
    counts = [-(-n // factor) for n, factor in zip(lungs.shape, factors, strict=True)]
    at = np.argwhere(lungs.array) // factors
    return np.asarray((at[:, 0] * counts[1] + at[:, 1]) * counts[2] + at[:, 2], np.int64)


def _of_region(block: npt.NDArray[np.int64], inside: BoolArray, n_blocks: int) -> BoolArray:
    """Which blocks have at least half of their lung in a region."""
    counted = block >= 0
    total = np.bincount(block[counted], minlength=n_blocks)
    within = np.bincount(block[counted & inside], minlength=n_blocks)
    return np.asarray(2 * within >= np.maximum(total, 1), bool)


def _quantiles(rate: Array, censored: BoolArray) -> dict[str, float]:
    median, low, high = censored_quantile(rate, censored)
    quartiles = [censored_quantile(rate, censored, share=share)[0] for share in (0.25, 0.75)]
    return {
        "r2star_median": median, "r2star_median_lower": low, "r2star_median_upper": high,
        "r2star_iqr": quartiles[1] - quartiles[0],
    }  # fmt: skip


@lru_cache(maxsize=1)
def _floor_table() -> tuple[Array, Array]:
    """Quantile of Rician magnitude and the signal it comes from, both in sigmas."""
    from scipy.stats import rice

    signal = np.linspace(0, _LARGEST_TABLED, 161)
    of_noise = np.sqrt(-2 * np.log(1 - _POOLED))
    return np.append(of_noise, rice.ppf(_POOLED, signal[1:])), signal


def _without_floor(pooled: Array) -> Array:
    """Signal, in sigmas, whose Rician magnitude has this quantile; above the table the noise is all but Gaussian."""
    magnitude, signal = _floor_table()
    above = pooled - magnitude[-1] + signal[-1]
    return np.where(pooled > magnitude[-1], above, np.interp(pooled, magnitude, signal))


def _fit(signal: Array, te: Array) -> tuple[Array, Array, BoolArray]:
    """Rate in 1/s of a decay on a constant, neither below 0; its signal at TE 0; whether too fast for the echoes.

    Least squares: for each of many rates the two signals follow from a line, the best rate from a parabola.
    """
    rates = np.geomspace(_SLOWEST / (te[-1] - te[0]), _FASTEST / (te[1] - te[0]), _RATES)
    residual, start = (np.empty((_RATES, len(signal))) for _ in range(2))
    for n, rate in enumerate(rates):
        residual[n], start[n] = _decay_on_constant(signal, np.exp(-rate * te))
    best = residual.argmin(axis=0)
    at, voxel = np.clip(best, 1, _RATES - 2), np.arange(len(signal))
    before, middle, after = (residual[at + step, voxel] for step in (-1, 0, 1))
    bend = before - 2 * middle + after
    offset = np.divide((before - after) / 2, bend, out=np.zeros(len(signal)), where=bend > 0)
    found = rates[at] * np.exp(np.clip(offset, -1, 1) * np.log(rates[1] / rates[0]))
    return 1000 * found, start[best, voxel], best == _RATES - 1


def _decay_on_constant(signal: Array, decay: Array) -> tuple[Array, Array]:
    """Sum of squared residuals and amplitude of the best ``a * decay + c`` with a and c not below 0."""
    n, square, total = len(decay), decay @ decay, decay.sum()
    along, level = signal @ decay, signal.sum(axis=1)
    determinant = square * n - total**2
    a, c = (along * n - level * total) / determinant, (square * level - total * along) / determinant
    a, c = np.where(c < 0, along / square, a), np.maximum(c, 0)
    a, c = np.maximum(a, 0), np.where(a < 0, level / n, c)
    return ((signal - a[:, None] * decay - c[:, None]) ** 2).sum(axis=1), a
