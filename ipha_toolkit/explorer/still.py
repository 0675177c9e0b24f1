"""The explorer's picture where no script runs: the number shown by group, with the controls' range, and its words."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.figures.core import CONTROL_INK, SERIES_COLOURS, describe, literal, new_figure, plain, to_png
from ipha_toolkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_groups(sessions: pd.DataFrame, values: pd.Series[float], key: tuple[str, str, str]) -> Axes:
    """A dot a session above its group, on the range of the controls.

    Parameters
    ----------
    sessions : DataFrame
        ``label, group, control``.
    values : Series
        The number of each session, by label.
    key : (str, str, str)
        Its modality, measure and region.
    """
    modality, measure, region = key
    unit = MEASURES[measure].unit if measure in MEASURES else ""
    title = f"{modality} {measure.replace('_', ' ')}" + (f", {region}" if region != "lung" else "")
    shown = sessions.assign(value=sessions["label"].map(values)).dropna(subset="value")
    groups = sorted(
        set(shown["group"]), key=lambda name: (not shown.loc[shown["group"] == name, "control"].any(), name)
    )
    ax, words = new_figure(6.4, 3.4).subplots(), [f"{title} ({unit}) by group, {len(shown)} sessions."]
    controls = shown.loc[shown["control"], "value"]
    if len(set(shown.loc[shown["control"], "subject"])) > 1:  # one has no range
        ax.axhspan(controls.min(), controls.max(), color="#d9d9d9", lw=0, zorder=0)
        words.append(f"Gray: range of the controls, {number(controls.min())} to {number(controls.max())}.")
    colours = iter(SERIES_COLOURS * len(groups))
    for place, name in enumerate(groups):
        own = shown[shown["group"] == name]
        colour = CONTROL_INK if own["control"].any() else next(colours)
        ax.plot(place + _spread(len(own)), own["value"], "o", color=colour, ms=5, alpha=0.85)
        words.append(f"{name}: median {number(own['value'].median())} of {len(own)}.")
    ax.set_xticks(range(len(groups)), [literal(name) for name in groups])
    ax.set(ylabel=literal(f"{title} ({unit})"), xlim=(-0.6, max(len(groups), 1) - 0.4))
    return describe(plain(ax), " ".join(words))


def picture(ax: Axes) -> Any:
    """A figure as a Pillow image."""
    from PIL import Image

    return Image.open(BytesIO(to_png(ax, dpi=110))).convert("RGB")


def _spread(count: int) -> Any:
    """Places across, so that neighbours do not hide each other; the same every time."""
    return ((np.arange(count) * 0.618) % 1 - 0.5) * 0.5
