"""Small nodules of 2 to 6 mm among vessels: where they are, how many, and whether they keep to the lobules' centers.

A nodule differs from a vessel not by its brightness nor, cut across, by its shape, but in that one cannot leave it
without going down. So every local maximum is flooded: the level at which the flood first gets some millimetres away is
its saddle, and what the peak stands above it is its prominence (the persistence of the maximum, within a ball). A
vessel's maxima, its ends and junctions among them, can be left along the vessel and have hardly any.

| measure | higher means |
| --- | --- |
| nodules per litre | more nodules, or more noise taken for them: compare scans of one kind |
| pleural avoidance | nodules keep off the pleura: centrilobular rather than random |
| spacing against random | nodules spaced out like lobules rather than thrown anywhere or in clusters |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.compiled import compiled, threads
from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import block_factors, block_mean, bounding_box, depth_mm, enlarged_slabs
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.zones import lung_regions
from ipha_toolkit.settings_patterns import NoduleSettings
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.volume import Mask, Volume

Array = npt.NDArray[np.float64]

NODULE_COLUMNS = ("x_mm", "y_mm", "z_mm", "diameter_mm", "contrast", "score", "flag")
"""Columns of the nodule table; ``flag`` is ``below_voxel_size``, ``size_unknown`` or empty."""

FEWEST_SLICES = 3
"""In fewer slices a nodule and a vessel cut across look alike."""

_BRIGHT = (Modality.T1W, Modality.CT, None)
_MARGIN_MM = 8.0
_COARSE_MM = 2.5
_DEPTH_MM = 2.0
_BACKGROUND_MM = 5.0
_LEAST_SIGMA_VOXELS = 0.5
_INTRINSIC_SIGMA_VOXELS = 0.45
_PRUNE_SIGMAS = 2.0
_SLAB = 64
_MAD = 1.4826


def detect_nodules(volume: Volume, lungs: Mask, *, protocol: Protocol = DEFAULT) -> pd.DataFrame:
    """Find small bright nodules within the lungs.

    Parameters
    ----------
    volume : Volume
        CT, or T1w (3-D gradient echo), as acquired.
    lungs : Mask
        On the same grid.
    protocol : Protocol
        Section ``nodules``.

    Returns
    -------
    DataFrame
        One row a candidate, best first: ``x_mm, y_mm, z_mm`` (RAS+); ``diameter_mm``; ``contrast`` of the smoothed
        image above the lung around, in its unit, the lower the smaller the nodule; ``score``, contrast that stands
        alone over noise, dimensionless: higher = surer; ``flag``, ``below_voxel_size`` where the diameter is under
        ``nodules.least_voxels`` voxel sides and so a guess, ``size_unknown`` where no ball of 0.6 to 12 mm fits and the
        diameter is NaN. Rows go down to ``nodules.candidate_score``; those from
        ``nodules.nodule_score`` on are counted as nodules.

    Raises
    ------
    GridError
        Where lungs lie on another grid.
    ImageError
        Where the lungs are empty, the image is no T1w or CT, or it has fewer than 3 slices, in which a nodule and a
        vessel cut across look the same.

    Notes
    -----
    Misleads: a nodule that a vessel runs through is found only where it is clearly thicker; within consolidation
    nothing stands out; motion takes the smallest; a piece of vessel between two that are thinner than the voxels can
    pass for a nodule. Nodules within 2 mm of the pleura count only if they do not merge with the chest wall.
    """
    volume.require_same_grid(lungs)
    _require_nodule_image(volume, lungs)
    found = nodule_candidates(volume.array, lungs.array, volume.spacing_mm, settings=protocol.nodules)
    world = volume.to_world(found[["i", "j", "k"]].to_numpy())
    small = found["diameter_mm"] < protocol.nodules.least_voxels * max(volume.spacing_mm)
    columns = dict(zip(("x_mm", "y_mm", "z_mm"), world.T, strict=True))
    columns |= {name: found[name] for name in ("diameter_mm", "contrast", "score")}
    flag = np.select([found["diameter_mm"].isna(), small], ["size_unknown", "below_voxel_size"], "")
    return pd.DataFrame(columns | {"flag": flag}, columns=list(NODULE_COLUMNS))


def measure_nodules(
    nodules: pd.DataFrame,
    lungs: Mask,
    *,
    modality: str,
    regions: Mapping[str, Mask] | None = None,
    null: npt.ArrayLike | None = None,
    flags: Collection[str] = (),
    rng: np.random.Generator | None = None,
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """How many nodules there are, how large, where, and whether they lie as thrown at random.

    Parameters
    ----------
    nodules : DataFrame
        As of :func:`detect_nodules`; rows from ``nodules.nodule_score`` on are counted, all where it has no score.
    lungs : Mask
        The lungs they were found in.
    modality : str
        Of the image, for the rows.
    regions : mapping of str to Mask, optional
        None means :func:`ipha_toolkit.lung_regions` of the lungs.
    null : array_like, shape (n, 3), optional
        Where the detector finds nodules put into this image at random, mm, as of
        :func:`ipha_toolkit.measure.nodule_null.detectable_places`. Without it, or with fewer than
        ``nodules.few_nodules`` of them, pleural avoidance is withheld: NaN, flagged ``no_detector_null``; on voxels
        above ``nodules.avoidance_mm`` as well, flagged ``coarse_for_avoidance``.
    flags : collection of str
        Codes of :data:`ipha_toolkit.flags.FLAGS` set on every row.
    rng : numpy.random.Generator, optional
        Of the random patterns; None is a fixed one.
    protocol : Protocol

    Returns
    -------
    DataFrame
        Rows of the one table; count and density by region, the rest for the whole lung. What needs more nodules than
        there are is NaN and flagged ``few_nodules``; where 1.5 of the longest voxel side exceed a micronodule all rows
        are flagged ``coarse_for_micronodules`` and their share is NaN. Voxels above ``nodules.coarsest_mm`` give
        count and density as NaN, flagged ``too_coarse_for_nodules``, and no more.

    Notes
    -----
    Misleads: false positives are thrown at random along vessels and pull every pattern towards random; a density is to
    be compared only between scans of one kind. Nodules within 2 mm of the pleura are left out of the pattern, and out
    of the random ones as well, for they are found less often.
    """
    settings = protocol.nodules
    if too_coarse_for_nodules(lungs, protocol=protocol):
        return _no_count(lungs, modality, lung_regions(lungs) if regions is None else regions, flags)
    counted = nodules[nodules["score"] >= settings.nodule_score] if "score" in nodules else nodules
    coarse = settings.least_voxels * max(lungs.spacing_mm) > settings.micronodule_mm
    flags = [*flags, *(["coarse_for_micronodules"] if coarse else [])]
    points = counted[["x_mm", "y_mm", "z_mm"]].to_numpy(float)
    rows: list[dict[str, object]] = []
    for name, region in (lung_regions(lungs) if regions is None else regions).items():
        count = int(_inside(points, region).sum())
        density = 1000 * count / region.volume_ml if region.n_voxels else np.nan
        for measure, value in (("nodule_count", count), ("nodules_per_litre", density)):
            rows.append(row(measure, value, modality=modality, region=name, n_voxels=region.n_voxels, flags=flags))
    diameters = counted["diameter_mm"].dropna().to_numpy(float)
    values = _size_measures(diameters, coarse, settings) | _pattern_measures(points, lungs, rng, settings)
    blunt = max(lungs.spacing_mm) > settings.avoidance_mm
    values["nodule_pleural_avoidance"] = (
        np.nan if blunt else pleural_avoidance(points, null, lungs, settings, vessels=_weak(nodules, settings))
    )
    few = {
        name: ["few_nodules"] if np.isnan(value) and not (coarse and "micro" in name) else []
        for name, value in values.items()
    }
    if np.isnan(values["nodule_pleural_avoidance"]) and len(points) >= settings.few_nodules:
        few["nodule_pleural_avoidance"] = ["coarse_for_avoidance" if blunt and null is not None else "no_detector_null"]
    rows += [
        row(name, value, modality=modality, region=Region.LUNG, n_voxels=lungs.n_voxels, flags=[*flags, *few[name]])
        for name, value in values.items()
    ]
    return table(rows)


def too_coarse_for_nodules(image: Volume | Mask, *, protocol: Protocol = DEFAULT) -> bool:
    """Whether voxels are so large (``nodules.coarsest_mm``) that vessels cut across are taken for nodules."""
    return bool(image.voxel_volume_ml * 1000 > protocol.nodules.coarsest_mm**3)


def _no_count(lungs: Mask, modality: str, regions: Mapping[str, Mask], flags: Collection[str]) -> pd.DataFrame:
    """Rows of count and density that give the reason in place of a number."""
    why = [*flags, "too_coarse_for_nodules"]
    return table(
        [
            row(measure, np.nan, modality=modality, region=name, n_voxels=region.n_voxels, flags=why)
            for name, region in regions.items()
            for measure in ("nodule_count", "nodules_per_litre")
        ]
    )


def random_pattern_test(
    points: npt.ArrayLike,
    domain: npt.ArrayLike,
    depth_mm: npt.ArrayLike,
    *,
    subpleural_mm: float,
    patterns: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Set points against as many thrown at random (complete spatial randomness) into the same domain.

    Parameters
    ----------
    points : array_like, shape (n, 3)
        World coordinates, mm; at least 2.
    domain : array_like, shape (m, 3)
        Where points may lie: centers of the lung's voxels, mm.
    depth_mm : array_like, shape (n + m,)
        Distance to the pleura of the points and then of the domain, mm.
    subpleural_mm : float
        Nearer to the pleura than this is subpleural.
    patterns : int
        How many random patterns.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        ``subpleural_share`` 0 to 1; ``pleural_avoidance``, how many SD of the random patterns fewer points are
        subpleural (positive: centrilobular); ``spacing``, median distance to the nearest neighbor, mm;
        ``spacing_ratio``, mean distance over that of random patterns (Clark and Evans; above 1 spaced out, below 1
        clustered); ``spacing_z``, its difference in their SD. A z is NaN where random patterns do not vary.

    References
    ----------
    Clark & Evans, Ecology 1954;35:445; the Monte Carlo reference stands in for its edge correction.
    """
    given, field, depth = np.asarray(points, float), np.asarray(domain, float), np.asarray(depth_mm, float)
    n, near = len(given), np.asarray(depth) < subpleural_mm
    nearest, share = _nearest(given), near[:n].mean()
    draws = [rng.choice(len(field), n, replace=n > len(field)) for _ in range(patterns)]
    thrown = np.array([(near[n:][draw].mean(), _nearest(field[draw]).mean()) for draw in draws])
    mean, sd = thrown.mean(axis=0), thrown.std(axis=0, ddof=1)
    z = np.divide([share - mean[0], nearest.mean() - mean[1]], sd, out=np.full(2, np.nan), where=sd > 0)
    return {
        "subpleural_share": float(share), "pleural_avoidance": -float(z[0]), "spacing": float(np.median(nearest)),
        "spacing_ratio": float(nearest.mean() / mean[1]), "spacing_z": float(z[1]),
    }  # fmt: skip


