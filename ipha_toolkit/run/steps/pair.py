"""The step of T1w and T2w together: what the hemosiderin signature needs, before controls are known."""

from __future__ import annotations

from ipha_toolkit.image.align import align
from ipha_toolkit.io.names import PAIR
from ipha_toolkit.io.outputs import Part
from ipha_toolkit.measure.hemosiderin import (
    joint_histogram,
    pair_rows,
    ratio_pair,
    signature_map,
)
from ipha_toolkit.measure.rows import table
from ipha_toolkit.run.scan import Scan


def measure_pair(t1w: Scan, t2w: Scan) -> Part:
    """The signature on the grid of T1w; what needs controls is left to the second pass."""
    second, even, noise, moved = t2w.volume, t2w.ratio, t2w.noise, set()
    if not t1w.volume.same_grid(second):
        alignment = align(
            second, t1w.volume, moving_mask=t2w.lungs, fixed_mask=t1w.lungs, protocol=t1w.protocol
        )  # fmt: skip
        second, even, moved = alignment.apply(second), alignment.apply(even), {"realigned"}
    known = (t1w.noise, noise if t2w.lungs is t1w.lungs else None)
    pair = ratio_pair(
        t1w.volume, second, t1w.lungs, t1w.muscle, corrected=(t1w.ratio, even), noise=known, protocol=t1w.protocol
    )  # fmt: skip
    flags = t1w.flags | t2w.flags | moved | set(pair.flags)
    histogram = joint_histogram(pair, t1w.regions, t1w.lungs, protocol=t1w.protocol)
    return Part(
        PAIR,
        table(pair_rows(pair, histogram, flags)),
        maps={"signature": signature_map(pair, None).replace(meta={})},
        histogram=histogram,
    )
