"""The vocabulary: modalities, regions, phases, findings, and the catalogue of measures.

Every number the toolkit writes into ``measures.tsv`` is one of :data:`MEASURES`: what it is, its unit, which
direction is worse, and where it comes from. The catalogue is written beside the table as ``measures.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Modality(StrEnum):
    """Kind of image; the value is the BIDS suffix."""

    T1W = "T1w"
    T2W = "T2w"
    MEGRE = "MEGRE"
    CT = "ct"
    DX = "dx"


class Region(StrEnum):
    """Part of the lungs that a row of the table speaks of."""

    LUNG = "lung"
    LEFT = "left"
    RIGHT = "right"
    UPPER = "upper"
    MIDDLE = "middle"
    LOWER = "lower"
    CENTRAL = "central"
    PERIPHERAL = "peripheral"
    DORSAL = "dorsal"
    VENTRAL = "ventral"


class Phase(StrEnum):
    """Radiographic phase of pulmonary hemosiderosis."""

    NONE = "none"
    ACUTE = "acute"
    SUBACUTE = "subacute"
    CHRONIC = "chronic"
    INDETERMINATE = "indeterminate"


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


ROW_COLUMNS = ("subject", "session", "modality", "region", "measure", "value", "unit", "n_voxels", "flag")
"""Columns of the one long table. ``flag`` holds codes of :data:`FLAGS`, joined by ``;``, or is empty."""

FLAGS: dict[str, str] = {
    # lungs
    "one_lung": "only one lung was found",
    "cut_field_of_view": "the lungs reach the border of the image: volumes and zones are of what is shown",
    "implausible_lung_volume": "the lung volume is outside what a child or adult can have; look at the mask",
    "single_slice": "measured on one slice: no volume, no zones along the missing axis",
    "foreign_mask": "measured in a lung mask made elsewhere",
    # reference tissue
    "small_reference": "under 2 mL of reference muscle",
    "asymmetric_reference": "reference muscle differs by more than 25 % between left and right",
}
"""What each flag on a row means."""


def _catalogue(*measures: Measure) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


MEASURES: dict[str, Measure] = _catalogue(
    # lungs
    Measure(
        "lung_volume", "volume of the lung mask", "mL", Worse.LOWER, "voxel count times voxel volume"
    ),
)
"""Catalogue of measures by name."""