def nodule_candidates(
    array: npt.ArrayLike,
    inside: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    settings: NoduleSettings = DEFAULT.nodules,
) -> pd.DataFrame:
    """Maxima of an image that stand alone, at two scales.

    Parameters
    ----------
    array : array_like, shape (i, j, k)
        Image; NaN counts as the lung around.
    inside : array_like of bool, same shape
        Where to look.
    spacing_mm : sequence of 3 floats
        Voxel sides, mm.
    settings : NoduleSettings

    Returns
    -------
    DataFrame
        ``i, j, k`` fractional indices; ``diameter_mm``, ``contrast``, ``score`` as in :func:`detect_nodules`.

    Raises
    ------
    ValueError
        Where shapes differ or nothing is inside.

    Notes
    -----
    Score = p sqrt(p / c) / noise, p the prominence and c the contrast of the smoothed peak. Noise is the scaled median
    absolute deviation of the difference of the two smoothings, but at least ``settings.unevenness`` of c, and of the
    contrast of the brightest hundredth of the lung, its vessels: their beads and bends stand out by so much. Changes of
    gain and offset change no score.
    """
    image, lung = np.asarray(array, np.float32), np.asarray(inside, bool)
    if image.shape != lung.shape or image.ndim != 3 or not lung.any():
        raise ValueError(f"needs a 3-D image and a mask of its shape that holds voxels: {image.shape}, {lung.shape}")
    spacing = np.asarray(spacing_mm, float)
    box = _roomy_box(lung, spacing)
    lung, factors = lung[box], _factors(spacing)
    filled, background = _filled(image[box], lung, factors, spacing)
    tasks = [(filled, lung, background, factors, spacing, start, settings) for start in range(0, lung.shape[0], _SLAB)]
    with ThreadPoolExecutor(threads()) as pool:
        parts = [part for part in pool.map(lambda task: _slab_candidates(*task), tasks) if part is not None]
    if not parts:
        return pd.DataFrame(columns=["i", "j", "k", "diameter_mm", "contrast", "score"], dtype=float)
    noise = float(np.average([part[1] for part in parts], weights=[part[2] for part in parts]))
    found = np.concatenate([part[0] for part in parts])
    least = max(noise, settings.unevenness * _bright_contrast(filled, lung))
    found[:, 5] /= np.maximum(least, settings.unevenness * found[:, 6])
    found = _one_each(found[found[:, 5] >= settings.candidate_score], spacing)
    found[:, :3] += [part.start for part in box]
    return pd.DataFrame(found[:, :6], columns=["i", "j", "k", "diameter_mm", "contrast", "score"])


