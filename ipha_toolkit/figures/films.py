"""Figures of radiographs over days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ipha_toolkit.compare.clearing import follow_radiographs
from ipha_toolkit.figures.core import CONTROL_INK, SERIES_COLOURS, describe, legend_above, new_figure, plain
from ipha_toolkit.protocol import DEFAULT, Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ZONES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_middle", "left_lower")


def plot_opacity_series(
    rows: pd.DataFrame,
    days: dict[str, float],
    *,
    measure: str = "film_opacity_mean",
    regions: Sequence[str] = _ZONES,
    protocol: Protocol = DEFAULT,
    ax: Axes | None = None,
) -> Axes:
    """A measure of one patient's radiographs by zone over days; dotted where the whole lung had cleared.

    Parameters
    ----------
    rows : DataFrame
        The one table; rows of one subject.
    days : dict of str to float
        Day of each session.
    measure : str
        Of `measure_radiograph`.
    regions : sequence of str
    ax : Axes, optional

    Returns
    -------
    Axes
        With its description in words.
    """
    ax = new_figure().subplots() if ax is None else ax
    chosen = rows[(rows["modality"] == "dx") & (rows["measure"] == measure)]
    chosen = chosen.assign(day=chosen["session"].map(days)).sort_values("day")
    for number, region in enumerate(regions):
        line = chosen[chosen["region"] == region]
        style = "-" if "right" in region else "--"
        colour = SERIES_COLOURS[number % 3 if len(regions) == 6 else number % len(SERIES_COLOURS)]
        ax.plot(line["day"], line["value"], style, marker="o", ms=4, color=colour, label=region.replace("_", " "))
    whole = follow_radiographs(rows[rows["region"] == "lung"], days, protocol=protocol).iloc[0]
    ax.set_xlabel("day")
    ax.set_ylabel(f"{measure.removeprefix('film_').replace('_', ' ')} (1)")
    legend_above(plain(ax))
    if pd.isna(whole["days_to_clear"]):
        words = "no rise to clear"
    elif whole["censored"]:
        words = f"not cleared by the last film, {whole['days_to_clear']:.1f} days after the peak"
    else:
        ax.axvline(whole["peak_day"] + whole["days_to_clear"], color=CONTROL_INK, ls=":")
        words = (
            f"whole lung cleared {whole['days_to_clear']:.1f} days after the peak on day {whole['peak_day']:g} "
            f"(between {whole['low']:g} and {whole['high']:g})"
        )
    return describe(ax, f"{measure} of {len(regions)} regions on {chosen['day'].nunique()} days: {words}.")
