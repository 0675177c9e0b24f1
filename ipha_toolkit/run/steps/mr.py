"""The step of T1w and of T2w: signal against muscle."""

from __future__ import annotations

from ipha_toolkit.io.outputs import Part
from ipha_toolkit.measure.signal import measure_signal
from ipha_toolkit.run.scan import Scan


def measure_mr(scan: Scan) -> Part:
    """Ratio to muscle by region, with the masks of lung and muscle, the ratio map and its histogram."""
    regions, muscle = scan.regions, scan.muscle
    measured = measure_signal(
        scan.volume, scan.lungs, muscle, corrected=scan.corrected, regions=regions, noise=scan.noise, flags=scan.flags,
        protocol=scan.protocol,
    )  # fmt: skip
    scan.__dict__["ratio"] = measured.ratio
    return Part(
        scan.role,
        measured.rows,
        masks={"lung": scan.lungs, "muscle": muscle},
        maps={"ratio": measured.ratio.replace(meta={})},
        histogram=measured.histogram,
    )
