"""The CT step of a session."""

from __future__ import annotations

import pandas as pd

from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.results import SessionResult
from ipha_toolkit.run.scan import Context, find_lungs
from ipha_toolkit.run.steps.nodules import with_nodules
from ipha_toolkit.volume import Mask, Volume

_MARGIN_MM = 20.0


def measure_ct(files: SessionFiles, volume: Volume, context: Context, single: SessionResult) -> SessionResult:
    from ipha_toolkit.image.geometry import crop
    from ipha_toolkit.measure.attenuation import measure_attenuation
    from ipha_toolkit.measure.texture import measure_texture
    from ipha_toolkit.regions.vessels import segment_vessels
    from ipha_toolkit.regions.zones import lung_regions

    whole, flags = find_lungs(files, volume, context)
    chest, lungs = crop(volume, whole, margin_mm=_MARGIN_MM), crop(whole, whole, margin_mm=_MARGIN_MM)
    vessels = segment_vessels(chest, lungs, protocol=context.protocol)
    texture = measure_texture(chest, lungs, vessels=vessels, flags=flags, protocol=context.protocol)
    regions = lung_regions(lungs)
    rows = measure_attenuation(
        chest, lungs, vessels=vessels, regions=regions, flags=flags, protocol=context.protocol
    )  # fmt: skip
    images: dict[str, Volume | Mask] = {
        "ct_desc-lung_mask.nii.gz": whole, "ct_desc-opacity_map.nii.gz": texture.opacity.replace(meta={})
    }  # fmt: skip
    result = SessionResult(pd.concat([rows, texture.rows], ignore_index=True), images)
    return with_nodules(result, chest, lungs, flags, context, regions)
