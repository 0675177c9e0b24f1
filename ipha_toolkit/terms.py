"""The vocabulary: modalities, regions, phases, findings, and the catalogue of measures.

Every number the toolkit writes into ``measures.tsv`` is one of :data:`MEASURES`: what it is, its unit, which
direction is worse, and where it comes from. The catalogue is written beside the table as ``measures.json``.
"""

from __future__ import annotations

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
    RIGHT_UPPER = "right_upper"
    RIGHT_MIDDLE = "right_middle"
    RIGHT_LOWER = "right_lower"
    LEFT_UPPER = "left_upper"
    LEFT_MIDDLE = "left_middle"
    LEFT_LOWER = "left_lower"


class Phase(StrEnum):
    """Radiographic phase of pulmonary hemosiderosis, or what else a reading may answer."""

    NONE = "none"
    ACUTE = "acute"
    SUBACUTE = "subacute"
    CHRONIC = "chronic"
    AIR_SPACE = "air-space filling, cause open"
    FIBROSIS = "fibrosis, cause open"
    INDETERMINATE = "indeterminate"
    WITHHELD = "withheld"
