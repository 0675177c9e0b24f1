"""First-order statistics of attenuation in one pass over the voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.compiled import compiled, threads

_FIRST_BIN_HU = -2048

_N_BINS = 8192

_N_CHUNKS = 8

_MOST_SLOPE_VOXELS = 2_000_000

PERCENTILES = (5, 10, 25, 50, 75, 90, 95)


def attenuation_statistics(
    values: npt.ArrayLike,
    inside: npt.ArrayLike | None = None,
    *,
    hu_range: tuple[float, float] | None = None,
    percentiles: Sequence[float] = PERCENTILES,
    cuts: Sequence[float] = (),
) -> dict[str, float]:
    """First-order statistics of the voxels inside, by the definitions of the IBSI.

    Parameters
    ----------
    values : array_like, any shape
        Attenuation in HU; NaN is left out.
    inside : array_like of bool, same shape, optional
        Which voxels; None means all.
    hu_range : (float, float), optional
        Only voxels with low <= HU <= high (the IBSI's re-segmentation).
    percentiles : sequence of float, 0 to 100
        Linear interpolation between ranks, exact to the voxel.
    cuts : sequence of float
        Attenuation limits in HU; the share of voxels below each is given as well.

    Returns
    -------
    dict
        ``n_voxels``; ``mean``, ``sd``, ``minimum``, ``maximum`` in HU; ``variance`` in HU², of the population;
        ``skewness``; ``excess_kurtosis`` (0 for a normal distribution, as in the IBSI); ``p5`` ... in HU;
        ``below_-600`` ... as a share, 0 to 1. All NaN where no voxel is inside.

    Raises
    ------
    ValueError
        Where inside has another shape than values.

    References
    ----------
    Zwanenburg et al., Radiology 2020;295:328, doi 10.1148/radiol.2020191145 (IBSI).

    Examples
    --------
    >>> statistics = attenuation_statistics([-900.0, -800.0, -700.0, np.nan], cuts=(-750,))
    >>> statistics["n_voxels"], statistics["mean"], statistics["p50"], round(statistics["below_-750"], 3)
    (3, -800.0, -800.0, 0.667)
    """
    array = np.ascontiguousarray(values, np.float32).ravel()
    chosen = np.ones(array.shape, bool) if inside is None else np.ascontiguousarray(inside, bool).ravel()
    if chosen.shape != array.shape:
        raise ValueError(f"inside has {chosen.size} voxels, values {array.size}; both need one shape")
    low, high = (np.float32(limit) for limit in hu_range or (-np.inf, np.inf))
    limits = np.asarray(cuts, np.float32)
    shift = _some_value(array, chosen)
    chunks = [(array[part], chosen[part], low, high) for part in _chunks(array.size)]
    parts = _threaded(_accumulate, [(*chunk, shift, limits) for chunk in chunks])
    sums, extremes, histograms, below = (np.array(part) for part in zip(*parts, strict=True))
    n = int(sums[:, 0].sum())
    ranks = {f"p{percentile:g}": percentile / 100 * max(n - 1, 0) for percentile in percentiles}
    if n == 0:
        names = ("mean", "sd", "variance", "skewness", "excess_kurtosis", "minimum", "maximum", *ranks)
        return {"n_voxels": 0} | dict.fromkeys((*names, *(f"below_{cut:g}" for cut in cuts)), np.nan)
    result = {"n_voxels": n} | _moments(sums.sum(axis=0), shift)
    result |= {"minimum": float(extremes[:, 0].min()), "maximum": float(extremes[:, 1].max())}
    ordered = _order_statistics(chunks, histograms, list(ranks.values()))
    result |= dict(zip(ranks, ordered, strict=True))
    return result | {f"below_{cut:g}": float(count) / n for cut, count in zip(cuts, below.sum(axis=0), strict=True)}


def dorsal_ventral_slope(values: npt.ArrayLike, anterior_mm: npt.ArrayLike) -> float:
    """Change of the median per cm towards dorsal, from a line through the medians of 1 cm slabs.

    Parameters
    ----------
    values : array_like, shape (n,)
        Any unit; NaN is left out.
    anterior_mm : array_like, shape (n,)
        World y (towards anterior) of each voxel, mm.

    Returns
    -------
    float
        Unit of the values per cm; positive: more towards the back, as in a healthy supine lung. NaN where the
        voxels span fewer than three slabs.
    """
    step = max(1, np.size(values) // _MOST_SLOPE_VOXELS)
    signal, position = (np.asarray(given, np.float64)[::step] for given in (values, anterior_mm))
    known = np.isfinite(signal)
    if not known.any():
        return np.nan
    slabs = pd.Series(signal[known]).groupby(np.floor(position[known] / 10)).agg(["median", "size"])
    slabs = slabs[slabs["size"] >= 0.01 * known.sum()]
    if len(slabs) < 3:
        return np.nan
    slope = np.polyfit(slabs.index.to_numpy(), slabs["median"], 1, w=np.sqrt(slabs["size"]))[0]
    return float(-slope)


def _moments(sums: npt.NDArray[np.float64], shift: float) -> dict[str, float]:
    """Central moments of the population from power sums about the shift."""
    n, *powers = sums
    a, b, c, d = (power / n for power in powers)
    variance = max(b - a * a, 0.0)
    third = c - 3 * a * b + 2 * a**3
    fourth = d - 4 * a * c + 6 * a * a * b - 3 * a**4
    flat = variance <= 1e-12 * max(b, 1.0)
    return {
        "mean": float(a + shift),
        "sd": float(np.sqrt(variance)),
        "variance": float(variance),
        "skewness": 0.0 if flat else float(third / variance**1.5),
        "excess_kurtosis": 0.0 if flat else float(fourth / variance**2 - 3),
    }


def _order_statistics(
    chunks: list[tuple[Any, ...]], histograms: npt.NDArray[np.int64], ranks: Sequence[float]
) -> list[float]:
    """Values at fractional ranks: the 1-HU histogram says where to look, the voxels there are sorted."""
    if not ranks:
        return []
    cumulative = np.cumsum(histograms.sum(axis=0))
    whole = np.unique([rank for r in ranks for rank in (int(np.floor(r)), int(np.ceil(r)))])
    bins = np.searchsorted(cumulative, whole, side="right")
    wanted = np.zeros(_N_BINS, bool)
    wanted[bins] = True
    counts = histograms[:, wanted].sum(axis=1)
    gathered = _threaded(_gather, [(*chunk, wanted, n) for chunk, n in zip(chunks, counts, strict=True)])
    found = np.sort(np.concatenate(gathered))
    skipped = np.concatenate([[0], np.cumsum(np.where(wanted, 0, histograms.sum(axis=0)))])
    at = {int(rank): float(found[rank - skipped[b]]) for rank, b in zip(whole, bins, strict=True)}
    return [at[int(np.floor(r))] + float(r - np.floor(r)) * (at[int(np.ceil(r))] - at[int(np.floor(r))]) for r in ranks]


def _some_value(array: npt.NDArray[np.float32], chosen: npt.NDArray[np.bool_]) -> float:
    """A finite value inside, about which power sums lose no digits."""
    step = max(1, chosen.size // 10_000)
    sampled = np.flatnonzero(chosen[::step]) * step
    near = array[sampled if sampled.size else [int(np.argmax(chosen))]] if chosen.size else array
    near = near[np.isfinite(near)]
    return float(np.median(near)) if near.size else 0.0


def _chunks(size: int) -> list[slice]:
    """As many parts on every machine, so that sums are the same to the last digit."""
    return [slice(k * size // _N_CHUNKS, (k + 1) * size // _N_CHUNKS) for k in range(_N_CHUNKS)]


def _threaded(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run a compiled kernel, which holds no lock, on every chunk at once."""
    with ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(lambda given: function(*given), arguments))


