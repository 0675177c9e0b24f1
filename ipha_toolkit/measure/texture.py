"""Patterns of lung in CT: where it is opaque, how evenly, and how reticulated.

Everything rests on the opacity map, the density of the lung around each voxel with vessels taken out: single voxels are
mostly noise, and a dense one may be a vessel. What a healthy supine lung gains towards the back is taken off before the
map is read.

| measure | higher means |
| --- | --- |
| opacity fraction, ground-glass and consolidation extent | more lung whose air space is partly or wholly filled |
| patchiness | opacity in patches: subacute rather than acute bleeding |
| reticulation | more thin sheets: thickened septa, fibrosis |
| central, lower, dorsal, right excess | more opacity there than in the opposite part |
| apical, costophrenic sparing | less opacity there than in the rest |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import block_factors, block_mean, bounding_box
from ipha_toolkit.image.morphology import masked_mean, sigma_voxels, within_mm
from ipha_toolkit.measure.attenuation import require_hu
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.measure.statistics import dorsal_ventral_slope
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.zones import anterior_mm, lung_extent, lung_regions, world_coordinate
from ipha_toolkit.settings_patterns import TextureSettings
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.volume import Mask, Volume, handed_over

_COARSE_MM = 1.5
_SCENE_MARGIN_MM = 7.0
"""Kept around the lungs: more than filters of theirs reach into what is not lung."""
_SHEET_SIGMA_MM = 1.2
_SEPTA_MM = (3.0, 10.0)
"""Depth under the pleura where septa are looked for: off the chest wall, and where vessels are thin."""
_LEAST_EVENNESS = 0.3
_RIM_MM, _DEEP_MM, _LEAST_VOXELS = (2.99, 6.0), 10.0, 500
"""Where it shows how sharp the border is: beyond the voxels that tissue shares, those at 3 mm included."""
_MOST_SAMPLES = 300_000
_END_SHARE = 0.1


def opacity_map(
    array: npt.ArrayLike,
    inside: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    left_out: npt.ArrayLike | None = None,
    settings: TextureSettings = DEFAULT.texture,
) -> FloatArray:
    """Density of the lung around each voxel, narrow bright structures taken out.

    Parameters
    ----------
    array : array_like, shape (i, j, k) or (i, j)
        Attenuation, in HU or any unit that grows with it. NaN is left out.
    inside : array_like of bool, same shape
        The lungs.
    spacing_mm : sequence of floats
        Voxel sides, mm.
    left_out : array_like of bool, same shape, optional
        Voxels inside that are no parenchyma: vessels, airways.
    settings : TextureSettings

    Returns
    -------
    ndarray of float32, same shape
        In the unit of the array; higher = more opaque. NaN outside.

    Raises
    ------
    ValueError
        Where shapes differ or nothing is left inside.

    Notes
    -----
    A grey opening of ``narrow_mm`` takes out what is narrower, then a Gaussian average of SD ``neighborhood_mm`` over
    the voxels inside only: nothing of the chest wall comes in. With noise the opening darkens the lung a little, by the
    same amount everywhere. Smoothing neighborhoods as in Zavaletta 2007 (15 voxels a side; no identifier confirmed).
    """
    from scipy import ndimage

    image, lung = np.asarray(array, np.float32), np.asarray(inside, bool)
    used = lung & np.isfinite(image) if left_out is None else lung & np.isfinite(image) & ~np.asarray(left_out, bool)
    if image.shape != lung.shape or len(spacing_mm) != image.ndim or not used.any():
        raise ValueError(
            f"needs an image, a mask of its shape that holds voxels, and as many spacings: {image.shape}, "
            f"{lung.shape}, {len(spacing_mm)}"
        )
    spacing = np.asarray(spacing_mm, float)
    size = tuple(
        2 * int(settings.narrow_mm / 2 / s) + 1 if n > 1 else 1 for s, n in zip(spacing, image.shape, strict=True)
    )
    opened = ndimage.grey_opening(np.where(used, image, np.float32(np.nanmax(image[used]))), size=size)
    sigma = sigma_voxels(settings.neighborhood_mm, spacing.tolist(), image.shape)
    density = masked_mean(np.minimum(opened, image, out=opened), used, sigma, least=1e-4)
    density[~lung] = np.nan
    return density


@dataclass(frozen=True)
class Texture:
    """What the patterns of one CT gave: rows, and the opacity map in HU, gradient taken off, on a grid of 1.5 mm."""

    rows: pd.DataFrame
    opacity: Volume


def measure_texture(
    ct: Volume,
    lungs: Mask,
    *,
    vessels: Mask | None = None,
    flags: Collection[str] = (),
    protocol: Protocol = DEFAULT,
) -> Texture:
    """Opacity, its evenness and distribution, and reticulation.

    Parameters
    ----------
    ct : Volume
        In HU.
    lungs : Mask
        On the same grid.
    vessels : Mask, optional
        None finds them; give an empty Mask to leave nothing out.
    flags : collection of str
        Codes of :data:`ipha_toolkit.flags.FLAGS` set on every row.
    protocol : Protocol
        Section ``texture``.

    Returns
    -------
    Texture
        ``rows`` of the one table and the map they rest on. A single slice has no zones along its missing axis and no
        reticulation: a vessel in the slice looks like a sheet cut across.

    Raises
    ------
    GridError
        Where masks lie on another grid.
    ImageError
        Where the values cannot be HU.

    Notes
    -----
    Misleads where inspiration differs, and in children, whose lungs are denser. Patchiness needs opacity to be patchy:
    it is NaN, flagged ``no_opacity``, in clear lungs. A net of septa varies more over 8 than over 16 mm, which is
    flagged ``septa_as_patches``; else shares above ``texture.faint_extent`` are flagged ``faint_haze``. Septa deep in
    the lung are not looked for: too many vessels.
    """
    require_hu(ct)
    ct.require_same_grid(lungs)
    if vessels is None:
        from ipha_toolkit.regions.vessels import segment_vessels

        vessels = segment_vessels(ct, lungs, protocol=protocol)
    ct.require_same_grid(vessels)
    settings = protocol.texture
    scene = _coarse(ct, lungs, vessels, settings)
    flags = [*flags, "blurred_border"] if _border_rise(scene) > settings.border_rise_hu else flags
    density = opacity_map(
        scene.ct.array, scene.lungs.array, scene.ct.spacing_mm, left_out=scene.vessels.array, settings=settings
    )
    opacity = scene.ct.replace(array=_without_gradient(density, scene.lungs, settings), name="opacity")
    regions = lung_regions(scene.lungs)
    variation = _variation(opacity, scene.lungs, settings)
    rows = _opacity_rows(opacity, regions, flags, settings, net=_like_septa(variation))
    rows += _patchiness_rows(opacity, scene.lungs, variation, flags, settings)
    rows += _distribution_rows(opacity, scene.lungs, regions, flags)
    if min(ct.shape) > 1:
        net = reticulation(scene.ct.array, _under_pleura(scene), scene.ct.spacing_mm, rng=np.random.default_rng(0))
        blurred = ["blurred_slices"] if net.evenness < _LEAST_EVENNESS else []
        rows.append(_row("reticulation", net.strength, Region.LUNG, net.n_voxels, [*flags, *blurred]))
    return Texture(table(rows), opacity)


class Net(NamedTuple):
    """What :func:`reticulation` found."""

    strength: float
    """HU: mean sheetness less mean tubeness; NaN where nothing is inside. Healthy lung lies about 0 or below."""
    n_voxels: int
    """It rests on."""
    evenness: float
    """1 where as many sheets face each axis of the image, 0 where none face one of them; NaN where there are none."""


def reticulation(
    array: npt.ArrayLike, inside: npt.ArrayLike, spacing_mm: Sequence[float], *, rng: np.random.Generator
) -> Net:
    """How much a net of bright thin sheets stands out beyond what tubes and noise bring with them.

    Parameters
    ----------
    array : array_like, shape (i, j, k)
        Attenuation in HU.
    inside : array_like of bool, same shape
        Lung clear of the chest wall by some millimetres.
    spacing_mm : sequence of 3 floats
    rng : numpy.random.Generator
        Chooses the voxels looked at where there are very many.

    Returns
    -------
    Net

    Notes
    -----
    From the eigenvalues a <= b <= c of the Hessian of the image smoothed by 1.2 mm, times that squared: sheetness
    max(0, -a - 2 max(|b|, |c|)), 0 in a tube, where a = b; tubeness max(0, -b - 2 |c|), 0 in a sheet, where b = 0.
    Dark flanks of sheets, nodules and vessels count for neither.

    A net has sheets in all directions: three times the sheetness of that axis of the image which fewest sheets face.
    Vessels blurred along one axis (slices thicker than they are apart) are ribbons that face the other two only, and a
    fissure faces one way. So a net that one axis of the image does not resolve is missed: evenness is low then.
    """
    image, lung = np.asarray(array, np.float32), np.asarray(inside, bool)
    places = np.flatnonzero(lung)
    if not places.size:
        return Net(np.nan, 0, np.nan)
    if places.size > _MOST_SAMPLES:
        places = rng.choice(places, _MOST_SAMPLES, replace=False)
    hessian = _hessian(np.where(np.isfinite(image), image, np.float32(np.nanmedian(image))), places, spacing_mm)
    a, b, c = np.linalg.eigvalsh(hessian).T
    sheetness = np.maximum(0, -a - 2 * np.maximum(np.abs(b), np.abs(c)))
    tubeness = np.maximum(0, -b - 2 * np.abs(c))
    sheets = sheetness > 0
    facing = np.linalg.eigh(hessian[sheets])[1][:, :, 0] ** 2
    by_axis = (sheetness[sheets, None] * facing).sum(axis=0) / places.size
    least = float(3 * by_axis.min())
    return Net(least - float(np.mean(tubeness)), int(places.size), least / by_axis.sum() if sheets.any() else np.nan)


def _hessian(image: FloatArray, places: npt.NDArray[np.intp], spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    """Second derivatives at these places, shape (n, 3, 3), times the smoothing squared."""
    from scipy import ndimage

    sigma = np.maximum(_SHEET_SIGMA_MM / np.asarray(spacing_mm, float), 0.6)
    hessian = np.empty((places.size, 3, 3))
    for one in range(3):
        for other in range(one, 3):
            order = np.eye(3, dtype=int)[one] + np.eye(3, dtype=int)[other]
            bend = ndimage.gaussian_filter(image, sigma, order=order.tolist(), truncate=3)
            hessian[:, one, other] = hessian[:, other, one] = bend.ravel()[places] * sigma[one] * sigma[other]
    return hessian


@dataclass(frozen=True)
class _Scene:
    ct: Volume
    lungs: Mask
    vessels: Mask


def _coarse(ct: Volume, lungs: Mask, vessels: Mask, settings: TextureSettings) -> _Scene:
    """CT, lungs and vessels on blocks of at most 1.5 mm: enough for patterns, and less noise."""
    factors = block_factors(ct, _COARSE_MM)
    grid, share = ct.grid.coarser(factors), block_mean(lungs.array, factors)
    inside = share > 0.99 if (share > 0.99).any() else share > 0.5
    margin = [int(np.ceil(_SCENE_MARGIN_MM / s)) for s in grid.spacing_mm]
    apart = grid.block_factors(settings.neighborhood_mm)  # the samples of patchiness stay where they are
    low = [max(0, first - m) // n * n for (first, _), m, n in zip(bounding_box(inside), margin, apart, strict=True)]
    high = [min(last + m, n) for (_, last), m, n in zip(bounding_box(inside), margin, grid.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    fine = tuple(slice(a * f, b * f) for a, b, f in zip(low, high, factors, strict=True))
    affine = grid.cropped(low, high).affine
    return _Scene(
        ct.replace(array=handed_over(block_mean(ct.array[fine], factors, missing=-1000.0)), affine=affine),
        lungs.replace(array=inside[box], affine=affine),
        vessels.replace(array=block_mean(vessels.array[fine], factors) > 0.1, affine=affine),
    )


def _without_gradient(density: FloatArray, lungs: Mask, settings: TextureSettings) -> FloatArray:
    """The map less the gradient towards the back, as far as a healthy lung may have one, level halfway."""
    slope = dorsal_ventral_slope(density[lungs.array], anterior_mm(lungs))
    slope = float(np.clip(np.nan_to_num(slope), 0, settings.normal_gradient_hu_per_cm))
    low, high = lung_extent(lungs, 1)
    back_cm = ((low + high) / 2 - world_coordinate(lungs, 1)) / 10
    return np.asarray(density - slope * np.clip(back_cm, 0, None), np.float32)


def _opacity_rows(
    opacity: Volume, regions: Mapping[str, Mask], flags: Collection[str], settings: TextureSettings, *, net: bool
) -> list[dict[str, object]]:
    """Mean and shares by region; ``net``: what is opaque lies between septa."""
    rows = []
    for name, region in regions.items():
        values = opacity.array[region.array]
        values = values[np.isfinite(values)]
        mean = float(values.mean(dtype=float)) if values.size else np.nan
        rows.append(_row("opacity_mean", mean, name, values.size, flags))
        low, high = settings.opacity_hu, settings.consolidation_hu
        for measure, chosen in (
            ("opacity_fraction", values >= low),
            ("ground_glass_extent", (values >= low) & (values < high)),
            ("consolidation_extent", values >= high),
        ):
            share = 100 * float(chosen.mean()) if values.size else np.nan
            faint = ["faint_haze"] if share > settings.faint_extent and not net else []
            rows.append(_row(measure, share, name, values.size, [*flags, *faint]))
    return rows


def _variation(opacity: Volume, lungs: Mask, settings: TextureSettings) -> dict[float, float]:
    """How much the map varies between neighborhoods of each size, HU by mm; it is smooth: every few voxels tell."""
    inside = lungs.array & np.isfinite(opacity.array)
    apart = tuple(slice(None, None, factor) for factor in block_factors(opacity, settings.neighborhood_mm))
    spacing = [s * (part.step or 1) for s, part in zip(opacity.spacing_mm, apart, strict=True)]
    return {mm: local_variation(opacity.array[apart], inside[apart], spacing, mm) for mm in settings.patch_mm}


def _like_septa(variation: Mapping[float, float]) -> bool:
    """Whether the map varies more over the smaller size, as between septa, than over the larger, as patches do."""
    fine, coarse = variation.values()
    return bool(fine > coarse)


def _patchiness_rows(
    opacity: Volume, lungs: Mask, variation: Mapping[float, float], flags: Collection[str], settings: TextureSettings
) -> list[dict[str, object]]:
    inside = lungs.array & np.isfinite(opacity.array)
    rows = [
        _row(f"opacity_variation_{mm:g}mm", value, Region.LUNG, int(inside.sum()), flags)
        for mm, value in variation.items()
    ]
    excess = float(np.mean(opacity.array[inside], dtype=float)) - settings.clear_hu
    clear = excess < settings.least_excess_hu
    own = max(0.0, sum(value**2 for value in variation.values()) - settings.clear_variation_hu**2)
    value = np.nan if clear else float(np.sqrt(own)) / excess
    said = [*(["no_opacity"] if clear else []), *(["septa_as_patches"] if _like_septa(variation) else [])]
    return [*rows, _row("patchiness", value, Region.LUNG, int(inside.sum()), [*flags, *said])]


def local_variation(
    density: npt.ArrayLike, inside: npt.ArrayLike, spacing_mm: Sequence[float], scale_mm: float
) -> float:
    """SD of a map between neighborhoods of one size, what varies over more than twice the size left out.

    Parameters
    ----------
    density : array_like, shape (i, j, k)
    inside : array_like of bool, same shape
        Where the map has values.
    spacing_mm : sequence of 3 floats
    scale_mm : float
        Size of a neighborhood, mm: the band is between Gaussians of half and of once this SD.

    Returns
    -------
    float
        In the map's unit; NaN where nothing is inside.
    """
    values, lung = np.asarray(density, np.float32), np.asarray(inside, bool)
    if not lung.any():
        return np.nan
    smooth = [
        masked_mean(values, lung, sigma_voxels(width, spacing_mm, values.shape), truncate=2, least=0)[lung]
        for width in (scale_mm / 2, scale_mm)
    ]
    return float(np.std(smooth[0] - smooth[1], dtype=float))


def _distribution_rows(
    opacity: Volume, lungs: Mask, regions: Mapping[str, Mask], flags: Collection[str]
) -> list[dict[str, object]]:
    parts: Mapping[str, BoolArray] = {name: region.array for name, region in regions.items()} | _ends(lungs, regions)
    differences = {
        "opacity_central_excess": (Region.CENTRAL, Region.PERIPHERAL),
        "opacity_lower_excess": (Region.LOWER, Region.UPPER),
        "opacity_dorsal_excess": (Region.DORSAL, Region.VENTRAL),
        "opacity_right_excess": (Region.RIGHT, Region.LEFT),
        "opacity_apical_sparing": ("below the apices", "apices"),
        "opacity_costophrenic_sparing": ("above the angles", "angles"),
    }
    rows = []
    for measure, (more, less) in differences.items():
        if more in parts and less in parts:
            pair = [opacity.array[parts[part] & np.isfinite(opacity.array)] for part in (more, less)]
            known = all(values.size for values in pair)
            value = float(pair[0].mean(dtype=float) - pair[1].mean(dtype=float)) if known else np.nan
            rows.append(_row(measure, value, Region.LUNG, sum(values.size for values in pair), flags))
    return rows


def _ends(lungs: Mask, regions: Mapping[str, Mask]) -> dict[str, BoolArray]:
    """The uppermost tenth of the lungs' height and the lowest tenth of their peripheral part, and what is left."""
    if not {Region.UPPER, Region.LOWER, Region.PERIPHERAL} <= set(regions):
        return {}
    low, high = lung_extent(lungs, 2)
    z = world_coordinate(lungs, 2)
    apices = lungs.array & (z > high - _END_SHARE * (high - low))
    angles = regions[Region.PERIPHERAL].array & (z < low + _END_SHARE * (high - low))
    return {
        "apices": apices, "below the apices": lungs.array & ~apices,
        "angles": angles, "above the angles": lungs.array & ~angles,
    }  # fmt: skip


