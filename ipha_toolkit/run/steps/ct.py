"""The CT step of a session: attenuation, and the patterns of lung."""

from __future__ import annotations

import pandas as pd

from ipha_toolkit.io.outputs import Part
from ipha_toolkit.measure.attenuation import measure_attenuation
from ipha_toolkit.measure.texture import measure_texture
from ipha_toolkit.run.scan import Scan


def measure_ct(scan: Scan) -> Part:
    """Attenuation and texture by region, with the lung mask and the opacity map."""
    chest, _ = scan.chest, scan.sides
    scan.forget("volume")  # the chest is enough from here on
    regions, vessels, flags = scan.regions, scan.vessels, scan.flags
    texture = measure_texture(
        chest, scan.chest_lungs, vessels=vessels, flags=flags, protocol=scan.protocol
    )  # fmt: skip
    rows = measure_attenuation(
        chest, scan.chest_lungs, vessels=vessels, regions=regions, flags=flags, protocol=scan.protocol
    )  # fmt: skip
    return Part(
        scan.role,
        pd.concat([rows, texture.rows], ignore_index=True),
        masks={"lung": scan.lungs},
        maps={"opacity": texture.opacity.replace(meta={})},
    )