def _inside(points: Array, mask: Mask) -> BoolArray:
    """Which points fall into a voxel of the mask."""
    index = np.round(mask.to_index(points)).astype(int).reshape(-1, 3)
    within = np.asarray(((index >= 0) & (index < mask.shape)).all(axis=1), bool)
    within[within] = mask.array[tuple(index[within].T)]
    return within


def _size_measures(diameters: Array, coarse: bool, settings: NoduleSettings) -> dict[str, float]:
    known = len(diameters) >= settings.few_nodules
    share = 100 * float(np.mean(diameters < settings.micronodule_mm)) if known and not coarse else np.nan
    return {"nodule_diameter": float(np.median(diameters)) if known else np.nan, "micronodule_share": share}


def _pattern_measures(
    points: Array, lungs: Mask, rng: np.random.Generator | None, settings: NoduleSettings
) -> dict[str, float]:
    names = {
        "subpleural_share": "nodule_subpleural_share", "spacing": "nodule_spacing",
        "spacing_ratio": "nodule_spacing_ratio", "spacing_z": "nodule_spacing_z",
    }  # fmt: skip
    missing = dict.fromkeys(["nodule_pleural_distance", *names.values()], np.nan)
    if len(points) < settings.few_nodules:
        return missing
    rng = rng or np.random.default_rng(0)
    domain, depth, of_points = _depths(points, lungs, rng)
    deep, allowed = of_points >= settings.shallow_mm, depth >= settings.shallow_mm
    if deep.sum() < settings.few_nodules or not allowed.any():
        return missing
    test = random_pattern_test(
        points[deep], domain[allowed], np.concatenate([of_points[deep], depth[allowed]]),
        subpleural_mm=settings.subpleural_mm, patterns=settings.random_patterns, rng=rng,
    )  # fmt: skip
    test["subpleural_share"] *= 100
    return {"nodule_pleural_distance": float(np.median(of_points))} | {name: test[key] for key, name in names.items()}


