"""The step of multi-echo images: R2*."""

from __future__ import annotations

from ipha_toolkit.io.outputs import Part
from ipha_toolkit.measure.relaxometry import measure_r2star
from ipha_toolkit.run.scan import Scan
from ipha_toolkit.terms import Modality


def measure_echoes(scan: Scan) -> Part:
    """R2* by region, with the lung mask and the R2* map; without a CT of the session its density is not known."""
    scan.flags |= set() if Modality.CT in scan.files.images else {"no_lung_density"}
    regions = scan.regions
    echoes, te_ms = scan.echoes
    rows, fit = measure_r2star(echoes, te_ms, scan.lungs, regions=regions, flags=scan.flags, protocol=scan.protocol)
    return Part(scan.role, rows, masks={"lung": scan.lungs}, maps={"r2star": fit.r2star})