@compiled(inline="always")
def _bin(value: np.float32) -> int:  # pragma: no cover - compiled
    return min(max(int(np.floor(value)) - _FIRST_BIN_HU, 0), _N_BINS - 1)


@compiled(nogil=True)
def _accumulate(array, chosen, low, high, shift, cuts):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    sums, extremes = np.zeros(5), np.array([np.inf, -np.inf])
    histogram, below = np.zeros(_N_BINS, np.int64), np.zeros(cuts.size, np.int64)
    for index in range(array.size):
        value = array[index]
        if not (chosen[index] and value >= low and value <= high):
            continue
        x = value - shift
        square = x * x
        sums[0] += 1
        sums[1] += x
        sums[2] += square
        sums[3] += square * x
        sums[4] += square * square
        extremes[0] = min(extremes[0], value)
        extremes[1] = max(extremes[1], value)
        histogram[_bin(value)] += 1
        for c in range(cuts.size):
            below[c] += value < cuts[c]
    return sums, extremes, histogram, below


@compiled(nogil=True)
def _gather(array, chosen, low, high, wanted, n):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    found = np.empty(n, np.float32)
    position = 0
    for index in range(array.size):
        value = array[index]
        if chosen[index] and value >= low and value <= high and wanted[_bin(value)]:
            found[position] = value
            position += 1
    return found