def _weak(nodules: pd.DataFrame, settings: NoduleSettings) -> Array:
    """Candidates with half the score of a nodule that do not count as one."""
    if "score" not in nodules:
        return np.empty((0, 3))
    half = (nodules["score"] < settings.nodule_score) & (nodules["score"] >= settings.nodule_score / 2)
    return nodules.loc[half, ["x_mm", "y_mm", "z_mm"]].to_numpy(float)


def pleural_avoidance(
    points: npt.ArrayLike,
    null: npt.ArrayLike | None,
    lungs: Mask,
    settings: NoduleSettings = DEFAULT.nodules,
    *,
    vessels: npt.ArrayLike = (),
) -> float:
    """How far fewer nodules are subpleural than of those found that were put there at random, and than vessels.

    Parameters
    ----------
    points : array_like, shape (n, 3)
        Nodules, mm.
    null : array_like, shape (m, 3), optional
        As of :func:`ipha_toolkit.measure.nodule_null.detectable_places`.
    lungs : Mask
    settings : NoduleSettings
    vessels : array_like, shape (k, 3), optional
        Candidates too weak to count, mostly pieces of vessels, mm. Vessels taken for nodules keep off the pleura as
        these do, so the smaller of both differences is given. Fewer than ``few_nodules`` are passed over.

    Returns
    -------
    float
        In standard errors of the difference of both shares (positive: centrilobular); NaN where nodules or null hold
        fewer than ``few_nodules`` deeper than ``shallow_mm``, or none of the null, or of the vessels, is subpleural.
        At 1 to 1.5 mm voxels random nodules gave -1.7 to +0.8, centrilobular ones +1.9 to +5.5, subpleural ones -4.1
        and less; at 2 mm random and centrilobular ones cannot be told apart (benchmarks/avoidance.py).
    """
    given = [np.asarray(places if places is not None else [], float).reshape(-1, 3) for places in (points, null)]
    if min(map(len, given)) < settings.few_nodules:
        return np.nan
    given += [np.asarray(vessels, float).reshape(-1, 3)] if len(np.asarray(vessels)) else []
    depths = [_depths(places, lungs, np.random.default_rng(0))[2] for places in given]
    own, *others = [depth[depth >= settings.shallow_mm] for depth in depths]
    if min(len(own), len(others[0])) < settings.few_nodules:
        return np.nan
    return float(np.min([_fewer(own, other, settings) for other in others if len(other) >= settings.few_nodules]))


