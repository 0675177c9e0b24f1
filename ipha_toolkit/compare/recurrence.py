"""Bleeds that come back after a taper: when the first does, how often they do, and whether the dose goes along.

A taper is defined, not guessed: the dose falls to ``courses.taper_share`` of what it was, or below, and stays there for
``courses.taper_days``. A bleed is dated by the visit that saw it, so every time is an interval: it happened after the
visit before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ipha_toolkit.compare.groups import require
from ipha_toolkit.errors import DataError
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.settings import CourseSettings
from ipha_toolkit.terms import Phase

_DOSE = "prednisone_mg_per_day"


def time_to_recurrence(
    sessions: pd.DataFrame,
    *,
    dose: str = _DOSE,
    event_phases: Sequence[str] = (Phase.ACUTE,),
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """Days from the taper of the dose to the next bleed, one row a subject.

    Parameters
    ----------
    sessions : DataFrame
        ``subject, days, phase`` and the dose. The phase of each session, as known or as read by
        :func:`ipha_toolkit.classify_phase`. A session without a dose keeps its bleed; it neither begins nor ends a
        taper.
    dose : str
        Column of the daily dose.
    event_phases : sequence of str
        Phases that count as a bleed.
    protocol : Protocol
        ``courses.taper_share``, ``courses.taper_days``.

    Returns
    -------
    DataFrame
        ``subject, status, taper_day, days, after, recurred, dose_at_end``. ``status`` is ``followed``;
        ``never tapered``; or ``not seen after the taper``. ``days``: from the taper to the visit that saw the
        recurrence, or to the last visit where there was none (right-censored); ``after``: days from the taper to the
        visit before it, at which there was no bleed: the recurrence lies between the two. NaN and ``recurred`` False
        in those not followed. A bleed between visits that left no trace is missed.

    Raises
    ------
    DataError
        Where a column is missing.
    """
    require(sessions, ["subject", "days", "phase", dose], "sessions", numbers=["days", dose])
    found = []
    for subject, visits in sessions.dropna(subset=["days"]).sort_values("days").groupby("subject", sort=True):
        bled = visits["phase"].isin([str(phase) for phase in event_phases]).to_numpy()
        found.append({"subject": subject} | _course(visits["days"].to_numpy(float), visits[dose].to_numpy(float), bled,
                                                    protocol.courses))  # fmt: skip
    columns = ["subject", "status", "taper_day", "days", "after", "recurred", "dose_at_end"]
    return pd.DataFrame(found, columns=columns).astype({"recurred": bool})


def taper_day(days: Sequence[float], doses: Sequence[float], *, settings: CourseSettings = DEFAULT.courses) -> float:
    """Day of the visit at which a taper begins, NaN where there is none.

    Parameters
    ----------
    days : sequence of float
        Increasing.
    doses : sequence of float
        Of each visit; NaN where not known.
    settings : CourseSettings
        ``taper_share``: a taper begins where the dose is this share, or less, of the highest before. ``taper_days``: no
        later dose within so many days may be higher.

    Examples
    --------
    >>> float(taper_day([0, 30, 60, 120], [40, 40, 20, 20]))
    60.0
    >>> float(taper_day([0, 30, 40, 120], [40, 20, 40, 40]))
    nan
    """
    t, d = np.asarray(days, float), np.asarray(doses, float)
    t, d = t[np.isfinite(d)], d[np.isfinite(d)]
    for n in range(1, len(t)):
        level = settings.taper_share * d[:n].max()
        held = d[n:][t[n:] <= t[n] + settings.taper_days]
        if d[:n].max() > 0 and held.max() <= level:
            return float(t[n])
    return np.nan


def recurrence_curve(times: pd.DataFrame) -> pd.DataFrame:
    """Share of tapered subjects still free of a recurrence over time (Kaplan-Meier).

    Parameters
    ----------
    times : DataFrame
        ``days`` (0 or more) and ``recurred`` as of :func:`time_to_recurrence`; rows without days are left out.

    Returns
    -------
    DataFrame
        ``days, free, low, high, at_risk``: share 0 to 1 with its 95 % interval, and how many were still followed.

    Raises
    ------
    DataError
        Where there is no subject.

    Notes
    -----
    A recurrence counts on the day of the visit that saw it, which is late by up to the time between visits: the curve
    is an upper bound. With ``times.assign(days=times["after"])`` for those that recurred it is a lower one.

    References
    ----------
    Kaplan & Meier 1958, doi 10.1080/01621459.1958.10501452; the computation is that of lifelines.
    """
    require(times, ["days", "recurred"], "times")
    followed = times.dropna(subset=["days"])
    if followed.empty:
        raise DataError("no subject was tapered and seen again: there is no time to recurrence to estimate")
    from lifelines import KaplanMeierFitter

    fitted = KaplanMeierFitter().fit(followed["days"], followed["recurred"])
    interval = fitted.confidence_interval_
    return pd.DataFrame({
        "days": fitted.survival_function_.index.to_numpy(float),
        "free": fitted.survival_function_.iloc[:, 0].to_numpy(float),
        "low": interval.iloc[:, 0].to_numpy(float),
        "high": interval.iloc[:, 1].to_numpy(float),
        "at_risk": fitted.event_table["at_risk"].to_numpy(int),
    })  # fmt: skip


def bleeding_intervals(
    sessions: pd.DataFrame, *, dose: str = _DOSE, event_phases: Sequence[str] = (Phase.ACUTE,)
) -> pd.DataFrame:
    """Every stretch between two visits of a subject: the dose it began with, and whether it ended with a new bleed.

    Parameters
    ----------
    sessions : DataFrame
        ``subject, days, phase`` and the dose.
    dose : str
    event_phases : sequence of str
        Phases that count as a bleed. A visit in such a phase right after another is the same bleed, and no new one.

    Returns
    -------
    DataFrame
        ``subject, start, stop`` (days from the subject's first visit), ``bled`` and the dose, carried on from the last
        visit that knew it; NaN before any did.

    Raises
    ------
    DataError
        Where a column is missing.
    """
    require(sessions, ["subject", "days", "phase", dose], "sessions", numbers=["days", dose])
    visits = sessions.dropna(subset=["days"]).sort_values(["subject", "days"], kind="stable")
    ill = visits["phase"].isin([str(phase) for phase in event_phases])
    before = ill.groupby(visits["subject"]).shift(1)
    made = pd.DataFrame({
        "subject": visits["subject"], "stop": visits["days"] - visits.groupby("subject")["days"].transform("min"),
        "bled": ill & before.eq(False),
        dose: visits.groupby("subject")[dose].ffill().groupby(visits["subject"]).shift(1),
    })  # fmt: skip
    made["start"] = made.groupby("subject")["stop"].shift(1)
    made = made[made["start"].notna() & (made["stop"] > made["start"])]
    return made[["subject", "start", "stop", "bled", dose]].reset_index(drop=True)


def recurrence_rate(
    sessions: pd.DataFrame,
    *,
    dose: str = _DOSE,
    per: float = 10.0,
    event_phases: Sequence[str] = (Phase.ACUTE,),
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """Repeated bleeds against the dose that changes over time: the model of Andersen and Gill.

    Parameters
    ----------
    sessions : DataFrame
        As in :func:`bleeding_intervals`.
    dose : str
    per : float
        The hazard ratio is of so much more dose, in its unit.
    event_phases : sequence of str
    protocol : Protocol
        ``courses.few_bleeds``.

    Returns
    -------
    DataFrame
        One row: ``term, hazard_ratio, low, high`` (95 %, errors robust to a subject's bleeds being alike), ``p``,
        ``n_subjects, n_bleeds, n_intervals, n_without_dose`` (intervals left out of the model), ``bleeds_per_year``
        (of all intervals, known dose or not), ``flag``. With fewer bleeds, or subjects that bled, than
        ``courses.few_bleeds`` the ratio is withheld (NaN) and flagged ``few_bleeds``.

    Raises
    ------
    DataError
        Where a column is missing or no subject was seen twice.

    Notes
    -----
    The dose is given because of the disease: a ratio above 1 does not say that it harms. Bleeds are dated by the visit
    that saw them (interval censoring): a dose changed at that visit is not counted towards it. Of
    simulated cohorts of 8 and 15 subjects 3.4 to 5.3 % gave p < 0.05 without an effect (``benchmarks/recurrence.py``).

    References
    ----------
    Andersen & Gill 1982, doi 10.1214/aos/1176345976; robust errors of Lin & Wei 1989, doi
    10.1080/01621459.1989.10478874, here jackknifed by subject; the fit is that of lifelines.
    """
    intervals = bleeding_intervals(sessions, dose=dose, event_phases=event_phases)
    if intervals.empty:
        raise DataError("no subject was seen twice: there is no interval in which a bleed could be seen")
    known = intervals.dropna(subset=[dose])
    bleeds = known[known["bled"]]
    few = min(len(bleeds), bleeds["subject"].nunique()) < protocol.courses.few_bleeds or np.ptp(known[dose]) == 0
    ratio = dict.fromkeys(("hazard_ratio", "low", "high", "p"), np.nan) if few else _ratio(known, dose, per)
    years = float((intervals["stop"] - intervals["start"]).sum()) / 365.25
    row = {"term": f"{per:g} more of {dose}"} | ratio | {
        "n_subjects": intervals["subject"].nunique(), "n_bleeds": int(intervals["bled"].sum()),
        "n_intervals": len(intervals), "n_without_dose": len(intervals) - len(known),
        "bleeds_per_year": float(intervals["bled"].sum()) / years, "flag": "few_bleeds" if few else "",
    }  # fmt: skip
    return pd.DataFrame([row])


def _course(days: np.ndarray, doses: np.ndarray, bled: np.ndarray, settings: CourseSettings) -> dict[str, object]:
    """What became of one subject after its taper."""
    start = taper_day(list(days), list(doses), settings=settings)
    later = days > start
    found: dict[str, object] = {"taper_day": start, "days": np.nan, "after": np.nan, "recurred": False,
                                "dose_at_end": np.nan}  # fmt: skip
    if not later.any():
        return found | {"status": "never tapered" if np.isnan(start) else "not seen after the taper"}
    events = np.flatnonzero(later & bled)
    end = int(events[0]) if events.size else len(days) - 1
    return found | {
        "status": "followed", "days": float(days[end] - start), "recurred": bool(events.size),
        "after": float(days[end - 1] - start) if events.size else float(days[end] - start),
        "dose_at_end": float(doses[end]),
    }  # fmt: skip


def _ratio(known: pd.DataFrame, dose: str, per: float) -> dict[str, float]:
    from scipy.stats import t

    subjects = list(known["subject"].unique())
    whole = _slope(known, dose, per)
    left_out = np.array([_slope(known[known["subject"] != name], dose, per) for name in subjects])
    n = len(subjects)
    se = float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))
    half = float(t.ppf(0.975, n - 1)) * se
    limits = np.exp([whole, whole - half, whole + half])
    return dict(zip(("hazard_ratio", "low", "high"), map(float, limits), strict=True)) | {
        "p": float(2 * t.sf(abs(whole) / se, n - 1))
    }


def _slope(known: pd.DataFrame, dose: str, per: float) -> float:
    """Log hazard ratio."""
    from lifelines import CoxTimeVaryingFitter

    data = known.assign(dose=known[dose] / per, bled=known["bled"].astype(int))
    fitted = CoxTimeVaryingFitter().fit(
        data[["subject", "start", "stop", "bled", "dose"]], id_col="subject", event_col="bled", start_col="start",
        stop_col="stop",
    )  # fmt: skip
    return float(fitted.params_["dose"])
