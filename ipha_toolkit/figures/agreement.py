"""Figures that set measured values beside true ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.figures.core import CONTROL_INK, SERIES_COLOURS, describe, new_figure
from ipha_toolkit.wording import number, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_MARKS = {"none": "o", "acute": "s", "subacute": "^", "chronic": "D", "edema": "v"}


def scatter(pairs: pd.DataFrame, keys: Sequence[tuple[str, str]]) -> Axes:
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    axes = new_figure(3.3 * columns, 3.0 * rows).subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(keys) :]:
        ax.remove()
    for n, (ax, (modality, measure)) in enumerate(zip(axes, keys, strict=False)):
        own = pairs[(pairs["modality"] == modality) & (pairs["measure"] == measure)]
        both = own[["true", "measured"]].to_numpy()
        low, high = both.min(), both.max()
        margin = 0.06 * (high - low or 1)
        ax.axline((low, low), slope=1, color=CONTROL_INK, lw=1)
        for phase, group in own.groupby("phase", sort=False):
            colour = SERIES_COLOURS[list(_MARKS).index(str(phase))]
            ax.scatter(group["true"], group["measured"], s=26, marker=_MARKS[str(phase)], color=colour, label=phase)
        unit = MEASURES[measure].unit
        ax.set(xlabel=f"true ({unit})", ylabel=f"measured ({unit})", aspect="equal",
               xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))  # fmt: skip
        ax.set_title(f"{modality} {measure.replace('_', ' ')}", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        if n == 0:
            ax.legend(frameon=False, fontsize=8)
        off = own["measured"] - own["true"]
        said = (f"{modality} {measure.replace('_', ' ')}: {len(own)} sessions, true {number(own['true'].min())} to "
                f"{number(own['true'].max())}, mean difference {signed(off.mean())} {unit}")  # fmt: skip
        describe(ax, said.removesuffix(" 1") + ".")
    return cast("Axes", axes[0])
