"""Trends of a measure over time and with treatment, over subjects that differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.compare.groups import require
from ipha_toolkit.compare.robust import fit_clusters
from ipha_toolkit.errors import DataError
from ipha_toolkit.measure.rows import usable
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Region

_DAYS_PER_YEAR = 365.25

_LEAST_VARIANCE = 1e-8
"""Variance within subjects, of the outcome's, below which a mixed model is none (numerical)."""

Array = npt.NDArray[np.float64]


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
    """Change of one measure a year, subjects differing in level and in pace, with covariates: a linear mixed model.

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
        Each makes two terms: ``NAME within``, a session against its subject's mean, and ``NAME between``, that mean.
    protocol : Protocol

    Returns
    -------
    DataFrame
        One row a term, ``level`` (value at day 0 and covariates 0), ``years`` and those of the covariates that vary:
        ``term, estimate, low, high`` (95 % interval), ``p`` (of no change; none for the level), ``df`` (degrees of
        freedom of t), ``unit`` (of the measure a year, or a unit of the covariate), ``n_sessions, n_subjects, model``
        (``random intercept and slope``; ``random intercept`` or ``least squares`` where that cannot be fitted),
        ``flag`` (``small_sample``). Terms with fewer than ``groups.least_df`` degrees of freedom have no interval and
        no p value.

    Raises
    ------
    DataError
        Where the columns are missing, or the sessions are too few for the terms.

    Notes
    -----
    The mixed model of statsmodels gives the weights; errors and degrees of freedom are cluster-robust
    (:func:`ipha_toolkit.compare.robust.fit_clusters`), so they hold for few subjects and where the model is wrong: of
    simulated cohorts without a trend at most 7 % are called one (``benchmarks/trends.py``).

    The dose is chosen by the physician because of the disease (confounding by indication): its terms are no effect of
    the drug, and that between subjects says who is given more.
    """
    data = _trend_data(rows, sessions, measure, modality, region, covariates)
    n_subjects = data["subject"].nunique()
    data, used = _split(data, covariates)
    if len(data) < len(used) + 3 or n_subjects < 2:
        raise DataError(
            f"{modality} {measure}: {len(data)} sessions of {n_subjects} subjects have a value and all of "
            f"{', '.join(['years', *covariates])}; a trend needs at least {len(used) + 3} sessions of two subjects"
        )
    fitted, model = _fit_mixed(data, used)
    sure = fitted["df"] >= protocol.groups.least_df
    fitted.loc[~sure, ["low", "high", "p"]] = np.nan
    unit = MEASURES[measure].unit
    units = {"level": unit, "years": f"{unit}/year"}
    fitted["unit"] = [units.get(term, f"{unit} per unit of {term.rsplit(' ', 1)[0]}") for term in fitted["term"]]
    small = n_subjects < protocol.groups.few_subjects or not sure.all()
    return fitted.assign(n_sessions=len(data), n_subjects=n_subjects, model=model, flag="small_sample" if small else "")


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


def _split(data: pd.DataFrame, covariates: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The terms that vary: years, and of each covariate the subject's mean and the distance of a session from it."""
    made = data.sort_values("subject", kind="stable")
    for name in covariates:
        mean = made.groupby("subject")[name].transform("mean")
        made = made.assign(**{f"{name} within": made[name] - mean, f"{name} between": mean})
    terms = ["years", *(f"{name} {part}" for name in covariates for part in ("within", "between"))]
    least = {name: 1e-9 * float(made[name.rsplit(" ", 1)[0]].abs().max()) for name in terms}
    return made, [name for name in terms if np.ptp(made[name]) > least[name]]


def _fit_mixed(data: pd.DataFrame, terms: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Estimates by term, and the model whose covariance weighed the sessions; fitted in standard units."""
    shift, scale = float(data["value"].mean()), float(data["value"].std()) or 1.0
    spread = np.array([1.0, *(float(data[name].std()) for name in terms)])
    design = np.column_stack([np.ones(len(data)), *(data[name].to_numpy(float) for name in terms)]) / spread
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise DataError(f"the terms {', '.join(terms)} cannot be told apart in these sessions; leave covariates out")
    outcome = (data["value"].to_numpy(float) - shift) / scale
    covariances, model = _working_covariances(outcome, design, data["subject"].to_numpy(), "years" in terms)
    fit = fit_clusters(design, outcome, covariances)
    factor, offset = scale / spread, np.array([shift, *np.zeros(len(terms))])
    found = pd.DataFrame({
        "term": ["level", *terms], "estimate": fit.estimate * factor + offset, "low": fit.low * factor + offset,
        "high": fit.high * factor + offset, "p": [np.nan, *fit.p[1:]], "df": fit.df,
    })  # fmt: skip
    return found, model


def _working_covariances(
    outcome: Array, design: Array, subjects: npt.NDArray[np.object_], slope: bool
) -> tuple[list[Array], str]:
    """Covariance of each subject's sessions by the richest model that can be fitted.

    Of statsmodels' fit only variances are taken: near the border of zero its fixed effects may be wrong without a word
    (its issue 10239).
    """
    import statsmodels.api as sm

    _, sizes = np.unique(pd.factorize(subjects)[0], return_counts=True)
    ends = np.cumsum(sizes)
    for name, columns in (("random intercept and slope", [0, 1]), ("random intercept", [0])):
        if len(columns) == 2 and not slope:
            continue
        random = design[:, columns]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                fitted = sm.MixedLM(outcome, design, groups=subjects, exog_re=random).fit(reml=True, method="lbfgs")
                between, within = np.asarray(fitted.cov_re, float), float(fitted.scale)
            except (np.linalg.LinAlgError, ValueError):
                continue
        if np.isfinite(between).all() and within > _LEAST_VARIANCE and np.linalg.eigvalsh(between)[0] > -1e-8:
            parts = [random[end - n : end] for n, end in zip(sizes, ends, strict=True)]
            return [part @ between @ part.T + within * np.eye(len(part)) for part in parts], name
    return [np.eye(n) for n in sizes], "least squares"
