"""Radiographs: how opaque the lung fields are, where, and with what texture.

Gray levels of a film depend on exposure, detector and processing. Opacity is therefore measured on the film's own scale
(:mod:`ipha_toolkit.measure.film_scale`): 0 is clear lung, 1 soft tissue of the body's whole depth, settled by several
anchors together. Every mean and every share of area has rows ``_low`` and ``_high`` beside it: what it would be at the
ends of the scale's 95 % interval. Exposure, gain, offset and inversion fall out.

A bent gray scale (gamma) does not; it stays within the interval. Compare values, not intervals, only between films of
one processing. Shares of consolidation and ground glass leave out the rim of the field, where ribs and great vessels
lie.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray
from ipha_toolkit.image.morphology import masked_mean
from ipha_toolkit.measure.film_scale import Scale, film_scale
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Region
from ipha_toolkit.volume import Mask, Volume

Array = npt.NDArray[np.float64]

_CLEAR_QUANTILE = 0.05
_SMOOTH_MM = 2.0
_TEXTURE_MM = 1.5
_BORDER_MM = 8.0
_FIELD_PIXELS = 300
_LUNG_WIDTH_MM = 240.0
"""Width of both lung fields by which a film without pixel spacing is scaled: an adult's, chosen."""


@dataclass(frozen=True)
class Opacity:
    """Opacity of every pixel, shape (i, j, 1), and the scale it is on."""

    map: Volume
    scale: Scale


def texture(values: Array, field: BoolArray, *, scale: float) -> tuple[Array, Array]:
    """How much lines and dots stand out of a film.

    Parameters
    ----------
    values : ndarray, shape (i, j)
        Opacity.
    field : ndarray of bool, shape (i, j)
        Where it counts.
    scale : float
        Gaussian standard deviation, pixels.

    Returns
    -------
    lines, dots : ndarray, shape (i, j)
        Dense line: curvature across it less that along it; dense dot: the smaller of both curvatures. In opacity,
        scale-normalized, 0 or more, NaN outside the field.
    """
    from scipy import ndimage

    around = masked_mean(values.astype(np.float32), field, [2 * scale] * 2, truncate=4)
    flat = np.where(field, values - around, 0.0)
    xx, yy, xy = (ndimage.gaussian_filter(flat, scale, order=order) * scale**2 for order in ((2, 0), (0, 2), (1, 1)))
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    across, along = -(middle - half), -(middle + half)  # positive where dense
    lines = np.where(field, np.clip(across - np.abs(along), 0, None), np.nan)
    return lines, np.where(field, np.clip(along, 0, None), np.nan)


def measure_opacity(film: Volume, lungs: Mask, *, protocol: Protocol = DEFAULT) -> Opacity:
    """Opacity of every pixel of a radiograph: 0 clear lung, 1 soft tissue of the body's whole depth.

    Raises
    ------
    GridError
        Where the mask lies on another grid.
    ImageError
        Where the film carries no scale, or its lung fields would lie far outside it; the message says why.
    """
    film.require_same_grid(lungs)
    name, (least, greatest) = film.name or "film", protocol.films.possible_opacity
    gray, inside = film.array[..., 0].astype(float), lungs.array[..., 0]
    try:
        scale = film_scale(gray, inside, protocol=protocol)
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from None
    values = scale.opacity(gray)
    mean = float(np.nanmean(values[inside]))
    if not least <= mean <= greatest:
        raise ImageError(
            f"{name}: the scale of opacity breaks: mean opacity of the lung fields is {mean:.1f} on a scale of 0 "
            f"(clear lung) to 1 (soft tissue), possible are {least:g} to {greatest:g}; "
            "give the film unprocessed, or pass a lung mask drawn by hand"
        )
    return Opacity(film.replace(array=values[..., None], unit="1", name="opacity", meta={}), scale)


