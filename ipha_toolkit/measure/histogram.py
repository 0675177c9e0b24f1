"""Histograms of signal ratios, and quantiles and shares read from binned or weighted values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.volume import Mask, Volume


def pooled_quantile(counts: Iterable[npt.ArrayLike], quantile: float) -> float:
    """Quantile of several ratio histograms, each given the same weight.

    Parameters
    ----------
    counts : iterable of array_like, shape (n_bins,)
        Histograms on :data:`ipha_toolkit.measure.signal.BIN_EDGES`.
    quantile : float
        0 to 1.

    Returns
    -------
    float
        Ratio, linear inside a bin; NaN where no histogram holds a voxel.
    """
    shares = [np.asarray(c, float) / np.sum(c) for c in counts if np.sum(c) > 0]
    if not shares:
        return np.nan
    share = np.mean(shares, axis=0)[:-1]  # what lies beyond the last edge has no place inside a bin
    cumulative = np.cumsum(share)
    bin_ = int(np.searchsorted(cumulative, quantile))
    if bin_ == share.size:
        return float(BIN_EDGES[-2])
    inside = (quantile - cumulative[bin_] + share[bin_]) / share[bin_] if share[bin_] > 0 else 0.0
    return float(BIN_EDGES[bin_] + inside * (BIN_EDGES[bin_ + 1] - BIN_EDGES[bin_]))


def median(values: pd.Series, weights: pd.Series) -> float:
    """Weighted median of binned values, linear between the bins' centers."""
    place, index = np.unique(values.to_numpy(), return_inverse=True)
    weight = np.bincount(index, weights.to_numpy())
    return float(np.interp(0.5, (np.cumsum(weight) - weight / 2) / weight.sum(), place))


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


def weighted_quantile(values: npt.NDArray[Any], weights: npt.NDArray[Any], quantile: float) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, quantile * share[-1])])


def quantile_of(counts: npt.NDArray[Any], edges: npt.NDArray[Any], quantile: float) -> float:
    """Linear inside a bin."""
    return float(
        np.interp(quantile, np.append(0, np.cumsum(counts)) / counts.sum(), np.nan_to_num(edges, posinf=edges[-2]))
    )
