"""The CT step of a session: attenuation, and the patterns of lung."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ipha_toolkit.io.outputs import Part
from ipha_toolkit.measure.attenuation import measure_attenuation
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.measure.texture import measure_texture
from ipha_toolkit.run.scan import Scan
from ipha_toolkit.terms import Region


def measure_ct(scan: Scan) -> Part:
    """Attenuation and texture by region, with the lung mask and the opacity map."""
    chest, _, missing = scan.chest, scan.sides, scan.missing_ml
    scan.forget("volume")  # the chest is enough from here on
    regions, vessels, flags = scan.regions, scan.vessels, scan.flags
    texture = measure_texture(
        chest, scan.chest_lungs, vessels=vessels, flags=flags, protocol=scan.protocol
    )  # fmt: skip
    rows = measure_attenuation(
        chest, scan.chest_lungs, vessels=vessels, regions=regions, flags=flags, protocol=scan.protocol
    )  # fmt: skip
    voxels = scan.lungs.n_voxels
    lacks = [row("lung_missing_volume", missing, modality="ct", region=Region.LUNG, n_voxels=voxels, flags=flags)]
    known = [table(lacks)] if np.isfinite(missing) else []
    return Part(
        scan.role,
        pd.concat([rows, texture.rows, *known], ignore_index=True),
        masks={"lung": scan.lungs},
        maps={"opacity": texture.opacity.replace(meta={})},
    )