def measure_radiograph(
    film: Volume, lungs: Mask, *, flags: Collection[str] = (), protocol: Protocol = DEFAULT
) -> pd.DataFrame:
    """Measure a frontal chest radiograph.

    Parameters
    ----------
    film : Volume, shape (i, j, 1)
        Any exposure, gain and polarity.
    lungs : Mask
        Both lung fields, what is hidden behind heart and diaphragm left out.
    flags : iterable of str
        Set on every row.
    protocol : Protocol
        ``films.consolidation_opacity``, ``ground_glass_opacity``, ``possible_opacity``, ``least_step``,
        ``least_sure_slope``.

    Returns
    -------
    DataFrame
        By region (whole, sides, thirds, six zones, central, peripheral): ``film_opacity_mean``, ``film_opacity_sd``,
        ``film_consolidation_fraction``, ``film_ground_glass_fraction``, ``film_opaque_fraction`` (both together),
        ``film_reticular_score``, ``film_miliary_score``; mean, consolidation and opaque fraction also with ``_low`` and
        ``_high``. For the whole: ``film_opacity_over_clear``, ``film_opacity_perihilar``, ``film_opacity_lower``,
        ``film_opacity_asymmetry``, and ``film_scale_error``, the relative error of all these differences and of the
        scores. Burned-in letters are left out.

    Raises
    ------
    GridError
        Where the mask lies on another grid.
    ImageError
        Where the film carries no scale of opacity: nothing between the fields, flat, or anchors that contradict.
    """
    from ipha_toolkit.regions.films import as_picture, burned_in, film_zones, from_picture
    from ipha_toolkit.regions.zones import lung_regions

    measured = measure_opacity(film, lungs, protocol=protocol)
    values, scale = measured.map.array[..., 0].astype(float), measured.scale
    letters = np.asarray(from_picture(burned_in(as_picture(film))), bool)[..., 0]
    usable = lungs.array[..., 0] & np.isfinite(values) & ~letters
    maps = _maps(np.where(usable, values, 0.0), usable, lungs.array[..., 0], _pixel_mm(film, lungs), scale, protocol)
    regions = lung_regions(lungs) | film_zones(lungs)
    rows, means = [], {}
    for region, mask in regions.items():
        inside = mask.array[..., 0] & usable
        count = int(inside.sum())
        small = [*flags, "small_zone"] if count < _FIELD_PIXELS else list(flags)
        if not count:
            continue
        found = {n: _mean(m[inside]) for n, m in maps.items() if n != "level"}
        found["film_opacity_sd"] = float(np.std(values[inside]))
        means[region] = found["film_opacity_mean"]
        margin = scale.margin(means[region])
        found |= {"film_opacity_mean_low": means[region] - margin, "film_opacity_mean_high": means[region] + margin}
        rows += [row(n, v, modality="dx", region=region, n_voxels=count, flags=small) for n, v in found.items()]
    everywhere = int(usable.sum())
    over = means[Region.LUNG] - float(np.nanquantile(maps["level"][usable], _CLEAR_QUANTILE))
    for name, value in (("film_opacity_over_clear", over), ("film_scale_error", 100 * scale.margin_of_difference(1.0))):
        rows.append(row(name, value, modality="dx", region=Region.LUNG, n_voxels=everywhere, flags=flags))
    for name, (one, other) in _DIFFERENCES.items():
        value = means.get(one, np.nan) - means.get(other, np.nan)
        rows.append(row(name, value, modality="dx", region=Region.LUNG, n_voxels=everywhere, flags=flags))
    return table(rows)


_DIFFERENCES = {
    "film_opacity_perihilar": (Region.CENTRAL, Region.PERIPHERAL),
    "film_opacity_lower": (Region.LOWER, Region.UPPER),
    "film_opacity_asymmetry": (Region.RIGHT, Region.LEFT),
}


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _maps(
    values: Array, field: BoolArray, lungs: BoolArray, pixel_mm: float, scale: Scale, protocol: Protocol
) -> dict[str, Array]:
    """What is averaged over each region; shares and texture keep off the border of the lungs, not off letters."""
    from scipy import ndimage

    smooth = [_SMOOTH_MM / pixel_mm] * 2
    level = masked_mean(values.astype(np.float32), field, smooth, truncate=4).astype(float)
    inner = field & (ndimage.distance_transform_edt(lungs) * pixel_mm > _BORDER_MM)
    lines, dots = texture(values, field, scale=max(0.8, _TEXTURE_MM / pixel_mm))
    return {
        "level": level,
        "film_opacity_mean": values,
        **{name: np.where(inner, part, np.nan) for name, part in _shares(level, scale, protocol).items()},
        "film_reticular_score": np.where(inner, lines, np.nan),
        "film_miliary_score": np.where(inner, dots, np.nan),
    }


def _shares(level: Array, scale: Scale, protocol: Protocol) -> dict[str, Array]:
    """Consolidation and ground glass, % of each pixel, as measured and at the ends of the scale's interval."""
    settings = protocol.films
    shares: dict[str, Array] = {}
    dense, hazy = settings.consolidation_opacity, settings.ground_glass_opacity
    for ending, sign in (("", 0), ("_low", 1), ("_high", -1)):
        solid = level >= dense + sign * scale.margin(dense)
        shares[f"film_consolidation_fraction{ending}"] = np.where(solid, 100.0, 0.0)
        opaque = level >= hazy + sign * scale.margin(hazy)
        shares[f"film_opaque_fraction{ending}"] = np.where(opaque, 100.0, 0.0)
        if not ending:
            shares["film_ground_glass_fraction"] = np.where(opaque & ~solid, 100.0, 0.0)
    return shares


def _pixel_mm(film: Volume, lungs: Mask) -> float:
    """Pixel size in mm; where the file gave none, from the width of the lungs."""
    if "no_pixel_spacing" in film.meta.get("ReadFlags", ()):
        columns = np.flatnonzero(lungs.array.any(axis=(1, 2)))
        return _LUNG_WIDTH_MM / max(1.0, float(np.ptp(columns)))
    return float(np.mean(film.spacing_mm[:2]))