def _fewer(depth: Array, of_null: Array, settings: NoduleSettings) -> float:
    """How many standard errors fewer of some are subpleural than of others."""
    share, expected = (float(np.mean(one < settings.subpleural_mm)) for one in (depth, of_null))
    se = np.sqrt(expected * (1 - expected) * (1 / len(depth) + 1 / len(of_null)))
    return float((expected - share) / se) if se > 0 else np.nan


def _depths(points: Array, lungs: Mask, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """One place in mm at random within each block of lung, its distance to the lungs' surface, and that of the points.

    Holes in the lungs are filled.
    """
    from scipy import ndimage

    factors = block_factors(lungs, _DEPTH_MM)
    sides = np.array(lungs.spacing_mm) * factors
    share = block_mean(lungs.array, factors) >= 0.5
    if not share.any():
        return np.empty((0, 3)), np.empty(0), np.zeros(len(points))
    box = bounding_box(share)
    blocks = np.pad(share[tuple(slice(*ends) for ends in box)], 1)
    outside, _ = ndimage.label(~blocks)
    blocks = outside != outside[0, 0, 0]  # what is not open to the outside is a hole
    depth = depth_mm(blocks, sides) - sides.mean() / 2
    first, middle = np.array([low for low, _ in box]) - 1, (np.array(factors) - 1) / 2
    blocks_at = np.argwhere(blocks).astype(float)
    blocks_at += rng.uniform(-0.5, 0.5, blocks_at.shape)
    points_at = (lungs.to_index(points) - middle) / factors - first
    of_blocks, of_points = (
        ndimage.map_coordinates(depth, places.T, order=1, mode="nearest").astype(np.float64)
        for places in (blocks_at, points_at)
    )
    return lungs.to_world((blocks_at + first) * factors + middle), of_blocks, of_points


def _nearest(points: Array) -> Array:
    """Distance of every point to its nearest neighbor."""
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(points).query(points, k=2)[0])[:, 1]


