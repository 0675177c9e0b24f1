"""What an entry of the catalogue says of a measure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Worse(StrEnum):
    """Direction in which a measure is worse."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class Measure:
    """One entry of the catalogue."""

    name: str
    definition: str
    unit: str
    worse: Worse
    source: str
    compared: bool = True
    """Whether it is set against controls; false for what describes the scan rather than the lung."""
