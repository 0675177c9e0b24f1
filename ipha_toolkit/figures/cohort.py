"""Figures of a cohort: trends over dates, effects between groups, treatment and bleeds. Each carries its description,
see :mod:`ipha_toolkit.figures.core`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.compare.groups import require
from ipha_toolkit.errors import DataError
from ipha_toolkit.figures.core import SERIES_COLOURS, describe, legend_above, literal, new_figure, plain
from ipha_toolkit.measure.rows import usable
from ipha_toolkit.terms import Phase, Region
from ipha_toolkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PHASE_MARKERS = {Phase.ACUTE: ("v", "#d55e00"), Phase.SUBACUTE: ("s", "#e69f00"), Phase.CHRONIC: ("o", "#0072b2")}
_MOST_SUBJECTS = len(SERIES_COLOURS)
_FEW = 20
"""Lines up to which a figure of one a line gives each some room; more stand closer, so that a screen holds them."""


def plot_trend(
    rows: pd.DataFrame,
    sessions: pd.DataFrame,
    *,
    measure: str,
    modality: str,
    region: str = Region.LUNG,
    scatter: pd.DataFrame | None = None,
    controls: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One measure over the dates of a few subjects, with the band in which a change cannot be told from scatter.

    Parameters
    ----------
    rows : DataFrame
        The one table, of at most six subjects with the measure.
    sessions : DataFrame
        ``subject, session, days``.
    measure, modality, region : str
    scatter : DataFrame, optional
        As of :func:`ipha_toolkit.compare.change.repeatability`: each subject's band is its first value plus and minus
        the repeatability coefficient.
    controls : DataFrame, optional
        Rows of the controls; their range is drawn as a grey band, none where they lack the measure.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        Where no session has the measure and a day, or more than six subjects do.
    """
    require(sessions, ["subject", "session", "days"], "sessions", numbers=["days"])
    data = (
        _chosen(rows, measure, modality, region).merge(sessions[["subject", "session", "days"]]).dropna(subset="days")
    )
    subjects = list(dict.fromkeys(data["subject"]))
    if not 1 <= len(subjects) <= _MOST_SUBJECTS:
        raise DataError(
            f"{modality} {measure}: a trend shows one to {_MOST_SUBJECTS} subjects that have the measure and a day, "
            f"got {len(subjects)}; choose rows of fewer subjects"
        )
    ax = ax or new_figure(6.4, 3.8).subplots()
    title, unit = measure.replace("_", " "), MEASURES[measure].unit
    words = [f"{modality} {title} ({unit}) over time."]
    band = None if controls is None else _chosen(controls, measure, modality, region)
    if band is not None and len(band):
        words.append(_control_band(ax, band))
    limit = _limit(scatter, measure, modality, region)
    for colour, subject in zip(SERIES_COLOURS, subjects, strict=False):
        part = data[data["subject"] == subject].sort_values("days")
        years, values = part["days"].to_numpy(float) / 365.25, part["value"].to_numpy(float)
        ax.plot(years, values, "o-", color=colour, lw=1.6, ms=5, label=literal(subject))
        if np.isfinite(limit):
            ax.fill_between(years, values[0] - limit, values[0] + limit, color=colour, alpha=0.15, lw=0)
        said = ", ".join(f"{number(value)} at {year:.1f} years" for year, value in zip(years, values, strict=True))
        words.append(f"{subject}: {said}.")
    if np.isfinite(limit):
        words.append(f"Shaded: first value plus and minus the smallest detectable change, {number(limit)} {unit}.")
    ax.set(xlabel="time since the first date (years)", ylabel=f"{title} ({unit})")
    legend_above(plain(ax))
    return describe(ax, " ".join(words))


