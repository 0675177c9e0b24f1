"""A contact sheet of the series of an import: the middle slice of each, with what it is to become."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from ipha_toolkit.errors import IphaError
from ipha_toolkit.figures.core import describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ipha_toolkit.run.plan import ImportPlan

_ACROSS = 6


def plot_plan(plan: ImportPlan, *, across: int = _ACROSS) -> Figure:
    """The middle slice of every series, as it stands in the file, under its number, role and words.

    Each picture has a grey scale of its own, from the 1st to the 99th percentile. Series without an image, or whose
    pixels cannot be read, have no picture.

    Parameters
    ----------
    plan : ImportPlan
    across : int
        Pictures in a row.
    """
    pictures, blank = {}, []
    for series in plan.parts:
        try:
            picture = plan.picture(series)
        except IphaError:
            picture = np.zeros((1, 1), np.float32)
        if picture.size > 1:
            pictures[series] = picture
        else:
            blank.append(series)
    rows = ceil(max(len(pictures), 1) / across)
    figure = new_figure(1.7 * across, 2.1 * rows)
    told = plan.table.set_index("series")
    for n, (series, picture) in enumerate(pictures.items(), 1):
        ax = figure.add_subplot(rows, across, n)
        low, high = np.nanpercentile(picture, (1, 99))
        ax.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        ax.set_axis_off()
        role, words = str(told.loc[series, "role"]), str(told.loc[series, "words"])
        ax.set_title(f"{series}  {role}\n{words[:22]}", fontsize=8, loc="left")
        what = f"{series}: {role}, {words or 'no words'}, {picture.shape[1]} x {picture.shape[0]} pixels."
        describe(ax, f"Middle slices of {len(pictures)} series. {what}" if n == 1 else what)
    if not pictures:
        describe(figure.add_subplot(), f"No picture: none of {len(blank)} series holds an image that can be read.")
    return figure