def _bright_contrast(filled: FloatArray, lung: BoolArray) -> float:
    """How far the brightest hundredth of the lung stands above its median."""
    values = filled[lung]
    low, high = np.quantile(values[:: max(1, values.size // 1_000_000)], (0.5, 0.99))
    return float(high - low)


def _require_nodule_image(volume: Volume, lungs: Mask) -> None:
    name = volume.name or "volume"
    if volume.modality not in _BRIGHT:
        raise ImageError(f"{name}: nodules are sought in T1w and ct, where they are bright; got {volume.modality}")
    if min(volume.shape) < FEWEST_SLICES:
        raise ImageError(
            f"{name}: has shape {volume.shape}; nodules need at least {FEWEST_SLICES} slices: in fewer a vessel "
            "cut across looks alike"
        )
    if not lungs.n_voxels:
        raise ImageError(f"{lungs.name or 'lung mask'}: is empty, there is no lung to search")


def _roomy_box(lung: BoolArray, spacing: Array) -> tuple[slice, slice, slice]:
    margin = np.ceil(_MARGIN_MM / spacing).astype(int)
    i, j, k = (slice(max(0, low - m), high + m) for (low, high), m in zip(bounding_box(lung), margin, strict=True))
    return i, j, k


def _factors(spacing: Array) -> tuple[int, int, int]:
    i, j, k = (max(1, int(_COARSE_MM / step)) for step in spacing)
    return i, j, k


def _filled(
    image: FloatArray, lung: BoolArray, factors: tuple[int, int, int], spacing: Array
) -> tuple[FloatArray, FloatArray]:
    """The lung without its outermost voxels, which hold chest wall, on a ground that goes on outside; the ground."""
    from scipy import ndimage

    core = ndimage.binary_erosion(lung) & np.isfinite(image)
    core = core if core.any() else lung & np.isfinite(image)
    if not core.any():
        raise ValueError("the image holds no number inside the mask")
    sigma = _BACKGROUND_MM / (spacing * factors)
    total = ndimage.gaussian_filter(block_mean(np.where(core, image, 0), factors), sigma, truncate=2)
    share = ndimage.gaussian_filter(block_mean(core, factors), sigma, truncate=2)
    level = np.float32(np.median(image[core]))
    background = np.where(share > 1e-3, total / np.maximum(share, 1e-3), level).astype(np.float32)
    filled = np.empty(image.shape, np.float32)
    for where, ground in enlarged_slabs(background, factors, image.shape):
        filled[where] = np.where(core[where], image[where], ground)
    return filled, background


def _slab_candidates(
    filled: FloatArray,
    lung: BoolArray,
    background: FloatArray,
    factors: tuple[int, int, int],
    spacing: Array,
    start: int,
    settings: NoduleSettings,
) -> tuple[Array, float, int] | None:
    """Candidates of one slab along i, noise, and voxels it rests on.

    Columns are those of :func:`nodule_candidates`, and last the contrast at the scale where the candidate was found.
    The score is in the image's unit: it is divided by the noise once that of all slabs is known.
    """
    from scipy import ndimage

    halo = int(np.ceil((max(settings.reach_mm) + 4 * max(settings.smoothing_mm)) / spacing[0])) + 2
    low, stop = max(0, start - halo), min(start + _SLAB, lung.shape[0])
    part, inside = filled[low : stop + halo], lung[low : stop + halo]
    if not lung[start:stop].any():
        return None
    sigmas = [np.maximum(scale / spacing, _LEAST_SIGMA_VOXELS) for scale in settings.smoothing_mm]
    smooth = [ndimage.gaussian_filter(part, sigma, truncate=3) for sigma in sigmas]
    own = slice(start - low, stop - low)
    residual = (smooth[0][own] - smooth[1][own])[lung[start:stop]]
    noise = _MAD * float(np.median(np.abs(residual - np.median(residual)))) or float(np.finfo(np.float32).tiny)
    widths = [float(np.cbrt(np.prod(sigma * spacing))) for sigma in sigmas]
    found = []
    for image, reach in zip(smooth, settings.reach_mm, strict=True):
        peaks = _peaks(image, inside, own.start, own.stop)
        place = (peaks + np.array([low, 0, 0]) - (np.array(factors) - 1) / 2) / factors
        ground = ndimage.map_coordinates(background, place.T, order=1, mode="nearest")
        contrast = image[tuple(peaks.T)] - ground
        keep = contrast > _PRUNE_SIGMAS * noise
        peaks, ground, contrast = peaks[keep], ground[keep], contrast[keep]
        saddle = _saddles(image, inside, peaks, spacing, reach, settings.shallow_mm)
        prominence = np.maximum(image[tuple(peaks.T)] - saddle, 0)
        score = prominence * np.sqrt(np.minimum(prominence / contrast, 1))
        both = [smoothed[tuple(peaks.T)] - ground for smoothed in smooth]
        size = _diameter(both[0], both[1], widths, float(np.cbrt(np.prod(spacing))))
        where = peaks + _subvoxel(image, peaks) + np.array([low, 0, 0])
        found.append(np.column_stack([where, size, both[0], score, contrast]))
    return np.concatenate(found), noise, int(residual.size)


def _diameter(fine: Array, coarse: Array, widths_mm: Sequence[float], voxel_mm: float) -> Array:
    """Diameter in mm of a ball from how much of its peak the wider of two Gaussians leaves.

    NaN where that is what no ball between the smallest and the largest radius leaves.
    """
    radii = np.linspace(0.3, 6.0, 400)
    kept = [_ball_peak(radii / np.hypot(width, _INTRINSIC_SIGMA_VOXELS * voxel_mm)) for width in widths_mm]
    ratio = np.clip(coarse / np.maximum(fine, 1e-12), 0, 1)
    return 2 * np.interp(ratio, kept[1] / kept[0], radii, left=np.nan, right=np.nan)


def smoothed_share(diameters_mm: Array, spacing_mm: Sequence[float], settings: NoduleSettings) -> Array:
    """Share of a ball's contrast that the finer smoothing leaves at its center, 0 to 1."""
    voxel = float(np.cbrt(np.prod(spacing_mm)))
    sigma = np.maximum(settings.smoothing_mm[0], _LEAST_SIGMA_VOXELS * np.asarray(spacing_mm))
    width = np.hypot(float(np.cbrt(np.prod(sigma))), _INTRINSIC_SIGMA_VOXELS * voxel)
    return _ball_peak(np.asarray(diameters_mm, float) / 2 / width)


def _ball_peak(x: Array) -> Array:
    """Value at the center of a ball of radius x and height 1, smoothed by a Gaussian of SD 1."""
    from scipy.special import erf

    return np.asarray(erf(x / np.sqrt(2)) - np.sqrt(2 / np.pi) * x * np.exp(-(x**2) / 2))


def _subvoxel(image: FloatArray, peaks: npt.NDArray[np.int64]) -> Array:
    """Vertex of the parabola through the peak and its two neighbors along each axis, in voxels."""
    offset = np.zeros(peaks.shape)
    middle = image[tuple(peaks.T)].astype(float)
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        before, after = image[tuple((peaks - step).T)].astype(float), image[tuple((peaks + step).T)].astype(float)
        bend = before - 2 * middle + after
        offset[:, axis] = np.where(bend < 0, (before - after) / (2 * np.where(bend < 0, bend, 1)), 0)
    return np.clip(offset, -0.5, 0.5)


def _one_each(found: Array, spacing: Array) -> Array:
    """Best first, and only the best of candidates that lie within one another."""
    from scipy.spatial import cKDTree

    found = found[np.argsort(-found[:, 5], kind="stable")]
    points = found[:, :3] * spacing
    keep = np.ones(len(found), bool)
    tree = cKDTree(points)
    for index, (point, diameter) in enumerate(zip(points, found[:, 3], strict=True)):
        if keep[index]:
            near = np.asarray(tree.query_ball_point(point, max(2.0, diameter / 2)))
            keep[near[near > index]] = False
    return found[keep]


@compiled(nogil=True)
def _peaks(image, inside, first, last):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Indices of voxels inside, from first to last along i, that no neighbor of 26 exceeds; none on the border."""
    ni, nj, nk = image.shape
    found = []
    for i in range(max(first, 1), min(last, ni - 1)):
        for j in range(1, nj - 1):
            for k in range(1, nk - 1):
                if inside[i, j, k] and image[i, j, k] >= image[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2].max():
                    found.append((i, j, k))
    table = np.empty((len(found), 3), np.int64)
    for n in range(len(found)):
        table[n, 0], table[n, 1], table[n, 2] = found[n]
    return table


@compiled(nogil=True)
def _saddles(image, inside, peaks, spacing, reach, shallow):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Highest level at which a flood from each peak gets ``reach`` mm away, or, from a peak within ``shallow`` mm of
    the outside, gets out."""
    saddle = np.empty(len(peaks), np.float32)
    hi, hj, hk = int(reach / spacing[0]) + 1, int(reach / spacing[1]) + 1, int(reach / spacing[2]) + 1
    seen = np.full((2 * hi + 1, 2 * hj + 1, 2 * hk + 1), -1, np.int64)
    for p in range(len(peaks)):
        a, b, c = peaks[p]
        wall = _is_outside_near(inside, a, b, c, spacing, shallow)
        heap = [(-image[a, b, c], a, b, c)]
        seen[hi, hj, hk] = p
        low = image[a, b, c]
        while len(heap) > 0:
            value, i, j, k = heappop(heap)
            low = min(low, -value)
            away = ((i - a) * spacing[0]) ** 2 + ((j - b) * spacing[1]) ** 2 + ((k - c) * spacing[2]) ** 2
            if away >= reach * reach or (wall and not inside[i, j, k]):
                break
            for axis in range(3):
                for step in (-1, 1):
                    x, y, z = i + step * (axis == 0), j + step * (axis == 1), k + step * (axis == 2)
                    if min(x, y, z) < 0 or x >= image.shape[0] or y >= image.shape[1] or z >= image.shape[2]:
                        continue
                    u, v, w = x - a + hi, y - b + hj, z - c + hk
                    if min(u, v, w) < 0 or u > 2 * hi or v > 2 * hj or w > 2 * hk or seen[u, v, w] == p:
                        continue
                    seen[u, v, w] = p
                    heappush(heap, (value if wall and not inside[x, y, z] else -image[x, y, z], x, y, z))
        saddle[p] = low
    return saddle


@compiled(nogil=True)
def _is_outside_near(inside, a, b, c, spacing, radius):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    hi, hj, hk = int(radius / spacing[0]), int(radius / spacing[1]), int(radius / spacing[2])
    for i in range(max(a - hi, 0), min(a + hi + 1, inside.shape[0])):
        for j in range(max(b - hj, 0), min(b + hj + 1, inside.shape[1])):
            for k in range(max(c - hk, 0), min(c + hk + 1, inside.shape[2])):
                away = ((i - a) * spacing[0]) ** 2 + ((j - b) * spacing[1]) ** 2 + ((k - c) * spacing[2]) ** 2
                if away < radius * radius and not inside[i, j, k]:
                    return True
    return False
