"""Groups and time: a Table 1, measures by group, trends with treatment, recurrence after tapering.

Statistics are those of scipy, statsmodels and lifelines; what is added here is the shape of the tables and the
honesty about them: how many subjects, which of them count twice, and that small samples are small.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import MEASURES, Phase, Region

_KEY = ["modality", "region", "measure"]
_DAYS_PER_YEAR = 365.25
_LEAST_VARIANCE = 1e-4
"""Variance between subjects, of the outcome's, below which a mixed model is none (numerical)."""


def summarize_participants(participants: pd.DataFrame, *, by: str = "group") -> pd.DataFrame:
    """Table 1 of a cohort: each covariate by group, as text ready to be shown.

    Parameters
    ----------
    participants : DataFrame
        As participants.tsv: one row a subject, ``participant_id``, a column ``by``, and any covariates.
    by : str
        Column of groups; where it is missing there is one column, ``all``.

    Returns
    -------
    DataFrame
        Index (variable, level). Numbers: median (lower to upper quartile), range in the level's name where units
        are part of it; others: count (percent). Columns: each group with its n, then ``all`` and ``missing``, the
        number of subjects without a value. No p values: a table of who was studied is not a test.

    Examples
    --------
    >>> people = pd.DataFrame({"participant_id": ["sub-1", "sub-2"], "group": ["iph", "control"], "age": [7.0, 9.0]})
    >>> summarize_participants(people).loc[("age", "median (quartiles)"), "all (n=2)"]
    '8 (7.5 to 8.5)'
    """
    groups = _grouped(participants, by)
    variables = [name for name in participants.columns if name not in ("participant_id", by)]
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for name in variables:
        values = participants[name]
        missing = str(int(values.isna().sum()))
        for level, describe in _levels(values):
            cells = {label: describe(part[name]) for label, part in groups.items()}
            lines[name, level] = cells | {"missing": missing}
    index = pd.MultiIndex.from_tuples(list(lines), names=["variable", "level"]) if lines else None
    return pd.DataFrame(list(lines.values()), index=index)


