"""Quantiles of values of which some are only known to lie above a limit, as survival times are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray

_Z95 = 1.959964

Array = npt.NDArray[np.float64]


def censored_quantile(
    values: npt.ArrayLike, censored: npt.ArrayLike, *, share: float = 0.5
) -> tuple[float, float, float]:
    """Quantile of right-censored values with its 95 % interval, by Kaplan and Meier.

    Parameters
    ----------
    values : array_like, shape (n,)
        A value, or where censored the limit above which it lies; any unit. No NaN.
    censored : array_like of bool, shape (n,)
    share : float
        Between 0 and 1; 0.5 is the median.

    Returns
    -------
    quantile, low, high : float
        In the unit of the values. NaN where so many are censored that the quantile is not reached, infinite where the
        upper limit is not; all NaN without values.

    Raises
    ------
    ValueError
        Where shapes differ, a value is NaN or share is not between 0 and 1.

    Notes
    -----
    Rests on censoring that does not depend on the value once the limit is known. Values are taken as independent.

    References
    ----------
    Kaplan & Meier 1958, doi 10.1080/01621459.1958.10501452; interval of Brookmeyer and Crowley, with the complementary
    log-log transform of the survival function and Greenwood's variance.

    Examples
    --------
    >>> censored_quantile([1.0, 2.0, 3.0, 4.0, 4.0], [False, False, False, True, True])[0]
    3.0
    """
    given, unseen = np.asarray(values, float), np.asarray(censored, bool)
    if given.shape != unseen.shape or given.ndim != 1 or np.isnan(given).any():
        raise ValueError(f"needs values without NaN and one censoring each: shapes {given.shape} and {unseen.shape}")
    if not 0 < share < 1:
        raise ValueError(f"share lies between 0 and 1, got {share:g}")
    times, above, variance = _survival(given, unseen)
    if not times.size:
        return np.nan, np.nan, np.nan
    left = 1 - share
    lower, upper = _limits(above, variance)
    return _first(times, above, left, np.nan), _first(times, lower, left, np.nan), _first(times, upper, left, np.inf)


def _survival(values: Array, censored: BoolArray) -> tuple[Array, Array, Array]:
    """Distinct uncensored values, the share that lies above each, and Greenwood's sum."""
    times, deaths = np.unique(values[~censored], return_counts=True)
    at_risk = len(values) - np.searchsorted(np.sort(values), times)
    with np.errstate(divide="ignore"):
        greenwood = np.cumsum(np.where(at_risk > deaths, deaths / (at_risk * (at_risk - deaths)), np.inf))
    return times, np.asarray(np.cumprod(1 - deaths / at_risk)), np.asarray(greenwood)


def _limits(above: Array, greenwood: Array) -> tuple[Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, half = np.log(-np.log(above)), _Z95 * np.sqrt(greenwood) / np.abs(np.log(above))
        lower, upper = (np.exp(-np.exp(centre + sign * half)) for sign in (1, -1))
    return np.where(above > 0, lower, 0.0), np.where(above > 0, upper, 0.0)


def _first(times: Array, above: Array, left: float, otherwise: float) -> float:
    """The smallest value above which no more than ``left`` lies."""
    reached = np.flatnonzero(above <= left + 1e-12)
    return float(times[reached[0]]) if reached.size else otherwise
