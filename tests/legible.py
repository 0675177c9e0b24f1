"""What cannot be read on a figure, by matplotlib's extents: text over text, text cut off, a legend over the data."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection

SLACK_PX = 1.5


def faults(figure: Any) -> list[str]:
    """Every fault of a figure in words; none where all can be read."""
    FigureCanvasAgg(figure).draw()
    shown = [(text, text.get_window_extent()) for text in _texts(figure)]
    found = [
        f"{one.get_text()!r} lies over {other.get_text()!r}"
        for (one, here), (other, there) in combinations(shown, 2)
        if _overlap(here, there)
    ]
    found += [f"{text.get_text()!r} is cut off" for text, box in shown if _outside(box, figure.bbox)]
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend is not None and _covers(legend.get_window_extent(), ax):
            found.append(f"the legend of {ax.get_ylabel()!r} lies over the data")
        inside = [text for text in ax.texts if text.get_text().strip() and text.get_window_extent().overlaps(ax.bbox)]
        if ax.images:
            found += [
                f"{t.get_text()!r} leaves its picture" for t in inside if _outside(t.get_window_extent(), ax.bbox)
            ]
    return found


def _texts(figure: Any) -> list[Any]:
    found = list(figure.texts)
    for ax in figure.axes:
        found += [ax.title, ax._left_title, ax._right_title, *ax.texts]
        if ax.axison:
            found += [ax.xaxis.label, ax.yaxis.label]
            for axis in (ax.xaxis, ax.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
                found += [label for place, label in ticks if low <= place <= high]
        if ax.get_legend():
            found += ax.get_legend().get_texts()
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def _overlap(one: Any, other: Any) -> bool:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return min(width, height) > SLACK_PX


def _outside(box: Any, within: Any) -> bool:
    return bool(
        min(box.x0 - within.x0, box.y0 - within.y0, within.x1 - box.x1, within.y1 - box.y1) < -SLACK_PX
    )  # fmt: skip


def _covers(box: Any, ax: Any) -> bool:
    places = [line.get_transform().transform(line.get_xydata()) for line in ax.lines if line.get_marker() != "None"]
    places += [_drawn(line) for line in ax.lines if line.get_marker() == "None"]
    places += [
        each.get_offset_transform().transform(each.get_offsets())
        for each in ax.collections if isinstance(each, PathCollection)
    ]  # fmt: skip
    dots = np.concatenate([np.asarray(each, float).reshape(-1, 2) for each in places]) if places else np.empty((0, 2))
    hit = (dots[:, 0] > box.x0) & (dots[:, 0] < box.x1) & (dots[:, 1] > box.y0) & (dots[:, 1] < box.y1)
    return bool(hit.any()) or any(_overlap(box, patch.get_window_extent()) for patch in ax.patches)


def _drawn(line: Any) -> Any:
    """A line's points with many between them."""
    ends = line.get_transform().transform(line.get_xydata())
    between = np.linspace(0, 1, 50)[:, None, None]
    return (ends[:-1] + between * (ends[1:] - ends[:-1])).reshape(-1, 2)
