"""Histograms of signal ratios, and quantiles and shares read from binned or weighted values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.volume import Mask, Volume

BIN_EDGES = np.append(np.linspace(0, 5, 1001), np.inf)
"""Edges of the ratio histogram: 0.005 of the muscle level up to 5, the rest in one bin."""


def ratio_histogram(ratio: Volume, regions: Mapping[str, Mask]) -> pd.DataFrame:
    """Voxel counts of the ratio by region, one row a bin of :data:`BIN_EDGES`: columns low, then the regions."""
    counts = {name: _counts(ratio.array[mask.array]) for name, mask in regions.items()}
    return pd.DataFrame({"low": BIN_EDGES[:-1]} | counts)


def share_below(counts: npt.ArrayLike, threshold: float) -> float:
    """Share of the voxels of a ratio histogram below a threshold, 0 to 1, linear inside a bin; NaN where empty."""
    count = np.asarray(counts, np.float64)
    if count.sum() == 0:
        return np.nan
    cumulative = np.concatenate([[0.0], np.cumsum(count[:-1])]) / count.sum()
    return float(np.interp(threshold, BIN_EDGES[:-1], cumulative))


def _counts(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    known = values[np.isfinite(values)]
    return np.histogram(np.maximum(known, 0), BIN_EDGES)[0]


def quantile_of(counts: npt.ArrayLike, edges: npt.ArrayLike, quantile: float) -> float:
    """Quantile of binned values, linear inside a bin.

    Parameters
    ----------
    counts : array_like, shape (n,)
        Voxels, or shares of them, in each bin.
    edges : array_like, shape (n + 1,)
        The last may be infinite: that bin has no inside, and its values count as its lower edge.
    quantile : float
        0 to 1.

    Returns
    -------
    float
        In the unit of the edges; NaN where the bins are empty.

    Examples
    --------
    >>> quantile_of([1, 1], [0.0, 10.0, 20.0], 0.25)
    5.0
    """
    count, edge = np.asarray(counts, np.float64), np.array(edges, np.float64)
    edge[np.isinf(edge)] = edge[-2]
    if not count.sum() > 0:
        return np.nan
    return float(np.interp(quantile, np.append(0, np.cumsum(count)) / count.sum(), edge))


def pooled_quantile(counts: Iterable[npt.ArrayLike], quantile: float) -> float:
    """Quantile of several ratio histograms on :data:`BIN_EDGES`, each of the same weight; NaN where all are empty."""
    shares = [np.asarray(c, float) / np.sum(c) for c in counts if np.sum(c) > 0]
    return quantile_of(np.mean(shares, axis=0), BIN_EDGES, quantile) if shares else np.nan


def weighted_quantile(values: npt.ArrayLike, weights: npt.ArrayLike, quantile: float) -> float:
    """Quantile of values that each stand for many, linear between them; ``values`` may repeat.

    Examples
    --------
    >>> weighted_quantile([1.0, 2.0, 3.0], [1, 1, 1], 0.5)
    2.0
    """
    place, index = np.unique(np.asarray(values, np.float64), return_inverse=True)
    weight = np.bincount(index, np.asarray(weights, np.float64))
    return float(np.interp(quantile, (np.cumsum(weight) - weight / 2) / weight.sum(), place))