def _under_pleura(scene: _Scene, depths_mm: tuple[float, float] = _SEPTA_MM) -> BoolArray:
    """The outer lung, vessels and airways included: what is taken for a vessel there may be a septum."""
    outside, spacing = np.pad(~scene.lungs.array, 1, constant_values=True), scene.ct.spacing_mm
    near, far = (within_mm(outside, spacing, mm)[1:-1, 1:-1, 1:-1] for mm in depths_mm)
    return np.asarray(far & ~near)


def _border_rise(scene: _Scene) -> float:
    """By how many HU the clearest tenth of the lung rises from 10 mm under its border and deeper to 3 to 6 mm under it.

    Disease does not line all of the border; a blurred image does. NaN in single slices, and where too little is deep.
    """
    if min(scene.ct.shape) == 1:
        return np.nan
    rim, outer = (_under_pleura(scene, depths) for depths in (_RIM_MM, (0.0, _DEEP_MM)))
    parts = [scene.ct.array[part & np.isfinite(scene.ct.array)] for part in (rim, scene.lungs.array & ~outer)]
    if min(part.size for part in parts) < _LEAST_VOXELS:
        return np.nan
    near, deep = (float(np.quantile(part, 0.1)) for part in parts)
    return near - deep


def _row(measure: str, value: float, region: str, n_voxels: int, flags: Collection[str]) -> dict[str, object]:
    return row(measure, value, modality=Modality.CT, region=region, n_voxels=n_voxels, flags=flags)
