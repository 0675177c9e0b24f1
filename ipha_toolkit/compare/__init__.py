"""Rows to answers: against controls, over time, between groups. Public as ``ipha.compare``."""

from __future__ import annotations

from typing import Any

from ipha_toolkit import lazy

_HOME = {
    "classify_phase": "phases",
    "compare_readings": "phases",
    "differential": "phases",
    "read_findings": "phases",
    "read_sessions": "phases",
    "compare_sessions": "change",
    "phantom_repeatability": "change",
    "read_change": "change",
    "repeatability": "change",
    "follow_radiographs": "clearing",
    "time_to_clear": "clearing",
    "compare_groups": "groups",
    "compare_sites": "sites",
    "hedges_g": "groups",
    "summarize_participants": "groups",
    "match_nodules": "nodules",
    "summarize_matches": "nodules",
    "fit_trend": "trends",
    "bland_altman": "readers",
    "cohens_kappa": "readers",
    "compare_masks": "readers",
    "icc": "readers",
    "subjects_needed": "readers",
    "trend_power": "readers",
    "recurrence_curve": "recurrence",
    "time_to_recurrence": "recurrence",
    "bleeding_intervals": "recurrence",
    "recurrence_rate": "recurrence",
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    return lazy.find(__name__, _HOME, name)


def __dir__() -> list[str]:
    return sorted(__all__)
