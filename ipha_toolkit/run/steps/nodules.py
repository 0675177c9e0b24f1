"""Nodules of an image of which another step found the lungs."""

from __future__ import annotations

import pandas as pd

from ipha_toolkit.io.results import SessionResult
from ipha_toolkit.run.scan import Context
from ipha_toolkit.volume import Mask, Volume


def with_nodules(
    result: SessionResult,
    volume: Volume,
    lungs: Mask,
    flags: tuple[str, ...],
    context: Context,
    regions: dict[str, Mask] | None = None,
) -> SessionResult:
    """The result with the image's nodule table and their rows; a few slices cannot tell nodules from vessels."""
    from ipha_toolkit.measure.nodules import FEWEST_SLICES, detect_nodules, measure_nodules

    if min(volume.shape) < FEWEST_SLICES:
        return result
    role = str(volume.modality)
    nodules = detect_nodules(volume, lungs, protocol=context.protocol)
    rows = measure_nodules(nodules, lungs, modality=role, regions=regions, flags=flags, protocol=context.protocol)
    result.rows = pd.concat([result.rows, rows], ignore_index=True)
    result.tables[f"{role}_nodules.tsv"] = nodules
    return result
