"""The step of nodules, in CT and T1w."""

from __future__ import annotations

import pandas as pd

from ipha_toolkit.io.outputs import Part
from ipha_toolkit.measure.nodule_null import detectable_places
from ipha_toolkit.measure.nodules import (
    FEWEST_SLICES,
    NODULE_COLUMNS,
    detect_nodules,
    measure_nodules,
    too_coarse_for_nodules,
)
from ipha_toolkit.measure.rows import table
from ipha_toolkit.run.scan import Scan


def find_nodules(scan: Scan) -> Part:
    """The table of nodules and their rows; none of either in a few slices, which cannot tell nodules from vessels."""
    if min(scan.chest.shape) < FEWEST_SLICES:
        return Part(scan.role, table([]))
    regions = scan.regions
    if too_coarse_for_nodules(scan.chest, protocol=scan.protocol):
        none = pd.DataFrame(columns=list(NODULE_COLUMNS))
        return Part(
            scan.role, measure_nodules(none, scan.chest_lungs, modality=scan.role, regions=regions, flags=scan.flags)
        )
    nodules = detect_nodules(scan.chest, scan.chest_lungs, protocol=scan.protocol)
    implants = scan.protocol.nodules.null_implants
    null = (
        detectable_places(scan.chest, scan.chest_lungs, nodules, implants=implants, protocol=scan.protocol)
        if implants
        else None
    )
    rows = measure_nodules(
        nodules, scan.chest_lungs, modality=scan.role, regions=regions, null=null, flags=scan.flags,
        protocol=scan.protocol,
    )  # fmt: skip
    return Part(scan.role, rows, nodules=nodules)
