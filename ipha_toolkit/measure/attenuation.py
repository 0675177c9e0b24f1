"""CT attenuation of the lung: first-order statistics, high-attenuation area, ground glass, consolidation, volume.

| measure | higher means |
| --- | --- |
| mean, percentiles | denser lung: blood, edema, fibrosis, but also shallow breathing |
| skewness, excess kurtosis | a sharper peak of aerated lung with a tail: lower where disease is diffuse |
| high-attenuation area | more lung between air and soft tissue |
| ground glass, consolidation | more air space partly or wholly filled |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.measure.statistics import PERCENTILES, attenuation_statistics, dorsal_ventral_slope
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.zones import anterior_mm, lung_regions
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.volume import Mask, Volume


def measure_attenuation(
    ct: Volume,
    lungs: Mask,
    *,
    vessels: Mask | None = None,
    regions: Mapping[str, Mask] | None = None,
    flags: Collection[str] = (),
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """Attenuation of the lung and its regions.

    Parameters
    ----------
    ct : Volume
        In HU.
    lungs : Mask
        On the same grid.
    vessels : Mask, optional
        Left out of ground glass and consolidation. None finds them; give an empty Mask to leave nothing out.
    regions : mapping of str to Mask, optional
        None means :func:`ipha_toolkit.lung_regions` of the lungs.
    flags : collection of str
        Codes of :data:`ipha_toolkit.flags.FLAGS` set on every row.
    protocol : Protocol

    Returns
    -------
    DataFrame
        Rows of the one table; see :data:`ipha_toolkit.catalogue.MEASURES` for units and directions.

    Raises
    ------
    GridError
        Where the masks are on another grid than the CT.
    ImageError
        Where the values cannot be HU.

    Notes
    -----
    Misleads where inspiration differs: a shallow breath raises every density measure.
    Norms of adults at full inspiration do not hold for children.
    """
    require_hu(ct)
    for mask in (lungs, *([vessels] if vessels else []), *(regions or {}).values()):
        ct.require_same_grid(mask)
    if vessels is None:
        from ipha_toolkit.regions.vessels import segment_vessels

        vessels = segment_vessels(ct, lungs, protocol=protocol)
    values, parenchyma = ct.array[lungs.array], ~vessels.array[lungs.array]
    rows: list[dict[str, object]] = []
    for name, region in (lung_regions(lungs) if regions is None else regions).items():
        inside = region.array[lungs.array]
        if np.count_nonzero(inside) == region.n_voxels:
            chosen = _Chosen(values, inside, inside & parenchyma)
        else:  # a region of one's own that reaches beyond the lungs
            chosen = _Chosen(ct.array, region.array, region.array & ~vessels.array)
        rows += _region_rows(chosen, region, name, flags, protocol)
    slope = dorsal_ventral_slope(values, anterior_mm(lungs))
    rows.append(
        row("attenuation_dorsal_gradient", slope, modality=Modality.CT, region=Region.LUNG, n_voxels=lungs.n_voxels,
            flags=flags)
    )  # fmt: skip
    return table(rows)


@dataclass(frozen=True)
class _Chosen:
    """Attenuation in HU, and which of it belongs to a region: all of it, and without vessels."""

    values: FloatArray
    inside: BoolArray
    parenchyma: BoolArray


def _region_rows(
    chosen: _Chosen, region: Mask, name: str, flags: Collection[str], protocol: Protocol
) -> list[dict[str, object]]:
    settings = protocol.attenuation
    (hea_low, hea_high), (ggo_low, ggo_high) = settings.high_attenuation_hu, settings.ground_glass_hu
    everything = attenuation_statistics(chosen.values, chosen.inside, cuts=(hea_low, hea_high))
    tissue = attenuation_statistics(
        chosen.values, chosen.parenchyma, percentiles=(), cuts=(ggo_low, ggo_high, settings.consolidation_hu)
    )
    values = {
        "attenuation_mean": everything["mean"],
        "lung_density": 1 + everything["mean"] / 1000,
        "attenuation_sd": everything["sd"],
        "attenuation_skewness": everything["skewness"],
        "attenuation_excess_kurtosis": everything["excess_kurtosis"],
        **{f"attenuation_p{p}": everything[f"p{p}"] for p in PERCENTILES},
        "high_attenuation_area": 100 * (everything[f"below_{hea_high:g}"] - everything[f"below_{hea_low:g}"]),
    }
    parenchyma = {
        "ground_glass_fraction": 100 * (tissue[f"below_{ggo_high:g}"] - tissue[f"below_{ggo_low:g}"]),
        "consolidation_fraction": 100 * (1 - tissue[f"below_{settings.consolidation_hu:g}"]),
    }
    counted = [(values, everything["n_voxels"]), (parenchyma, tissue["n_voxels"])]
    if "single_slice" not in flags:
        counted.append(({"lung_volume": region.volume_ml}, region.n_voxels))
    return [
        row(measure, value, modality=Modality.CT, region=name, n_voxels=int(n), flags=flags)
        for group, n in counted
        for measure, value in group.items()
    ]


def require_hu(ct: Volume) -> None:
    """Raise ImageError where the values cannot be Hounsfield units of a chest."""
    low, high = float(np.nanmin(ct.array)), float(np.nanmax(ct.array))
    if low > -300 or high < -300:
        raise ImageError(
            f"{ct.name or 'ct'}: values run from {low:g} to {high:g}, which cannot be Hounsfield units of a chest; "
            "needs air near -1000 HU and soft tissue near 0 HU, export the CT unwindowed with its rescale slope"
        )