def plot_groups(
    rows: pd.DataFrame,
    sessions: pd.DataFrame,
    *,
    measure: str,
    modality: str,
    region: str = Region.LUNG,
    reference: str = "control",
    ax: Axes | None = None,
) -> Axes:
    """One measure by group: a dot a session, the median as a line, the range of the reference group behind all.

    Below each group stands its number of sessions.

    Parameters
    ----------
    rows : DataFrame
        The one table.
    sessions : DataFrame
        ``subject, session, group``; groups are drawn in the order in which they come.
    measure, modality, region : str
    reference : str
        The group whose range is shaded.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        Where no session has the measure and a group.
    """
    require(sessions, ["subject", "session", "group"], "sessions")
    data = _chosen(rows, measure, modality, region).merge(sessions[["subject", "session", "group"]])
    groups = [name for name in dict.fromkeys(sessions["group"]) if (data["group"] == name).any()]
    if not groups:
        raise DataError(f"{modality} {measure}: no session has it and a group")
    ax = ax or new_figure(0.9 * len(groups) + 1.8, 2.9).subplots()
    entry = MEASURES[measure]
    words = [f"{modality} {measure.replace('_', ' ')} ({entry.unit}) by group."]
    band = data[data["group"] == reference]
    if len(band):
        words.append(_control_band(ax, band))
    for place, name in enumerate(groups):
        values = np.sort(data.loc[data["group"] == name, "value"].to_numpy(float))
        aside = 0.12 * (np.arange(len(values)) % 3 - 1)  # neighbours by value do not hide each other
        ax.plot(place + aside, values, "o", color="#0072b2", ms=4.5, alpha=0.75, mew=0)
        median = float(np.median(values))
        ax.plot([place - 0.28, place + 0.28], [median, median], color="black", lw=1.6)
        words.append(f"{name}: median {number(median)} of {len(values)} sessions.")
    counts = data["group"].value_counts()
    ax.set_xticks(range(len(groups)), [f"{literal(name)}\n{counts[name]}" for name in groups])
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.set_ylabel(f"{modality} {measure.replace('_', ' ')}\n({entry.unit})", fontsize=9)
    return describe(plain(ax), " ".join(words))


