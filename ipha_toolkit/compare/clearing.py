"""Radiographs of one patient over days: when an opacity has cleared, and whether a reticular pattern takes its place.

On radiographs the consolidation of a bleed typically clears within three days and is replaced by a reticular pattern
(Ha & Palacio, SWJPCC 2020). A date is only known to lie between two films: every answer is an interval, open where the
last film still shows the opacity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.errors import DataError
from ipha_toolkit.measure.rows import usable
from ipha_toolkit.protocol import DEFAULT, Protocol

_OPACITY, _RETICULAR = "film_opacity_mean", "film_reticular_score"


@dataclass(frozen=True)
class Clearing:
    """When an opacity cleared, in days after its peak.

    ``days``: interpolated between two films; NaN where nothing was there to clear. ``low``, ``high``: between
    these it cleared; ``high`` is infinite, and ``days`` that of the last film, where ``censored``: not cleared by then.
    """

    peak_day: float
    days: float
    low: float
    high: float
    censored: bool


def time_to_clear(
    days: npt.ArrayLike, opacity: npt.ArrayLike, *, clear: float | None = None, protocol: Protocol = DEFAULT
) -> Clearing:
    """Time from the peak of an opacity until little of it is left.

    Parameters
    ----------
    days : array_like, shape (n,)
        Dates of the films in days, increasing.
    opacity : array_like, shape (n,)
        Opacity of one region; NaN where a film could not be measured.
    clear : float, optional
        Opacity without disease, from an earlier film or from controls. None takes the lowest of the series, where there
        is a reason to call it clear: a film before the peak from which the opacity rose, or no more than
        ``films.cleared_share`` of the peak on a scale where 0 is clear lung. Otherwise nothing shows that the lung ever
        was clear, and the course is censored: one that stops at 0.66 of 0.80 has not cleared.
    protocol : Protocol
        ``films.cleared_share``: cleared when no more than this share of the rise over ``clear`` is left, 0 to 1;
        ``films.least_rise``: a rise smaller than this is none.

    Returns
    -------
    Clearing

    Raises
    ------
    ValueError
        Where shapes differ, days do not increase, the share is not between 0 and 1, or nothing was measured.

    Examples
    --------
    >>> round(time_to_clear([0, 1, 2, 3], [0.8, 0.4, 0.0, 0.0], clear=0.0).days, 3)
    1.2
    """
    t, y = np.asarray(days, float), np.asarray(opacity, float)
    if t.shape != y.shape or t.ndim != 1 or not (np.diff(t) > 0).all():
        raise ValueError(f"needs one opacity a day and increasing days, got shapes {t.shape}, {y.shape}, days {t}")
    share, least = protocol.films.cleared_share, protocol.films.least_rise
    if not 0 < share < 1:
        raise ValueError(f"films.cleared_share lies between 0 and 1, got {share}")
    known = np.isfinite(y)
    if not known.any():
        raise DataError("no film of the series was measured")
    t, y = t[known], y[known]
    excess = y - (float(y.min()) if clear is None else clear)
    peak = int(excess.argmax())
    if excess[peak] < least:
        return Clearing(float(t[peak]), np.nan, np.nan, np.nan, False)
    limit = share * excess[peak]
    below = peak + np.flatnonzero(excess[peak:] <= limit)
    seen_clear = clear is not None or y[peak] - y[: peak + 1].min() >= least or y.min() <= share * y[peak]
    if not below.size or not seen_clear:
        last = float(t[-1] - t[peak])
        return Clearing(float(t[peak]), last, last, np.inf, True)
    first = int(below[0])
    part = (excess[first - 1] - limit) / (excess[first - 1] - excess[first])
    low, high = float(t[first - 1] - t[peak]), float(t[first] - t[peak])
    return Clearing(float(t[peak]), low + float(part) * (high - low), low, high, False)


def follow_radiographs(
    rows: pd.DataFrame, days: dict[str, float], *, clear: float | None = None, protocol: Protocol = DEFAULT
) -> pd.DataFrame:
    """When each zone of one patient's lungs cleared, and what became of its texture.

    Parameters
    ----------
    rows : DataFrame
        The one table; rows of one subject's radiographs are used.
    days : dict of str to float
        Day of each session.
    clear : float, optional
        As in :func:`time_to_clear`, of every region.
    protocol : Protocol
        ``films.cleared_share``, ``films.least_rise``.

    Returns
    -------
    DataFrame
        A row a region: ``region, peak_day, days_to_clear, low, high, censored, reticular_rise``; the last is the
        reticular score's highest value after the peak less that of the first film, over the latter, NaN without a film
        after the peak: above 0 where a reticular pattern took the opacity's place.

    Raises
    ------
    ValueError
        Where rows hold several subjects, or a session has no day.
    """
    rows = usable(rows)
    films = rows[(rows["modality"] == "dx") & rows["measure"].isin([_OPACITY, _RETICULAR])]
    subjects = sorted(set(films["subject"]))
    if len(subjects) > 1:
        raise ValueError(f"needs the rows of one subject, got {', '.join(subjects)}")
    missing = sorted(set(films["session"]) - set(days))
    if missing:
        raise ValueError(f"no day given for session {', '.join(missing)}")
    films = films.assign(day=films["session"].map(days)).sort_values("day")
    found = []
    for region, group in films.groupby("region", sort=False):
        series = group.pivot_table(index="day", columns="measure", values="value", dropna=False)
        cleared = time_to_clear(series.index, series[_OPACITY], clear=clear, protocol=protocol)
        found.append(
            {"region": region, "peak_day": cleared.peak_day, "days_to_clear": cleared.days, "low": cleared.low,
             "high": cleared.high, "censored": cleared.censored,
             "reticular_rise": _rise(series.get(_RETICULAR), cleared.peak_day)}
        )  # fmt: skip
    columns = ["region", "peak_day", "days_to_clear", "low", "high", "censored", "reticular_rise"]
    return pd.DataFrame(found, columns=columns)


def _rise(scores: pd.Series | None, peak_day: float) -> float:
    if scores is None or len(scores) < 2 or not (scores.index > peak_day).any():
        return np.nan
    first, later = float(scores.iloc[0]), float(scores[scores.index > peak_day].max())
    return (later - first) / first if first > 0 else np.nan
