"""Courses of patients: trends over time and the time to the next bleed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.compare.groups import require
from ipha_toolkit.errors import DataError
from ipha_toolkit.measure.rows import usable
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Phase, Region

_DAYS_PER_YEAR = 365.25

_LEAST_VARIANCE = 1e-4
"""Variance between subjects, of the outcome's, below which a mixed model is none (numerical)."""


def fit_trend(
    rows: pd.DataFrame,
    sessions: pd.DataFrame,
    *,
    measure: str,
    modality: str,
    region: str = Region.LUNG,
    covariates: Sequence[str] = ("prednisone_mg_per_day",),
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """Change of one measure a year, subjects differing in level, with covariates: a linear mixed model.

    Parameters
    ----------
    rows : DataFrame
        The one table.
    sessions : DataFrame
        ``subject, session, days`` and the covariates, numbers.
    measure, modality, region : str
        Which rows.
    covariates : sequence of str
        Columns of sessions that may explain the measure, in their own units; the default is the daily prednisone dose.
    protocol : Protocol

    Returns
    -------
    DataFrame
        One row a term, ``level`` (value at day 0 and covariates 0), ``years`` and each covariate: ``term, estimate,
        low, high`` (95 % interval), ``p`` (of no change; none for the level), ``unit`` (of the measure a year, or a
        unit of the covariate), ``n_sessions, n_subjects, model`` (``random intercept``, or ``least squares, clustered
        by subject`` where subjects do not differ beyond the noise), ``flag`` (``small_sample``).

    Raises
    ------
    DataError
        Where the columns are missing, or the sessions are too few for the terms.

    Notes
    -----
    The dose is chosen by the physician because of the disease (confounding by indication): its term is no effect of
    the drug.
    """
    data = _trend_data(rows, sessions, measure, modality, region, covariates)
    terms = ["years", *covariates]
    used = [name for name in terms if data[name].max() > data[name].min()]
    n_subjects = data["subject"].nunique()
    if len(data) < len(used) + 3 or n_subjects < 2:
        raise DataError(
            f"{modality} {measure}: {len(data)} sessions of {n_subjects} subjects have a value and all of "
            f"{', '.join(terms)}; a trend needs at least {len(used) + 3} sessions of two subjects"
        )
    result, model = _fit_mixed(data, used)
    small = n_subjects < protocol.groups.few_subjects
    facts = {
        "n_sessions": len(data), "n_subjects": n_subjects, "model": model, "flag": "small_sample" if small else "",
    }  # fmt: skip
    unit = MEASURES[measure].unit
    units = {"level": unit, "years": f"{unit}/year"} | {name: f"{unit} per unit of {name}" for name in covariates}
    return pd.DataFrame([{"term": term, **result[term], "unit": units[term], **facts} for term in ["level", *used]])


def time_to_recurrence(
    sessions: pd.DataFrame, *, dose: str = "prednisone_mg_per_day", event_phases: Sequence[str] = (Phase.ACUTE,)
) -> pd.DataFrame:
    """Days from the first lowering of the dose to the next bleed, one row a subject that was tapered.

    Parameters
    ----------
    sessions : DataFrame
        ``subject, days, phase`` and the dose. The phase of each session, as known or as read by
        :func:`ipha_toolkit.classify_phase`.
    dose : str
        Column of the daily dose; the taper begins at the first session with a lower dose than the one before.
    event_phases : sequence of str
        Phases that count as a recurrence.

    Returns
    -------
    DataFrame
        Of those seen again after the taper: ``subject, taper_day, days, recurred, dose_at_end``: days from the taper
        to the recurrence, or to the last session where there was none (right-censored). A bleed is dated by the visit
        that saw it; one between visits that left no trace is missed.

    Raises
    ------
    DataError
        Where a column is missing.
    """
    require(sessions, ["subject", "days", "phase", dose], "sessions", numbers=["days", dose])
    found = []
    for subject, visits in sessions.dropna(subset=["days", dose]).sort_values("days").groupby("subject", sort=True):
        lowered = np.flatnonzero(np.diff(visits[dose].to_numpy(float)) < 0)
        if not lowered.size:
            continue
        start = visits.iloc[lowered[0] + 1]
        after = visits[visits["days"] > start["days"]]
        if after.empty:
            continue
        events = after[after["phase"].isin(list(event_phases))]
        end = events.iloc[0] if len(events) else visits.iloc[-1]
        found.append(
            (subject, float(start["days"]), float(end["days"] - start["days"]), len(events) > 0, float(end[dose]))
        )
    return pd.DataFrame(found, columns=["subject", "taper_day", "days", "recurred", "dose_at_end"])


def recurrence_curve(times: pd.DataFrame) -> pd.DataFrame:
    """Share of tapered subjects still free of a recurrence over time (Kaplan-Meier).

    Parameters
    ----------
    times : DataFrame
        ``days`` (0 or more) and ``recurred`` as of :func:`time_to_recurrence`.

    Returns
    -------
    DataFrame
        ``days, free, low, high, at_risk``: share 0 to 1 with its 95 % interval, and how many were still followed.

    Raises
    ------
    DataError
        Where there is no subject.

    References
    ----------
    Kaplan & Meier 1958, doi 10.1080/01621459.1958.10501452; the computation is that of lifelines.
    """
    require(times, ["days", "recurred"], "times")
    if times.empty:
        raise DataError("no subject was tapered: there is no time to recurrence to estimate")
    from lifelines import KaplanMeierFitter

    fitted = KaplanMeierFitter().fit(times["days"], times["recurred"])
    interval = fitted.confidence_interval_
    return pd.DataFrame({
        "days": fitted.survival_function_.index.to_numpy(float),
        "free": fitted.survival_function_.iloc[:, 0].to_numpy(float),
        "low": interval.iloc[:, 0].to_numpy(float),
        "high": interval.iloc[:, 1].to_numpy(float),
        "at_risk": fitted.event_table["at_risk"].to_numpy(int),
    })  # fmt: skip


def _trend_data(
    rows: pd.DataFrame, sessions: pd.DataFrame, measure: str, modality: str, region: str, covariates: Sequence[str]
) -> pd.DataFrame:
    if measure not in MEASURES:
        raise ValueError(f"measure {measure!r} is not in the catalogue terms.MEASURES")
    require(sessions, ["subject", "session", "days", *covariates], "sessions", numbers=["days", *covariates])
    rows = usable(rows)
    chosen = rows[(rows["measure"] == measure) & (rows["modality"] == modality) & (rows["region"] == region)]
    columns = ["subject", "session", "days", *covariates]
    data = chosen[["subject", "session", "value"]].merge(sessions[columns], on=["subject", "session"]).dropna()
    return data.assign(years=data["days"] / _DAYS_PER_YEAR)


def _fit_mixed(data: pd.DataFrame, terms: Sequence[str]) -> tuple[dict[str, dict[str, float]], str]:
    """Estimates by term. Fitted in standard units: where the subjects' variance falls to zero, statsmodels' mixed model
    gives wrong fixed effects without a word (its issue 10239), so least squares with clustered errors takes over."""
    import statsmodels.api as sm

    design = np.column_stack([np.ones(len(data)), *(data[name].to_numpy(float) for name in terms)])
    shift, scale = float(data["value"].mean()), float(data["value"].std()) or 1.0
    spread = np.array([1.0, *(float(data[name].std()) for name in terms)])
    outcome, subjects = (data["value"].to_numpy(float) - shift) / scale, data["subject"].to_numpy()
    model = "random intercept"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fitted = sm.MixedLM(outcome, design / spread, groups=subjects).fit(reml=True)
            usable = bool(fitted.converged) and float(np.asarray(fitted.cov_re)[0, 0]) > _LEAST_VARIANCE
        except (np.linalg.LinAlgError, ValueError):
            usable = False
        if not usable:
            model = "least squares, clustered by subject"
            codes = pd.factorize(subjects)[0]
            fitted = sm.OLS(outcome, design / spread).fit(cov_type="cluster", cov_kwds={"groups": codes})
        n = len(spread)
        estimate, interval, p = fitted.params[:n], fitted.conf_int()[:n], fitted.pvalues[:n]
    found = {}
    for index, term in enumerate(["level", *terms]):
        factor, offset = scale / spread[index], shift if term == "level" else 0.0
        low, high = (float(value) * factor + offset for value in interval[index])
        value = float(estimate[index]) * factor + offset
        found[term] = {"estimate": value, "low": low, "high": high, "p": np.nan if term == "level" else float(p[index])}
    return found, model
