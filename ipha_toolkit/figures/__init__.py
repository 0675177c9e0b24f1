"""Pictures: what is drawn with matplotlib, each figure with its description in words. Public as ``ipha.plots``."""

from __future__ import annotations

from typing import Any

from ipha_toolkit import lazy

_HOME = {
    "show": "core",
    "choose": "core",
    "wrapped": "core",
    "describe": "core",
    "alt_text": "core",
    "to_png": "core",
    "to_html": "core",
    "new_figure": "core",
    "SERIES_COLOURS": "core",
    "plot_slice": "slices",
    "plot_comparison": "slices",
    "plot_mosaic": "slices",
    "plot_nodules": "slices",
    "plot_histogram": "numbers",
    "plot_signature": "numbers",
    "plot_states": "numbers",
    "plot_zones": "numbers",
    "plot_opacity_series": "films",
    "plot_forest": "cohort",
    "plot_swimmer": "cohort",
    "plot_trend": "cohort",
    "plot_groups": "cohort",
    "plot_plan": "series",
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    return lazy.find(__name__, _HOME, name)


def __dir__() -> list[str]:
    return sorted(__all__)