def plot_forest(effects: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Standardized differences of measures between a group and its reference, with 95 % intervals.

    Parameters
    ----------
    effects : DataFrame
        As of :func:`ipha_toolkit.compare.groups.compare_groups`; rows without an effect are left out.
    ax : Axes, optional

    Returns
    -------
    Axes
        Largest effect on top; filled where the corrected p value is below 0.05, open where it is not.

    Raises
    ------
    DataError
        Where no row has an effect.
    """
    known = effects.dropna(subset=["hedges_g"])
    if known.empty:
        raise DataError("no measure has an effect size: each group needs two subjects or more")
    known = known.iloc[known["hedges_g"].abs().argsort(kind="stable")]
    ax = ax or new_figure(7.0, 0.6 + (0.3 if len(known) <= _FEW else 0.2) * len(known)).subplots()
    groups = sorted(set(known["group"]))
    words = []
    for place, row in enumerate(known.to_dict("records")):
        colour = SERIES_COLOURS[groups.index(row["group"]) % len(SERIES_COLOURS)]
        sure = row["p_corrected"] < 0.05
        ax.plot([row["g_low"], row["g_high"]], [place, place], color=colour, lw=1.4)
        ax.plot(row["hedges_g"], place, "o", color=colour, ms=6, mfc=colour if sure else "white")
        words.append(
            f"{row['modality']} {row['measure'].replace('_', ' ')} of {row['region']}, {row['group']}: "
            f"{number(row['hedges_g'])} ({number(row['g_low'])} to {number(row['g_high'])})"
        )
    names = known["modality"] + " " + known["measure"].str.replace("_", " ")
    if len(set(known["region"])) > 1:
        names += ", " + known["region"]
    if len(groups) > 1:
        names += " · " + known["group"].astype(str)
    ax.set_yticks(range(len(known)), [literal(name) for name in names], fontsize=8)
    ax.axvline(0, color="black", lw=0.8)
    reference, most = known["reference"].iloc[0], int(known[["n", "n_reference"]].max().max())
    ax.set(
        xlabel=f"difference from {literal(str(reference))} (pooled SD, Hedges' g, 95 % interval)",
        ylim=(-0.6, len(known) - 0.4),
    )
    plain(ax).text(
        1, 1, f"filled: corrected p < 0.05; at most {most} subjects a group", transform=ax.transAxes, ha="right",
        va="bottom", size=7.5, color="#444444",
    )  # fmt: skip
    return describe(
        ax, f"Standardized differences from {reference} with 95 % intervals, largest first: "
        + "; ".join(reversed(words)) + ".",
    )  # fmt: skip


def plot_swimmer(
    sessions: pd.DataFrame, *, dose: str = "prednisone_mg_per_day", phase: str = "phase", ax: Axes | None = None
) -> Axes:
    """Treatment and phases of every subject over time: one bar a subject, as dark as the dose is high.

    Parameters
    ----------
    sessions : DataFrame
        ``subject, days``, the daily dose and the phase at each visit. The dose is drawn as constant until the next
        visit.
    dose, phase : str
        Columns.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        Where a column is missing or no visit has a day.
    """
    require(sessions, ["subject", "days", dose, phase], "sessions", numbers=["days", dose])
    visits = sessions.dropna(subset=["days"]).sort_values(["subject", "days"])
    if visits.empty:
        raise DataError("no visit has a day: there is no time to draw")
    from matplotlib import colormaps

    span = visits.groupby("subject")["days"].agg(np.ptp).sort_values(kind="stable")
    ax = ax or new_figure(7.0, 1.2 + (0.34 if len(span) <= _FEW else 0.22) * len(span)).subplots()
    doses = pd.to_numeric(visits[dose])
    highest = max(float(doses.max()) if doses.notna().any() else 0.0, 1e-9)
    shades, words = colormaps["Greys"], []
    for place, subject in enumerate(span.index):
        part = visits[visits["subject"] == subject]
        years = part["days"].to_numpy(float) / 365.25
        for start, end, given in zip(years[:-1], years[1:], part[dose].to_numpy(float), strict=False):
            shade = "white" if np.isnan(given) else shades(0.08 + 0.62 * given / highest)
            ax.barh(place, end - start, 0.62, left=start, color=shade, edgecolor="#bbbbbb", lw=0.5)
        _mark_phases(ax, years, part[phase], place)
        seen = ", ".join(f"{name} at {year:.1f}" for year, name in zip(years, part[phase], strict=True))
        words.append(f"{subject}: {seen} years")
    ax.set_yticks(range(len(span)), [literal(str(name)) for name in span.index], fontsize=8)
    ax.set(xlabel="time since the first date (years)", ylim=(-0.6, len(span) - 0.4))
    _shade_bar(ax, highest, dose)
    _phase_legend(plain(ax))
    return describe(
        ax, f"Visits of {len(span)} subjects with their phase, over bars shaded by {dose}. " + "; ".join(words) + "."
    )


def _mark_phases(ax: Axes, years: np.ndarray, phases: pd.Series, place: int) -> None:
    for year, name in zip(years, phases, strict=True):
        marker, colour = _PHASE_MARKERS.get(name, ("|", "#444444"))
        edge = "white" if marker != "|" else colour
        ax.plot(year, place, marker, color=colour, ms=7, mec=edge, mew=0.8, zorder=3, clip_on=False)


def _phase_legend(ax: Axes) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="", marker=marker, color=colour, label=str(name))
        for name, (marker, colour) in _PHASE_MARKERS.items()
    ]
    handles.append(Line2D([], [], ls="", marker="|", color="#444444", label="other visit"))
    ax.legend(handles=handles, frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))


def _shade_bar(ax: Axes, highest: float, dose: str) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    shades = ListedColormap(colormaps["Greys"](np.linspace(0.08, 0.70, 64)))
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(ScalarMappable(Normalize(0, highest), shades), ax=ax, pad=0.02, shrink=0.8)
    name, _, unit = dose.partition("_")
    bar.set_label(literal(f"{name} ({unit.replace('_per_', '/').replace('_', ' ')})" if unit else name), fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _chosen(rows: pd.DataFrame, measure: str, modality: str, region: str) -> pd.DataFrame:
    rows = usable(rows)
    kept = (rows["measure"] == measure) & (rows["modality"] == modality) & (rows["region"] == region)
    return rows[kept & rows["value"].notna()]


def _control_band(ax: Axes, controls: pd.DataFrame) -> str:
    low, high = float(controls["value"].min()), float(controls["value"].max())
    n = controls["subject"].nunique()
    who = f"{n} control" if n == 1 else f"{n} controls"
    ax.axhspan(low, high, color="#d9d9d9", lw=0, zorder=0, label=f"{who}, range")
    return f"Grey: range of {who}, {number(low)} to {number(high)}."


def _limit(scatter: pd.DataFrame | None, measure: str, modality: str, region: str) -> float:
    if scatter is None:
        return np.nan
    kept = (scatter["measure"] == measure) & (scatter["modality"] == modality) & (scatter["region"] == region)
    found = scatter.loc[kept, "repeatability_coefficient"]
    return float(found.iloc[0]) if len(found) else np.nan
