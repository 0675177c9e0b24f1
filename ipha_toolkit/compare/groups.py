"""Groups and time: a Table 1, measures by group, trends with treatment, recurrence after tapering.

Statistics are those of scipy, statsmodels and lifelines; what is added here is the shape of the tables and the
honesty about them: how many subjects, which of them count twice, and that small samples are small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.errors import DataError
from ipha_toolkit.measure.rows import comparable
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Region

_KEY = ["modality", "region", "measure"]


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
    DataError
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
        raise DataError(f"no measured subject is labelled {reference!r}; labels with rows are: {given}")
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
    Hedges 1981, doi 10.3102/10769986006002107; interval by the noncentral t distribution, Cumming & Finch 2001, doi
    10.1177/0013164401614002, right from two values a group on where values are normal.

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
    d = float((a.mean() - b.mean()) / pooled)
    return (1 - 3 / (4 * (n + m - 2) - 1)) * d, *_effect_limits(d, n, m)


def _effect_limits(d: float, n: int, m: int) -> tuple[float, float]:
    """True effects whose noncentral t puts 2.5 % beyond the one seen, on either side."""
    from scipy.optimize import brentq
    from scipy.stats import nct

    root = np.sqrt(n * m / (n + m))
    seen, df = d * root, n + m - 2
    reach = 10 + 3 * abs(seen)  # of the noncentrality, more than its interval at two degrees of freedom

    def beyond(centre: float, share: float) -> float:
        below = float(nct.cdf(seen, df, centre))
        return (below if np.isfinite(below) else float(centre < seen)) - share  # scipy's far tails may be NaN

    low, high = (brentq(beyond, seen - reach, seen + reach, args=(share,), xtol=1e-4) for share in (0.975, 0.025))
    return float(low / root), float(high / root)


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
    chosen = comparable(rows)
    chosen = chosen[chosen["region"].isin(list(regions)) & chosen["value"].notna()]
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


def require(table: pd.DataFrame, columns: Sequence[str], name: str, *, numbers: Sequence[str] = ()) -> None:
    """Refuse a table that lacks columns, or has text where numbers belong.

    Raises
    ------
    DataError
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{name} lack the columns {', '.join(missing)}; there are: {', '.join(map(str, table.columns))}"
        )
    for column in numbers:
        known = table[column].dropna()
        wrong = known[pd.to_numeric(known, errors="coerce").isna()]
        if len(wrong):
            raise DataError(f"{name}: {column} holds {wrong.iloc[0]!r}, which is no number; write numbers alone")
