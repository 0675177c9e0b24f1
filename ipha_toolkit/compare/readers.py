"""Agreement of readers, of masks and of repeated dates, and how many subjects a study needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.errors import DataError
from ipha_toolkit.volume import Mask

_Z95 = 1.959964


@dataclass(frozen=True)
class Agreement:
    """A coefficient with its 95 % interval and how many subjects it rests on."""

    value: float
    low: float
    high: float
    n: int


def icc(ratings: npt.ArrayLike, *, fixed: bool = False) -> Agreement:
    """Intraclass correlation of single ratings, two-way.

    Parameters
    ----------
    ratings : array_like, shape (n_subjects, n_readers)
        Numbers; subjects that a reader left out (NaN) are dropped. Readers may as well be dates.
    fixed : bool
        False: absolute agreement of readers who stand for others, ICC(2,1). True: consistency of these very readers,
        whose levels may differ, ICC(3,1).

    Returns
    -------
    Agreement
        1 is perfect; may fall below 0.

    Raises
    ------
    DataError
        With fewer than three subjects or two readers.

    References
    ----------
    Shrout & Fleiss 1979, doi 10.1037/0033-2909.86.2.420; interval of McGraw & Wong 1996.

    Examples
    --------
    >>> judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    >>> round(icc(judges).value, 2), round(icc(judges, fixed=True).value, 2)
    (0.29, 0.71)
    """
    from scipy.stats import f

    table = np.asarray(ratings, float)
    table = table[np.isfinite(table).all(axis=1)]
    n, k = table.shape
    if n < 3 or k < 2:
        raise DataError(f"an intraclass correlation needs 3 subjects rated by 2 readers, got {n} rated by {k}")
    grand, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    between = k * float(((rows - grand) ** 2).sum()) / (n - 1)
    readers = n * float(((columns - grand) ** 2).sum()) / (k - 1)
    rest = table - rows[:, None] - columns + grand
    error = max(float((rest**2).sum()) / ((n - 1) * (k - 1)), np.finfo(float).tiny)
    df = (n - 1) * (k - 1)
    if fixed:
        ratio = between / error
        ends = [ratio / f.ppf(0.975, n - 1, df), ratio * f.ppf(0.975, df, n - 1)]
        value, low, high = ((x - 1) / (x + k - 1) for x in (ratio, *ends))
        return Agreement(float(value), float(low), float(high), n)
    value = (between - error) / (between + (k - 1) * error + k * (readers - error) / n)
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    v = (a * readers + b * error) ** 2 / ((a * readers) ** 2 / (k - 1) + (b * error) ** 2 / df)
    lower, upper = f.ppf(0.975, n - 1, v), f.ppf(0.975, v, n - 1)
    both = k * readers + (k * n - k - n) * error
    low = n * (between - lower * error) / (lower * both + n * between)
    high = n * (upper * between - error) / (both + n * upper * between)
    return Agreement(float(value), float(low), float(high), n)


def bland_altman(first: npt.ArrayLike, second: npt.ArrayLike) -> pd.DataFrame:
    """Bias of one reader, date or method against another, and the limits of agreement.

    Parameters
    ----------
    first, second : array_like, shape (n,)
        Pairs, one unit; pairs with NaN are dropped.

    Returns
    -------
    DataFrame
        Index ``bias``, ``lower limit``, ``upper limit``; ``value, low, high``: second less first, with 95 % intervals;
        ``n``.

    Raises
    ------
    DataError
        With fewer than three pairs.

    References
    ----------
    Bland & Altman 1999, doi 10.1177/096228029900800204: the variance of a limit is about 3 s^2 / n.
    """
    from scipy.stats import t

    difference = np.asarray(second, float) - np.asarray(first, float)
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if n < 3:
        raise DataError(f"limits of agreement need at least 3 pairs, got {n}")
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    values = np.array([bias, bias - _Z95 * sd, bias + _Z95 * sd])
    se = sd * np.sqrt(np.array([1 / n, 3 / n, 3 / n]))
    half = float(t.ppf(0.975, n - 1)) * se
    names = ["bias", "lower limit", "upper limit"]
    return pd.DataFrame({"value": values, "low": values - half, "high": values + half, "n": n}, index=names)


def cohens_kappa(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    order: Sequence[str] | None = None,
    weights: Literal["linear", "quadratic"] = "quadratic",
) -> Agreement:
    """Agreement of two readers on categories beyond chance.

    Parameters
    ----------
    first, second : array_like of str, shape (n,)
        Pairs with a missing reading are dropped.
    order : sequence of str, optional
        Categories in order, as none, mild, moderate, marked: disagreement then counts by its distance.
    weights : {"linear", "quadratic"}
        By the distance itself or by its square; with order alone.

    Returns
    -------
    Agreement
        1 is perfect, 0 chance; NaN where both used one category only.

    Raises
    ------
    DataError
        Without pairs, or with a category that order does not hold.

    References
    ----------
    Cohen 1960, doi 10.1177/001316446002000104; 1968 for weights; the computation is that of statsmodels.
    """
    from statsmodels.stats.inter_rater import cohens_kappa as kappa

    pairs = pd.DataFrame({"first": np.asarray(first), "second": np.asarray(second)}).dropna()
    names = list(order) if order else sorted({*pairs["first"], *pairs["second"]}, key=str)
    unknown = sorted({*pairs["first"], *pairs["second"]} - set(names), key=str)
    if pairs.empty or unknown:
        raise DataError(f"kappa needs pairs of the categories {', '.join(map(str, names))}; " + (
            f"got {', '.join(map(str, unknown))} as well" if unknown else "got none"))  # fmt: skip
    if len(names) < 2:
        return Agreement(np.nan, np.nan, np.nan, len(pairs))
    counts = pd.crosstab(pairs["first"], pairs["second"]).reindex(index=names, columns=names, fill_value=0)
    found = kappa(counts.to_numpy(), wt=weights if order else None)
    return Agreement(float(found.kappa), float(found.kappa_low), float(found.kappa_upp), len(pairs))


def compare_masks(first: Mask, second: Mask) -> dict[str, float]:
    """How far two readers' masks agree: ``dice`` (0 to 1), ``volume_difference_ml`` (second less first).

    Raises
    ------
    GridError
        Where they lie on different grids.
    """
    first.require_same_grid(second)
    total = first.n_voxels + second.n_voxels
    both = int(np.count_nonzero(first.array & second.array))
    dice = 2 * both / total if total else np.nan
    return {"dice": dice, "volume_difference_ml": float(second.volume_ml - first.volume_ml)}


def subjects_needed(
    effect_sd: float, *, power: float = 0.8, alpha: float = 0.05, ratio: float = 1.0
) -> tuple[int, int]:
    """Subjects of a planned comparison of two groups by a two-sided t test.

    Parameters
    ----------
    effect_sd : float
        Difference worth finding, in standard deviations between persons (not of voxels).
    power, alpha : float
    ratio : float
        Controls for each patient.

    Returns
    -------
    patients, controls : int

    Examples
    --------
    >>> subjects_needed(0.5)
    (64, 64)
    """
    from statsmodels.stats.power import TTestIndPower

    if not effect_sd != 0:
        raise ValueError("effect_sd needs to differ from 0: no number of subjects shows an effect that is none")
    patients = float(TTestIndPower().solve_power(abs(effect_sd), power=power, alpha=alpha, ratio=ratio))
    return int(np.ceil(patients)), int(np.ceil(patients * ratio))


def trend_power(
    change_per_year: float, visit_days: npt.ArrayLike, n_subjects: int, *, sd_pace: float, sd_within: float,
    alpha: float = 0.05,
) -> float:  # fmt: skip
    """Power of a planned follow-up to find a mean change a year, every subject seen on the same days.

    Parameters
    ----------
    change_per_year : float
        Worth finding, in the measure's unit.
    visit_days : array_like, shape (n_visits,)
    n_subjects : int
    sd_pace : float
        SD of the subjects' own change a year.
    sd_within : float
        Of two scans of an unchanged lung, as of :func:`ipha_toolkit.compare.repeatability`.
    alpha : float
        Two-sided.

    Returns
    -------
    float
        0 to 1, of a t test of the subjects' own slopes.
    """
    from scipy.stats import nct, t

    years = np.asarray(visit_days, float) / 365.25
    spread = float(((years - years.mean()) ** 2).sum())
    if n_subjects < 2 or not spread > 0:
        raise ValueError(f"a trend needs 2 subjects seen on 2 days, got {n_subjects} on {len(years)}")
    sd = np.sqrt(sd_pace**2 + sd_within**2 / spread)
    centre, cut = abs(change_per_year) / sd * np.sqrt(n_subjects), t.ppf(1 - alpha / 2, n_subjects - 1)
    return float(nct.sf(cut, n_subjects - 1, centre) + nct.cdf(-cut, n_subjects - 1, centre))
