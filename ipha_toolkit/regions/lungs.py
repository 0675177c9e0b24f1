"""Find the lungs in chest CT and MRI, without learned weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.image.geometry import block_factors, block_mean, bounding_box, depth_mm, enlarge, enlarged_slabs
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.reference import darkest_mode
from ipha_toolkit.regions.zones import split_left_right
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Affine, BoolArray, FloatArray, Mask, Volume

_MR = (Modality.T1W, Modality.T2W, Modality.MEGRE)
_PLAUSIBLE_ML = (60.0, 9000.0)
_ONE_LUNG_SHARE = 0.05
_SMALLEST_LUNG_ML = 15.0

_CT_SPACING_MM = 2.5
_AIR_HU = -350.0
_HAZE_HU = -200.0
_OUTSIDE_HU = -920.0
_AIRWAY_HU = -930.0
_AIRWAY_HEIGHT_MM = 25.0
_PURE_AIR_HU = -960.0
_WALL_MM = 6.0
_WALL_HU = -600.0
_ROOM_AIR_HU = -1000.0
_BONE_HU = 200.0
_CLOSING_MM = 8.0
_SMALLEST_PLANE_MM2 = 500.0
_ANGLES = 120

_MR_SPACING_MM = 3.0
_MR_CUT = 0.35
_MR_STEP_MM = 12.0
_MR_ROUNDS = 12
_MR_FILLED = 1.10
_MR_GAIN = 1.02
_MR_HIGHEST_CUT = 0.62
_BRIGHT_LUNG_SHARE = 0.5
"""Of the tissue around it: what is darker may still be lung in T1w. Chosen."""
_BRIGHT_LUNG_GAIN = 2.0
"""Where that finds this much more than the cut by contrast, the latter cut through the lung. Chosen on the phantom: in
health, and in real chests, it finds 1.2 to 1.5 times as much, of which the border is taken back."""
_MR_EDGE = 0.4
_MR_EDGE_MM = 4.0


def segment_lungs(volume: Volume, *, protocol: Protocol = DEFAULT) -> Mask:
    """Find the lungs.

    Parameters
    ----------
    volume : Volume
        CT in HU, or T1w, T2w, multi-echo gradient echo (its first echo) with the lungs darker than what is around them.
        Any orientation, a whole chest or a part, also one slice.
    protocol : Protocol
        ``lungs.vessels``: keep pulmonary vessels in a CT mask.

    Returns
    -------
    Mask
        Both lungs on the volume's grid; trachea and main bronchi are left out.

    Raises
    ------
    ImageError
        Where no lung is found, or the modality is none that lungs are looked for in.

    Notes
    -----
    CT: air enclosed by the body, its airways removed, is joined by ground glass up to −200 HU and closed over vessels
    and over consolidation that lung surrounds or that lies on the costal side; consolidation against heart or
    diaphragm is lost. MRI: dark space enclosed by tissue, cut where the signal passes 40 % of the way from lung to the
    tissue beside it, and no lower than 35 % of the way to muscle: chest masks drawn by hand lie there rather than
    halfway. **Lung as bright as muscle is not kept in MRI: in acute bleeding most of the lung can be missing**; pass a
    mask. Deterministic. Limits were chosen on a handful of chest scans and the phantom and hold margins; none has a
    published source.
    """
    canonical = volume.to_ras()
    if volume.modality == Modality.DX:
        from ipha_toolkit.regions.films import find_lung_fields

        return find_lung_fields(volume, protocol=protocol).lungs
    if volume.modality == Modality.CT:
        lungs = _segment_ct(canonical, protocol)
    elif volume.modality in _MR:
        lungs = _segment_mr(canonical)
    else:
        raise ImageError(
            f"{volume.name or 'volume'}: lungs are found in ct, T1w, T2w, MEGRE and dx, not in "
            f"{volume.modality or 'an image without modality'}; pass a lung mask, or modality= to load"
        )
    if canonical is volume:
        return lungs
    from ipha_toolkit.image.geometry import resample_to

    return resample_to(lungs, volume, order=0)


def lung_flags(lungs: Mask, image: Volume) -> list[str]:
    """Flags of a lung mask, our own or foreign, on the image it was made for.

    Returns
    -------
    list of str
        Codes of :data:`ipha_toolkit.terms.FLAGS`: ``single_slice`` (the image has one), ``one_lung`` (one side
        holds under 5 % of the mask), ``cut_field_of_view`` (lungs on the border of the image), and
        ``implausible_lung_volume`` (not within 60 mL, an infant's, to 9 L; not asked of one slice).

    Raises
    ------
    GridError
        Where the mask lies on another grid.
    ImageError
        Where the mask is empty.
    """
    image.require_same_grid(lungs)
    if not lungs.n_voxels:
        raise ImageError(f"{lungs.name or 'lung mask'}: is empty for {image.name or 'volume'}: no lung to measure")
    flags = ["single_slice"] if min(lungs.shape) == 1 else []
    left, right = split_left_right(lungs)
    if min(left.n_voxels, right.n_voxels) < _ONE_LUNG_SHARE * lungs.n_voxels:
        flags.append("one_lung")
    if _is_cut(lungs, image):
        flags.append("cut_field_of_view")
    if min(lungs.shape) > 1 and not _PLAUSIBLE_ML[0] <= lungs.volume_ml <= _PLAUSIBLE_ML[1]:
        flags.append("implausible_lung_volume")
    return flags


def _is_cut(lungs: Mask, image: Volume) -> bool:
    """Whether more than 1 cm2 of lung lies on a border of the image (axes of one voxel aside)."""
    for axis in range(3):
        if lungs.shape[axis] == 1:
            continue
        area = np.prod([s for a, s in enumerate(lungs.spacing_mm) if a != axis])
        for end in (0, -1):
            if np.count_nonzero(lungs.array.take(end, axis)) * area > 100.0:
                return True
    return False


# ---------------------------------------------------------------------------------------------------------- CT


def _segment_ct(ct: Volume, protocol: Protocol) -> Mask:
    factors = block_factors(ct, _CT_SPACING_MM)
    hu = block_mean(ct.array, factors, missing=_ROOM_AIR_HU)
    spacing = _coarse_spacing(ct, factors)
    air = _enclosed_air(hu < _AIR_HU, hu, spacing)
    airways = _airways(air, hu, spacing)
    aerated = _lung_pieces(air & ~airways, spacing)
    if not aerated.any():
        raise _no_lung(ct, f"no air above {_OUTSIDE_HU:g} HU enclosed by the body", hu)
    whole = np.zeros(hu.shape, bool)
    left, right = split_left_right(Mask(_with_haze(aerated, hu, spacing), _coarse_affine(ct, factors)))
    for side, medial in ((left, 1), (right, -1)):
        whole |= _with_what_it_lost(side.array, hu, spacing, medial)
    lungs = _at_full_resolution(ct, aerated, whole & ~airways, airways, factors)
    if not protocol.lungs.vessels:
        from ipha_toolkit.regions.vessels import segment_vessels

        lungs &= ~segment_vessels(ct, Mask(lungs, ct.affine), protocol=protocol).array
    return Mask(lungs, ct.affine, name="lungs")


def _with_what_it_lost(lung: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64], medial: int) -> BoolArray:
    """One lung with its ground glass, closed over vessels, and over consolidation in it or at the chest wall."""
    if not lung.any():
        return lung
    reach = np.ceil(2 * _CLOSING_MM / spacing).astype(int)
    box = tuple(
        slice(max(0, low - r), min(high + r, n))
        for (low, high), r, n in zip(bounding_box(lung), reach, lung.shape, strict=True)
    )
    whole = lung.copy()
    part = _without_enclosed_holes(lung[box])
    added = _costal_gaps(part, spacing, medial) & (hu[box] < _BONE_HU)
    part = part | _opened(added, spacing, 3.0)
    whole[box] = _closed(part, spacing, _CLOSING_MM)
    return whole


def _with_haze(lung: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """The lung with what touches it, is denser than it, lighter than fat, and thicker than a blurred border."""
    haze = _opened((hu >= _AIR_HU) & (hu < _HAZE_HU), spacing, max(3.0, 1.1 * float(spacing.max())))
    return _touching(lung | haze, lung)


def _without_enclosed_holes(lung: BoolArray) -> BoolArray:
    """One lung with what it surrounds in axial or coronal planes: vessels, consolidation, masses."""
    from scipy import ndimage

    for axis in (2, 1):
        planes = np.moveaxis(lung, axis, 0)
        lung = np.stack([ndimage.binary_fill_holes(plane) for plane in planes], axis=axis)
    return lung


def _costal_gaps(lung: BoolArray, spacing: npt.NDArray[np.float64], medial: int) -> BoolArray:
    """What the lung lacks of its convex outline in axial planes, on the side of the ribs.

    The surface under the ribs is convex: a dent there is consolidation, mass or fluid. Heart, spine, hilum and the
    domes of the diaphragm dent the lung from the medial side (``medial``: 1 for the left lung, -1 for the right) and
    have lung lateral to them; they stay out. So does what has no aerated lung below it: diaphragm, abdomen.
    """
    from skimage.morphology import convex_hull_image

    gaps = np.zeros(lung.shape, bool)
    for k in np.flatnonzero(lung.sum(axis=(0, 1)) * spacing[0] * spacing[1] > _SMALLEST_PLANE_MM2):
        plane = lung[:, :, k]
        gaps[:, :, k] = _beyond(plane, convex_hull_image(plane) & ~plane, spacing, medial)
    return gaps & (np.logical_or.accumulate(lung, axis=2) if lung.shape[2] > 1 else True)


def _beyond(plane: BoolArray, gap: BoolArray, spacing: npt.NDArray[np.float64], medial: int) -> BoolArray:
    """Gap voxels with no lung further out, seen from the middle of the lung's medial border."""
    i, j = np.nonzero(plane)
    origin = (np.quantile(i, 0.98 if medial > 0 else 0.02), np.median(j))
    angle, radius = _polar(i, j, origin, spacing)
    farthest = np.zeros(_ANGLES)
    np.maximum.at(farthest, angle, radius)
    farthest = np.maximum(farthest, np.maximum(np.roll(farthest, 1), np.roll(farthest, -1)))
    where = np.nonzero(gap)
    angle, radius = _polar(where[0], where[1], origin, spacing)
    beyond = gap.copy()
    lateral = (where[0] - origin[0]) * medial < 0
    beyond[where] = (radius > farthest[angle]) & lateral
    return beyond


def _polar(
    i: npt.NDArray[np.intp],
    j: npt.NDArray[np.intp],
    origin: tuple[float, float],
    spacing: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    x, y = (i - origin[0]) * spacing[0], (j - origin[1]) * spacing[1]
    angle = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * _ANGLES).astype(np.intp) % _ANGLES
    return angle, np.hypot(x, y)


def _coarse_spacing(image: Volume, factors: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    return np.array(image.spacing_mm) * factors


def _coarse_affine(image: Volume, factors: tuple[int, int, int]) -> Affine:
    affine = image.affine.copy()
    affine[:3, :3] *= factors
    affine[:3, 3] = image.to_world((np.array(factors) - 1) / 2)
    return affine


def _at_full_resolution(
    ct: Volume, aerated: BoolArray, whole: BoolArray, airways: BoolArray, factors: tuple[int, int, int]
) -> BoolArray:
    """The coarse lungs with their border against soft tissue drawn where the full-resolution HU cross the limit."""
    from scipy import ndimage

    block = np.ones([3 if n > 1 else 1 for n in whole.shape], bool)
    inside = ndimage.binary_erosion(whole, block, border_value=1)
    near = ndimage.binary_dilation(whole, block) & ~airways
    filled = (whole & ~ndimage.binary_dilation(aerated)).astype(np.float32)
    lungs = np.empty(ct.shape, bool)
    for where, share in enlarged_slabs(filled, factors, ct.shape):
        rows = slice(where.start // factors[0], -(-where.stop // factors[0]))
        size = share.shape
        air = _repeated(near[rows], factors, size) & (ct.array[where] < _AIR_HU)
        lungs[where] = air | _repeated(inside[rows], factors, size) | (share >= 0.5)
    return lungs


def _repeated(blocks: BoolArray, factors: tuple[int, int, int], shape: tuple[int, ...]) -> BoolArray:
    for axis, factor in enumerate(factors):
        blocks = blocks.repeat(factor, axis)
    return blocks[: shape[0], : shape[1], : shape[2]]


def _enclosed_air(air: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Air spaces inside the body: neither room air (lighter, or open to the sides) nor the mattress."""
    from scipy import ndimage

    labels, count = ndimage.label(air)
    if not count:
        return air
    body = _largest(
        ndimage.binary_opening(np.pad(~air, 2, mode="edge"), _ball(1))[2:-2, 2:-2, 2:-2] if min(air.shape) > 1 else ~air
    )
    walls = np.zeros(air.shape, np.uint8)
    for axis in (0, 1):
        walls += np.logical_or.accumulate(body, axis)
        walls += np.flip(np.logical_or.accumulate(np.flip(body, axis), axis), axis)
    index = np.arange(count + 1)
    size = np.bincount(labels.ravel(), minlength=count + 1)
    enclosure = np.bincount(labels.ravel(), walls.ravel(), count + 1) / np.maximum(size, 1)
    level = np.bincount(labels.ravel(), hu.ravel(), count + 1) / np.maximum(size, 1)
    keep = (enclosure >= 2.7) & ((level > _OUTSIDE_HU) | (enclosure > 3.5)) & (index > 0)
    return np.asarray(keep[labels])


def _airways(candidates: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Trachea and main bronchi: long lumens of pure air, with their wall; none where there is no such lumen."""
    from scipy import ndimage

    lumen, _ = ndimage.label(candidates & (hu < _AIRWAY_HU))
    airways = np.zeros(candidates.shape, bool)
    columns = np.flatnonzero(candidates.any(axis=(1, 2)))
    reach = np.ceil(_WALL_MM / spacing).astype(int)
    for index, found in enumerate(ndimage.find_objects(lumen), 1):
        if (found[2].stop - found[2].start) * spacing[2] < _AIRWAY_HEIGHT_MM:
            continue
        where = tuple(slice(max(0, part.start - r), part.stop + r) for part, r in zip(found, reach, strict=True))
        piece = lumen[where] == index
        place = (where[0].start + np.nonzero(piece)[0].mean() - columns[0]) / max(1, len(columns) - 1)
        if _is_airway(piece, hu[where], place, spacing):
            airways[where] |= piece
    return np.asarray(_dilated(airways, spacing, 3.0) & (hu < _AIR_HU + 200)) if airways.any() else airways


def _is_airway(piece: BoolArray, hu: FloatArray, place: float, spacing: npt.NDArray[np.float64]) -> bool:
    """Whether a lumen holds pure air in a wall, and is near the middle of the chest or as slender as a trachea."""
    volume_ml = piece.sum() * spacing.prod() / 1000
    if not 1.0 < volume_ml < 150.0 or np.median(hu[piece]) > _PURE_AIR_HU:
        return False
    wall = _dilated(piece, spacing, _WALL_MM) & ~piece
    area = np.median(piece.sum(axis=(0, 1))[piece.any(axis=(0, 1))]) * spacing[0] * spacing[1]
    tube = 60.0 < area < 500.0 and np.count_nonzero(piece.any(axis=(0, 1))) * spacing[2] > 2 * np.sqrt(area)
    return bool((hu[wall] > _WALL_HU).mean() > 0.5 and (0.3 < place < 0.7 or tube))


def _lung_pieces(mask: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Pieces at least 3 % of the largest and 5 mL; none where even the largest is too small to be a lung."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    if not _lung_sized(int(sizes.max()), mask.shape, spacing):
        return np.zeros(mask.shape, bool)
    enough = 5.0 if min(mask.shape) > 1 else 0.5
    return np.asarray(((sizes >= 0.03 * sizes.max()) & (sizes * spacing.prod() / 1000 > enough))[labels])


def _lung_sized(n_voxels: int, shape: tuple[int, ...], spacing: npt.NDArray[np.float64]) -> bool:
    """Whether a piece is large enough for a lung: 15 mL, a fourth of an infant's, or 3 cm2 in a single slice."""
    volume = n_voxels * spacing.prod()
    flat = [axis for axis in range(3) if shape[axis] == 1]
    return bool(volume >= 300.0 * spacing[flat[0]] if flat else volume >= _SMALLEST_LUNG_ML * 1000)


# ---------------------------------------------------------------------------------------------------------- MRI


def _segment_mr(volume: Volume) -> Mask:
    factors = block_factors(volume, _MR_SPACING_MM)
    spacing = _coarse_spacing(volume, factors)
    signal = block_mean(volume.array, factors)
    if not signal.max() > signal.min():
        raise _no_lung(volume, "the image is constant", signal)
    smooth = _evened(_smoothed(signal, spacing), spacing)
    core = _enclosed_dark(smooth < _log_otsu(smooth), spacing)
    if volume.modality == Modality.T1W:  # that cut may lie between air and a lung bright with disease or contrast agent
        bright = _enclosed_dark(smooth < _BRIGHT_LUNG_SHARE, spacing)
        core = bright if bright.sum() > _BRIGHT_LUNG_GAIN * core.sum() else core
    if not core.any():
        raise _no_lung(volume, "no dark space enclosed by brighter tissue", signal)
    score, core = _cut_between_levels(smooth, core, spacing)
    closed = _without_small_holes(_closed(core, spacing, 5.0), spacing)
    score = np.where(closed, np.where(core, np.maximum(score, 0.02), 0.25), np.minimum(score, -0.02))
    fine = enlarge(score.astype(np.float32), factors, volume.shape) > 0
    return Mask(fine, volume.affine, name="lungs")


def _smoothed(array: FloatArray, spacing: npt.NDArray[np.float64]) -> FloatArray:
    """Smoothed over 0.7 of the finest voxel spacing: noise goes, thick slices do not mix."""
    from scipy import ndimage

    sigma = [0.7 * spacing.min() / s if n > 1 else 0 for s, n in zip(spacing, array.shape, strict=True)]
    return np.asarray(ndimage.gaussian_filter(array, sigma))


def _evened(signal: FloatArray, spacing: npt.NDArray[np.float64]) -> FloatArray:
    """Signal over the level of the tissue within some centimetres: most of a bias field is gone."""
    from skimage.filters import threshold_otsu

    tissue = signal > 0.5 * threshold_otsu(np.minimum(signal, np.percentile(signal, 98)).ravel())
    level = _local_mean(signal, tissue, spacing, 50.0)
    return np.asarray(signal / np.maximum(level, 0.1 * np.median(signal[tissue])))


def _local_mean(values: FloatArray, where: BoolArray, spacing: npt.NDArray[np.float64], sigma_mm: float) -> FloatArray:
    """Gaussian-weighted mean of the values where True; far from any, their overall mean."""
    from scipy import ndimage

    sigma = [sigma_mm / s if n > 1 else 0 for s, n in zip(spacing, values.shape, strict=True)]
    overall = values[where].mean(dtype=np.float64)
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma, mode="constant") + 1e-3
    total = ndimage.gaussian_filter(np.where(where, values, 0), sigma, mode="constant") + 1e-3 * overall
    return np.asarray(total / weight, np.float32)


def _without_small_holes(mask: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Holes up to 1 cm2 filled in every plane of finest sampling: vessels in cross-section."""
    from skimage.morphology import remove_small_holes

    through = int(np.argmax(np.where(np.array(mask.shape) == 1, np.inf, spacing)))
    area = float(np.prod(np.delete(spacing, through)))
    planes = np.moveaxis(mask, through, 0)
    filled = np.stack([remove_small_holes(plane, max_size=max(1, int(100.0 / area))) for plane in planes])
    return np.asarray(np.moveaxis(filled, 0, through))


def _log_otsu(signal: FloatArray) -> float:
    from skimage.filters import threshold_otsu

    top = float(np.percentile(signal, 98))
    logs = np.log(np.clip(signal, 0.02 * top, top))
    return float(np.exp(threshold_otsu(logs.ravel())))


def _enclosed_dark(dark: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Large dark spaces shut off from the sides of the image, at least 5 % of the largest, not below it."""
    from scipy import ndimage

    opened = _opened(dark, spacing, 4.0)
    outside = _open_to_the_sides(opened)
    opened &= ~outside
    labels, count = ndimage.label(opened)
    size = np.bincount(labels.ravel(), minlength=count + 1)
    size[0] = 0
    leak = np.bincount(labels[_beside(outside, spacing)], minlength=count + 1)
    size = np.where(leak < 0.02 * size, size, 0)
    if not _lung_sized(int(size.max()), dark.shape, spacing):
        return np.zeros(dark.shape, bool)
    heights = np.broadcast_to(np.arange(dark.shape[2]), dark.shape)
    bottom = np.quantile(heights[labels == size.argmax()], 0.2)
    level = np.bincount(labels.ravel(), heights.ravel(), count + 1) / np.maximum(size, 1)
    keep = (size >= 0.05 * size.max()) & (size > 0) & (level >= bottom - 1)
    keep[size.argmax()] = True
    return np.asarray(keep[labels])


def _open_to_the_sides(dark: BoolArray) -> BoolArray:
    """Dark space that reaches the left or right border of the image within its axial plane: room air, never lung."""
    from scipy import ndimage

    in_plane = ndimage.generate_binary_structure(3, 1)
    in_plane[:, :, [0, 2]] = False
    labels, count = ndimage.label(dark, in_plane)
    hit = np.zeros(count + 1, bool)
    hit[np.unique(labels[[0, -1]])] = True
    hit[0] = False
    return np.asarray(hit[labels])


def _beside(mask: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Voxels next to the mask along the axes of fine sampling; thick slices border on what they do not touch."""
    beside = np.zeros(mask.shape, bool)
    for axis in np.flatnonzero(spacing < 2 * spacing.min()):
        rows, out = np.moveaxis(mask, axis, 0), np.moveaxis(beside, axis, 0)
        out[1:] |= rows[:-1]
        out[:-1] |= rows[1:]
    return beside & ~mask


def _cut_between_levels(
    smooth: FloatArray, core: BoolArray, spacing: npt.NDArray[np.float64]
) -> tuple[FloatArray, BoolArray]:
    """Lungs cut a third of the way from lung to muscle, reached from the core in small steps of signal and distance.

    Returns the score, positive on the lung's side and 1 at the lung's level, and the lungs.
    """
    start = _log_otsu(smooth)
    around = _dilated(core, spacing, 25.0) & ~_dilated(core, spacing, 3.0)
    muscle = darkest_mode(smooth[around & (smooth > start)])
    lung = float(np.median(smooth[core]))
    cut = max(start, lung + _MR_CUT * (muscle - lung))
    for share in (1 / 3, 2 / 3, 1.0):
        before = np.count_nonzero(core)
        core = _grown(core, smooth < start + share * (cut - start), spacing)
    if np.count_nonzero(core) > _MR_FILLED * before:  # lung dark up to the wall would be reached by now
        core, cut = _grown_into_filled(smooth, core, cut, muscle, spacing)
    edge = np.maximum(cut, lung + _MR_EDGE * (_level_beside(smooth, core, spacing) - lung))
    core |= (smooth < edge) & _dilated(core, spacing, _MR_EDGE_MM)
    return np.asarray((edge - smooth) / (edge - lung), np.float32), core


def _grown_into_filled(
    smooth: FloatArray, core: BoolArray, cut: float, muscle: float, spacing: npt.NDArray[np.float64]
) -> tuple[BoolArray, float]:
    """Lungs filled with blood or water: the cut follows the brighter lung as it is reached. Chosen on the phantom."""
    for _ in range(_MR_ROUNDS):
        before, bright = np.count_nonzero(core), float(np.percentile(smooth[core], 75))
        cut = max(cut, min(bright + _MR_CUT * (muscle - bright), _MR_HIGHEST_CUT * muscle))
        core = _grown(core, smooth < cut, spacing)
        if np.count_nonzero(core) < _MR_GAIN * before:
            break
    return core, cut


def _grown(core: BoolArray, dark: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """The core with the dark space that touches it and lies within a step."""
    dark = _opened(dark, spacing, 3.0)
    dark &= ~_open_to_the_sides(dark) & _dilated(core, spacing, _MR_STEP_MM)
    return np.asarray(core | _touching(_opened(dark, spacing, 3.0), core))


def _level_beside(smooth: FloatArray, core: BoolArray, spacing: npt.NDArray[np.float64]) -> FloatArray:
    """Level of the tissue that borders the lungs, near each voxel: a border to fat lies higher than one to muscle."""
    step = float(spacing.min())
    shell = _dilated(core, spacing, 3.5 * step) & ~_dilated(core, spacing, 1.5 * step)
    return _local_mean(smooth, shell, spacing, 2.0 * step)


def _touching(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """Pieces of the mask that hold a seed."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    hit = np.zeros(count + 1, bool)
    hit[np.unique(labels[seeds])] = True
    hit[0] = False
    return np.asarray(hit[labels])


# -------------------------------------------------------------------------------------------------- morphology


def _ball(radius: int) -> BoolArray:
    grid = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    return np.asarray(grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2 <= radius**2)


def _largest(mask: BoolArray) -> BoolArray:
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _dilated(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    return np.asarray(depth_mm(~mask, spacing) <= radius_mm)


def _opened(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    core = depth_mm(mask, spacing) > radius_mm
    return np.asarray(mask & _dilated(core, spacing, radius_mm)) if core.any() else core


def _closed(mask: BoolArray, spacing: npt.NDArray[np.float64], radius_mm: float) -> BoolArray:
    reach = [int(np.ceil(radius_mm / s)) + 1 if n > 1 else 0 for s, n in zip(spacing, mask.shape, strict=True)]
    padded = np.pad(mask, [(r, r) for r in reach], mode="edge")
    grown = _dilated(padded, spacing, radius_mm)
    shrunk = depth_mm(grown, spacing) > radius_mm
    inner = tuple(slice(r, r + n) for r, n in zip(reach, mask.shape, strict=True))
    return np.asarray(mask | shrunk[inner])


def _no_lung(volume: Volume, seen: str, values: npt.NDArray[Any]) -> ImageError:
    low, middle, high = np.percentile(values, [1, 50, 99])
    return ImageError(
        f"{volume.name or 'volume'}: no lung found: {seen}; signal 1st, 50th, 99th percentile {low:.4g}, {middle:.4g}, "
        f"{high:.4g}. Does the image show the chest, with modality {volume.modality} right? Else pass a lung mask"
    )