def compare_groups(
    rows: pd.DataFrame,
    labels: pd.Series,
    *,
    reference: str = "control",
    regions: Iterable[str] = (Region.LUNG,),
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """Every measure of every group against a reference group, with effect size, interval and corrected p value.

    Parameters
    ----------
    rows : DataFrame
        The one table. Measures ``..._vs_controls`` and those that describe the scan rather than the lung are left out.
    labels : Series of str
        Group of each subject (index: subject), or phase of each session (index: subject, session).
    reference : str
        The label all others are set against.
    regions : iterable of str
        Regions to compare; the more there are, the more the correction costs.
    protocol : Protocol

    Returns
    -------
    DataFrame
        One row a measure and group: ``modality, region, measure, unit, group, reference, n, n_reference,
        difference, difference_low, difference_high`` (means, in the measure's unit, Welch's 95 % interval),
        ``hedges_g, g_low, g_high`` (in standard deviations, positive: higher than the reference; 95 % interval),
        ``p`` (Mann-Whitney, two-sided), ``p_corrected`` (Benjamini-Hochberg over the whole table), ``worse``
        (catalogue), ``flag``: ``small_sample`` (fewer subjects in a group than the protocol asks for),
        ``repeated_subjects`` (some subjects are in both groups, so they are not independent).

    Raises
    ------
    ValueError
        Where no row carries the reference label.

    Notes
    -----
    A subject counts once a group: its sessions with that label are averaged first. Intervals rest on the normal
    distribution and are wide where groups are small; a p value above 0.05 is no proof of no difference.

    References
    ----------
    Hedges 1981, doi 10.3102/10769986006002107; Benjamini & Hochberg 1995, doi 10.1111/j.2517-6161.1995.tb02031.x.
    """
    from scipy.stats import false_discovery_control

    values = _one_a_subject(rows, labels, regions)
    if reference not in set(values["label"]):
        given = ", ".join(sorted(set(map(str, values["label"])))) or "none"
        raise ValueError(f"no measured subject is labelled {reference!r}; labels with rows are: {given}")
    found = []
    for key, part in values.groupby(_KEY, sort=False):
        base = part[part["label"] == reference].set_index("subject")["value"]
        for label, group in part[part["label"] != reference].groupby("label", sort=True):
            effect = _effect(group.set_index("subject")["value"], base, protocol.groups.few_subjects)
            found.append(dict(zip(_KEY, key, strict=True)) | {"group": label, "reference": reference} | effect)
    table = pd.DataFrame(found, columns=_EFFECT_COLUMNS)
    table["unit"] = table["measure"].map(lambda name: MEASURES[name].unit)
    table["worse"] = table["measure"].map(lambda name: str(MEASURES[name].worse))
    tested = table["p"].notna()
    table.loc[tested, "p_corrected"] = false_discovery_control(table.loc[tested, "p"]) if tested.any() else np.nan
    return table


_EFFECT_COLUMNS = [
    *_KEY, "unit", "group", "reference", "n", "n_reference", "difference", "difference_low", "difference_high",
    "hedges_g", "g_low", "g_high", "p", "p_corrected", "worse", "flag",
]  # fmt: skip


def hedges_g(values: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[float, float, float]:
    """Standardized mean difference, corrected for small samples, with its 95 % interval.

    Parameters
    ----------
    values, reference : array_like, shape (n,), (m,)

    Returns
    -------
    g, low, high : float
        In pooled standard deviations; positive where values lie above the reference. NaN where either has fewer than
        two values or nothing varies.

    References
    ----------
    Hedges 1981, doi 10.3102/10769986006002107; interval from the large-sample variance.

    Examples
    --------
    >>> round(hedges_g([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])[0], 3)
    0.8
    """
    a, b = np.asarray(values, float), np.asarray(reference, float)
    n, m = len(a), len(b)
    if min(n, m) < 2:
        return np.nan, np.nan, np.nan
    pooled = np.sqrt(((n - 1) * a.var(ddof=1) + (m - 1) * b.var(ddof=1)) / (n + m - 2))
    if not pooled > 1e-12 * max(abs(a).max(), abs(b).max()):
        return np.nan, np.nan, np.nan
    g = (1 - 3 / (4 * (n + m - 2) - 1)) * (a.mean() - b.mean()) / pooled
    half = 1.959964 * np.sqrt((n + m) / (n * m) + g * g / (2 * (n + m)))
    return float(g), float(g - half), float(g + half)


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
    ValueError
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
        raise ValueError(
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
    ValueError
        Where a column is missing.
    """
    _require(sessions, ["subject", "days", "phase", dose], "sessions")
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
    ValueError
        Where there is no subject.

    References
    ----------
    Kaplan & Meier 1958, doi 10.1080/01621459.1958.10501452; the computation is that of lifelines.
    """
    _require(times, ["days", "recurred"], "times")
    if times.empty:
        raise ValueError("no subject was tapered: there is no time to recurrence to estimate")
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


def _grouped(participants: pd.DataFrame, by: str) -> dict[str, pd.DataFrame]:
    groups: dict[str, pd.DataFrame] = {}
    if by in participants:
        for label, part in participants.groupby(by, sort=True, dropna=False):
            name = f"no {by}" if pd.isna(label) else str(label)
            groups[f"{name} (n={len(part)})"] = part
    return groups | {f"all (n={len(participants)})": participants}


def _levels(values: pd.Series) -> list[tuple[str, Any]]:
    """Names of a variable's lines with the function that fills a cell."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return [("median (quartiles)", _quartiles)]
    return [(str(level), _counter(level)) for level in sorted(values.dropna().unique(), key=str)]


def _quartiles(values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return "n/a"
    low, middle, high = np.percentile(known, [25, 50, 75])
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def _counter(level: Any) -> Any:
    def count(values: pd.Series) -> str:
        n, known = int((values == level).sum()), int(values.notna().sum())
        return f"{n} ({100 * n / known:.0f} %)" if known else "n/a"

    return count


def _one_a_subject(rows: pd.DataFrame, labels: pd.Series, regions: Iterable[str]) -> pd.DataFrame:
    """Mean of each measure over the sessions of a subject that carry one label."""
    keys = ["subject", "session"] if labels.index.nlevels == 2 else ["subject"]
    named = labels.rename("label").rename_axis(keys).reset_index().dropna()
    compared = rows["measure"].map(lambda name: MEASURES[name].compared)
    chosen = rows[compared & rows["region"].isin(list(regions)) & rows["value"].notna()]
    joined = chosen.merge(named, on=keys)
    return joined.groupby([*_KEY, "label", "subject"], sort=False)["value"].mean().reset_index()


def _effect(group: pd.Series, base: pd.Series, few: int) -> dict[str, object]:
    from scipy.stats import mannwhitneyu, ttest_ind

    g, g_low, g_high = hedges_g(group, base)
    testable = min(len(group), len(base)) >= 2
    varied = testable and np.ptp(np.concatenate([group, base])) > 0
    interval = ttest_ind(group, base, equal_var=False).confidence_interval() if np.isfinite(g) else (np.nan, np.nan)
    flags = ["small_sample"] if min(len(group), len(base)) < few else []
    flags += ["repeated_subjects"] if set(group.index) & set(base.index) else []
    return {
        "n": len(group), "n_reference": len(base), "difference": float(group.mean() - base.mean()),
        "difference_low": float(interval[0]), "difference_high": float(interval[1]),
        "hedges_g": g, "g_low": g_low, "g_high": g_high,
        "p": float(mannwhitneyu(group, base).pvalue) if varied else np.nan, "flag": ";".join(flags),
    }  # fmt: skip


def _trend_data(
    rows: pd.DataFrame, sessions: pd.DataFrame, measure: str, modality: str, region: str, covariates: Sequence[str]
) -> pd.DataFrame:
    if measure not in MEASURES:
        raise ValueError(f"measure {measure!r} is not in the catalogue terms.MEASURES")
    _require(sessions, ["subject", "session", "days", *covariates], "sessions")
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


def _require(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(
            f"{name} lack the columns {', '.join(missing)}; there are: {', '.join(map(str, table.columns))}"
        )
